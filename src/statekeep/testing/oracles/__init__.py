"""Independent models of backends."""
