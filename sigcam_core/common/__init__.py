"""What every module may use: error messages, whole files with their provenance, progress, seeds, resampling.

Nothing of the paper lives here. What enters must serve at least two modules and know none of them.
"""
