"""What the client knows of the protocol. Nothing in here does I/O."""
