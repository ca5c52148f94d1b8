"""Stage 2: a manifest becomes checkpoints, of the softmax classifier and of heads on its frozen backbone.

Where classifiers come from, recipes, cached features, the loop. Nothing here makes or judges maps.
"""
