"""Side-by-side measurements of savers, stores and caches: ``python -m benchmarks``.

Ratios count: machines are noisy.
"""
