"""Search by meaning: by the search module, or by comparison of all vectors."""
