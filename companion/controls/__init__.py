"""The crossed controls: heads, scalars, weights and baselines, measured against one another on the same images.

From the maps themselves, through the measurement in shards, to tables with simultaneous intervals.
"""
