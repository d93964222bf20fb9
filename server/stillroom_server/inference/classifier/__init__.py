"""Texts to labels: heads on vectors of students and teachers, with numpy alone."""
