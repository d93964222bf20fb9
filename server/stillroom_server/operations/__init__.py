"""Durable long-running operations: store, lease, runner, supervisor."""
