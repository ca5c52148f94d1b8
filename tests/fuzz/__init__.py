"""Fuzzing of whatever reads files: every outcome is a valid object or one sentence.

``python -m tests.fuzz --minutes 20`` writes ``results/faults/fuzz.json``; the test suite runs a few cases of each.
"""
