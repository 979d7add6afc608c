"""The items of a store: their keys, and reading them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

from ...domain import CorruptRecord, DeleteItem, GetItem, Item, PutItem
from ...domain.items import Expected, Namespace
from ...repositories.items import AsyncItemRepository
from ...repositories.validation import LONGEST_TTL
from .ancestors import Place, packed, unpacked
from .framework import ConversationRecord
from .records import Entry, Known, StoredEntry, StoredRecord, value_of

T = TypeVar("T")

REMEMBERED: Final = 256
"""Records, and places of heads, that a store remembers."""

SPARE: Final = 4
"""Entries live so many times as long as records, so that they need not begin anew with each save."""


def record_key(name: str) -> str:
    """Return the key of a conversation's record."""
    return f"record:{name}"


def entry_key(name: str) -> str:
    """Return the key of an entry."""
    return f"entry:{name}"


def list_prefix(scope: str | None) -> str:
    """Return the beginning of the keys that list a scope, or all conversations."""
    return "all:" if scope is None else f"scope:{quote(scope, safe='')}:"


def list_keys(record: ConversationRecord) -> list[str]:
    """Return the keys that list a conversation, by the time of its last save."""
    place = f"{utc(record.updated_at).isoformat(timespec='microseconds')}:{record.conversation_id}"
    scopes = [None] if record.scope is None else [None, record.scope]
    return [list_prefix(scope) + place for scope in scopes]


def utc(time: dt.datetime) -> dt.datetime:
    """Return a time in UTC."""
    return time.astimezone(dt.UTC)


class Table:
    """The items of a store, and guesses about them.

    Guesses save round trips: what a record was last, which the server proves when it is replaced, and the place of a
    head, which never changes.

    Args:
        items: where they are kept.
        namespace: that of all of them.
        ttl: seconds that a conversation lives after it was saved, if it is new.
    """

    def __init__(self, items: AsyncItemRepository, namespace: Namespace, ttl: float | None) -> None:
        self.items = items
        self.namespace = namespace
        self.ttl = ttl
        self._known: dict[str, Known] = {}
        self._places: dict[str, Place] = {}

    # -- what is known

    def note(self, name: str, item: Item | None) -> Known | None:
        """Remember what the record of a conversation is."""
        self._known.pop(name, None)
        if item is None:
            return None
        known = Known.of(item)
        _remember(self._known, name, known)
        if known.head is not None:
            _remember(self._places, known.head, known.place)
        return known

    def guess(self, name: str, revision: str | None) -> Known | None:
        """Return the record of this revision, if it is remembered."""
        known = self._known.get(name)
        return known if known is not None and known.stored.revision == revision else None

    def place(self, head: str) -> Place | None:
        """Return the place of a head, if it is remembered."""
        return self._places.get(head)

    # -- reading

    async def get(self, keys: Iterable[str], *, refresh: bool = False) -> list[Item | None]:
        """Read items in one round trip for each 500."""
        gets = [GetItem(namespace=self.namespace, key=key, refresh=refresh) for key in keys]
        return await self.items.batch(gets) if gets else []

    async def read_record(self, name: str) -> Known | None:
        """Read the record of a conversation, and remember it."""
        (item,) = await self.get([record_key(name)])
        return self.note(name, item)

    async def read_entries(self, names: Sequence[str], *, refresh: bool = False) -> dict[str, Entry]:
        """Read entries, those that are there."""
        items = await self.get(map(entry_key, names), refresh=refresh)
        return {name: Entry.of(item) for name, item in zip(names, items, strict=True) if item is not None}

    async def gather(
        self,
        names: Iterable[str],
        found: dict[str, Entry],
        *,
        place: Place | None = None,
        above: int = 0,
        refresh: bool = False,
    ) -> None:
        """Read entries and those before them, those that are there.

        Args:
            names: of the entries to begin with.
            found: entries that were read already; it gets the others.
            place: of one of these, if it is known.
            above: of those before them, only the ones whose depths are greater.
            refresh: their lives begin anew.
        """
        seen = set(map(packed, found))
        wanted = dict.fromkeys(map(packed, names))
        if place is not None:
            wanted |= dict.fromkeys(place.near(above))
        while new := [token for token in wanted if token not in seen]:
            seen.update(new)
            read = await self.read_entries([_unpacked(token) for token in new], refresh=refresh)
            found |= read
            wanted = {token: None for entry in read.values() for token in entry.place.near(above)}

    # -- writing

    def put_record(self, name: str, stored: StoredRecord, expected: Expected) -> PutItem:
        """Return the operation that stores a record."""
        return self._put(record_key(name), value_of(stored), stored.ttl, expected)

    def put_entry(self, name: str, stored: StoredEntry, expected: Expected) -> PutItem:
        """Return the operation that stores an entry."""
        life = None if stored.ttl is None else min(SPARE * stored.ttl, LONGEST_TTL)
        return self._put(entry_key(name), value_of(stored), life, expected)

    def relist(
        self, old: ConversationRecord | None, new: ConversationRecord | None, ttl: float | None
    ) -> list[PutItem | DeleteItem]:
        """Return the operations that list a record in the place of another.

        ``None``: there is none.
        """
        before = [] if old is None else list_keys(old)
        after = [] if new is None else list_keys(new)
        name = None if new is None else new.conversation_id
        return [
            *(DeleteItem(namespace=self.namespace, key=key) for key in before if key not in after),
            *(self._put(key, name, ttl) for key in after),
        ]

    def delete_entry(self, name: str, entry: Entry) -> DeleteItem:
        """Return the operation that deletes an entry that was read."""
        return DeleteItem(namespace=self.namespace, key=entry_key(name), expected=entry.item)

    def _put(self, key: str, value: Any, ttl: float | None, *expected: Expected) -> PutItem:
        # Nothing is found by meaning: a vector of each message would cost much.
        more = {"expected": expected[0]} if expected else {}
        return PutItem(namespace=self.namespace, key=key, value=value, ttl=ttl, index=False, **more)


def _unpacked(token: str) -> str:
    try:
        return unpacked(token)
    except ValueError as error:
        raise CorruptRecord(f"a conversation's history is damaged: {error}") from error


def _remember(memory: dict[str, T], name: str, value: T) -> None:
    memory.pop(name, None)
    if len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[name] = value
