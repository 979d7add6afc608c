"""Changes that ``write=True`` allows: each is asked for on a page of its own."""
