"""Scores of validation texts to what a classifier says of them: a temperature, thresholds of
labels, and when it abstains."""
