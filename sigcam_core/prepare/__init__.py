"""Stage 1: what is in a data set, and its images as networks take them.

Manifests, decoding, augmented views. The other half of this stage is the package ``data_scripts``, which makes
manifests; everything after reads them.
"""
