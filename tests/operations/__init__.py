"""Tests of stillroom_server.operations."""
