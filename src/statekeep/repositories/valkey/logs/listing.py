"""Listings of logs, in the order of their names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from ....domain import Log
from ....domain.items import Namespace
from ...operation import Operation, Page
from ..chunks import chunks
from ..keys import SHARDS, decode_text, namespace_of_ordered, ordered
from ..losses import report
from ..requests import Arg, Call, Commands
from ..scripts import script
from .keys import LogKeys, index_keys
from .operations import LogSettings

SIZE: Final = 16
"""Names read at a time of each of the 64 indexes that are read together."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@frozen
class Cursor:
    """The position of a listing: the last name, and how many logs may follow."""

    after: str | None
    left: int | None


def list_logs(
    settings: LogSettings, prefix: Namespace, limit: int | None, cursor: Cursor | None
) -> Operation[Page[Log]]:
    """Read one page: the names in one round trip, and the logs in another."""
    cursor = cursor or Cursor(None, limit)
    while cursor.left != 0:
        names, is_last = yield from _names(settings, prefix, cursor)
        found = yield from _there(settings, [settings.keys(namespace_of_ordered(name)) for name in names])
        if names:
            cursor = evolve(cursor, after=names[-1], left=None if cursor.left is None else cursor.left - len(found))
        if is_last or cursor.left == 0:
            return Page(found)
        if found:
            return Page(found, cursor)
    return Page([])


def _names(settings: LogSettings, prefix: Namespace, cursor: Cursor) -> Operation[tuple[list[str], bool]]:
    """Return the next names of all shards in order, and whether these are all."""
    low: Arg = f"[{ordered(prefix)}" if prefix else "-"
    if cursor.after is not None:
        low = f"({cursor.after}"
    high: Arg = f"({ordered(prefix)}\1" if prefix else "+"
    size = SIZE if cursor.left is None else min(SIZE, cursor.left)
    indexes = [index_keys(settings.prefix, shard)[0] for shard in SHARDS]
    replies = yield Commands([["ZRANGEBYLEX", index, low, high, "LIMIT", "0", str(size)] for index in indexes])
    listed = [[decode_text(name, index) for name in reply] for index, reply in zip(indexes, replies, strict=True)]
    # Behind the last name that a shard gave, it may have more.
    ends = [names[-1] for names in listed if len(names) == size]
    reached = min(ends, default=None)
    names = sorted(name for names in listed for name in names if reached is None or name <= reached)
    is_cut = cursor.left is not None and len(names) > cursor.left
    return (names[: cursor.left], False) if is_cut else (names, reached is None)


def _there(settings: LogSettings, logs: Sequence[LogKeys]) -> Operation[list[Log]]:
    """Return the logs that are there; the indexes forget the others."""
    if not logs:
        return []
    replies = yield Commands(
        [command for keys in logs for command in (["LLEN", keys.values], ["PEXPIRETIME", keys.values])]
    )
    found, gone = [], []
    for keys, count, end in zip(logs, replies[::2], replies[1::2], strict=True):
        if count and end != -2:
            expires_at = None if end == -1 else _EPOCH + dt.timedelta(milliseconds=end)
            found.append(Log.trusted(name=keys.name, count=count, expires_at=expires_at))
        else:
            gone.append(keys)
    yield from _forget(settings, gone)
    return found


def _forget(settings: LogSettings, gone: Sequence[LogKeys]) -> Operation[None]:
    """Drop logs that are gone from the indexes, unless they were made anew."""
    groups: dict[str, list[LogKeys]] = {}
    for keys in gone:
        groups.setdefault(keys.shard if settings.cluster else "", []).append(keys)
    for group in groups.values():
        for chunk in chunks(group):
            by_name: Mapping[bytes, LogKeys] = {keys.member.encode(): keys for keys in chunk}
            names = [name for keys in chunk for name in (*keys.indexes, keys.values)]
            lost = yield Call(script("logs/forget"), names, [keys.member for keys in chunk])
            for name in lost:
                report("logs", by_name[name].indexes[0], [name])
