"""Saving: a record and its new entries, as one unit.

An entry counts who names it: entries as their parent, records as head or as one of the branches. Who is named by one
more is written anew, and only if it is what was read. So a fork fails if a deletion was faster, and a deletion if a
fork was. Nobody is named by one less: entries that a record names no more are kept with it, until it is deleted.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

from attrs import frozen

from ...domain import Conflict, DeleteItem, InvalidInput, PutItem
from ...domain.shown import shown
from ...repositories.item_backend import MOST_EXPECTED
from .ancestors import FIRST, behind
from .framework import ConversationConflict, ConversationEntry, ConversationRecord
from .records import (
    NOWHERE,
    Entry,
    Known,
    StoredEntry,
    StoredRecord,
    line_of,
    message_text,
    record_text,
    tips_of,
)
from .table import Table, entry_key, record_key


@frozen
class Save:
    """The arguments of a save.

    Attributes:
        record: the new record.
        new: the new entries by id, each behind the one that it points at.
        expected: the revision of the record that is replaced; ``None``: there is none.
        parents: the entries that the new ones point at.
        needed: entries that must be there.
    """

    record: ConversationRecord
    new: Mapping[str, ConversationEntry]
    expected: str | None
    parents: Sequence[str]
    needed: Sequence[str]

    @classmethod
    def of(cls, record: ConversationRecord, new_entries: Sequence[ConversationEntry], expected: str | None) -> Self:
        """Check the arguments.

        Raises:
            InvalidInput: the new entries are not in order.
        """
        new: dict[str, ConversationEntry] = {}
        ids = {entry.id for entry in new_entries}
        for entry in new_entries:
            if entry.id in new or (entry.parent_id in ids and entry.parent_id not in new):
                raise InvalidInput(
                    f"new_entries must be in order, each once; not so the entry {shown(entry.id)}", field="new_entries"
                )
            new[entry.id] = entry
        parents = [entry.parent_id for entry in new_entries if entry.parent_id is not None]
        heads = [] if record.head_id is None else [record.head_id]
        needed = [name for name in dict.fromkeys([*parents, *heads]) if name not in new]
        return cls(record, new, expected, parents, needed)

    @property
    def name(self) -> str:
        """That of the conversation."""
        name: str = self.record.conversation_id
        return name


@frozen
class _Plan:
    """The operations of a save.

    Attributes:
        unit: those that are about what is there: the record first.
        entries: the new entries.
    """

    unit: Sequence[PutItem | DeleteItem]
    entries: Sequence[PutItem]


async def save(table: Table, it: Save) -> None:
    """Store a record and new entries.

    Raises:
        ConversationConflict: somebody else was faster.
    """
    known = table.guess(it.name, it.expected)
    while True:
        found: dict[str, Entry] = {}
        if known is None and it.expected is not None:
            known, found = await _read(table, it)
        plan = await _planned(table, it, known, found)
        try:
            await _store(table, it, plan)
        except Conflict as error:
            table.note(it.name, None)
            # An entry's id is new, unless it was stored before.
            is_done = error.key in {put.key for put in plan.entries}
            if is_done or (error.key == record_key(it.name) and it.expected is None):
                raise ConversationConflict(it.name) from error
            known = None  # the guess was wrong, or others forked at the same entry
        else:
            return


async def _read(table: Table, it: Save) -> tuple[Known, dict[str, Entry]]:
    item, *items = await table.get([record_key(it.name), *map(entry_key, it.needed)])
    known = table.note(it.name, item)
    if known is None or known.stored.revision != it.expected:
        raise ConversationConflict(it.name)
    pairs = zip(it.needed, items, strict=True)
    return known, {name: Entry.of(there) for name, there in pairs if there is not None}


async def _planned(table: Table, it: Save, known: Known | None, found: dict[str, Entry]) -> _Plan:
    """Find out what to write; read what that takes."""
    before = Counter(() if known is None else known.tips)
    after = Counter([*tips_of(it.record), *it.parents])
    gained = {name: count for name, count in (after - before).items() if name not in it.new}
    left = [*(before - after).elements(), *(name for name in it.new if name not in after)]
    places = {} if known is None or known.head is None else {known.head: known.place}
    wanted = [name for name in dict.fromkeys([*gained, *it.needed]) if name in gained or name not in places]
    found = found | await table.read_entries([name for name in wanted if name not in found])
    if any(name not in found for name in wanted):
        raise ConversationConflict(it.name)  # a deletion has taken it away
    places |= {name: entry.place for name, entry in found.items()}
    ttl, renewed = await _lives(table, it, known, found)
    entries = []
    for name, entry in it.new.items():
        places[name] = FIRST if entry.parent_id is None else behind(places[entry.parent_id], entry.parent_id)
        stored = StoredEntry(
            message=message_text(entry),
            parent=entry.parent_id,
            kind=entry.kind,
            uses=after[name] or 1,
            ttl=ttl,
            **line_of(places[name]),
        )
        entries.append(table.put_entry(name, stored, None))
    record = StoredRecord(
        record=record_text(it.record),
        revision=it.record.revision,
        left=tuple(left),
        renewed=renewed,
        ttl=ttl,
        **line_of(NOWHERE if it.record.head_id is None else places[it.record.head_id]),
    )
    return _Plan(
        [
            table.put_record(it.name, record, None if known is None else known.item),
            *table.relist(None if known is None else known.record(), it.record, ttl),
            *(table.put_entry(name, found[name].named_by(count), found[name].item) for name, count in gained.items()),
        ],
        entries,
    )


async def _lives(
    table: Table, it: Save, known: Known | None, found: Mapping[str, Entry]
) -> tuple[float | None, dt.datetime | None]:
    """Return the record's TTL, and when the lives of its entries began anew.

    They begin anew here if they might end before the record does.
    """
    if known is not None:
        renewed = known.stored.renewed
        if known.is_late():
            await table.gather(known.tips, {}, place=known.place, refresh=True)
            renewed = known.item.updated_at
        return known.stored.ttl, renewed
    if not it.needed:
        return table.ttl, None
    ttl = found[it.needed[0]].stored.ttl
    if ttl is not None:
        await table.gather(it.needed, {}, refresh=True)
    return ttl, None


async def _store(table: Table, it: Save, plan: _Plan) -> None:
    room = MOST_EXPECTED - len(plan.unit)
    early = plan.entries[: max(0, len(plan.entries) - room)]
    # If they are too many for one unit, the oldest go first: nobody sees them until the record names them.
    done: list[PutItem] = []
    try:
        for begin in range(0, len(early), MOST_EXPECTED):
            some = early[begin : begin + MOST_EXPECTED]
            await table.items.batch(some)
            done += some
        results = await table.items.batch([*plan.unit, *plan.entries[len(early) :]])
    except Conflict:
        await table.items.batch([DeleteItem(namespace=put.namespace, key=put.key) for put in done])
        raise
    table.note(it.name, results[0])
