"""Ids to vectors: the two student engines, and the comparison that decides between them."""
