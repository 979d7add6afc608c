"""The service of memory. A user of an app is one namespace."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack
from uuid import uuid4

from ...domain import DEFAULT, Conflict, DeleteItem, GetItem, Item, ListItems, PutItem, SearchItem
from ...domain.items import Namespace
from ...domain.model import Ttl
from ...repositories.item_backend import MOST_EXPECTED
from ...repositories.options import ConnectOptions
from ...repositories.validation import count, text, ttl_or_default
from ..listing import PAGE, read_all
from ..shielding import shielded
from .framework import BaseMemoryService, Event, MemoryEntry, SearchMemoryResponse, Session
from .service import Keep, Service, corrupt, decoded_model, json_text, plain_model

MEMORY: Final = "memory:"
DELETED: Final = "deleted:"

EACH: Final = MOST_EXPECTED // 2
"""Memories that are stored in one unit: each with the condition that it was not deleted."""


class StatekeepMemoryService(Service, BaseMemoryService):  # type: ignore[misc]
    """Memories, for ``Runner(..., memory_service=)`` and the URIs of ``adk web``.

    With a vector index they are found by meaning: ``aconnect(url, index=VectorIndex(..., fields=["text"]))``. Without
    one they are found by the words that they share with the query, which reads all memories of the user.

    Args:
        keep: where memories are kept: a connection, or its ``items``. You close it.
        uri: opens a connection of its own instead, as :func:`statekeep.aconnect` does; :meth:`close` closes it.
        namespace: labels in front of an app's name and a user's id.
        ttl: seconds that a memory is kept, fractions allowed; ``None`` for ever, :data:`~statekeep.DEFAULT` for what
            the connection was made with.
        limit: at most so many are found.
        prefix: as for :func:`statekeep.aconnect`, with ``uri``.
        agents_dir: ADK's command line passes it; it means nothing here.
        options: as for :func:`statekeep.aconnect`, with ``uri``.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the service keeps no items.
        MissingDependency: google-adk is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> from google.adk.events import Event
        >>> async def main() -> list[str]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         memory = StatekeepMemoryService(keep)
        ...         event = Event(id="e1", author="user", message="Ada likes tea")
        ...         await memory.add_events_to_memory(app_name="app", user_id="ada", events=[event])
        ...         found = await memory.search_memory(app_name="app", user_id="ada", query="tea?")
        ...         return [entry.content.parts[0].text for entry in found.memories]
        >>> asyncio.run(main())
        ['Ada likes tea']
    """

    def __init__(
        self,
        keep: Keep | None = None,
        *,
        uri: str | None = None,
        namespace: Sequence[str] = ("google-adk-memory",),
        ttl: Ttl = DEFAULT,
        limit: int = 10,
        prefix: str = "statekeep",
        agents_dir: str | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        self._ttl = ttl_or_default(ttl)
        self._limit = count("limit", limit)
        super().__init__(keep, uri=uri, namespace=namespace, prefix=prefix, **options)
        backend = self._items.backend
        self._finds_by_meaning = backend.index is not None or getattr(backend, "embeds", False)

    async def add_session_to_memory(self, session: Session) -> None:
        """Remember the events of a session that have contents.

        It takes two round trips for each 250 new ones. Those that are remembered already stay as they are, and those
        that were deleted do not come back.
        """
        await self.add_events_to_memory(
            app_name=session.app_name, user_id=session.user_id, events=session.events, session_id=session.id
        )

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Remember events that have contents, as :meth:`add_session_to_memory` does.

        Args:
            app_name: names the app.
            user_id: whose they are.
            events: all of their ids are different.
            session_id: nothing depends on it.
            custom_metadata: comes back with the memories.

        Raises:
            InvalidInput: JSON cannot hold a memory. Nothing was written.
        """
        entries = {
            event.id or str(uuid4()): MemoryEntry(
                content=event.content,
                author=event.author,
                timestamp=dt.datetime.fromtimestamp(event.timestamp, dt.UTC).isoformat(),
                custom_metadata=dict(custom_metadata or {}),
            )
            for event in events
            if event.content and event.content.parts
        }
        await shielded(self._add(self._space(app_name, user_id), entries))

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Remember entries; those of an id that is remembered already are not stored.

        Args:
            app_name: names the app.
            user_id: whose they are.
            memories: those without an id get a new one.
            custom_metadata: added to that of each.

        Raises:
            InvalidInput: JSON cannot hold a memory. Nothing was written.
        """
        entries = {
            entry.id or str(uuid4()): entry.model_copy(
                update={"custom_metadata": {**entry.custom_metadata, **(custom_metadata or {})}}
            )
            for entry in memories
        }
        await shielded(self._add(self._space(app_name, user_id), entries))

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Find memories of a user, the best first.

        Args:
            app_name: names the app.
            user_id: whose they are.
            query: what to look for.
        """
        namespace = self._space(app_name, user_id)
        wanted = text("query", query, empty=True, is_id=False)
        items = await (self._nearest(namespace, wanted) if self._finds_by_meaning else self._alike(namespace, wanted))
        return SearchMemoryResponse(memories=[_entry(item) for item in items])

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Forget a memory for good: one round trip.

        It does not come back if its session is added once more.

        Args:
            app_name: names the app.
            user_id: whose it is.
            memory_id: as of the entries that were found; without one nothing is done.
        """
        namespace = self._space(app_name, user_id)
        if memory_id:
            name = text("memory_id", memory_id)
            await shielded(
                self._items.batch(
                    [
                        DeleteItem(namespace=namespace, key=MEMORY + name),
                        PutItem(namespace=namespace, key=DELETED + name, value=None, ttl=self._ttl, index=False),
                    ]
                )
            )

    async def _add(self, namespace: Namespace, entries: Mapping[str, MemoryEntry]) -> None:
        values = {text("id", name): _value(entry) for name, entry in entries.items()}
        names = list(values)
        for begin in range(0, len(names), EACH):
            await self._add_some(namespace, {name: values[name] for name in names[begin : begin + EACH]})

    async def _add_some(self, namespace: Namespace, values: Mapping[str, Any]) -> None:
        while True:
            # No vector is made anew of what is there.
            keys = [kind + name for name in values for kind in (MEMORY, DELETED)]
            gets = [GetItem(namespace=namespace, key=key, refresh=False) for key in keys]
            there = {item.key for item in await self._items.batch(gets) if item is not None}
            new = [name for name in values if not {MEMORY + name, DELETED + name} & there]
            operations: list[PutItem | DeleteItem] = []
            for name in new:
                operations += [
                    DeleteItem(namespace=namespace, key=DELETED + name, expected=None),
                    PutItem(
                        namespace=namespace,
                        key=MEMORY + name,
                        value=values[name],
                        ttl=self._ttl,
                        expected=None,
                        index=["text"] if values[name]["text"] else False,
                    ),
                ]
            try:
                if operations:
                    await self._items.batch(operations)
            except Conflict:
                continue  # somebody else added or deleted one of them
            return

    async def _nearest(self, namespace: Namespace, query: str) -> list[SearchItem]:
        found = await self._items.search(namespace, query=query, limit=self._limit, refresh=False)
        return [item for item in found if item.score is not None and item.namespace == namespace]

    async def _alike(self, namespace: Namespace, query: str) -> list[Item]:
        words = _words(query)
        listing = ListItems(namespace=namespace, prefix=MEMORY, limit=PAGE, refresh=False)
        [there] = await read_all(self._items, listing)
        found = [(_shared(words, _field(item, "text")), item) for item in there]
        found.sort(key=lambda pair: (-pair[0], pair[1].created_at))
        return [item for shared, item in found[: self._limit] if shared]


def _words(value: str) -> set[str]:
    return set(re.findall(r"\w+", unicodedata.normalize("NFC", value).lower()))


def _shared(words: set[str], value: str) -> int:
    """Return how many words are in a text.

    Some languages write no spaces: a word that is not ASCII may be a part of another.
    """
    there, whole = _words(value), unicodedata.normalize("NFC", value).lower()
    return sum(word in there or (not word.isascii() and word in whole) for word in words)


def _value(entry: MemoryEntry) -> dict[str, Any]:
    return {
        "text": " ".join(part.text for part in entry.content.parts or [] if part.text),
        "entry": json_text(plain_model(MemoryEntry, entry, "memories"), "memories"),
    }


def _field(item: Item, name: str) -> str:
    value = item.value.get(name) if isinstance(item.value, dict) else None
    if not isinstance(value, str):
        raise corrupt(item, TypeError())
    return value


def _entry(item: Item) -> MemoryEntry:
    entry: MemoryEntry = decoded_model(MemoryEntry, _field(item, "entry"), item)
    return entry.model_copy(update={"id": item.key.removeprefix(MEMORY)})
