"""What was estimated and what it then took, and what follows for the next estimate."""
