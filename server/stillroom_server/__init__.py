"""The Stillroom server."""
