"""Classifiers: labeled texts in, a calibrated head on an encoder out, and what it is worth."""
