"""How notebooks show and save what they have: names, figures, tables with their downloads, values for the prose.

It knows no chapter and no claim.
"""
