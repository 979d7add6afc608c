"""Records in this process: for tests, examples and short-lived programs."""

from .cache import MemoryCacheEntries
from .checkpoints import MemoryCheckpoints
from .items import MemoryItems

__all__ = ["MemoryCacheEntries", "MemoryCheckpoints", "MemoryItems"]
