"""Filters of lists: a part of the language of AIP-160, read and turned into SQL.

    labels.team = "search" AND (name : "mini" OR create_time > "2026-01-01T00:00:00Z")

AND binds looser than OR, as AIP-160 has it; two terms side by side are joined by AND; NOT or ``-``
before a term negates it.
"""
