"""Readers of the data of other packages."""
