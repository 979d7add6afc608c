"""Independent models of what a backend has to answer."""
