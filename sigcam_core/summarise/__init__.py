"""Stage 4: evidence becomes tables with intervals, and images and maps become panels of figures.

Pure functions of evidence, cheap to run again. No network runs here.
"""
