"""Faults that are injected on purpose, at seeded moments, and what is lost by them.

``python -m tests.faults`` (``make faults``) writes ``results/faults/faults.json``; the test suite injects each kind a
few times. After every fault nothing that was finished may be gone or made again, and the run that follows must end with
what an undisturbed one ends with, byte by byte, dates and times apart.
"""
