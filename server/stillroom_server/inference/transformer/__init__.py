"""Students that are shallow transformers: their folder, their graph, and who computes when."""
