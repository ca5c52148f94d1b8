"""What every room may use: sentences for mistakes, whole files with their provenance, progress, seeds, resampling.

Nothing of the paper lives here. What enters must serve at least two rooms and know none of them.
"""
