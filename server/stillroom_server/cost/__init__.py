"""What work will take, before it runs, and how right that was."""
