"""The chapters of the book: what each notebook computes, draws and saves.

One module for each notebook or for what several of them share. No measurement on real data is made here.
"""
