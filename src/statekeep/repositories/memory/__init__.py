"""Records in this process: for tests, examples and short-lived programs."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...lazy import lazily as _lazily

if _TYPE_CHECKING:
    from .cache import MemoryCacheEntries
    from .checkpoints import MemoryCheckpoints
    from .items import MemoryItems
    from .logs import MemoryLogs
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "MemoryCacheEntries": ".cache",
            "MemoryCheckpoints": ".checkpoints",
            "MemoryItems": ".items",
            "MemoryLogs": ".logs",
        },
    )

__all__ = ["MemoryCacheEntries", "MemoryCheckpoints", "MemoryItems", "MemoryLogs"]
