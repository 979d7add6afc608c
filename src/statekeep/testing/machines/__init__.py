"""State machines that compare backends with oracles."""
