"""The paper's claims: each with its evidence, the rule that judges it, and the verdict.

``claims.toml`` is written by hand; everything else follows from it and from what was measured.
"""
