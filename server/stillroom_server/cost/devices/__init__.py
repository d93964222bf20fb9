"""What can be computed on, as far as sources tell, and how clean electricity is."""
