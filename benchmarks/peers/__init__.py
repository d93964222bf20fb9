"""Other servers, each in a virtual environment of its own with what its file of pins says.

What is in here is run by their interpreters and imports nothing of ours.
"""
