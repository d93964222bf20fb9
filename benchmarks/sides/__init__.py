"""The sides of the benchmarks, each a process of its own; each imports what it needs alone."""
