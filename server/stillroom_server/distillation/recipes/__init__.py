"""From a request to a student: which recipe, step by step."""
