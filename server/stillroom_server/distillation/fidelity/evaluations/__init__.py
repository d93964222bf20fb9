"""Scores of student and teacher on data with known answers, beside each other."""
