"""Fifth station: what is measured on real data and committed, what ships, and what notebooks and readers touch.

The one room that may use all others; none may use it.
"""
