"""The Valkey backend of cache entries; ``operations.py`` has the operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ....domain import CacheEntry, CacheNamespace
from ....domain.cache import CacheKey
from ....domain.items import Namespace
from ...cache import Write
from ...operation import Operation, Page
from ..backend import ValkeyBackend
from ..client.factory import Client
from . import keys, listing, operations
from .operations import CacheSettings


class ValkeyCacheEntries(ValkeyBackend):
    """Cache entries in Valkey, for :class:`~statekeep.CacheRepository`.

    Args:
        client: see :func:`~statekeep.repositories.valkey.client.factory.client_for`.
        prefix: what all keys start with; not empty, and not starting or ending with ``:``.
        ttl: seconds that an entry lives that is set without a TTL of its own, fractions allowed; ``None`` for ever.

    Raises:
        InvalidInput: an argument is wrong.
    """

    place_of = staticmethod(keys.place_of)
    types: ClassVar[dict[str, bytes]] = {
        "cache_entry": b"hash",
        "cache_entry-index": b"zset",
        "cache_namespace-index": b"zset",
    }

    def __init__(self, client: Client, *, prefix: str = "statekeep", ttl: float | None = None) -> None:
        super().__init__(client, prefix, ttl)
        self._settings = CacheSettings(prefix, self.ttl, client.cluster)

    def get(self, keys: Sequence[CacheKey]) -> Operation[dict[CacheKey, CacheEntry]]:
        """Read any number in one round trip."""
        return operations.get(self._settings, keys)

    def set(self, entries: Sequence[Write]) -> Operation[None]:
        """Store entries in one script call for each 500; in a cluster, for each shard."""
        yield from operations.set_entries(self._settings, entries)

    def delete(self, keys: Sequence[CacheKey]) -> Operation[int]:
        """Delete entries in calls like those of ``set``."""
        return operations.delete(self._settings, keys)

    def clear(self, namespaces: Sequence[Namespace] | None) -> Operation[int]:
        """Look in one round trip, and delete what there is; again behind 6,400 entries."""
        return operations.clear(self._settings, namespaces)

    def list(self, namespace: Namespace | None, cursor: listing.Cursor | None) -> Operation[Page[CacheEntry]]:
        """List in one round trip per page, and one per 100 entries in each of 64 shards."""
        return listing.list_entries(self._settings, namespace, cursor)

    def list_namespaces(self, cursor: listing.Cursor | None) -> Operation[Page[CacheNamespace]]:
        """List in one round trip per 500 entries, and those for the indexes."""
        return listing.list_namespaces(self._settings, cursor)

    def restore(self, entries: Sequence[CacheEntry]) -> Operation[None]:
        """Store entries with their times, in calls like those of ``set``."""
        return operations.restore(self._settings, entries)

    def reindex(self) -> Operation[int]:
        """Rebuild the indexes; it walks the whole keyspace once."""
        return operations.reindex(self._settings)
