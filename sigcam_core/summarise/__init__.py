"""Fourth station: evidence becomes tables and figures, beside those of the paper.

Pure functions of evidence and of measured results, cheap to run again. No network runs here, save for the panels
of the qualitative figures.
"""
