"""Writes of items by key: put, delete, batch, and the reads among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from ....domain import Conflict, CorruptRecord, Item
from ....domain.items import Namespace
from ....domain.model import ANY
from ...item_backend import Action, Check, Delete, Get, ItemRange, Listing, Put, Restore, conflict
from ...operation import Operation
from ...validation import ms_of
from ..calls import once
from ..chunks import CHUNK, Row, chunks
from ..codecs import decode_time, encode_value
from ..keys import decode_text
from ..requests import Arg, Call, Commands
from ..scripts import script
from .keys import ItemKeys
from .leases import Announcement, Lease, announce
from .listed import ListedKeys, too_far
from .plan import ItemSettings, Plan, Stored, plan_of
from .read import complete, read_rows
from .records import TTL, VECTORS, decode_item, moment_of, seconds_of
from .vectors import MOST_DIGITS, erase_vectors, vectors_of

SLACK_MS: Final = 60_000
"""Milliseconds that vectors outlive their item if both cannot be refreshed at once."""


def apply(settings: ItemSettings, actions: Sequence[Action]) -> Operation[list[Any]]:
    """Do actions in order; those of one unit in calls of at most 500."""
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
    by_unit: dict[Namespace, list[int]] = {}
    for position, action in enumerate(actions):
        by_unit.setdefault(settings.unit.of(action.namespace), []).append(position)
    return [chunk for positions in by_unit.values() for chunk in chunks(positions, CHUNK)]


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
    if len(actions) == 1 and settings.index is None:
        (action,) = actions
        if isinstance(action, Put | Delete) and action.expected is ANY:
            alone = put_alone(settings, action) if isinstance(action, Put) else delete_alone(settings, action)
            reply = yield from alone
            return (yield from results_of(settings, actions, reply[1:]))
    reply = yield from call(settings, actions, (yield from leased(settings, actions)))
    if reply[0] == b"conflict":
        raise conflict_of(actions, reply)
    return (yield from results_of(settings, actions, reply[1:]))


def restore(settings: ItemSettings, puts: Sequence[Restore]) -> Operation[int]:
    """Store items with their versions and times; return how many had not ended."""
    stored = 0
    for group in _groups(settings, puts):
        some = [puts[position] for position in group]
        reply = yield from call(settings, some, (yield from leased(settings, some)))
        for put, one in zip(some, reply[1:], strict=True):
            if not one:
                continue
            stored += 1
            if left_over := one[-1]:
                yield from erase_vectors(settings.keys(put.namespace), put.key, left_over)
    return stored


def put_alone(settings: ItemSettings, put: Put) -> Operation[Sequence[Any]]:
    """Put one item without vectors, whatever is there: without a plan."""
    keys = settings.keys(put.namespace)
    life = settings.life(put.ttl)
    leases = yield from leased(settings, [put])
    names = [keys.recency, keys.expiry, keys.index, keys.state, keys.sequence, keys.record(put.key)]
    if not settings.is_split(put.namespace):
        names += settings.index_keys
    args: list[Arg] = [keys.ordered, keys.encoded, keys.pk(put.key), put.key, encode_value(put.value)]
    args += ["", ""] if life is None else [str(ms_of(life)), repr(life)]
    args.append(settings.unit.text)
    while True:
        told = [str(each) for lease in leases.values() for each in (lease.until, lease.most, lease.floor)]
        reply: Sequence[Any] = yield Call(script("items/apply", first="put"), names, [*args, *told])
        if reply[0] != b"announce":
            return reply
        leases = yield from announce(settings, [Announcement(keys, [int(reply[3])], int(reply[2]))])


def delete_alone(settings: ItemSettings, deletion: Delete) -> Operation[Sequence[Any]]:
    """Delete one item, whatever is there: without a plan."""
    keys = settings.keys(deletion.namespace)
    names = [keys.recency, keys.expiry, keys.index, keys.state, keys.sequence, keys.record(deletion.key)]
    names.append(settings.call_key(keys))
    if not settings.is_split(deletion.namespace):
        names += settings.index_keys

    def call(until: int) -> tuple[Call, str]:
        args: list[Arg] = [keys.ordered, deletion.key, str(until), str(settings.kept), settings.unit.text]
        return Call(script("items/apply", first="delete", when_full=True), names, args), ""

    return (yield from once(call, settings.kept))


def leased(settings: ItemSettings, actions: Sequence[Action]) -> Operation[Mapping[Namespace, Lease]]:
    """Announce puts of one unit, but where a lease may be running, or none is needed."""
    if not settings.is_split(actions[0].namespace):
        return {}
    lives: dict[Namespace, list[int]] = {}
    for action in actions:
        if isinstance(action, Put) and not settings.leases.is_running(action.namespace):
            lives.setdefault(action.namespace, []).append(ms_of(settings.life(action.ttl)))
    if not lives:
        return {}
    return (yield from announce(settings, [Announcement(settings.keys(name), its) for name, its in lives.items()]))


def call(
    settings: ItemSettings, actions: Sequence[Action], leases: Mapping[Namespace, Lease] | None = None, **more: Any
) -> Operation[Sequence[Any]]:
    """Run the script; again with more keys if there are more vectors than expected."""
    former: dict[int, int | None] = {}
    created: dict[int, str] = {}
    listed = ListedKeys(settings, actions)
    while True:
        plan = plan_of(settings, actions, former, created, listed.by_namespace)
        reply: Sequence[Any] = yield from plan.run(leases or {}, **more)
        if reply[0] == b"list":
            yield from listed.learn(reply[1:])
            continue
        if reply[0] == b"far":
            raise too_far(actions, int(reply[1]))
        if reply[0] == b"lacks":
            for namespace in {action.namespace for action in actions if isinstance(action, Listing)}:
                yield from complete(settings, settings.keys(namespace))
            more["complete"] = True
            continue
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
    if not isinstance(action, Put | Delete | Check) or action.expected is ANY:
        return True
    if isinstance(action.expected, Item):
        return version == action.expected.version and moment_of(created_at) == action.expected.created_at
    return version == (action.expected or 0)


def conflict_of(actions: Sequence[Action], reply: Sequence[Any]) -> Conflict:
    """Return the error about the expectation that a reply says does not hold."""
    action = actions[int(reply[1]) - 1]
    assert isinstance(action, Put | Delete | Check)
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
        elif isinstance(action, Check):
            results.append(None)
        elif isinstance(action, Listing):
            later = _written(actions[position + 1 :], action.namespace)
            results.append((yield from _listed(settings, action.query, reply, later)))
        else:
            row, waits = reply
            if settings.refreshes(action.refresh) and row[TTL]:
                seconds_of(keys, action.key, row[TTL])  # the script leaves alone what it cannot refresh
            if waits and action.key not in _written(actions[position + 1 :], action.namespace):
                row = yield from _refresh(settings, action, row)
            results.append(decode_item(keys, action.key, row))
    return results


def _written(actions: Sequence[Action], namespace: Namespace) -> set[str]:
    """Return the keys of a namespace that some actions write."""
    return {action.key for action in actions if isinstance(action, Put | Delete) and action.namespace == namespace}


def _listed(settings: ItemSettings, query: ItemRange, reply: Sequence[Any], later: Set[str]) -> Operation[list[Item]]:
    """Return the items of a listing.

    Refresh them if asked, but those that are written later.
    """
    keys = settings.keys(query.namespace)
    pairs = [(decode_text(name, keys.index), row) for name, row in chunks(reply, 2)]
    settings.listed.note(query, [name for name, _ in pairs])
    found = {name: item for name, row in pairs if (item := decode_item(keys, name, row)) is not None}
    if settings.refreshes(query.refresh):
        due = [name for name, row in pairs if row[TTL] and name not in later]
        again = yield from apply(settings, [Get(query.namespace, name, refresh=True) for name in due])
        for name, item in zip(due, again, strict=True):
            before = found[name]
            if item is not None and (item.version, item.created_at) == (before.version, before.created_at):
                found[name] = item
    return list(found.values())


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
    plan = Plan(settings)
    plan.add(Get(action.namespace, action.key, refresh=True), documents=len(documents), is_known=True)
    reply = yield from plan.run(despite=True)
    found: Row = reply[1][0]
    return found
