"""The storage: the contract of a backend, the users' faces, the backends."""
