"""Sizes of whole threads, and when they end."""
