"""What users ask of photos and folders of their own: a map explained, or both heads trained and measured.

It may use all of the package; nothing but the command line uses it.
"""
