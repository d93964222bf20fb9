"""A look at data before the work: how many texts, how long, how many labels. Bounded, without what
trains."""
