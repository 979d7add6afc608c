"""Indexes in a cluster, where the namespaces above an item's are in other slots.

Their indexes are told of an item before it is put, so that it is missing in none, and corrected afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Final

from attrs import frozen

from ....domain.items import Namespace
from ...operation import Operation
from ...validation import ms_of
from ..keys import ordered
from ..requests import Call, Commands
from ..scripts import script
from .keys import ItemKeys, clock_key, namespace_index_keys
from .plan import ItemSettings, Stored
from .records import decoded_us, last_put_us, seconds_of

PATIENCE: Final = 30.0
"""Seconds after which an announcement is repeated. Readers drop one without a record when it is a minute old."""


@frozen
class Entry:
    """An item that is put, as the index of a namespace above is told of it."""

    namespace: Namespace
    key: str
    life: int


@frozen
class Announced:
    """Items that were announced.

    Attributes:
        entries: in their order.
        time: of the first, in microseconds; each further one is one later.
        is_kept: whether an index above has some of the items end later than they will.
        began: when it began, by the clock of this process.
    """

    entries: Sequence[Entry]
    time: int
    is_kept: bool
    began: float


def announce(settings: ItemSettings, keys: ItemKeys, entries: Sequence[Entry]) -> Operation[Announced]:
    """Name items in all indexes above their namespace, before they are written."""
    time, is_kept, began = "", False, monotonic()
    if not entries:
        return Announced(entries, 0, is_kept, began)
    for link in reversed(keys.chain[1:]):
        args = [str(arg) for entry in entries for arg in (link.member(entry.namespace, entry.key), entry.life)]
        root = (*namespace_index_keys(settings.prefix), clock_key(settings.prefix)) if link.namespace == () else ()
        reply = yield Call(
            script("items/announce"),
            [*settings.indexes(link), *root],
            [time, ordered(keys.namespace), *args],
        )
        time = reply[0].decode()
        is_kept = is_kept or bool(reply[1])
    return Announced(entries, int(time), is_kept, began)


def extend_expiry_above(settings: ItemSettings, keys: ItemKeys, refreshed: Sequence[str]) -> Operation[None]:
    """Have the indexes above keep items as long as they will, before a refresh."""
    if not refreshed:
        return
    ttls = yield Commands([["HGET", keys.record(key), "ttl"] for key in refreshed])
    mortal = [(key, ms_of(seconds_of(keys, key, ttl))) for key, ttl in zip(refreshed, ttls, strict=True) if ttl]
    if not mortal:
        return
    for link in reversed(keys.chain[1:]):
        names = namespace_index_keys(settings.prefix) if link.namespace == () else []
        args = [str(arg) for key, life in mortal for arg in (link.member(keys.namespace, key), life)]
        yield Call(script("items/extend_expiry"), [link.recency, link.expiry, *names], [ordered(keys.namespace), *args])


@frozen
class _Truth:
    """The fate of an item that was announced.

    Attributes:
        entry: as it was announced.
        latest: the greatest time of an announcement that this is true after, in microseconds.
        time: of the last put, likewise; ``None`` if there is no such item.
        end: in milliseconds, 0 for never; ``None``: who announced something else may have done it by now, so the index
            keeps what it has.
    """

    entry: Entry
    latest: int
    time: int | None
    end: int | None = None


def roll_back(settings: ItemSettings, keys: ItemKeys, announced: Announced, last: str = "") -> Operation[None]:
    """Give items that were announced, but not put, their former times again.

    What is not there at all may be about to be put by others and is left to those who read, unless its key is ``last``
    or before it: a number that was given to another value, which is gone by now.
    """
    rows = yield Commands([["HGET", keys.record(entry.key), "updated_at"] for entry in announced.entries])
    times = [last_put_us(updated) or None for updated in rows]
    yield from _tell_above(
        settings,
        keys,
        [
            _Truth(entry, announced.time + position, time)
            for position, (entry, time) in enumerate(zip(announced.entries, times, strict=True))
            if time or entry.key <= last
        ],
    )


def reconcile(
    settings: ItemSettings, keys: ItemKeys, announced: Announced, stored: Sequence[Stored]
) -> Operation[None]:
    """Correct the indexes above after a change.

    They are wrong if others put the same items, if these end earlier, or if it took long.
    """
    if announced.entries and monotonic() - announced.began > PATIENCE:
        announced = yield from announce(settings, keys, announced.entries)
    times = [decoded_us(put.updated_at) for put in stored]
    if not announced.is_kept and all(time == announced.time + position for position, time in enumerate(times)):
        return
    yield from _tell_above(
        settings,
        keys,
        [
            _Truth(entry, max(time, announced.time + position), time, decoded_us(put.expires_at) // 1000)
            for position, (entry, put, time) in enumerate(zip(announced.entries, stored, times, strict=True))
        ],
    )


def _tell_above(settings: ItemSettings, keys: ItemKeys, truths: Sequence[_Truth]) -> Operation[None]:
    if not truths:
        return
    for link in keys.chain[1:]:
        args = [
            str(arg)
            for truth in truths
            for arg in (
                link.member(truth.entry.namespace, truth.entry.key),
                truth.latest,
                "" if truth.time is None else truth.time,
                "" if truth.end is None else truth.end,
            )
        ]
        clock = [clock_key(settings.prefix)] if link.namespace == () else []
        yield Call(script("items/reconcile"), [link.recency, link.expiry, *clock], args)
    # A deletion meanwhile left alone what seemed to be another put.
    there = yield Commands([["EXISTS", keys.record(truth.entry.key)] for truth in truths])
    gone = [(truth.entry.key, truth.time or 0) for truth, exists in zip(truths, there, strict=True) if not exists]
    yield from unlist_above(settings, keys, gone)


def unlist_above(settings: ItemSettings, keys: ItemKeys, gone: Sequence[tuple[str, int]]) -> Operation[None]:
    """Drop deleted items from the indexes above, unless they were put again."""
    known = [(key, us) for key, us in gone if us]
    for link in keys.chain[1:] if known else []:
        args = [str(arg) for key, us in known for arg in (link.member(keys.namespace, key), us)]
        yield Call(script("items/unlist"), settings.indexes(link), ["0", *args])
