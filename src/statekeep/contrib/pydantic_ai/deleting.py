"""Deleting: a record, and the entries that nothing else names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

from attrs import frozen

from ...domain import Conflict, DeleteItem, PutItem
from ...repositories.item_backend import MOST_EXPECTED
from .framework import ConversationConflict
from .records import Entry, Known, StoredRecord, line_of, record_text
from .table import Table, record_key

ROOM: Final = MOST_EXPECTED - 10
"""Entries that are deleted in one unit with a record and its places in lists."""


@frozen
class Step:
    """A part of a deletion that is one unit.

    Attributes:
        gone: entries to delete.
        uses: entries to keep, and how often they are named from then on.
        tips: entries that the record names from then on, the head at the end; if there are none, it goes, too.
    """

    gone: Sequence[str]
    uses: Mapping[str, int]
    tips: Sequence[str]


def next_step(tips: Sequence[str], found: Mapping[str, Entry], room: int = ROOM) -> Step:
    """Return the next step of a deletion.

    Args:
        tips: entries that the record names, the head at the end.
        found: these and those before them.
        room: at most so many entries are written.
    """
    gone: dict[str, None] = {}
    uses: dict[str, int] = {}
    for position, tip in enumerate(tips):
        name: str | None = tip
        while name is not None and name in found and name not in gone:
            if len(gone) + len(uses) >= room:
                return Step(list(gone), uses, [name, *tips[position + 1 :]])
            left = uses.pop(name, found[name].stored.uses) - 1
            if left:
                uses[name] = left
                break
            gone[name] = None
            name = found[name].stored.parent
    return Step(list(gone), uses, [])


async def delete(table: Table, name: str, revision: str) -> None:
    """Delete the record of a conversation, from its end.

    Raises:
        ConversationConflict: the record is another, or there is none.
    """
    known = table.guess(name, revision) or await table.read_record(name)
    found: dict[str, Entry] = {}
    while True:
        if known is None or known.stored.revision != revision:
            raise ConversationConflict(name)
        await table.gather(known.tips, found, place=known.place)
        step = next_step(known.tips, found)
        changed = {each: found[each].named_by(left, anew=True) for each, left in step.uses.items()}
        try:
            first, *results = await table.items.batch(
                [
                    _shortened(table, name, known, step, found),
                    *(table.put_entry(each, stored, found[each].item) for each, stored in changed.items()),
                    *(table.delete_entry(each, found[each]) for each in step.gone),
                    *(() if step.tips else table.relist(known.record(), None, None)),
                ]
            )
        except Conflict:
            # The record was saved meanwhile, or an entry of it forked.
            found = {}
            known = await table.read_record(name)
            continue
        if not step.tips:
            table.note(name, None)
            return
        known = table.note(name, first)
        assert known is not None
        revision = known.stored.revision
        found = {each: entry for each, entry in found.items() if each not in set(step.gone)}
        found |= {each: Entry.of(item) for each, item in zip(changed, results, strict=False)}


def _shortened(table: Table, name: str, known: Known, step: Step, found: Mapping[str, Entry]) -> PutItem | DeleteItem:
    """Return the operation that lets a record name what is left, or deletes it."""
    if not step.tips:
        return DeleteItem(namespace=table.namespace, key=record_key(name), expected=known.item)
    *branches, head = step.tips
    record = replace(
        known.record(), head_id=head, branches=branches, deferred_tool_requests=None, revision=str(uuid4())
    )
    stored = StoredRecord(
        record=record_text(record),
        revision=record.revision,
        renewed=known.stored.renewed,
        ttl=known.stored.ttl,
        **line_of(found[head].place),
    )
    return table.put_record(name, stored, known.item)
