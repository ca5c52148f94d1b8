"""Stage 3: checkpoints become evidence, one row per image, head and method, in raw numbers.

Nothing is averaged here, and no figure is drawn: whatever can be computed from the evidence is computed later.
"""
