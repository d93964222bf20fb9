"""What makes a student's vectors unlike its teacher's: one loss a file, a value a text."""
