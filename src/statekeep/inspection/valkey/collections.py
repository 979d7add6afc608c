"""Things that programs settled about items: units, and collections of vectors."""

from __future__ import annotations

import json
from typing import Any

from ...domain import CorruptRecord
from ...repositories.connection import Connection
from ...repositories.operation import Operation, named, run
from ...repositories.valkey.items.backend import ValkeyItems
from ...repositories.valkey.items.keys import unit_keys
from ...repositories.valkey.items.search.index import definition_key
from ...repositories.valkey.requests import Commands


def stored_unit(keep: Connection) -> int | None:
    """Return the unit of namespaces that stored items have: one round trip.

    Args:
        keep: a connection, to any service.

    Returns:
        How many first labels of a namespace say which unit it is in; ``None`` without units.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("embedded:", unit=1) as keep:
        ...     item = keep.items.put(("users", "ada"), "theme", "dark")
        ...     stored_unit(keep)
        1
    """
    backend = keep.backends.items
    if not isinstance(backend, ValkeyItems):
        return None
    # By the client: the backend would compare its own unit first.
    return run(named("stored_unit", _unit(backend.prefix)), backend.client.execute)


def _unit(prefix: str) -> Operation[int | None]:
    (text,) = yield Commands([("GET", unit_keys(prefix)[1])])
    return int(text) if text is not None and text.isdigit() and len(text) < 10 else None


def stored_definition(keep: Connection, collection: str) -> dict[str, Any] | None:
    """Return the options that a collection of vectors has: one round trip.

    Args:
        keep: a connection, to any service.
        collection: its name.

    Returns:
        ``dims``, ``distance_metric`` and ``fields``; ``None`` if there is no such collection.

    Raises:
        CorruptRecord: something else is written there.

    Example:
        >>> import statekeep
        >>> index = {"dims": 2, "embed": lambda texts: [[1.0, 2.0] for text in texts], "fields": ["text"]}
        >>> with statekeep.connect("embedded:", index=index) as keep:
        ...     status = keep.items.setup()
        ...     stored_definition(keep, "default")
        {'dims': 2, 'distance_metric': 'cosine', 'fields': ['text']}
    """
    backend = keep.backends.items
    if not isinstance(backend, ValkeyItems):
        return None
    key = definition_key(backend.prefix, collection)
    text = run(named("stored_definition", _read(key)), backend.client.execute)
    if text is None:
        return None
    try:
        found = json.loads(text)
        return {name: found[name] for name in ("dims", "distance_metric", "fields")}
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptRecord("this is no definition of vectors", key=key) from error


def _read(key: str) -> Operation[bytes | None]:
    (text,) = yield Commands([("GET", key)])
    found: bytes | None = text
    return found
