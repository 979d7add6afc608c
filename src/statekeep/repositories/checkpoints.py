"""Repositories of checkpoints: what a backend implements, and the two faces that users hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from ..domain import (
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    InvalidInput,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    Thread,
)
from ..domain.shown import once_made
from .operation import Operation, Page, arun, run
from .validation import count, text, texts

Supply = Callable[[Collection[str]], Mapping[str, Payload]]
"""Given the names of channels whose value is not stored, returns the payloads (none: the channel is empty)."""


class CheckpointBackend(Protocol):
    """What a backend implements. Every operation is a generator, see :mod:`statekeep.repositories.operation`.

    The arguments are validated already. What each operation must do is said by the method of the same name of
    :class:`CheckpointRepository`, and proved by the contract tests in ``statekeep.testing``.
    """

    def execute(self, request: Any) -> Any:
        """Answer one request of an operation, blocking."""
        ...

    async def aexecute(self, request: Any) -> Any:
        """Answer one request of an operation, without blocking the event loop."""
        ...

    def close(self) -> None:
        """Close what the backend opened itself. Idempotent."""
        ...

    async def aclose(self) -> None:
        """As :meth:`close`, from the event loop."""
        ...

    def put(self, checkpoint: Checkpoint, supply: Supply | None) -> Operation[None]: ...

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]: ...

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]: ...

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        """One page. ``cursor`` is ``None`` for the first; ``query.limit`` holds for all pages together."""
        ...

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]: ...

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        """One page: at most ``limit`` threads behind ``after``; the cursor is the last thread."""
        ...

    def delete_thread(self, thread_id: str) -> Operation[None]: ...

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]: ...

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]: ...

    def prune(self, thread_ids: Sequence[str], keep: int) -> Operation[None]: ...

    def reindex(self, thread_id: str) -> Operation[int]: ...


class _Operations:
    """Arguments in, operations out: what both faces share."""

    def __init__(self, backend: CheckpointBackend) -> None:
        self.backend = backend

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.backend!r})"

    def _put(self, checkpoint: Checkpoint, supply: Supply | None) -> Operation[None]:
        if not isinstance(checkpoint, Checkpoint):
            raise InvalidInput(f"checkpoint must be a Checkpoint, got {type(checkpoint).__name__}", field="checkpoint")
        if supply is not None and not callable(supply):
            raise InvalidInput("supply must be a function of channel names", field="supply")
        return self.backend.put(checkpoint, supply)

    def _put_writes(
        self, thread_id: str, checkpoint_id: str, writes: Sequence[PendingWrite], namespace: str
    ) -> Operation[None]:
        # Not any iterable: checking a generator would use it up, and nothing would be stored.
        if not isinstance(writes, Sequence):
            raise InvalidInput(f"writes must be a sequence, got {type(writes).__name__}", field="writes")
        for write in writes:
            if not isinstance(write, PendingWrite):
                raise InvalidInput(f"writes must be PendingWrite, got {type(write).__name__}", field="writes")
        return self.backend.put_writes(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            text("checkpoint_id", checkpoint_id),
            writes,
        )

    def _get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]:
        return self.backend.get(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            None if checkpoint_id is None else text("checkpoint_id", checkpoint_id),
        )

    def _ancestors(
        self, thread_id: str, channels: Sequence[str], namespace: str, checkpoint_id: str | None
    ) -> Operation[dict[str, ChannelHistory]]:
        return self.backend.ancestors(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            None if checkpoint_id is None else text("checkpoint_id", checkpoint_id),
            texts("channels", channels, empty=True),
        )

    def _list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        if after is not None and not isinstance(after, Thread):
            raise InvalidInput(f"after must be a Thread, got {type(after).__name__}", field="after")
        return self.backend.list_threads(text("prefix", prefix, empty=True, is_id=False), after, limit)

    def _delete_thread(self, thread_id: str) -> Operation[None]:
        return self.backend.delete_thread(text("thread_id", thread_id))

    def _delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        return self.backend.delete_runs(texts("run_ids", run_ids))

    def _copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        return self.backend.copy_thread(text("source_id", source_id), text("target_id", target_id))

    def _prune(self, thread_ids: Sequence[str], keep: int) -> Operation[None]:
        return self.backend.prune(texts("thread_ids", thread_ids), count("keep", keep))

    def _reindex(self, thread_id: str) -> Operation[int]:
        return self.backend.reindex(text("thread_id", thread_id))


class CheckpointRepository(_Operations):
    """Checkpoints and pending writes, for blocking code.

    Get one from :func:`statekeep.connect`, or build it over a backend. It may be shared by threads.

    Args:
        backend: where the records are kept.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     checkpoint = statekeep.Checkpoint(thread_id="t")
        ...     keep.checkpoints.put(checkpoint)
        ...     keep.checkpoints.get("t").checkpoint_id == checkpoint.checkpoint_id
        True
    """

    def put(self, checkpoint: Checkpoint, *, supply: Supply | None = None) -> None:
        """Store a checkpoint, whole or not at all; one with the same id is replaced.

        Channels marked ``earlier`` are not sent again.

        Args:
            checkpoint: what to store.
            supply: called with the names of ``earlier`` channels whose value is not stored; returns their
                payloads. A channel it leaves out becomes empty.

        Raises:
            MissingChannels: an ``earlier`` value is not stored and there is no ``supply``. Nothing was written.
            InvalidInput: the metadata holds what exact JSON cannot.
        """
        run(self._put(checkpoint, supply), self.backend.execute)

    def put_writes(
        self, thread_id: str, checkpoint_id: str, writes: Sequence[PendingWrite], *, namespace: str = ""
    ) -> None:
        """Store pending writes of a checkpoint, all or none.

        The checkpoint need not be stored yet. For ``idx >= 0`` a write that is there already stays; a write
        with a negative ``idx`` replaces it.

        Args:
            thread_id: the thread.
            checkpoint_id: the checkpoint that the writes belong to.
            writes: what to store.
            namespace: the checkpoint's namespace.
        """
        run(self._put_writes(thread_id, checkpoint_id, writes, namespace), self.backend.execute)

    def get(self, thread_id: str, *, namespace: str = "", checkpoint_id: str | None = None) -> SavedCheckpoint | None:
        """Return a checkpoint with its channel values and pending writes, or ``None``.

        Args:
            thread_id: the thread.
            namespace: ``""`` for the root.
            checkpoint_id: which one; ``None`` for the newest, which is the one with the greatest id.

        Raises:
            CorruptRecord: what is stored is damaged, or a channel value is gone.
        """
        return run(self._get(thread_id, namespace, checkpoint_id), self.backend.execute)

    def list(
        self,
        thread_id: str | None = None,
        *,
        namespace: str | None = None,
        checkpoint_id: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Iterator[SavedCheckpoint]:
        """Iterate over checkpoints, newest first, reading page by page as the iteration goes on.

        Args:
            thread_id: only this thread; ``None`` for all, the most recently updated thread first.
            namespace: only this namespace; ``None`` for all of the thread.
            checkpoint_id: only this id.
            before: only smaller ids, compared as text; it need not be the id of anything.
            limit: at most so many.
            metadata: pairs that must be equal in the checkpoint's metadata; ``None`` matches a missing key.
        """
        query = CheckpointQuery(
            thread_id=thread_id,
            namespace=namespace,
            checkpoint_id=checkpoint_id,
            before=before,
            limit=limit,
            metadata=metadata,
        )
        return self._pages(query)

    def _pages(self, query: CheckpointQuery) -> Iterator[SavedCheckpoint]:
        page: Page[SavedCheckpoint] = run(self.backend.list(query, None), self.backend.execute)
        yield from page.items
        while page.cursor is not None:
            page = run(self.backend.list(query, page.cursor), self.backend.execute)
            yield from page.items

    def ancestors(
        self, thread_id: str, channels: Sequence[str], *, namespace: str = "", checkpoint_id: str | None = None
    ) -> dict[str, ChannelHistory]:
        """Return what the ancestors of a checkpoint wrote to ``channels`` since the nearest stored value.

        The checkpoint's own value and writes are left out; those of the ancestor that holds the value are in.

        Args:
            thread_id: the thread.
            channels: names of channels.
            namespace: ``""`` for the root.
            checkpoint_id: the checkpoint whose ancestors are walked; ``None`` for the newest.

        Returns:
            One history for each of ``channels``.
        """
        return run(self._ancestors(thread_id, channels, namespace, checkpoint_id), self.backend.execute)

    def list_threads(
        self, *, prefix: str = "", after: Thread | None = None, limit: int | None = None
    ) -> Iterator[Thread]:
        """Iterate over the threads that have a checkpoint, the most recently updated first.

        A thread that is updated meanwhile moves to the front: what comes later may leave it out.

        Args:
            prefix: only threads whose id starts with this text.
            after: go on behind this thread of an earlier listing.
            limit: at most so many.
        """
        operation = self._list_threads(prefix, after, None if limit is None else count("limit", limit))
        return self._thread_pages(operation, prefix, limit)

    def _thread_pages(self, operation: Operation[Page[Thread]], prefix: str, limit: int | None) -> Iterator[Thread]:
        while True:
            page = run(operation, self.backend.execute)
            yield from page.items
            limit = None if limit is None else limit - len(page.items)
            if page.cursor is None or limit == 0:
                return
            operation = self._list_threads(prefix, page.cursor, limit)

    def delete_thread(self, thread_id: str) -> None:
        """Delete every checkpoint and pending write of a thread, in all namespaces.

        Args:
            thread_id: the thread; one that does not exist is no error.
        """
        run(self._delete_thread(thread_id), self.backend.execute)

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata ``run_id`` is one of ``run_ids``, with their pending writes.

        A checkpoint from whose writes a kept checkpoint rebuilds a ``replayed`` channel is kept.

        Args:
            run_ids: the runs; unknown ones are no error.
        """
        run(self._delete_runs(run_ids), self.backend.execute)

    def copy_thread(self, source_id: str, target_id: str) -> None:
        """Copy all checkpoints and pending writes of a thread to another one.

        What the target has already stays, unless it has the same id. A copy that was cut off can be repeated.

        Args:
            source_id: the thread to read; one that does not exist is no error.
            target_id: the thread to write.
        """
        run(self._copy_thread(source_id, target_id), self.backend.execute)

    def prune(self, thread_ids: Sequence[str], *, keep: int = 1) -> None:
        """Keep the newest checkpoints of each namespace and delete the others, with their pending writes.

        Ancestors from whose writes a kept checkpoint rebuilds a ``replayed`` channel are kept too; a kept
        checkpoint whose parent was deleted has no parent any more. A namespace with ``":"`` in it (one call of
        a nested graph) goes with the root checkpoint that its metadata names in ``parents[""]``.

        Args:
            thread_ids: the threads; unknown ones are no error.
            keep: how many to keep in each namespace; 0 deletes the threads.
        """
        run(self._prune(thread_ids, keep), self.backend.execute)

    def reindex(self, thread_id: str) -> int:
        """Rebuild what is derived from a thread's records (indexes, copy of the newest checkpoint).

        Needed after records were added, changed or deleted by other means, such as redis-om.

        Args:
            thread_id: the thread.

        Returns:
            The number of checkpoints found.
        """
        return run(self._reindex(thread_id), self.backend.execute)

    def close(self) -> None:
        """Close what the repository opened itself; a client that you passed stays open. Idempotent."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncCheckpointRepository(_Operations):
    """Checkpoints and pending writes, for asyncio code.

    Get one from :func:`statekeep.aconnect`, or build it over a backend. It may be shared by tasks.

    Args:
        backend: where the records are kept.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> bool:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         checkpoint = statekeep.Checkpoint(thread_id="t")
        ...         await keep.checkpoints.put(checkpoint)
        ...         return (await keep.checkpoints.get("t")).checkpoint_id == checkpoint.checkpoint_id
        >>> asyncio.run(main())
        True
    """

    async def put(self, checkpoint: Checkpoint, *, supply: Supply | None = None) -> None:
        """Store a checkpoint, whole or not at all; one with the same id is replaced.

        Channels marked ``earlier`` are not sent again.

        Args:
            checkpoint: what to store.
            supply: called with the names of ``earlier`` channels whose value is not stored; returns their
                payloads. A channel it leaves out becomes empty.

        Raises:
            MissingChannels: an ``earlier`` value is not stored and there is no ``supply``. Nothing was written.
            InvalidInput: the metadata holds what exact JSON cannot.
        """
        await arun(self._put(checkpoint, supply), self.backend.aexecute)

    async def put_writes(
        self, thread_id: str, checkpoint_id: str, writes: Sequence[PendingWrite], *, namespace: str = ""
    ) -> None:
        """Store pending writes of a checkpoint, all or none.

        The checkpoint need not be stored yet. For ``idx >= 0`` a write that is there already stays; a write
        with a negative ``idx`` replaces it.

        Args:
            thread_id: the thread.
            checkpoint_id: the checkpoint that the writes belong to.
            writes: what to store.
            namespace: the checkpoint's namespace.
        """
        await arun(self._put_writes(thread_id, checkpoint_id, writes, namespace), self.backend.aexecute)

    async def get(
        self, thread_id: str, *, namespace: str = "", checkpoint_id: str | None = None
    ) -> SavedCheckpoint | None:
        """Return a checkpoint with its channel values and pending writes, or ``None``.

        Args:
            thread_id: the thread.
            namespace: ``""`` for the root.
            checkpoint_id: which one; ``None`` for the newest, which is the one with the greatest id.

        Raises:
            CorruptRecord: what is stored is damaged, or a channel value is gone.
        """
        return await arun(self._get(thread_id, namespace, checkpoint_id), self.backend.aexecute)

    def list(
        self,
        thread_id: str | None = None,
        *,
        namespace: str | None = None,
        checkpoint_id: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[SavedCheckpoint]:
        """Iterate over checkpoints, newest first, reading page by page as the iteration goes on.

        Args:
            thread_id: only this thread; ``None`` for all, the most recently updated thread first.
            namespace: only this namespace; ``None`` for all of the thread.
            checkpoint_id: only this id.
            before: only smaller ids, compared as text; it need not be the id of anything.
            limit: at most so many.
            metadata: pairs that must be equal in the checkpoint's metadata; ``None`` matches a missing key.
        """
        query = CheckpointQuery(
            thread_id=thread_id,
            namespace=namespace,
            checkpoint_id=checkpoint_id,
            before=before,
            limit=limit,
            metadata=metadata,
        )
        return self._pages(query)

    async def _pages(self, query: CheckpointQuery) -> AsyncIterator[SavedCheckpoint]:
        page: Page[SavedCheckpoint] = await arun(self.backend.list(query, None), self.backend.aexecute)
        for item in page.items:
            yield item
        while page.cursor is not None:
            page = await arun(self.backend.list(query, page.cursor), self.backend.aexecute)
            for item in page.items:
                yield item

    async def ancestors(
        self, thread_id: str, channels: Sequence[str], *, namespace: str = "", checkpoint_id: str | None = None
    ) -> dict[str, ChannelHistory]:
        """Return what the ancestors of a checkpoint wrote to ``channels`` since the nearest stored value.

        The checkpoint's own value and writes are left out; those of the ancestor that holds the value are in.

        Args:
            thread_id: the thread.
            channels: names of channels.
            namespace: ``""`` for the root.
            checkpoint_id: the checkpoint whose ancestors are walked; ``None`` for the newest.

        Returns:
            One history for each of ``channels``.
        """
        return await arun(self._ancestors(thread_id, channels, namespace, checkpoint_id), self.backend.aexecute)

    def list_threads(
        self, *, prefix: str = "", after: Thread | None = None, limit: int | None = None
    ) -> AsyncIterator[Thread]:
        """Iterate over the threads that have a checkpoint, the most recently updated first.

        A thread that is updated meanwhile moves to the front: what comes later may leave it out.

        Args:
            prefix: only threads whose id starts with this text.
            after: go on behind this thread of an earlier listing.
            limit: at most so many.
        """
        operation = self._list_threads(prefix, after, None if limit is None else count("limit", limit))
        return self._thread_pages(operation, prefix, limit)

    async def _thread_pages(
        self, operation: Operation[Page[Thread]], prefix: str, limit: int | None
    ) -> AsyncIterator[Thread]:
        while True:
            page = await arun(operation, self.backend.aexecute)
            for item in page.items:
                yield item
            limit = None if limit is None else limit - len(page.items)
            if page.cursor is None or limit == 0:
                return
            operation = self._list_threads(prefix, page.cursor, limit)

    async def delete_thread(self, thread_id: str) -> None:
        """Delete every checkpoint and pending write of a thread, in all namespaces.

        Args:
            thread_id: the thread; one that does not exist is no error.
        """
        await arun(self._delete_thread(thread_id), self.backend.aexecute)

    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata ``run_id`` is one of ``run_ids``, with their pending writes.

        A checkpoint from whose writes a kept checkpoint rebuilds a ``replayed`` channel is kept.

        Args:
            run_ids: the runs; unknown ones are no error.
        """
        await arun(self._delete_runs(run_ids), self.backend.aexecute)

    async def copy_thread(self, source_id: str, target_id: str) -> None:
        """Copy all checkpoints and pending writes of a thread to another one.

        What the target has already stays, unless it has the same id. A copy that was cut off can be repeated.

        Args:
            source_id: the thread to read; one that does not exist is no error.
            target_id: the thread to write.
        """
        await arun(self._copy_thread(source_id, target_id), self.backend.aexecute)

    async def prune(self, thread_ids: Sequence[str], *, keep: int = 1) -> None:
        """Keep the newest checkpoints of each namespace and delete the others, with their pending writes.

        Ancestors from whose writes a kept checkpoint rebuilds a ``replayed`` channel are kept too; a kept
        checkpoint whose parent was deleted has no parent any more. A namespace with ``":"`` in it (one call of
        a nested graph) goes with the root checkpoint that its metadata names in ``parents[""]``.

        Args:
            thread_ids: the threads; unknown ones are no error.
            keep: how many to keep in each namespace; 0 deletes the threads.
        """
        await arun(self._prune(thread_ids, keep), self.backend.aexecute)

    async def reindex(self, thread_id: str) -> int:
        """Rebuild what is derived from a thread's records (indexes, copy of the newest checkpoint).

        Needed after records were added, changed or deleted by other means, such as redis-om.

        Args:
            thread_id: the thread.

        Returns:
            The number of checkpoints found.
        """
        return await arun(self._reindex(thread_id), self.backend.aexecute)

    async def close(self) -> None:
        """Close what the repository opened itself; a client that you passed stays open. Idempotent."""
        await self.backend.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
