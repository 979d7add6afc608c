"""``cached``: keep the results of a function."""

from .decorator import CachedFunction, cached

__all__ = ["CachedFunction", "cached"]
