"""Records in this process: for tests, examples and short-lived programs."""

from .checkpoints import MemoryCheckpoints

__all__ = ["MemoryCheckpoints"]
