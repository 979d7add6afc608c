"""What ``write=True`` allows: each change is asked for on a page of its own."""
