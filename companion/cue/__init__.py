"""A context cue on generated images: where evidence lies as the cue comes to agree with the class.

Images are drawn by ``data_scripts``, and what a map puts on each of their parts is measured here.
"""
