"""Schema revisions of the registry's tables, run by ``Database.migrate``."""
