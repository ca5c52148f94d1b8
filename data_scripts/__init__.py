"""Stage 1: each data set becomes a manifest. Run ``python -m data_scripts NAME --root DIR``."""
