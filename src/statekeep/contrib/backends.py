"""The backends behind what a bridge to a framework is given.

Frameworks want blocking methods, coroutines, or both of one object; a backend serves both faces.
"""

from __future__ import annotations

from typing import Any

from ..domain import InvalidInput
from ..repositories.connection import AsyncConnection, Connection
from ..repositories.item_backend import ItemBackend
from ..repositories.items import AsyncItemRepository, ItemRepository

KeepsItems = Connection | AsyncConnection | ItemRepository | AsyncItemRepository
"""A connection, or its items."""


def item_backend(keep: Any) -> ItemBackend:
    """Return the backend of the items of a connection, or of its ``items``.

    Raises:
        InvalidInput: ``keep`` is something else.
        Unsupported: the connection's service keeps no items.
    """
    items = keep.items if isinstance(keep, Connection | AsyncConnection) else keep
    if isinstance(items, ItemRepository | AsyncItemRepository):
        return items.backend
    raise InvalidInput(
        f"keep must be a connection of statekeep.connect or aconnect, or its items, got {type(keep).__name__}",
        field="keep",
    )
