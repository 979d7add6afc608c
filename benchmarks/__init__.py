"""Side-by-side measurements. Ratios count: the machines are noisy."""
