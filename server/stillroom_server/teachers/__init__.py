"""Teachers served: the front's side, and the engine process where torch lives."""
