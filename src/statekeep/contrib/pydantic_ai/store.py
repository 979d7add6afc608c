"""The store of conversations: all of its items are in one namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, Unpack

from ...domain import DEFAULT, ListItems
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.connect import aconnect
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, text, ttl_or_default
from ..backends import item_backend
from ..listing import PAGE, read
from ..owned import ClosesOwnAsync
from ..shielding import shielded
from .deleting import delete
from .framework import ConversationEntry, ConversationRecord, ConversationStore, check_installed
from .records import Entry, Known
from .saving import Save, save
from .table import Table, list_prefix, record_key, utc


class StatekeepConversationStore(ClosesOwnAsync, ConversationStore):  # type: ignore[misc]
    """Conversations, for ``load``, ``save``, ``fork`` and ``branch`` of Pydantic AI.

    It implements ``pydantic_ai.conversation_store.ConversationStore``. Use it in asyncio code, also in several tasks
    and processes at once: a save or a deletion is one unit, which refuses who has read something older. One that is
    cancelled comes to its end first, so nothing is changed behind your back. ``delete`` erases the messages that no
    other conversation has.

    Args:
        keep: where they are kept: a connection, or its ``items``. You close it.
        namespace: labels. All conversations of a store are in this one namespace, which a cluster keeps on one node.
        ttl: seconds that a conversation is kept after it was saved last, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with. It keeps the one that it was first saved
            with, and so do its forks.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: pydantic-ai-slim is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> from pydantic_ai import Agent
        >>> from pydantic_ai.models.test import TestModel
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         store = StatekeepConversationStore(keep)
        ...         result = await Agent(TestModel()).run("hello")
        ...         await store.save(result)
        ...         conversation = await store.load(result.conversation.conversation_id)
        ...         return len(conversation.messages)
        >>> asyncio.run(main())
        2
    """

    def __init__(
        self,
        keep: Connection | AsyncConnection | ItemRepository | AsyncItemRepository,
        *,
        namespace: Sequence[str] = ("pydantic-ai",),
        ttl: Ttl = DEFAULT,
    ) -> None:
        check_installed()
        backend = item_backend(keep)
        where = labels("namespace", namespace)
        life = ttl_or_default(ttl)
        self._table = Table(AsyncItemRepository(backend), where, _ttl_of(backend) if life is DEFAULT else life)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("pydantic-ai",),
        ttl: float | None = None,
        prefix: str = "statekeep",
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this store alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            prefix: as for :func:`statekeep.aconnect`.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> import asyncio
            >>> async def main() -> list:
            ...     async with StatekeepConversationStore.from_url("memory:") as store:
            ...         return await store.list_conversations()
            >>> asyncio.run(main())
            []
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            store = cls(keep, namespace=namespace)
        store._own = keep
        return store

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return a conversation's record, ``None`` if there is none: one round trip.

        Raises:
            CorruptRecord: it is damaged.
        """
        known = await self._table.read_record(text("conversation_id", conversation_id, empty=True))
        return None if known is None else known.record()

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Return records, the newest ``updated_at`` first.

        It takes three round trips for each 200, or two if what is listed is the same as the last time.

        Args:
            scope: only those with this scope; ``None`` for all.
            limit: at most so many.
        """
        records: dict[str, ConversationRecord] = {}
        after: str | None = None
        while limit is None or len(records) < limit:
            size = PAGE if limit is None else min(limit - len(records), PAGE)
            listing = ListItems(
                namespace=self._table.namespace,
                prefix=list_prefix(scope),
                reverse=True,
                after=after,
                limit=size,
                refresh=False,
            )
            [listed] = await read(self._table.items, listing)
            for item in await self._table.get([record_key(str(item.value)) for item in listed]):
                # It may have been deleted meanwhile, or have got another scope.
                record = None if item is None else Known.of(item).record()
                if record is not None and (scope is None or record.scope == scope):
                    records[record.conversation_id] = record
            if len(listed) < size:
                break
            after = listed[-1].key
        return sorted(records.values(), key=lambda record: utc(record.updated_at), reverse=True)

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record and new entries, all or none: one round trip, or two.

        Args:
            record: the new record.
            new_entries: each after the one that it points at.
            expected_revision: of the record that it replaces; ``None``: there is none.

        Raises:
            ConversationConflict: the record is another, or an entry that a new one or the record points at is not
                stored any more. Nothing was written.
            InvalidInput: JSON cannot hold a message or the record. Nothing was written.
        """
        text("conversation_id", record.conversation_id, empty=True)
        if record.scope is not None:
            text("scope", record.scope, empty=True)
        await shielded(save(self._table, Save.of(record, new_entries, expected_revision)))

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a record, and the entries that no other record has.

        It takes two round trips or more. A history of more than 490 entries is deleted from its end, in several units.
        Until the last one is done, the conversation is there and shorter.

        Args:
            conversation_id: names it.
            expected_revision: of the record.

        Raises:
            ConversationConflict: the record is another, or there is none.
        """
        name = text("conversation_id", conversation_id, empty=True)
        await shielded(delete(self._table, name, expected_revision))

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry: one round trip.

        Raises:
            LookupError: there is none.
            CorruptRecord: it is damaged.
        """
        found = await self._table.read_entries([entry_id])
        return found[entry_id].entry(entry_id)

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries up to one, in order.

        Up to 32 are one round trip if the record was read or written before, up to 1,024 are two, and more are one for
        each 500 and one; one more if the record was not.

        Args:
            head_id: the last entry.
            limit: only so many of the last.

        Raises:
            LookupError: an entry is not there.
            CorruptRecord: one is damaged.
        """
        if head_id is None or (limit is not None and limit <= 0):
            return []
        found: dict[str, Entry] = {}
        place = self._table.place(head_id)
        if place is None:
            found = await self._table.read_entries([head_id])
            place = found[head_id].place
        above = 0 if limit is None else max(0, place.depth - limit)
        await self._table.gather([head_id], found, place=place, above=above)
        history: list[ConversationEntry] = []
        name: str | None = head_id
        while name is not None and (limit is None or len(history) < limit):
            entry = found[name]
            history.append(entry.entry(name))
            name = entry.stored.parent
        return history[::-1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._table.items!r}, {shown(self._table.namespace, 200)})"


def _ttl_of(backend: object) -> float | None:
    ttl: float | None = getattr(backend, "ttl", None)
    return ttl
