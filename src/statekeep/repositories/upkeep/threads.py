"""The bodies of the methods that measure threads, or set when they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from ...domain import CheckpointQuery, SavedCheckpoint, ThreadMeasure, Unsupported
from ...domain.checkpoints import encoded_metadata
from ..checkpoint_backend import CheckpointBackend
from ..faces import Repository
from ..operation import Operation, named
from ..validation import text, texts, ttl_seconds

Measure = Callable[[Sequence[str]], Operation[dict[str, ThreadMeasure]]]
Expire = Callable[[str, float | None], Operation[bool]]


class ThreadUpkeep(Repository[CheckpointBackend]):
    """Sizes and ends of threads: arguments in, operations out."""

    def _measure(self, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
        """Return the sizes of threads, and when they end.

        All are looked at together: on Valkey a few round trips for about a hundred small threads, and one more for each
        500 records. What is written meanwhile may be counted or not. Valkey says what a thread takes in its memory; of
        hashes and indexes with more than 100,000 members the first so many are looked at. If the user may not ask for
        that (``+memory|usage``), or the server does not know, you get lengths. AgentCore and Bedrock read all of a
        thread: the bytes are those of what they answered. Of other backends :meth:`list` is read, so pending writes
        whose checkpoint is not stored are not counted, and ``expires_at`` is not known and ``None``.

        Args:
            thread_ids: the threads.

        Returns:
            A measure for each thread that has a checkpoint or a pending write, by its id.

        Example:
            >>> import statekeep
            >>> keep = statekeep.connect("memory:").checkpoints
            >>> for name in ["1", "2"]:
            ...     keep.put(statekeep.Checkpoint(thread_id="t", checkpoint_id=name))
            >>> {name: measure.checkpoints for name, measure in keep.measure(["t", "u"]).items()}
            {'t': 2}
        """
        return named("measure", measured(self.backend, list(dict.fromkeys(texts("thread_ids", thread_ids)))))

    def _expire(self, thread_id: str, ttl: float | None) -> Operation[bool]:
        """Set when all that a thread has ends: sooner or later than it would.

        Puts, and reads with ``refresh_on_read``, go by the repository's own TTL again. What is there may only live
        longer by them, but for a record that is replaced. Pending writes whose checkpoint is not stored live for a day
        at most, see :data:`EARLY_TTL`. What somebody puts meanwhile may end as he says. If this is cut off, repeat it.

        Args:
            thread_id: the thread.
            ttl: seconds from now, fractions allowed; ``None`` for never.

        Returns:
            Whether there is such a thread.

        Raises:
            Unsupported: the service cannot say when a single thread ends: AgentCore and Bedrock cannot.

        Example:
            >>> import statekeep
            >>> keep = statekeep.connect("memory:", ttl=60).checkpoints
            >>> keep.put(statekeep.Checkpoint(thread_id="t"))
            >>> keep.expire("t", None), keep.expire("no such thread", 3600)
            (True, False)
            >>> keep.measure(["t"])["t"].expires_at is None
            True
        """
        return named("expire", expired(self.backend, text("thread_id", thread_id), ttl_seconds(ttl)))


def measured(backend: CheckpointBackend, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
    """Measure threads, of a backend that need not be able to."""
    measure: Measure | None = getattr(backend, "measure", None)
    if measure is not None:
        return (yield from measure(thread_ids))
    found: dict[str, ThreadMeasure] = {}
    for thread_id in thread_ids:
        one = yield from _listed(backend, thread_id)
        if one is not None:
            found[thread_id] = one
    return found


def expired(backend: CheckpointBackend, thread_id: str, ttl: float | None) -> Operation[bool]:
    """Set when a thread ends, of a backend that need not be able to.

    Raises:
        Unsupported: it is not.
    """
    expire: Expire | None = getattr(backend, "expire", None)
    if expire is None:
        raise Unsupported(f"{type(backend).__name__} cannot set when a thread ends: it has no method expire")
    return (yield from expire(thread_id, ttl))


def _listed(backend: CheckpointBackend, thread_id: str) -> Operation[ThreadMeasure | None]:
    """Measure a thread by reading it."""
    counts = Counts()
    cursor: Any = None
    while True:
        page = yield from backend.list(CheckpointQuery(thread_id=thread_id), cursor)
        for saved in page.items:
            counts.add(saved)
        cursor = page.cursor
        if cursor is None:
            return counts.measure(thread_id)


class Counts:
    """The sizes of checkpoints that were read, one after the other."""

    def __init__(self) -> None:
        self._checkpoints = self._writes = self._bytes = 0
        self._namespaces: set[str] = set()
        # Values that go on from checkpoint to checkpoint count once. Large ones are not kept.
        self._seen: set[tuple[str, str, bytes]] = set()

    def add(self, saved: SavedCheckpoint) -> None:
        """Count a checkpoint with its pending writes."""
        self._checkpoints += 1
        self._writes += len(saved.pending_writes)
        self._namespaces.add(saved.namespace)
        self._bytes += len(encoded_metadata(saved).encode(errors="surrogatepass"))
        self._bytes += 0 if saved.header is None else len(saved.header.data)
        self._bytes += sum(len(write.payload.data) for write in saved.pending_writes)
        for name, channel in saved.channels.items():
            if channel.payload is None:
                continue
            place = (saved.namespace, name, sha256(channel.payload.data).digest())
            if place not in self._seen:
                self._seen.add(place)
                self._bytes += len(channel.payload.data)

    def measure(self, thread_id: str) -> ThreadMeasure | None:
        """Return the sum, as of a thread; ``None`` if there was nothing."""
        if not self._checkpoints:
            return None
        return ThreadMeasure(
            thread_id=thread_id,
            checkpoints=self._checkpoints,
            pending_writes=self._writes,
            namespaces=len(self._namespaces),
            bytes=self._bytes,
            basis="lengths",
        )
