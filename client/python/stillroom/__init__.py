"""Stillroom: a client for the server that distills, keeps and serves small embedding models."""
