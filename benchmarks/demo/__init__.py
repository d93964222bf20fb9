"""The main job on real input, for a terminal: ``python -m benchmarks.demo``."""
