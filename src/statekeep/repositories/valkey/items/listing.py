"""Listings of items at or below a namespace by time, and reads of what was listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from math import inf
from typing import Any, Final

from attrs import frozen

from ....domain import CorruptRecord, Item
from ....domain.filters import matches
from ....domain.items import Namespace
from ....domain.json_values import JsonValue
from ...item_backend import Get
from ...operation import Operation
from ..chunks import CHUNK, Row
from ..keys import decode_text, namespace_of_ordered
from ..requests import Call, Commands
from ..scripts import script
from .keys import ItemKeys
from .namespaces import at_or_below
from .plan import ItemSettings
from .read import complete, look, read_rows, sweep
from .records import TTL, VALUE, decode_item
from .write import apply

PAGE: Final = 100
"""Items read at once: their values may be large."""

MOST_BYTES: Final = 4 << 20
"""Bytes of values that a filter looks at in one step, about: the next step is as many items as have them."""

FEW: Final = 16
"""Namespaces whose newest items are looked at in one step, at least."""

MANY: Final = 5000
"""Entries of indexes read at once in a cluster."""

Ref = tuple[Namespace, str]
"""The name of an item: its namespace and key."""


def read(settings: ItemSettings, refs: Sequence[Ref]) -> Operation[list[tuple[Item | None, Row]]]:
    """Read the records of items of any namespaces, in one round trip for each 500."""
    keys = [settings.keys(namespace) for namespace, _ in refs]
    rows = yield from read_rows(settings, [its.record(key) for its, (_, key) in zip(keys, refs, strict=True)])
    return [(decode_item(its, key, row), row) for its, (_, key), row in zip(keys, refs, rows, strict=True)]


def refreshed(settings: ItemSettings, items: Sequence[tuple[Item, Row]]) -> Operation[list[Item]]:
    """Start the TTL of items anew; return all but those that are gone by now."""
    mortal = [item for item, row in items if row[TTL]]
    if not mortal:
        return [item for item, _ in items]
    again = yield from apply(settings, [Get(item.namespace, item.key, refresh=True) for item in mortal])
    fresh: Mapping[int, Item | None] = {id(item): now for item, now in zip(mortal, again, strict=True)}
    found = [fresh.get(id(item), item) for item, _ in items]
    return [item for item in found if item is not None]


# -- by time


Entry = tuple[Ref, int]
"""An item, and the time of its last put in microseconds."""


Read = tuple[list[Entry], list[ItemKeys], list[ItemKeys]]
"""Items of namespaces, those of these whose order lacks some, and those without any."""


@frozen
class Reached:
    """The position of a listing by time: the last time, and the items seen of it."""

    time: int
    refs: Set[Ref]


@frozen
class Spaces:
    """The namespaces to read in a listing by time.

    Attributes:
        names: of those that were put to last, as the index has them, in this order.
        times: no item of each of them was put later, in microseconds.
        bound: no item of the others was put later; ``None``: there are no others.
    """

    names: Sequence[bytes]
    times: Sequence[float]
    bound: float | None


@frozen
class Recent:
    """Some of the items at or below a namespace, and where to go on."""

    entries: Sequence[Entry]
    reached: Reached | None
    """Where to go on; ``None`` if there are no more."""


class Newest:
    """A listing of the items at or below a namespace, the last put first.

    Args:
        settings: of the repository.
        keys: of the namespace.
    """

    def __init__(self, settings: ItemSettings, keys: ItemKeys) -> None:
        self.settings = settings
        self.keys = keys
        self._reached: Reached | None = None
        self._spaces: Spaces | None = None
        self._size = 0

    def page(self, size: int) -> Operation[Recent]:
        """Read the next items."""
        seen: Set[Ref] = set() if self._reached is None else self._reached.refs
        wanted = size + len(seen)
        entries: Sequence[Entry] | None = None
        if self._spaces is None:
            self._size = max(FEW, min(size, CHUNK))
            entries = yield from self._begin(size)
        while entries is None:
            assert self._spaces is not None
            bound = self._spaces.bound
            found = yield from self._merged(self._spaces, wanted)
            certain = found if bound is None else [entry for entry in found if entry[1] > bound]
            if bound is None or len(certain) >= wanted:
                entries = certain
            else:
                self._size *= 4
                self._spaces, _ = yield from self._below([], 0)
        is_last = len(entries) < wanted
        fresh = [entry for entry in entries if entry[0] not in seen]
        if not fresh:
            return Recent(fresh, None)
        latest = fresh[-1][1]
        refs = {ref for ref, time in fresh if time == latest}
        if self._reached is not None and self._reached.time == latest:
            refs |= self._reached.refs
        self._reached = Reached(latest, refs)
        return Recent(fresh, None if is_last else self._reached)

    def _begin(self, size: int) -> Operation[Sequence[Entry] | None]:
        """Learn the namespaces.

        If they are those that were expected, the first page comes with them.
        """
        guess = self.settings.below.guess(self.keys)
        if self.settings.cluster:
            self._spaces, read = yield from self._expected_in_cluster(guess, size)
        else:
            self._spaces, read = yield from self._below(guess, size)
        spaces = self._spaces
        if not spaces.names:
            return []
        if spaces.bound is None:
            few = spaces.names if len(spaces.names) <= FEW else ()
            self.settings.below.note(self.keys, [self._keys_of(name) for name in few])
        if read is None:
            return None
        entries, lacking, _ = read
        for keys in lacking:
            yield from complete(self.settings, keys)
        return None if lacking else _latest(entries, size)

    def _below(self, guess: Sequence[ItemKeys], size: int) -> Operation[tuple[Spaces, Read | None]]:
        """Read which namespaces were put to last.

        If they are ``guess``, ``size`` of their items come with it.
        """
        names, times, _ = self.settings.namespace_index
        keys = [key for each in guess for key in self.settings.indexes(each)]
        found, is_read, *more = yield Call(
            script("items/below"),
            [names, times, *self.settings.unit_keys, *keys],
            [
                *at_or_below(self.keys.namespace),
                *(self.keys.ordered, str(self._size + 1), str(size), str(len(self.settings.indexes(self.keys)))),
                self.settings.unit.text,
                *(each.ordered for each in guess),
            ],
        )
        pairs = _pairs(found)
        bound = float(pairs[self._size][1]) if len(pairs) > self._size else None
        pairs = pairs[: self._size]
        spaces = Spaces([name for name, _ in pairs], [float(time) for _, time in pairs], bound)
        return spaces, _read(guess, *more) if is_read else None

    def _expected_in_cluster(self, guess: Sequence[ItemKeys], size: int) -> Operation[tuple[Spaces, Read | None]]:
        """Do as :meth:`_below`, for a few namespaces."""
        low, high = at_or_below(self.keys.namespace)
        by_name = self.settings.namespace_index[0]
        names, *replies = yield Commands(
            [
                ["ZRANGEBYLEX", by_name, low, high, "LIMIT", "0", str(self._size + 1)],
                *(command for keys in guess for command in _reads(keys, "+inf", size)),
            ]
        )
        if len(names) > self._size:
            return (yield from self._below([], 0))
        spaces = Spaces(names, [inf] * len(names), None)
        if {self._keys_of(name).namespace for name in names} != {keys.namespace for keys in guess}:
            return spaces, None
        return spaces, _read_in_cluster(guess, replies)

    def _keys_of(self, name: bytes) -> ItemKeys:
        names = self.settings.namespace_index[0]
        return self.settings.keys(namespace_of_ordered(decode_text(name, names)))

    def _merged(self, spaces: Spaces, wanted: int) -> Operation[list[Entry]]:
        """Read the newest items of namespaces from the position on.

        Those that have none there are read no more, and those not yet that can have none among them.
        """
        latest = "+inf" if self._reached is None else str(self._reached.time)
        read = self._in_cluster if self.settings.cluster else self._on_one_server
        entries: list[Entry] = []
        kept: list[int] = []
        for first in range(0, len(spaces.names), CHUNK):
            if len(entries) >= wanted and entries[-1][1] > spaces.times[first]:
                kept += range(first, len(spaces.names))
                break
            chunk = [self._keys_of(name) for name in spaces.names[first : first + CHUNK]]
            found, lacking, empty = yield from read(chunk, latest, wanted)
            if lacking:
                for keys in lacking:
                    yield from complete(self.settings, keys)
                found, _, empty = yield from read(chunk, latest, wanted)
            entries = _latest([*entries, *found], wanted)
            exhausted = {keys.namespace for keys in empty}
            kept += [first + at for at, keys in enumerate(chunk) if keys.namespace not in exhausted]
        if len(kept) < len(spaces.names):
            self._spaces = Spaces([spaces.names[at] for at in kept], [spaces.times[at] for at in kept], spaces.bound)
        return entries

    def _on_one_server(self, spaces: Sequence[ItemKeys], latest: str, wanted: int) -> Operation[Read]:
        names = [key for keys in spaces for key in self.settings.indexes(keys)]
        size = len(names) // len(spaces)
        reply = yield Call(script("items/recent"), names, [str(size), latest, str(wanted)])
        return _read(spaces, *reply)

    def _in_cluster(self, spaces: Sequence[ItemKeys], latest: str, wanted: int) -> Operation[Read]:
        """Read in one round trip; in two if there is much to choose from."""
        is_much = len(spaces) * wanted > MANY
        replies = yield Commands(
            [command for keys in spaces for command in _reads(keys, latest, 1 if is_much else wanted)]
        )
        found, lacking, empty = _read_in_cluster(spaces, replies)
        if is_much:
            # Each of those before it has an item that is no older than its newest.
            heads = [self.settings.keys(namespace) for (namespace, _), _ in _latest(found, wanted)]
            replies = yield Commands([_newest_of(keys, latest, wanted - rank) for rank, keys in enumerate(heads)])
            found = [entry for keys, reply in zip(heads, replies, strict=True) for entry in _entries(keys, reply)]
        return found, lacking, empty


def _latest(entries: Sequence[Entry], count: int) -> list[Entry]:
    return sorted(entries, key=lambda entry: -entry[1])[:count]


def _read(spaces: Sequence[ItemKeys], lacking: Sequence[int], flat: Sequence[Any], empty: Sequence[int]) -> Read:
    found = [
        (_ref(spaces[at], key), _us(time, spaces[at].recency))
        for at, key, time in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    ]
    return found, [spaces[at] for at in lacking], [spaces[at] for at in empty]


def _reads(keys: ItemKeys, latest: str, count: int) -> list[list[str]]:
    """Return the commands that read a namespace in a cluster."""
    return [_newest_of(keys, latest, count), ["ZCARD", keys.index], ["ZCARD", keys.recency]]


def _read_in_cluster(spaces: Sequence[ItemKeys], replies: Sequence[Any]) -> Read:
    found = [entry for keys, reply in zip(spaces, replies[::3], strict=True) for entry in _entries(keys, reply)]
    sizes = zip(spaces, replies[1::3], replies[2::3], strict=True)
    empty = [keys for keys, reply in zip(spaces, replies[::3], strict=True) if not reply]
    return found, [keys for keys, items, ordered in sizes if items > ordered], empty


def _entries(keys: ItemKeys, reply: Sequence[Any]) -> list[Entry]:
    return [(_ref(keys, key), _us(time, keys.recency)) for key, time in _pairs(reply)]


def _newest_of(keys: ItemKeys, latest: str, count: int) -> list[str]:
    return ["ZREVRANGEBYSCORE", keys.recency, latest, "-inf", "WITHSCORES", "LIMIT", "0", str(count)]


def _pairs(reply: Sequence[Any]) -> Sequence[tuple[bytes, bytes]]:
    """Return members with their scores; RESP3 has them as pairs already."""
    if reply and isinstance(reply[0], list):
        return [(member, score) for member, score in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def _ref(keys: ItemKeys, key: bytes) -> Ref:
    return keys.namespace, decode_text(key, keys.recency)


def _us(score: bytes, key: str) -> int:
    try:
        return int(float(score))
    except (ValueError, OverflowError) as error:
        raise CorruptRecord(f"not a time: {score!r:.80}", key=key) from error


def newest(
    settings: ItemSettings,
    prefix: Namespace,
    filter: Mapping[str, JsonValue] | None,
    limit: int,
    offset: int,
    left_out: Iterable[Ref] = (),
) -> Operation[list[tuple[Item, Row]]]:
    """Read the items at or below a namespace, the last put first.

    Those of ``left_out`` are not among them, nor are the first ``offset``.
    """
    others = set(left_out)
    accepted: list[tuple[Item, Row]] = []
    listing = Newest(settings, settings.keys(prefix))
    is_first = True
    most, last_size = CHUNK, 0
    while len(accepted) < limit:
        missing = offset + limit - len(accepted)
        # Without a filter some are left out only because they are gone, and then there may be many of these.
        size = min(most, max(PAGE, 2 * missing) if filter or others else missing if is_first else 2 * missing + 10)
        if filter and not is_first:
            size = min(most, max(size, 2 * last_size))  # few match, so there may be many to look at
        last_size = size
        page = yield from listing.page(size)
        is_first = False
        candidates = [ref for ref, _ in page.entries if ref not in others]
        # Items that are skipped only have to exist.
        skipped = 0 if filter else min(offset, len(candidates))
        records = [settings.keys(namespace).record(key) for namespace, key in candidates]
        exist, rows = yield from look(settings, records[:skipped], records[skipped:])
        if filter and rows:
            read_bytes = sum(len(row[VALUE] or b"") for row in rows)
            most = max(1, min(CHUNK, MOST_BYTES * len(rows) // max(read_bytes, 1)))
        gone = [ref for ref, there in zip(candidates, exist, strict=False) if not there]
        offset -= skipped - len(gone)
        for ref, row in zip(candidates[skipped:], rows, strict=True):
            item = decode_item(settings.keys(ref[0]), ref[1], row)
            if item is None:
                gone.append(ref)
            elif matches(item.value, filter):
                if offset:
                    offset -= 1
                elif len(accepted) < limit:
                    accepted.append((item, row))
        yield from _sweep_all(settings, gone)
        if page.reached is None:
            break
    return accepted


def _sweep_all(settings: ItemSettings, gone: Sequence[Ref]) -> Operation[None]:
    """Drop items from the indexes of their namespaces."""
    by_namespace: dict[Namespace, list[str]] = {}
    for namespace, key in gone:
        by_namespace.setdefault(namespace, []).append(key)
    for namespace, keys in by_namespace.items():
        yield from sweep(settings, settings.keys(namespace), keys)
