"""The Valkey backend of items; the modules beside have the operations."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ....domain import Item, ItemsMeasure, SearchItem, StatekeepError, VectorIndex
from ....domain.items import Namespace
from ....domain.model import SHORT
from ....domain.shown import shown
from ....domain.vector_index import NO_INDEX, SearchStatus
from ...item_backend import Action, Get, ItemRange, ItemSearch, NamespaceQuery, Put, Restore
from ...operation import Operation, Page, arun, named, run
from ...process.notices import notice, valkey_logger
from ...validation import unit_or_none
from ..backend import ValkeyBackend
from ..calls import kept_ms
from ..client.errors import OtherUnit
from ..client.factory import Client
from ..requests import Divided, Reply, Request
from . import append, keys, namespaces, ranges, reindex, write
from .piecewise import PIECEWISE
from .plan import ItemSettings
from .search import index as search_index
from .search import nearest
from .unit import Unit

if TYPE_CHECKING:
    from ...records.known_vectors import KnownVectors

REMEMBERED: Final = 1024
"""Namespaces of which the number of the last appended value is remembered."""


class ValkeyItems(ValkeyBackend):
    """Items in Valkey, for :class:`~statekeep.ItemRepository`.

    Args:
        client: see :func:`~statekeep.repositories.valkey.client.factory.client_for`.
        prefix: what all keys start with; not empty, and not starting or ending with ``:``.
        ttl: seconds that an item lives after it was put, fractions allowed; ``None`` for ever.
        refresh_on_read: reading an item starts its TTL anew.
        index: the options of vector search; ``None``: there is none.
        unit: namespaces that begin with the same so many labels are one unit: they share a slot of a cluster, and a
            batch with expectations may be about all of them. One with fewer labels is by itself. ``None``: so is each.

    Raises:
        InvalidInput: an argument is wrong.
    """

    place_of = staticmethod(keys.place_of)
    types: ClassVar[dict[str, bytes]] = {
        "item": b"hash",
        "item-vector": b"hash",
        "item-index": b"zset",
        "item-recent": b"zset",
        "item-ends": b"zset",
        "item-state": b"hash",
        "item-sequence": b"string",
        "item-call": b"string",
        "item-clock": b"string",
        "item-vector-index": b"zset",
        "item-vector-changes": b"list",
        "item-namespace-index": b"zset",
        "item-unit-namespace-index": b"zset",
        "item-unit": b"string",
        "item-vector-definition": b"string",
    }
    piecewise = PIECEWISE

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "statekeep",
        ttl: float | None = None,
        refresh_on_read: bool = False,
        index: VectorIndex | None = None,
        unit: int | None = None,
    ) -> None:
        super().__init__(client, prefix, ttl)
        self.refresh_on_read = bool(refresh_on_read)
        self.index = index
        self.unit = unit_or_none(unit)
        self._unit = Unit(self.unit)
        self._settings = ItemSettings(
            prefix, self.ttl, self.refresh_on_read, client.cluster, index, kept_ms(client), self._unit
        )
        self._last: dict[Namespace, int] = {}
        # Whether an item is known here that ends. As long as there is none, a read that would refresh is a plain one.
        self._any_ends = self.ttl is not None
        self._module = search_index.NO_MODULE
        self._known_vectors: KnownVectors | None = None

    def execute(self, request: Request) -> Reply:
        """Answer one request; the first ones also compare the unit."""
        if self._unit.is_certain:
            return super().execute(request)
        return run(named("", self._unit.compared(self.prefix, request)), super().execute)

    async def aexecute(self, request: Request) -> Reply:
        """Answer one request as :meth:`execute` does, without blocking the event loop."""
        if self._unit.is_certain:
            return await super().aexecute(request)
        return await arun(named("", self._unit.compared(self.prefix, request)), super().aexecute)

    def _after(self, request: Request, failed: Divided | StatekeepError) -> Operation[Reply]:
        if isinstance(failed, OtherUnit):
            failed = self._unit.refused(failed)
        return (yield from super()._after(request, failed))

    def apply(self, actions: Sequence[Action]) -> Operation[list[Any]]:
        """Do plain reads in one round trip, else a script call.

        In a cluster there are some per unit.
        """
        gets = [action for action in actions if isinstance(action, Get)]
        if len(gets) == len(actions):
            refreshes = any(self._settings.refreshes(get.refresh) for get in gets)
            if not (refreshes and self._any_ends):
                items, any_ended = yield from write.read(self._settings, gets)
                self._any_ends = self._any_ends or any_ended
                return items
        else:
            puts = (action for action in actions if isinstance(action, Put))
            self._any_ends = self._any_ends or any(self._settings.life(put.ttl) is not None for put in puts)
        results = yield from write.apply(self._settings, actions)
        # What was put is in the index now, so no other unit can be.
        self._unit.is_certain = self._unit.is_certain or any(isinstance(action, Put) for action in actions)
        return results

    def restore(self, puts: Sequence[Restore]) -> Operation[int]:
        """Store in script calls of at most 500, in a cluster some per unit."""
        self._any_ends = self._any_ends or any(put.expires_at is not None for put in puts)
        stored = yield from write.restore(self._settings, puts)
        self._unit.is_certain = True
        return stored

    def measure(self, namespace: Namespace) -> Operation[ItemsMeasure]:
        """Ask the server for what the records take: two round trips per 500 items."""
        return ranges.measure(self._settings, namespace)

    def append(self, namespace: Namespace, puts: Sequence[Put]) -> Operation[list[str]]:
        """Append in one script call, or two for the first time in a namespace."""
        if len(self._last) >= REMEMBERED or sum(map(len, namespace)) > SHORT:
            self._last.clear()
        keys = yield from append.append(self._settings, self._last, namespace, puts)
        self._unit.is_certain = True
        return keys

    def pop(self, namespace: Namespace) -> Operation[Item | None]:
        """Pop by one command and one script call."""
        return append.pop(self._settings, namespace)

    def list(self, query: ItemRange, cursor: Any) -> Operation[Page[Item]]:
        """List in two round trips per page of 100."""
        return ranges.list_items(self._settings, query, cursor)

    def keys(self, query: ItemRange, cursor: Any) -> Operation[Page[str]]:
        """List keys in one round trip per page of 500."""
        return ranges.list_keys(self._settings, query, cursor)

    def search(self, query: ItemSearch) -> Operation[builtins.list[SearchItem]]:
        """Search in two round trips, if there is no query or the server has the module."""
        try:
            return (yield from self._search(query))
        except StatekeepError as error:
            if error.place is None:  # it was about the index of namespaces
                error.place = {"namespace": query.prefix}
            raise

    def _search(self, query: ItemSearch) -> Operation[builtins.list[SearchItem]]:
        if query.query is None or self.index is None:
            return (yield from nearest.newest_first(self._settings, query))
        if self._known_vectors is None:
            from ...records.known_vectors import KnownVectors

            self._known_vectors = KnownVectors(self.index.vector_cache)
        known = self._known_vectors
        results, self._module = yield from nearest.search(self._settings, self.index, self._module, known, query)
        return results

    def list_namespaces(self, query: NamespaceQuery) -> Operation[builtins.list[Namespace]]:
        """List in two round trips per 500 namespaces."""
        return namespaces.list_namespaces(self._settings, query)

    def clear(self, namespace: Namespace, below: bool) -> Operation[int]:
        """Delete in steps of 500 items."""
        delete = namespaces.clear_below if below else namespaces.clear
        return delete(self._settings, namespace)

    def setup(self) -> Operation[SearchStatus]:
        """Make the search module's index, if the server has the module."""
        if self.index is None:
            return NO_INDEX
        self._module = yield from search_index.setup(self.prefix, self.index, self.client.cluster)
        status = search_index.status(self._module, self.index)
        collection = shown(self.index.collection_name)
        valkey_logger.info("search by meaning in the collection %s: %s", collection, status)
        if status.engine == "exact" and self.index.index_type == "hnsw":
            notice(
                valkey_logger,
                logging.WARNING,
                "index_type",
                f"index_type is 'hnsw', but all vectors are compared with each query: {status.reason}; "
                "index_type='flat' says that this is meant",
            )
        return status

    def reindex(self, namespace: Namespace) -> Operation[int]:
        """Rebuild the indexes; it walks the whole keyspace once."""
        return reindex.reindex(self._settings, namespace)
