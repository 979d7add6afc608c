"""The AgentCore backend of items. Its operations are in the modules beside."""

from __future__ import annotations

import builtins
import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ....domain import InvalidInput, Item, SearchItem, SearchStatus, Unsupported, VectorIndex
from ....domain.items import Namespace
from ....domain.shown import once_made
from ....domain.vector_index import NO_INDEX
from ....telemetry.records import Service
from ...aws import AwsCall, AwsClient, Reply, Request
from ...aws.server_clock import server_time
from ...item_backend import Action, ItemRange, ItemSearch, NamespaceQuery, Put, Restore
from ...operation import Operation, Page
from ...validation import LONGEST_TTL, boolean, count, seconds, ttl_seconds
from ..backend import checked_memory_id
from ..lanes import Lanes
from . import compact, conversations, listing, memory_records, record_search
from .conversations import Message
from .memory_records import MemoryRecord
from .record_index import index_paths
from .settings import Settings

RENEWAL: Final = 86_400.0
EXPIRY_DAYS: Final = 90
_DAY: Final = 86_400


class AgentCoreItems:
    """Items in AgentCore Memory.

    A backend of :class:`~statekeep.ItemRepository`.

    What you put under a key you get by that key at once, and what you delete is gone. An item that nobody reads, lists
    or puts is gone when its events are as old as the memory's ``eventExpiryDuration``; what is read after ``renewal``
    is stored again. Batches are not atomic: with expectations they may write one item. ``append`` and ``pop`` raise
    :class:`~statekeep.Unsupported`.

    Args:
        client: see :func:`~statekeep.repositories.aws.open_client`.
        memory_id: the memory's id or ARN.
        index: make items findable by meaning: ``{"fields": ["text"]}`` names the paths of their texts, ``["$"]`` unless
            you do, ``[]`` for those alone that ``put`` names. The service embeds by itself. Searches with a ``query``
            then find these items, and what the memory's strategies extracted. ``None``: a query means nothing.
        ttl: seconds, with fractions, after which an item expires that is put without a ``ttl`` of its own; ``None``
            for never.
        refresh_on_read: whether reading an item starts its TTL anew where the caller does not say.
        renewal: seconds after which an item that is read is stored again; at most half of the life of events, as what
            lists its namespace may be older than the item by as much.
        event_expiry_days: the memory's ``eventExpiryDuration``.
        hierarchical_search: whether a search with a query finds memory records below its namespace, too; ``False`` for
            those at this very namespace.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> from statekeep.repositories.aws import open_client
        >>> from statekeep.repositories.items import ItemRepository
        >>> from statekeep.testing.aws import AwsEmulator
        >>> with AwsEmulator() as aws:
        ...     client = open_client("bedrock-agentcore", session=aws.session())
        ...     with ItemRepository(AgentCoreItems(client, aws.memory_id, ttl=3600)) as items:
        ...         items.put(("users", "ada"), "theme", "dark").version
        ...         items.get(("users", "ada"), "theme").value
        1
        'dark'
    """

    index: VectorIndex | None = None

    embeds: bool
    """Whether there is an index: then texts become memory records, and queries are asked of the service."""

    text_paths: Sequence[str]
    """Paths of the texts that become memory records, unless ``put`` names others."""

    def __init__(
        self,
        client: AwsClient,
        memory_id: str,
        *,
        index: Mapping[str, Any] | VectorIndex | None = None,
        ttl: float | None = None,
        refresh_on_read: bool = False,
        renewal: float = RENEWAL,
        event_expiry_days: int = EXPIRY_DAYS,
        hierarchical_search: bool = True,
    ) -> None:
        self._client = client
        self.memory_id = checked_memory_id(memory_id)
        paths = index_paths(index)
        self.embeds = paths is not None
        self.text_paths = paths or ()
        self.ttl = ttl_seconds(ttl)
        self.refresh_on_read = boolean("refresh_on_read", refresh_on_read)
        self.hierarchical_search = boolean("hierarchical_search", hierarchical_search)
        renewal = seconds("renewal", renewal, most=LONGEST_TTL)
        if count("event_expiry_days", event_expiry_days) * _DAY < 2 * renewal:
            raise InvalidInput(
                f"renewal must be at most half of the life of events, {event_expiry_days * _DAY} seconds, "
                f"got {renewal}; pass event_expiry_days if the memory keeps them for longer",
                field="renewal",
            )
        self._settings = Settings(
            Lanes(self.memory_id),
            self.ttl,
            self.refresh_on_read,
            math.ceil(renewal * 1000),
            event_expiry_days,
            self.hierarchical_search,
        )

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client!r}, {self.memory_id!r}, ttl={self.ttl})"

    @property
    def service(self) -> Service:
        """The memory, for observers."""
        return Service("agentcore", *self._client.address, self.memory_id)

    def execute(self, request: Request) -> Reply:
        """Answer a request, blocking."""
        return self._client.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        """Answer a request from an event loop."""
        return await self._client.aexecute(request)

    def ping(self) -> Operation[None]:
        """Ask for one actor: one call."""
        yield self._easy_call()

    def now(self) -> Operation[dt.datetime]:
        """Ask as :meth:`ping` does, for the time of the answer."""
        return server_time(self._easy_call())

    def _easy_call(self) -> AwsCall:
        return AwsCall("ListActors", {"memoryId": self.memory_id, "maxResults": 1})

    def close(self) -> None:
        """Close the client, unless it is the user's."""
        self._client.close()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        await self._client.aclose()

    def apply(self, actions: Sequence[Action]) -> Operation[builtins.list[Any]]:
        """Read in one round, write in one or two.

        Each item's actions are one atomic unit, and no more than these. What is before a listing is done before it.
        """
        return listing.apply_all(self._settings, actions)

    def restore(self, puts: Sequence[Restore]) -> Operation[int]:
        """Write them side by side; each is a new event of its item, as a put is."""
        now = self._settings.now()
        there = [put for put in puts if put.expires_at is None or put.expires_at.timestamp() * 1000 > now]
        yield from listing.apply_all(self._settings, there)
        return len(there)

    def append(self, namespace: Namespace, puts: Sequence[Put]) -> Operation[builtins.list[str]]:
        """Refuse: there is no way to store several items as one.

        Raises:
            Unsupported: always.
        """
        yield from ()
        raise Unsupported("AgentCore Memory cannot write several items as one; put each under a key of your own")

    def pop(self, namespace: Namespace) -> Operation[Item | None]:
        """Refuse: finding the greatest key takes the whole index.

        Raises:
            Unsupported: always.
        """
        yield from ()
        raise Unsupported("AgentCore Memory does not order keys; use list(reverse=True, limit=1), and delete")

    def list(self, query: ItemRange, cursor: Any) -> Operation[Page[Item]]:
        """Read the whole index of the namespace, and one lane for each item."""
        return listing.list_items(self._settings, query, cursor)

    def keys(self, query: ItemRange, cursor: Any) -> Operation[Page[str]]:
        """Read as :meth:`list` does, but no large value."""
        return listing.list_keys(self._settings, query, cursor)

    def search(self, query: ItemSearch) -> Operation[builtins.list[SearchItem]]:
        """Read the indexes of the subtree as far as is needed, and one lane for each item.

        With a query, ask for memory records before.
        """
        if query.text:
            return record_search.search(self._settings, query)
        return listing.search(self._settings, query)

    def list_namespaces(self, query: NamespaceQuery) -> Operation[builtins.list[Namespace]]:
        """Read the tree, and look in each namespace for an item."""
        return listing.list_namespaces(self._settings, query)

    def clear(self, namespace: Namespace, below: bool) -> Operation[int]:
        """Delete items, with one call for each event."""
        return compact.clear(self._settings, namespace, below)

    def setup(self) -> Operation[SearchStatus]:
        """Nothing to prepare."""
        yield from ()
        return NO_INDEX

    def reindex(self, namespace: Namespace) -> Operation[int]:
        """Repair the index, and remove what is dead with one call for each event."""
        return compact.reindex(self._settings, namespace)

    def unlisted_records(self, namespace: Namespace, key: str) -> Operation[int]:
        """Return how many of an item's memory records the service does not list yet.

        Raises:
            InvalidInput: there is no such item, or it was put without texts to be found by.
        """
        return record_search.count_unlisted(self._settings, namespace, key)

    def say(self, messages: Sequence[Message]) -> Operation[None]:
        """Create one event for each message of a conversation.

        The memory's strategies extract records from it.

        Raises:
            InvalidInput: a text is too long, or no Unicode text. Nothing was created.
        """
        return conversations.say(self._settings, [*map(conversations.checked_message, messages)])

    def record(self, record_id: str) -> Operation[MemoryRecord | None]:
        """Read a memory record by its id, whoever made it.

        ``None`` if there is none, or none yet: the service needs some seconds until it finds a new one.

        Run it with :func:`~statekeep.repositories.operation.run` and :meth:`execute`, or ``arun`` and :meth:`aexecute`.

        Raises:
            InvalidInput: this is no id of a record.
        """
        return memory_records.get_record(self._settings, record_id)

    def records(self, namespace_path: str, cursor: Any = None) -> Operation[Page[MemoryRecord]]:
        """Return a page of the memory records at or below a path.

        The path is one such as ``/users/ada/``; records come in no order. What was written in the last minutes may be
        missing.

        Args:
            namespace_path: see :func:`~statekeep.repositories.agentcore.items.memory_records.namespace_path`.
            cursor: that of the page before; ``None`` for the first.

        Raises:
            InvalidInput: the path is none.
        """
        return memory_records.list_records(self._settings, namespace_path, cursor)

    def delete_record(self, record_id: str) -> Operation[bool]:
        """Delete a memory record by its id; return whether there was one.

        Raises:
            InvalidInput: this is no id of a record.
        """
        return memory_records.delete_record(self._settings, record_id)
