"""The publication behind the book: which runs fill the paper's tables, what is measured on real images, and its pages.

It builds on :mod:`sigcam_core`, which never imports it, and is not in the wheel: it belongs to a checkout of the
project, whose notebooks, ``results/`` and ``book/`` it serves. Its folders are subjects: the paper's numbers, the
claims, the controls, the chapters.
"""
