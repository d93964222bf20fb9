"""Who may connect, who may ask, and which paths may be read."""
