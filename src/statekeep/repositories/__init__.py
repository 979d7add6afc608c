"""How it is kept: the contract of a backend, the faces that users hold, and the backends."""
