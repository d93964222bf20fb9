"""A Hub in a thread of the tests, and what is tested against it through huggingface_hub itself."""
