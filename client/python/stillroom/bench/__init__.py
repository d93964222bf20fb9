"""A load generator for the embedding calls: how fast a server answers, and how late."""
