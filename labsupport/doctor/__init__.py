"""What can this machine run, and if not, what to do."""
