"""The bodies of methods that list and search."""
