"""The Valkey backend of checkpoints; the modules beside have the operations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from ....domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    ThreadMeasure,
)
from ...checkpoints import ExpectedHead, Supply
from ...operation import Operation, Page
from ...records.known_values import BYTES, KnownValues
from ...validation import count
from ..backend import ValkeyBackend
from ..client.factory import Client
from . import ancestors, copy, delete, get, keys, listing, put, reindex, threads
from .metadata.tags import metadata_keys
from .piecewise import PIECEWISE
from .recent_ids import RecentIds
from .settings import CheckpointSettings
from .upkeep import expire, measure


class ValkeyCheckpoints(ValkeyBackend):
    """Checkpoints and pending writes in Valkey.

    A backend of :class:`~statekeep.CheckpointRepository`.

    Args:
        client: see :func:`~statekeep.repositories.valkey.client.factory.client_for`.
        prefix: what all keys start with; not empty, and not starting or ending with ``:``.
        ttl: seconds that a checkpoint or pending write lives after it was put, fractions allowed; ``None`` for ever.
        refresh_on_read: ``get`` starts the TTL anew, for what it reads.
        value_cache: bytes of long values that were read or put here, of which new versions are put together; 0 stores
            and sends all values whole. Or what another backend of the same server has, to share it.
        index_metadata: names in metadata, at most 16. A filter of ``list`` by a value of one of them, be it text, a
            number or a boolean, looks at the threads that may have it alone. A put takes as many round trips as before,
            and a little more of the server's time for each name. ``run_id`` needs none. See "Filters by
            metadata" in ``docs/key-schema.md``.

    Raises:
        InvalidInput: an argument is wrong.
    """

    place_of = staticmethod(keys.place_of)
    types: ClassVar[dict[str, bytes]] = {
        "checkpoint": b"hash",
        "pending_write": b"hash",
        "head": b"hash",
        "channel-values": b"hash",
        "checkpoint-index": b"zset",
        "pending_write-index": b"zset",
        "expiry-index": b"zset",
        "pending-values": b"hash",
        "namespace-index": b"zset",
        "thread-index": b"zset",
        "run-index": b"set",
        "metadata-index": b"zset",
    }
    piecewise = PIECEWISE

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "statekeep",
        ttl: float | None = None,
        refresh_on_read: bool = False,
        value_cache: int | KnownValues = BYTES,
        index_metadata: Collection[str] = (),
    ) -> None:
        super().__init__(client, prefix, ttl)
        self.refresh_on_read = bool(refresh_on_read)
        self._settings = CheckpointSettings(
            prefix=prefix,
            ttl_ms=self.ttl_ms,
            refresh_on_read=self.refresh_on_read,
            cluster=client.cluster,
            recent_ids=RecentIds(listing.PAGE),
            known_values=(
                value_cache if isinstance(value_cache, KnownValues) else KnownValues(count("value_cache", value_cache))
            ),
            metadata_keys=metadata_keys(prefix, index_metadata),
        )

    @property
    def index_metadata(self) -> Collection[str]:
        """The names in metadata that are indexed."""
        return [keys.name for keys in self._settings.metadata_keys]

    @property
    def value_cache(self) -> KnownValues:
        """The long values that were read or put here."""
        return self._settings.known_values

    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> Operation[None]:
        """Put in one script call.

        In a cluster, there is one more for each index of threads and runs.
        """
        return put.put(self._settings, checkpoint, supply, expected_head)

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]:
        """Put pending writes in one script call."""
        return put.put_writes(self._settings, thread_id, namespace, checkpoint_id, writes)

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]:
        """Read in one script call."""
        return get.get(self._settings, thread_id, namespace, checkpoint_id)

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        """List in two script calls per page; in one if the first page was guessed."""
        return (yield from listing.list_checkpoints(self._settings, query, cursor))

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]:
        """Walk in two script calls per 200 ancestors, and one per 500 of their writes."""
        return ancestors.ancestors(self._settings, thread_id, namespace, checkpoint_id, channels)

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        """List in two round trips per page; with a prefix, one more per 1,000 threads."""
        return threads.list_threads(self._settings, prefix, after, limit)

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
        """Delete one checkpoint in about ten script calls.

        There are two more for each further 1,000 checkpoints of the namespace.
        """
        return delete.delete_checkpoint(self._settings, thread_id, namespace, checkpoint_id)

    def delete_thread(self, thread_id: str) -> Operation[None]:
        """Delete in two script calls per 500 records, and up to five more."""
        return delete.delete_thread(self._settings, thread_id)

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        """Delete in steps of 500 records."""
        return delete.delete_runs(self._settings, run_ids)

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        """Copy in one put per checkpoint, and one call if it has pending writes."""
        return copy.copy_thread(self._settings, source_id, target_id)

    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> Operation[int]:
        """Prune in steps of 500 records."""
        deleted = 0
        for thread_id in thread_ids:
            if namespace is None:
                deleted += yield from delete.prune(self._settings, thread_id, policy)
            else:
                deleted += yield from delete.prune_namespace(self._settings, thread_id, namespace, policy)
        return deleted

    def measure(self, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
        """Measure in three round trips, and one per 500 records."""
        return measure.measure(self._settings, thread_ids)

    def expire(self, thread_id: str, ttl: float | None) -> Operation[bool]:
        """Set the end in about ten script calls, and two per 200 records."""
        return expire.expire(self._settings, thread_id, ttl)

    def reindex(self, thread_id: str) -> Operation[int]:
        """Rebuild the indexes; it walks the whole keyspace once."""
        return reindex.reindex(self._settings, thread_id)
