"""Keeping what is stored whole and no more than is needed. No gRPC."""
