"""Holds the documents to the code."""
