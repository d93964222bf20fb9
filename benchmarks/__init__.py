"""Every figure that the documents state, reproducible with one command each; and the demo."""
