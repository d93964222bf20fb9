"""How bytes get to the server and back: the only code that differs between the two clients."""
