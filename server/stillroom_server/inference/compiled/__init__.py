"""The innermost loops of Embed and Classify in C, where the installation could compile them.

Elsewhere scipy and numpy do the same, to the bit, in about twice the time. Each serves only after
it computed what its Python twin computes.
"""

MODULE = f"{__name__}._kernels"
"""Name for ``native.load_extension``, which raises ImportError where it is not compiled."""
