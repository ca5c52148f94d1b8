"""The numbers that the paper prints, and ours next to them.

``paper_tables`` holds its tables as CSV files; a cell of them is filled by what was measured here, or says why not.
"""
