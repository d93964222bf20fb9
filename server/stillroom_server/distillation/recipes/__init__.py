"""From a request to a student: which recipe, within what budget, step by step."""
