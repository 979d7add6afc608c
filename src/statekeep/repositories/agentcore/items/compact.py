"""Clearing namespaces, and removing what is dead from their lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ....domain.ids import new_moment
from ....domain.items import Namespace
from ...operation import Operation
from ..ids import Lane
from ..lanes import ABREAST, PAGE
from . import tree
from .fold import deletion
from .index import IndexReader, drain, index_calls
from .layout import NamespaceLanes, is_item
from .record_writes import remove_records
from .records import IndexEntry
from .settings import GRACE, TOKEN_LIFE, Settings, side_by_side
from .tree import read_tree
from .versions import Latest, read_latest, read_older
from .write import commit, erase


def clear(settings: Settings, namespace: Namespace, below: bool) -> Operation[int]:
    """Delete the items of a namespace, and of those below it if asked.

    Returns how many there were.
    """
    readers = yield from read_tree(settings, namespace, below=below, size=PAGE)
    yield from drain(settings, readers)
    count = 0
    for reader in readers:
        count += yield from _sweep(settings, reader, is_clear=True)
    return count


def reindex(settings: Settings, namespace: Namespace) -> Operation[int]:
    """Make the index name what is there; return how many items there are.

    Older versions are removed, and so are deletions that are older than any client token.
    """
    reader = IndexReader(namespace)
    reader.take((yield reader.call(settings, PAGE)))
    yield from drain(settings, [reader])
    count = yield from _sweep(settings, reader, is_clear=False)
    count += yield from _find_unnamed(settings, reader)
    if count:
        wanted = tree.branches(settings, [namespace])
        missing = tree.lacking(settings, wanted, (yield from side_by_side(tree.looks(settings, wanted))))
        yield from side_by_side(tree.listing_calls(settings, missing))
        yield from side_by_side(tree.mark_calls(settings, missing))
    return count


def _sweep(settings: Settings, reader: IndexReader, *, is_clear: bool) -> Operation[int]:
    """Go through the items that an index names; return how many were there."""
    lanes = NamespaceLanes(reader.namespace)
    named: dict[str, list[tuple[int, str]]] = {}
    needed: Counter[str] = Counter()
    for entry, event_id in reader.entries:
        named.setdefault(entry.key, []).append((entry.stamp, event_id))
        needed[event_id] += 1
    count, pending = 0, list(named)
    while pending:
        some, pending = pending[:ABREAST], pending[ABREAST:]
        found, _ = yield from read_latest(settings, [lanes.item(key) for key in some])
        now, moment = settings.now(), new_moment()
        of_key = dict(zip(some, found, strict=True))
        live = {key for key, one in of_key.items() if one.version is not None and one.version.is_live(now)}
        ending = [
            (key, one, deletion(one.version, moment, now))
            for key, one in of_key.items()
            if one.version is not None and one.version.number and (is_clear or key not in live)
        ]
        done = yield from commit(settings, [(one, version) for _, one, version in ending])
        ended = {key for (key, _, _), is_done in zip(ending, done, strict=True) if is_done}
        # Others wrote meanwhile: what they wrote is looked at.
        lost = {key for key, _, _ in ending} - ended
        pending += lost
        count += len((live - lost) if not is_clear else (live & ended))
        left = [one for key, _, version in ending if key in ended for one in version.stale]
        yield from erase(settings, [of_key[key] for key in ended], left)
        if not is_clear:
            yield from _remove_older(settings, [of_key[key] for key in live])
            yield from _remove_stale(settings, [of_key[key] for key in live])
        superfluous = [
            event_id
            for key in some
            if key not in lost
            for event_id in _superfluous(named[key], key in ended, key in live and not is_clear, now)
        ]
        # An event that other puts share goes when none of its entries is needed.
        needed.subtract(superfluous)
        yield from settings.lanes.delete(
            [(lanes.index, event_id) for event_id in dict.fromkeys(superfluous) if not needed[event_id]]
        )
        dead = [of_key[key] for key in some if key not in live and key not in ended and key not in lost]
        yield from _forget(settings, dead, now)
    return count


def _superfluous(named: Sequence[tuple[int, str]], is_ended: bool, is_live: bool, now: int) -> list[str]:
    """Return the events whose entries are of no use any more, once for each entry.

    What a deletion of ours followed is superfluous at once: whoever puts the key after it says so in the index again.
    """
    if is_ended:
        return [event_id for _, event_id in named]
    young = (now - GRACE) * 1000
    newest = max(stamp for stamp, _ in named)
    return [event_id for stamp, event_id in named if stamp < young and not (is_live and stamp == newest)]


def _remove_older(settings: Settings, some: Sequence[Latest]) -> Operation[None]:
    """Remove all versions but the newest."""
    yield from read_older(settings, some)
    values = []
    for one in some:
        assert one.version is not None
        lanes = NamespaceLanes(one.version.namespace)
        values += [lanes.value(name) for name in dict.fromkeys(one.values) if name != one.version.value]
    yield from settings.lanes.delete(
        [(one.lane, event_id) for one in some for event_id in one.events if event_id != one.event_id]
    )
    if values:
        yield from settings.lanes.clear(values)


def _forget(settings: Settings, dead: Sequence[Latest], now: int) -> Operation[None]:
    """Remove deletions that no client token can be older than."""
    old = [one for one in dead if one.version is not None and one.version.written < now - TOKEN_LIFE]
    # What an earlier deletion left must go before the deletion itself, or it would be there again.
    yield from _remove_older(settings, old)
    yield from _remove_stale(settings, old)
    yield from settings.lanes.delete([(one.lane, one.event_id) for one in old])


def _remove_stale(settings: Settings, some: Sequence[Latest]) -> Operation[None]:
    """Remove the memory records that former versions may have left."""
    yield from remove_records(settings, [left for one in some if one.version is not None for left in one.version.stale])


def _find_unnamed(settings: Settings, reader: IndexReader) -> Operation[int]:
    """Add the items to an index that it does not name; return their number."""
    lanes = NamespaceLanes(reader.namespace)
    named: Collection[Lane] = {lanes.item(key) for key in reader.names()}
    sessions = yield from settings.lanes.sessions(lanes.actor)
    unnamed = sorted(lane for lane in sessions if is_item(lane) and lane not in named)
    found, _ = yield from read_latest(settings, unnamed)
    now = settings.now()
    live = [one.version for one in found if one.version is not None and one.version.is_live(now)]
    entries = [IndexEntry(version.key, version.updated) for version in live]
    yield from side_by_side([call for entry in entries for call in index_calls(settings, reader.namespace, entry)])
    return len(live)
