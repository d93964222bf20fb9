"""What this host's own code paths take, measured in seconds of its cores."""
