"""Sources of a migration.

They have threads, items and cache entries.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from attrs import field, frozen

from ...domain import Payload, SavedCheckpoint, Serializer
from ...domain.items import Namespace
from ...domain.model import Ttl
from ...repositories.faces import Executor
from ...repositories.operation import Operation, Page, arun, run

ResultT = TypeVar("ResultT")

Key = tuple[str, str]
"""A namespace and the id of a checkpoint in it."""

PAGE: Final = 100
"""Items or cache entries that are in memory at once."""


@frozen
class Ask:
    """A question that a migration asks its source or its target.

    Attributes:
        blocking: answers it to blocking code.
        awaiting: answers it to an event loop.
    """

    blocking: Callable[[], Any]
    awaiting: Callable[[], Awaitable[Any]]

    @classmethod
    def of_blocking(cls, call: Callable[[], Any]) -> Ask:
        """Ask somebody who answers blocking code only; event loops get a thread for it."""
        return cls(call, lambda: asyncio.to_thread(call))


def asked(executor: Executor, operation: Operation[ResultT]) -> Ask:
    """Ask a backend of Statekeep to run an operation."""
    return Ask(
        lambda: run(operation, executor.execute),
        lambda: arun(operation, executor.aexecute),
    )


class CheckpointSource(Protocol):
    """Threads with their checkpoints."""

    @property
    def serde(self) -> Serializer | None:
        """The serializer for payloads whose bytes are not always the same."""
        ...

    def threads(self) -> Operation[list[str]]:
        """Return the ids of all threads, the one that was updated last at the end."""
        ...

    def keys(self, thread_id: str) -> Operation[list[Key]]:
        """Return the keys of a thread's checkpoints, oldest first."""
        ...

    def read(self, thread_id: str, keys: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        """Return those of some checkpoints that are still there, in the order of the keys."""
        ...

    def left(self, thread_id: str, keys: Sequence[Key]) -> Operation[Ttl]:
        """Return the seconds until the last record of a thread ends.

        It is ``None`` if one never ends, and ``DEFAULT`` if the source cannot tell.
        """
        ...


@frozen
class FoundItem:
    """An item of a source.

    Attributes:
        value: what JSON can hold.
        updated_at: when it was put last; ``None`` if the source cannot tell.
        expires_at: when it ends; ``None`` for never.
        has_end: whether the source can tell when it ends.
        created_at: when it was put first; ``None`` if the source cannot tell.
    """

    namespace: Namespace
    key: str
    value: Any
    updated_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    has_end: bool = True
    created_at: dt.datetime | None = None


@frozen
class FoundEntry:
    """A cache entry of a source; it ends at ``expires_at``, or never."""

    namespace: Namespace
    key: str
    payload: Payload
    expires_at: dt.datetime | None = None


class ItemSource(Protocol):
    """Items, page by page."""

    def page(self, cursor: Any) -> Operation[Page[FoundItem]]:
        """Return one page; ``cursor`` is ``None`` for the first."""
        ...


class EntrySource(Protocol):
    """Cache entries, page by page."""

    def page(self, cursor: Any) -> Operation[Page[FoundEntry]]:
        """Return one page; ``cursor`` is ``None`` for the first."""
        ...


@frozen
class Readers:
    """Readers of a source; ``None``: it has none of this kind."""

    checkpoints: CheckpointSource | None = None
    items: ItemSource | None = None
    cache: EntrySource | None = None


def _nothing() -> None:
    pass


@frozen(eq=False)
class PeerSource:
    """A database of another package. :func:`open_source` makes one.

    Use it as a context manager, or call :meth:`close`.

    Attributes:
        kind: the package that wrote it, such as ``"langgraph-checkpoint-sqlite"``.
        has_checkpoints: whether there are savers' records.
        has_items: whether there are stores' records.
        has_cache: whether there are caches' records.

    Example:
        >>> import pathlib, tempfile
        >>> from langgraph.cache.sqlite import SqliteCache
        >>> from statekeep.langgraph_shim import open_source
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "cache.db"
        >>> cache = SqliteCache(path=str(path))
        >>> with open_source(f"sqlite:///{path}") as source:
        ...     source.kind, source.has_cache, source.has_items
        ('langgraph-checkpoint-sqlite', True, False)
    """

    kind: str
    has_checkpoints: bool
    has_items: bool
    has_cache: bool
    _make: Callable[[Serializer], Readers] = field(repr=False)
    _close: Callable[[], None] = field(default=_nothing, repr=False)

    def readers(self, writer: Serializer) -> Readers:
        """Return what reads it. ``writer`` serializes what cannot be moved as it is."""
        return self._make(writer)

    def close(self) -> None:
        """Close what was opened for it. Idempotent."""
        self._close()

    def __enter__(self) -> PeerSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def utc(seconds_left: float) -> dt.datetime:
    """Return the time that is so many seconds from now."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds_left)
