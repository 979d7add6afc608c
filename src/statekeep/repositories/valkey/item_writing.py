"""Reading and writing items by their keys: get, put, delete and batch, append, pop, clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ...domain import Conflict, CorruptRecord, Item
from ...domain.items import ANY, Namespace
from ..items import Action, Delete, Get, Put
from ..operation import Operation
from ..ttl import LONGEST, ms_of
from .item_keys import ItemKeys, namespace_index_keys, ordered
from .item_plans import SPARE, Plan, Settings, Stored, plan_of, sequence_key
from .item_records import READ_FIELDS, TTL, VECTORS, Row, decode_item
from .keys import part, unpart
from .reading import chunks
from .records import decode_time
from .requests import Arg, Call, Commands, script

WINDOW: Final = 16
"""By how many values others may be ahead of an append without a second attempt."""

SLACK_MS: Final = 60_000
"""How much longer vectors are kept than their item by who cannot refresh both at once."""

PIPELINE: Final = 32
"""Commands that are sent in a pipeline, where a script could do the same."""

CHUNK: Final = 500
"""Actions in one call at most, so that none holds up the server."""


MOST_DIGITS: Final = 6
"""Of a number of vectors; one of more digits is damage."""


def hmget(key: str, fields: Sequence[str] = READ_FIELDS) -> list[Arg]:
    """The command that reads fields of a record."""
    return ["HMGET", key, *fields]


def read_rows(settings: Settings, records: Sequence[str]) -> Operation[list[Row]]:
    """Read records of any namespaces, in one round trip for each 500."""
    rows: list[Row] = []
    for chunk in chunks(records, CHUNK):
        rows += (yield from look(settings, (), chunk))[1]
    return rows


def look(
    settings: Settings, skipped: Sequence[str], records: Sequence[str]
) -> Operation[tuple[Sequence[bool], Sequence[Row]]]:
    """Look which of some records are there, and read others: one round trip.

    In a cluster they are in many slots, so it is a pipeline; on one server a short one is the fastest way, too. A long
    one would be answered in parts while it is still being sent, so there a script reads them.
    """
    if not skipped and not records:
        return [], []
    if settings.cluster or len(skipped) + len(records) <= PIPELINE:
        commands = [["EXISTS", record] for record in skipped] + [hmget(record) for record in records]
        replies = yield Commands(commands)
        return [bool(reply) for reply in replies[: len(skipped)]], replies[len(skipped) :]
    flat = yield Call(script("items/rows"), [*skipped, *records], [str(len(skipped))])
    rows = list(chunks(flat[len(skipped) :], len(READ_FIELDS)))
    return [bool(reply) for reply in flat[: len(skipped)]], rows


def apply(settings: Settings, actions: Sequence[Action]) -> Operation[list[Any]]:
    """Do actions one after the other; those of one namespace in one call of at most 500."""
    if all(isinstance(action, Get) and not settings.refreshes(action.refresh) for action in actions):
        return (yield from _get(settings, actions))
    results: dict[int, Any] = {}
    for group in _groups(settings, actions):
        part_of = [actions[position] for position in group]
        results.update(zip(group, (yield from _apply(settings, part_of)), strict=True))
    return [results[position] for position in range(len(actions))]


def _groups(settings: Settings, actions: Sequence[Action]) -> list[Sequence[int]]:
    """Which actions go into one call, by position."""
    if not settings.cluster:
        return list(chunks(range(len(actions)), CHUNK))
    by_namespace: dict[Namespace, list[int]] = {}
    for position, action in enumerate(actions):
        by_namespace.setdefault(action.namespace, []).append(position)
    return [chunk for positions in by_namespace.values() for chunk in chunks(positions, CHUNK)]


def _get(settings: Settings, actions: Sequence[Action]) -> Operation[list[Any]]:
    keys = [settings.keys(action.namespace) for action in actions]
    records = [its.record(action.key) for its, action in zip(keys, actions, strict=True)]
    rows = yield from read_rows(settings, records)
    return [decode_item(its, action.key, row) for its, action, row in zip(keys, actions, rows, strict=True)]


def _apply(settings: Settings, actions: Sequence[Action]) -> Operation[list[Any]]:
    if settings.cluster:
        return (yield from _apply_in_cluster(settings, actions))
    reply = yield from _call(settings, actions)
    if reply[0] == b"conflict":
        raise _conflict(actions, reply)
    return (yield from _results(settings, actions, reply[1:]))


def _call(
    settings: Settings, actions: Sequence[Action], time: int | None = None, **more: Any
) -> Operation[Sequence[Any]]:
    """Run the script, again with more keys if there are more vectors than was thought."""
    former: dict[int, int | None] = {}
    while True:
        reply: Sequence[Any] = yield plan_of(settings, actions, time, former).call(**more)
        if reply[0] != b"vectors":
            return reply
        for number, text in zip(reply[1::2], reply[2::2], strict=True):
            collection, _, count = text.decode(errors="replace").rpartition(":")
            is_ours = collection == settings.collection and count.isdecimal() and len(count) <= MOST_DIGITS
            former[int(number) - 1] = int(count) if is_ours else None


def _conflict(actions: Sequence[Action], reply: Sequence[Any]) -> Conflict:
    action = actions[int(reply[1]) - 1]
    return conflict(action, int(reply[2]) or None)


def conflict(action: Action, actual: int | None) -> Conflict:
    """The error about an expectation that does not hold."""
    expected = None if isinstance(action, Get) or action.expected is ANY else action.expected
    wanted = "no item" if expected is None else f"version {expected}"
    there = "there is none" if actual is None else f"there is version {actual}"
    return Conflict(
        f"expected {wanted} in namespace {action.namespace!r:.200}, but {there}; nothing was written",
        expected=expected,
        actual=actual,
        key=action.key,
    )


def _results(settings: Settings, actions: Sequence[Action], replies: Sequence[Any]) -> Operation[list[Any]]:
    """Make results of the script's replies; do what it could not, for want of keys."""
    results: list[Any] = []
    for position, (action, reply) in enumerate(zip(actions, replies, strict=True)):
        keys = settings.keys(action.namespace)
        if isinstance(action, Put):
            stored = Stored(*reply)
            results.append(_item(keys, action, stored))
            yield from erase_vectors(keys, action.key, stored.left_over)
        elif isinstance(action, Delete):
            results.append(bool(reply[0]))
            yield from erase_vectors(keys, action.key, reply[1])
        else:
            row, waits = reply
            if settings.refreshes(action.refresh) and row[TTL]:
                seconds_of(keys, action.key, row[TTL])  # the script leaves alone what it cannot refresh
            if waits and not _is_written_later(actions, position):
                row = yield from _refresh(settings, action, row)
            results.append(decode_item(keys, action.key, row))
    return results


def _is_written_later(actions: Sequence[Action], position: int) -> bool:
    this = actions[position]
    return any(
        not isinstance(action, Get) and (action.namespace, action.key) == (this.namespace, this.key)
        for action in actions[position + 1 :]
    )


def _item(keys: ItemKeys, put: Put, stored: Stored) -> Item:
    try:
        created_at = decode_time(stored.created_at.decode())
    except ValueError as error:
        raise CorruptRecord(f"created_at is damaged: {error}", key=keys.record(put.key)) from error
    return Item.trusted(
        namespace=put.namespace,
        key=put.key,
        value=put.value,
        created_at=created_at,
        updated_at=decode_time(stored.updated_at.decode()),
        version=int(stored.version),
        expires_at=decode_time(stored.expires_at.decode()) if stored.expires_at else None,
    )


# -- vectors that a call did not know of


@frozen
class Document:
    """The record of a vector.

    Attributes:
        key: of its item.
        collection: that it is in.
        member: what stands for it in the index of the collection.
    """

    key: str
    collection: str
    member: str

    @property
    def ordinal(self) -> int:
        """Which of the vectors of its item it is."""
        return int(self.member.rpartition(":")[2])


def vectors_of(keys: ItemKeys, key: str, text: bytes | None) -> list[Document]:
    """The records of vectors that an item's record names in ``vectors``.

    Raises:
        CorruptRecord: it names none.
    """
    found = []
    for token in (text or b"").split():
        collection, _, count = token.decode(errors="replace").rpartition(":")
        if not collection or not count.isdecimal() or len(count) > MOST_DIGITS:
            raise CorruptRecord(f"vectors is damaged: {token!r:.80}", key=keys.record(key))
        found += [Document(key, unpart(collection), f"{part(key)}:{place}") for place in range(int(count))]
    return found


def document(keys: ItemKeys, collection: str, member: str) -> Document:
    """The record of the vector that a member of its collection's index stands for.

    Raises:
        CorruptRecord: it stands for none.
    """
    key, _, ordinal = member.rpartition(":")
    try:
        if not ordinal.isascii() or not ordinal.isdecimal():
            raise CorruptRecord(f"this stands for no vector: {member!r:.80}")
        return Document(unpart(key), collection, member)
    except CorruptRecord as error:
        error.key = keys.vectors(collection)
        raise


def erase_vectors(keys: ItemKeys, key: str, text: bytes | None) -> Operation[None]:
    """Remove vectors that a former value left, unless they are those of the present one."""
    try:
        documents = vectors_of(keys, key, text)
    except CorruptRecord:
        # The damaged record is gone or replaced. Its vectors are of no value that is there: searches remove them.
        return
    yield from erase_documents(keys, documents)


def erase_documents(keys: ItemKeys, documents: Sequence[Document]) -> Operation[None]:
    """Remove vectors of a namespace, unless they are those of the present values of their items."""
    for chunk in chunks(documents, CHUNK):
        names = [
            name
            for its in chunk
            for name in (keys.record(its.key), keys.vector(its.collection, its.member), keys.vectors(its.collection))
        ]
        yield Call(script("items/erase_vectors"), names, [its.member for its in chunk])


def _refresh(settings: Settings, action: Get, row: Row) -> Operation[Row]:
    """Refresh an item whose vectors had to be learned first."""
    keys = settings.keys(action.namespace)
    documents = vectors_of(keys, action.key, row[VECTORS])
    life = ms_of(seconds_of(keys, action.key, row[TTL] or b""))
    yield Commands(
        [
            ["PEXPIRE", name, str(life + SLACK_MS), "GT"]
            for its in documents
            for name in (keys.vector(its.collection, its.member), keys.vectors(its.collection))
        ]
    )
    plan = Plan(settings, 0 if settings.cluster else None)
    plan.add(Get(action.namespace, action.key, refresh=True), documents=len(documents), is_known=True)
    reply = yield plan.call(despite=True)
    found: Row = reply[1][0]
    return found


# -- clusters, where the namespaces above live in other slots


@frozen
class _Entry:
    """What an index of a namespace above is told of an item that is put."""

    namespace: Namespace
    key: str
    life: int


@frozen
class _Announced:
    """What was announced.

    Attributes:
        entries: in their order.
        time: of the first, in microseconds; each further one is one later.
        is_kept: whether an index above has some of the items end later than they will.
    """

    entries: Sequence[_Entry]
    time: int
    is_kept: bool


def _apply_in_cluster(settings: Settings, actions: Sequence[Action]) -> Operation[list[Any]]:
    """The indexes above first, so that no item is missing in them; then the namespace itself; what is left last."""
    keys = settings.keys(actions[0].namespace)
    yield from _check_expected(keys, actions)
    yield from _put_off_above(settings, keys, actions)
    entries = [_Entry(put.namespace, put.key, ms_of(settings.life(put.ttl))) for put in actions if isinstance(put, Put)]
    announced = yield from _announce(settings, keys, entries)
    reply = yield from _call(settings, actions, announced.time)
    if reply[0] == b"conflict":
        yield from _retract(keys, announced)
        raise _conflict(actions, reply)
    replies = reply[1:]
    stored = [Stored(*reply) for action, reply in zip(actions, replies, strict=True) if isinstance(action, Put)]
    yield from _settle(keys, announced, stored)
    gone = [
        (action.key, last_put_us(reply[2]))
        for action, reply in zip(actions, replies, strict=True)
        if isinstance(action, Delete)
    ]
    yield from unlist_above(settings, keys, gone)
    return (yield from _results(settings, actions, replies))


def decoded_us(text: bytes) -> int:
    """Microseconds since 1970 of a record's time; 0 for none."""
    return round(decode_time(text.decode()).timestamp() * 1_000_000) if text else 0


def last_put_us(updated_at: bytes | None) -> int:
    """As :func:`decoded_us`; what others stored may be no time at all, and is 0 then."""
    try:
        return decoded_us(updated_at or b"")
    except ValueError:
        return 0


def _check_expected(keys: ItemKeys, actions: Sequence[Action]) -> Operation[None]:
    """Find most conflicts before anything is announced."""
    first: dict[str, Put | Delete] = {}
    for action in actions:
        if not isinstance(action, Get):
            first.setdefault(action.key, action)
    expecting = [action for action in first.values() if action.expected is not ANY]
    if not expecting:
        return
    replies = yield Commands([["HGET", keys.record(action.key), "version"] for action in expecting])
    for action, version in zip(expecting, replies, strict=True):
        actual = int(version) if version and version.isdigit() else None
        if actual != action.expected:
            raise conflict(action, actual)


def _announce(settings: Settings, keys: ItemKeys, entries: Sequence[_Entry]) -> Operation[_Announced]:
    time, is_kept = "", False
    if not entries:
        return _Announced(entries, 0, is_kept)
    for link in reversed(keys.chain):
        if link is keys and time:
            break  # the call that puts them enters them here, too
        above = link.namespace == ()
        args = [str(arg) for entry in entries for arg in (link.member(entry.namespace, entry.key), entry.life)]
        reply = yield Call(
            script("items/announce"),
            [*settings.indexes(link), *(namespace_index_keys(settings.prefix) if above else ())],
            [time, ordered(keys.namespace), *args],
        )
        time = reply[0].decode()
        is_kept = is_kept or (bool(reply[1]) and link is not keys)
    return _Announced(entries, int(time), is_kept)


def _put_off_above(settings: Settings, keys: ItemKeys, actions: Sequence[Action]) -> Operation[None]:
    wanted = [action.key for action in actions if isinstance(action, Get) and settings.refreshes(action.refresh)]
    if wanted:
        rows = yield Commands([["HGET", keys.record(key), "ttl"] for key in wanted])
        yield from put_off_above(settings, keys, dict(zip(wanted, rows, strict=True)))


def put_off_above(settings: Settings, keys: ItemKeys, lives: Mapping[str, bytes | None]) -> Operation[None]:
    """Before items are refreshed: have the indexes above keep them as long."""
    mortal = [(key, ms_of(seconds_of(keys, key, ttl))) for key, ttl in lives.items() if ttl]
    if not mortal:
        return
    for link in reversed(keys.chain[1:]):
        names = namespace_index_keys(settings.prefix) if link.namespace == () else []
        args = [str(arg) for key, life in mortal for arg in (link.member(keys.namespace, key), life)]
        yield Call(script("items/put_off"), [link.recency, link.expiry, *names], [ordered(keys.namespace), *args])


def seconds_of(keys: ItemKeys, key: str, ttl: bytes) -> float:
    """The TTL of a record.

    Raises:
        CorruptRecord: it is no number.
    """
    try:
        seconds = float(ttl)
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"{seconds} is out of range")
    except ValueError as error:
        raise CorruptRecord(f"ttl is damaged: {error}", key=keys.record(key)) from error
    return seconds


@frozen
class _Truth:
    """What has become of an item that was announced.

    Attributes:
        entry: as it was announced.
        latest: the greatest time of an announcement that this is true after, in microseconds.
        time: of the last put, likewise; ``None`` if there is no such item.
        end: in milliseconds, 0 for never; ``None``: who announced something else may have done it by now, so the index
            keeps what it has.
    """

    entry: _Entry
    latest: int
    time: int | None
    end: int | None = None


def _retract(keys: ItemKeys, announced: _Announced, last: str = "") -> Operation[None]:
    """Give what was announced, and not put, its time back.

    What is not there at all may be about to be put by others and is left to those who read, unless its key is ``last``
    or before it: a number that was given to another value, which is gone by now.
    """
    rows = yield Commands([["HGET", keys.record(entry.key), "updated_at"] for entry in announced.entries])
    times = [last_put_us(updated) or None for updated in rows]
    yield from _tell_above(
        keys,
        [
            _Truth(entry, announced.time + place, time)
            for place, (entry, time) in enumerate(zip(announced.entries, times, strict=True))
            if time or entry.key <= last
        ],
    )


def _settle(keys: ItemKeys, announced: _Announced, stored: Sequence[Stored]) -> Operation[None]:
    """Correct the indexes above if others put the same items at the same time, or if items end earlier than before."""
    times = [decoded_us(put.updated_at) for put in stored]
    if announced.is_kept or any(time != announced.time + place for place, time in enumerate(times)):
        yield from _tell_above(
            keys,
            [
                _Truth(entry, time, time, decoded_us(put.expires_at) // 1000)
                for entry, put, time in zip(announced.entries, stored, times, strict=True)
            ],
        )


def _tell_above(keys: ItemKeys, truths: Sequence[_Truth]) -> Operation[None]:
    for link in keys.chain[1:] if truths else []:
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
        yield Call(script("items/settle"), [link.recency, link.expiry], args)


def unlist_above(settings: Settings, keys: ItemKeys, gone: Sequence[tuple[str, int]]) -> Operation[None]:
    """Have the indexes above forget deleted items, if they were not put again since."""
    known = [(key, us) for key, us in gone if us]
    for link in keys.chain[1:] if known else []:
        args = [str(arg) for key, us in known for arg in (link.member(keys.namespace, key), us)]
        yield Call(script("items/unlist"), settings.indexes(link), ["0", *args])


# -- sequences


def append(
    settings: Settings, last: dict[Namespace, int], namespace: Namespace, puts: Sequence[Put]
) -> Operation[list[str]]:
    """Put values under the next keys of a namespace.

    Args:
        settings: of the repository.
        last: the number of the last key by namespace, as far as it is known here; a guess.
        namespace: where.
        puts: what.
    """
    keys = settings.keys(namespace)
    base = None if settings.cluster else last.get(namespace)
    while True:
        if base is None:
            base = int((yield Call(script("items/begin"), [keys.sequence, keys.recency], [])))
        number, reply = yield from _append(settings, keys, base, puts)
        if reply is None:
            base = number
            continue
        last[namespace] = number + len(puts)
        found = [sequence_key(number + place) for place in range(1, len(puts) + 1)]
        done = [
            Put(namespace, key, put.value, put.ttl, vectors=put.vectors) for key, put in zip(found, puts, strict=True)
        ]
        yield from _results(settings, done, reply)
        return found


def _append(
    settings: Settings, keys: ItemKeys, base: int, puts: Sequence[Put]
) -> Operation[tuple[int, Sequence[Any] | None]]:
    """One attempt: the number before the first value and the replies; or the number that is the last, and none."""
    announced = None
    if settings.cluster:
        entries = [
            _Entry(keys.namespace, sequence_key(base + place), ms_of(settings.life(put.ttl)))
            for place, put in enumerate(puts, 1)
        ]
        announced = yield from _announce(settings, keys, entries)
    plan = plan_of(settings, puts, None if announced is None else announced.time)
    count = len(puts) + (0 if settings.cluster else WINDOW)
    documents = max(SPARE, *(len(put.vectors) for put in puts))
    reply = yield plan.call(append=plan.declare(keys.namespace, base, count, documents))
    if reply[0] == b"append":
        if announced is not None:
            yield from _retract(keys, announced, sequence_key(int(reply[1])))
        return int(reply[1]), None
    if announced is not None:
        yield from _settle(keys, announced, [Stored(*stored) for stored in reply[2:]])
    return int(reply[1]), reply[2:]


def pop(settings: Settings, namespace: Namespace) -> Operation[Item | None]:
    """Delete the last item and return it."""
    keys = settings.keys(namespace)
    while True:
        (last,) = yield Commands([["ZREVRANGE", keys.index, "0", str(WINDOW - 1)]])
        if not last:
            return None
        candidates = [text.decode() for text in last]
        deletions = [Delete(namespace, key) for key in candidates]
        reply = yield from _call(settings, deletions, 0 if settings.cluster else None, pop=True)
        if reply[0] == b"pop":
            continue
        position, row, (_, left_over, updated) = int(reply[1]) - 1, reply[2], reply[3]
        key = candidates[position]
        if settings.cluster:
            yield from unlist_above(settings, keys, [(key, last_put_us(updated))])
        yield from erase_vectors(keys, key, left_over)
        return decode_item(keys, key, row)


def clear(settings: Settings, namespace: Namespace) -> Operation[int]:
    """Delete the items of a namespace, 500 at a time; what is put behind the place that was reached goes, too."""
    keys = settings.keys(namespace)
    count = 0
    start: Arg = "-"
    while True:
        (found,) = yield Commands([["ZRANGEBYLEX", keys.index, start, "+", "LIMIT", "0", str(CHUNK)]])
        if not found:
            return count
        deletions = [Delete(namespace, key.decode()) for key in found]
        count += sum((yield from apply(settings, deletions)))
        start = b"(" + found[-1]
