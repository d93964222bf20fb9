"""What the client does, written once for both faces; each file holds the RPCs of one subject."""
