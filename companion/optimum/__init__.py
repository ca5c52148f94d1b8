"""Heads at the optimum of their convex losses, so that rate, recipe and seed are no part of a comparison.

The solver, a certificate of how far from the optimum a head can be, paths of penalties, and the gauge of a head.
"""
