"""From texts to vectors: tokenizers, student engines, the pool of loaded models."""
