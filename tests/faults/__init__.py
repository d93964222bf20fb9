"""Kills, hostile messages, broken streams, full disks and long runs against a real server."""
