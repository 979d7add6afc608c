"""The backends behind what a bridge to a framework is given.

Frameworks want blocking methods, coroutines, or both of one object; a backend serves both faces.
"""

from __future__ import annotations

from typing import Any

from ..domain import InvalidInput
from ..repositories.cache import AsyncCacheRepository, CacheBackend, CacheRepository
from ..repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from ..repositories.connection import AsyncConnection, Connection
from ..repositories.item_backend import ItemBackend
from ..repositories.items import AsyncItemRepository, ItemRepository
from ..repositories.logs import AsyncLogRepository, LogBackend, LogRepository

KeepsCache = Connection | AsyncConnection | CacheRepository | AsyncCacheRepository
"""A connection, or its cache."""

KeepsCheckpoints = Connection | AsyncConnection | CheckpointRepository | AsyncCheckpointRepository
"""A connection, or its checkpoints."""

KeepsItems = Connection | AsyncConnection | ItemRepository | AsyncItemRepository
"""A connection, or its items."""

KeepsLogs = Connection | AsyncConnection | LogRepository | AsyncLogRepository
"""A connection, or its logs."""


def cache_backend(keep: Any) -> CacheBackend:
    """Return the backend of the cache of a connection, or of its ``cache``.

    Raises as :func:`item_backend`.
    """
    cache = keep.cache if isinstance(keep, Connection | AsyncConnection) else keep
    if isinstance(cache, CacheRepository | AsyncCacheRepository):
        return cache.backend
    raise _refused(keep, "cache")


def checkpoint_backend(keep: Any) -> CheckpointBackend:
    """Return the backend of checkpoints of a connection, or of its ``checkpoints``.

    Raises:
        InvalidInput: ``keep`` is something else.
    """
    checkpoints = keep.checkpoints if isinstance(keep, Connection | AsyncConnection) else keep
    if isinstance(checkpoints, CheckpointRepository | AsyncCheckpointRepository):
        return checkpoints.backend
    raise _refused(keep, "checkpoints")


def item_backend(keep: Any) -> ItemBackend:
    """Return the backend of the items of a connection, or of its ``items``.

    Raises:
        InvalidInput: ``keep`` is something else.
        Unsupported: the connection's service keeps none.
    """
    items = keep.items if isinstance(keep, Connection | AsyncConnection) else keep
    if isinstance(items, ItemRepository | AsyncItemRepository):
        return items.backend
    raise _refused(keep, "items")


def log_backend(keep: Any) -> LogBackend:
    """Return the backend of the logs of a connection, or of its ``logs``.

    Raises as :func:`item_backend`.
    """
    logs = keep.logs if isinstance(keep, Connection | AsyncConnection) else keep
    if isinstance(logs, LogRepository | AsyncLogRepository):
        return logs.backend
    raise _refused(keep, "logs")


def _refused(keep: Any, name: str) -> InvalidInput:
    return InvalidInput(
        f"keep must be a connection of statekeep.connect or aconnect, or its {name}, got {type(keep).__name__}",
        field="keep",
    )
