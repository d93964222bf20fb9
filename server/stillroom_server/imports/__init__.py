"""From a folder, an upload or the Hub to a registered model."""
