"""What work takes in operations, bytes and seconds: one file a kind of work, from the same code
paths that run it. Pure: rates, devices and prices are arguments."""
