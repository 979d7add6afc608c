"""Checks of records that are stored with the times that they had elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from ...domain import InvalidInput, Item, LogEntry, Payload
from ...domain.items import ItemValue, item_value
from ...domain.json_values import dumps
from ...domain.logs import LARGEST_POSITION
from ...domain.shown import shown
from ..item_backend import EPOCH, Restore
from ..validation import LONGEST_TTL, namespace_and_key

_LATEST: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)

_MILLISECOND: Final = dt.timedelta(milliseconds=1)

MOST_RESTORED: Final = LARGEST_POSITION - 1000
"""Greatest position of a value that is restored: others must follow."""


def checked_time(field: str, value: Any) -> dt.datetime:
    """Return a time in UTC.

    Raises:
        InvalidInput: it is none, or before 1970, or not before 9999.
    """
    if not isinstance(value, dt.datetime) or value.tzinfo is None or not EPOCH <= value < _LATEST:
        raise InvalidInput(
            f"{field} must be a time with a time zone, from 1970 on and before 9999, got {shown(value)}", field=field
        )
    return value.astimezone(dt.UTC)


def checked_end(field: str, value: Any) -> dt.datetime | None:
    """Return a time rounded up to the millisecond, or ``None``.

    Raises as :func:`checked_time`.
    """
    if value is None:
        return None
    return EPOCH - (EPOCH - checked_time(field, value)) // _MILLISECOND * _MILLISECOND


def restores_of(items: Any) -> list[Restore]:
    """Return the actions that store items exactly.

    Raises:
        InvalidInput: they are no items, or have what no repository can keep.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
        raise InvalidInput(f"items must be a sequence of items, got {type(items).__name__}", field="items")
    return [_restore(item, f"items[{position}]") for position, item in enumerate(items)]


def _restore(item: Any, field: str) -> Restore:
    if not isinstance(item, Item):
        raise InvalidInput(f"{field} must be an Item, got {type(item).__name__}", field="items")
    version = item.version
    if type(version) is not int or not 1 <= version <= LARGEST_POSITION:
        raise InvalidInput(
            f"{field}.version must be an integer from 1 to {LARGEST_POSITION}, got {shown(version)}", field="items"
        )
    updated_at = checked_time("updated_at", item.updated_at)
    expires_at = checked_end("expires_at", item.expires_at)
    ttl = None
    if expires_at is not None:
        ttl = min(max((expires_at - updated_at).total_seconds(), 0.001), float(LONGEST_TTL))
    namespace, key = namespace_and_key(item.namespace, item.key)
    return Restore(
        namespace=namespace,
        key=key,
        value=item_value(item.value, "value"),
        ttl=ttl,
        version=version,
        created_at=checked_time("created_at", item.created_at),
        updated_at=updated_at,
        expires_at=expires_at,
    )


def entries_of(entries: Any, after: int) -> list[LogEntry]:
    """Return values of a log whose positions grow.

    Args:
        entries: as they were read.
        after: the first has a greater position than this.

    Raises:
        InvalidInput: they are none, or in another order.
    """
    if isinstance(entries, str | bytes) or not isinstance(entries, Sequence):
        raise InvalidInput(f"entries must be a sequence of LogEntry, got {type(entries).__name__}", field="entries")
    found = []
    last = after
    for position, entry in enumerate(entries):
        if not isinstance(entry, LogEntry):
            what = type(entry).__name__
            raise InvalidInput(f"entries[{position}] must be a LogEntry, got {what}", field="entries")
        if type(entry.position) is not int or not last < entry.position <= MOST_RESTORED:
            raise InvalidInput(
                f"entries[{position}] must have a position greater than {last}, and at most {MOST_RESTORED}, "
                f"got {shown(entry.position)}",
                field="entries",
            )
        last = entry.position
        found.append(LogEntry.trusted(position=last, value=item_value(entry.value, f"entries[{position}]")))
    return found


def stored_bytes(value: ItemValue) -> int:
    """Return the bytes of a value of an item or a log, as JSON or of the payload."""
    return len(value.data) if isinstance(value, Payload) else len(dumps(value).encode())
