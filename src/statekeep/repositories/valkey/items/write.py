"""Writes of items by key: put, delete, batch, and the reads among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ....domain import Conflict, CorruptRecord, Item
from ....domain.items import ANY, Namespace
from ...item_backend import Action, Delete, Get, Put, conflict
from ...operation import Operation
from ...validation import ms_of
from ..chunks import CHUNK, Row, chunks
from ..codecs import decode_time
from ..requests import Commands
from .cluster import Entry, announce, extend_expiry_above, reconcile, roll_back, unlist_above
from .keys import ItemKeys
from .plan import ItemSettings, Plan, Stored, plan_of
from .read import read_rows
from .records import TTL, VECTORS, decode_item, last_put_us, moment_of, seconds_of
from .vectors import MOST_DIGITS, erase_vectors, vectors_of

SLACK_MS: Final = 60_000
"""Milliseconds that vectors outlive their item if both cannot be refreshed at once."""


def apply(settings: ItemSettings, actions: Sequence[Action]) -> Operation[list[Any]]:
    """Do actions in order; those of one namespace in calls of at most 500."""
    groups = _groups(settings, actions)
    if len(groups) == 1:
        return (yield from _apply(settings, actions))
    results: dict[int, Any] = {}
    for group in groups:
        part_of = [actions[position] for position in group]
        results.update(zip(group, (yield from _apply(settings, part_of)), strict=True))
    return [results[position] for position in range(len(actions))]


def _groups(settings: ItemSettings, actions: Sequence[Action]) -> list[Sequence[int]]:
    """Group the positions of actions by the calls they go into."""
    if not settings.cluster:
        return list(chunks(range(len(actions)), CHUNK))
    by_namespace: dict[Namespace, list[int]] = {}
    for position, action in enumerate(actions):
        by_namespace.setdefault(action.namespace, []).append(position)
    return [chunk for positions in by_namespace.values() for chunk in chunks(positions, CHUNK)]


def read(settings: ItemSettings, gets: Sequence[Get]) -> Operation[tuple[list[Item | None], bool]]:
    """Read items, and refresh those that end if asked; return whether there were some."""
    keys = [settings.keys(get.namespace) for get in gets]
    records = [its.record(get.key) for its, get in zip(keys, gets, strict=True)]
    rows = yield from read_rows(settings, records)
    items = [decode_item(its, get.key, row) for its, get, row in zip(keys, gets, rows, strict=True)]
    mortal = [
        position
        for position, (get, row) in enumerate(zip(gets, rows, strict=True))
        if row[TTL] and settings.refreshes(get.refresh)
    ]
    if mortal:
        again = yield from apply(settings, [gets[position] for position in mortal])
        for position, item in zip(mortal, again, strict=True):
            items[position] = item
    return items, bool(mortal)


def _apply(settings: ItemSettings, actions: Sequence[Action]) -> Operation[list[Any]]:
    if settings.is_split(actions[0].namespace):
        return (yield from _apply_in_cluster(settings, actions))
    reply = yield from call(settings, actions)
    if reply[0] == b"conflict":
        raise conflict_of(actions, reply)
    return (yield from results_of(settings, actions, reply[1:]))


def call(
    settings: ItemSettings, actions: Sequence[Action], time: int | None = None, **more: Any
) -> Operation[Sequence[Any]]:
    """Run the script; again with more keys if there are more vectors than expected."""
    former: dict[int, int | None] = {}
    created: dict[int, str] = {}
    while True:
        reply: Sequence[Any] = yield from plan_of(settings, actions, time, former, created).run(**more)
        if reply[0] == b"conflict":
            position = int(reply[1]) - 1
            text = reply[3].decode(errors="replace")
            # Others write times in other ways than we do.
            if is_expected(actions[position], int(reply[2]), reply[3]) and created.get(position) != text:
                created[position] = text
                continue
        if reply[0] != b"vectors":
            return reply
        for number, token in zip(reply[1::2], reply[2::2], strict=True):
            collection, _, count = token.decode(errors="replace").rpartition(":")
            is_ours = collection == settings.collection and count.isdecimal() and len(count) <= MOST_DIGITS
            former[int(number) - 1] = int(count) if is_ours else None


def is_expected(action: Action, version: int, created_at: bytes | None) -> bool:
    """Return whether a record is the one that is expected.

    Version 0 is none.
    """
    if isinstance(action, Get) or action.expected is ANY:
        return True
    if isinstance(action.expected, Item):
        return version == action.expected.version and moment_of(created_at) == action.expected.created_at
    return version == (action.expected or 0)


def conflict_of(actions: Sequence[Action], reply: Sequence[Any]) -> Conflict:
    """Return the error about the expectation that a reply says does not hold."""
    action = actions[int(reply[1]) - 1]
    return conflict(action, int(reply[2]) or None, moment_of(reply[3]))


def results_of(settings: ItemSettings, actions: Sequence[Action], replies: Sequence[Any]) -> Operation[list[Any]]:
    """Make results of the script's replies; do what lacked keys."""
    results: list[Any] = []
    for position, (action, reply) in enumerate(zip(actions, replies, strict=True)):
        keys = settings.keys(action.namespace)
        if isinstance(action, Put):
            stored = Stored(*reply)
            results.append(_item(keys, action, stored))
            if stored.left_over:
                yield from erase_vectors(keys, action.key, stored.left_over)
        elif isinstance(action, Delete):
            results.append(bool(reply[0]))
            if reply[1]:
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
    updated_at = created_at = decode_time(stored.updated_at.decode())
    if stored.created_at != stored.updated_at:
        try:
            created_at = decode_time(stored.created_at.decode())
        except ValueError as error:
            raise CorruptRecord(f"created_at is damaged: {error}", key=keys.record(put.key)) from error
    return Item.trusted(
        namespace=put.namespace,
        key=put.key,
        value=put.value,
        created_at=created_at,
        updated_at=updated_at,
        version=int(stored.version),
        expires_at=decode_time(stored.expires_at.decode()) if stored.expires_at else None,
    )


def _refresh(settings: ItemSettings, action: Get, row: Row) -> Operation[Row]:
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
    plan = Plan(settings, 0 if settings.is_split(action.namespace) else None)
    plan.add(Get(action.namespace, action.key, refresh=True), documents=len(documents), is_known=True)
    reply = yield from plan.run(despite=True)
    found: Row = reply[1][0]
    return found


# -- clusters, where the namespaces above live in other slots


def _apply_in_cluster(settings: ItemSettings, actions: Sequence[Action]) -> Operation[list[Any]]:
    """Write the indexes above first, so that none lacks an item, then the namespace."""
    keys = settings.keys(actions[0].namespace)
    yield from _check_expected(keys, actions)
    refreshed = [action.key for action in actions if isinstance(action, Get) and settings.refreshes(action.refresh)]
    yield from extend_expiry_above(settings, keys, list(dict.fromkeys(refreshed)))
    entries = [Entry(put.namespace, put.key, ms_of(settings.life(put.ttl))) for put in actions if isinstance(put, Put)]
    announced = yield from announce(settings, keys, entries)
    reply = yield from call(settings, actions, announced.time)
    if reply[0] == b"conflict":
        yield from roll_back(settings, keys, announced)
        raise conflict_of(actions, reply)
    replies = reply[1:]
    stored = [Stored(*reply) for action, reply in zip(actions, replies, strict=True) if isinstance(action, Put)]
    yield from reconcile(settings, keys, announced, stored)
    gone = [
        (action.key, last_put_us(reply[2]))
        for action, reply in zip(actions, replies, strict=True)
        if isinstance(action, Delete)
    ]
    yield from unlist_above(settings, keys, gone)
    return (yield from results_of(settings, actions, replies))


def _check_expected(keys: ItemKeys, actions: Sequence[Action]) -> Operation[None]:
    """Find most conflicts before anything is announced."""
    first: dict[str, Put | Delete] = {}
    for action in actions:
        if not isinstance(action, Get):
            first.setdefault(action.key, action)
    expecting = [action for action in first.values() if action.expected is not ANY]
    if not expecting:
        return
    replies = yield Commands([["HMGET", keys.record(action.key), "version", "created_at"] for action in expecting])
    for action, (version, created_at) in zip(expecting, replies, strict=True):
        actual = int(version) if version and version.isdigit() and len(version) <= 16 else 0
        if not is_expected(action, actual, created_at):
            raise conflict(action, actual or None, moment_of(created_at))
