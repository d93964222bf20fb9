"""Rules of thumb by paradigm of training, as their source has them."""
