"""One face of a repository behind the other, so that a test is written once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal

from ..domain import ChannelHistory, Checkpoint, PendingWrite, SavedCheckpoint, Thread
from ..repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository, Supply

ItemT = TypeVar("ItemT")


class Awaited(AsyncCheckpointRepository):
    """The blocking face, called as the async one is. It blocks the event loop.

    Args:
        repository: what answers.
    """

    def __init__(self, repository: CheckpointRepository) -> None:
        super().__init__(repository.backend)
        self._face = repository

    async def put(self, checkpoint: Checkpoint, *, supply: Supply | None = None) -> None:
        self._face.put(checkpoint, supply=supply)

    async def put_writes(
        self, thread_id: str, checkpoint_id: str, writes: Sequence[PendingWrite], *, namespace: str = ""
    ) -> None:
        self._face.put_writes(thread_id, checkpoint_id, writes, namespace=namespace)

    async def get(
        self, thread_id: str, *, namespace: str = "", checkpoint_id: str | None = None
    ) -> SavedCheckpoint | None:
        return self._face.get(thread_id, namespace=namespace, checkpoint_id=checkpoint_id)

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
        return _awaited(
            self._face.list(
                thread_id,
                namespace=namespace,
                checkpoint_id=checkpoint_id,
                before=before,
                limit=limit,
                metadata=metadata,
            )
        )

    async def ancestors(
        self, thread_id: str, channels: Sequence[str], *, namespace: str = "", checkpoint_id: str | None = None
    ) -> dict[str, ChannelHistory]:
        return self._face.ancestors(thread_id, channels, namespace=namespace, checkpoint_id=checkpoint_id)

    def list_threads(
        self, *, prefix: str = "", after: Thread | None = None, limit: int | None = None
    ) -> AsyncIterator[Thread]:
        return _awaited(self._face.list_threads(prefix=prefix, after=after, limit=limit))

    async def delete_thread(self, thread_id: str) -> None:
        self._face.delete_thread(thread_id)

    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        self._face.delete_runs(run_ids)

    async def copy_thread(self, source_id: str, target_id: str) -> None:
        self._face.copy_thread(source_id, target_id)

    async def prune(self, thread_ids: Sequence[str], *, keep: int = 1) -> None:
        self._face.prune(thread_ids, keep=keep)

    async def reindex(self, thread_id: str) -> int:
        return self._face.reindex(thread_id)

    async def close(self) -> None:
        self._face.close()


async def _awaited(items: Iterator[ItemT]) -> AsyncIterator[ItemT]:
    for item in items:
        yield item


class Blocking(CheckpointRepository):
    """The async face, called as the blocking one is. Listings are read to their end at once.

    Args:
        repository: what answers.
        portal: to the event loop in which ``repository`` lives.
    """

    def __init__(self, repository: AsyncCheckpointRepository, portal: BlockingPortal) -> None:
        super().__init__(repository.backend)
        self._face = repository
        self._portal = portal

    def put(self, checkpoint: Checkpoint, *, supply: Supply | None = None) -> None:
        self._portal.call(lambda: self._face.put(checkpoint, supply=supply))

    def put_writes(
        self, thread_id: str, checkpoint_id: str, writes: Sequence[PendingWrite], *, namespace: str = ""
    ) -> None:
        self._portal.call(lambda: self._face.put_writes(thread_id, checkpoint_id, writes, namespace=namespace))

    def get(self, thread_id: str, *, namespace: str = "", checkpoint_id: str | None = None) -> SavedCheckpoint | None:
        return self._portal.call(lambda: self._face.get(thread_id, namespace=namespace, checkpoint_id=checkpoint_id))

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
        found = self._face.list(
            thread_id, namespace=namespace, checkpoint_id=checkpoint_id, before=before, limit=limit, metadata=metadata
        )
        return iter(self._portal.call(_collected, found))

    def ancestors(
        self, thread_id: str, channels: Sequence[str], *, namespace: str = "", checkpoint_id: str | None = None
    ) -> dict[str, ChannelHistory]:
        return self._portal.call(
            lambda: self._face.ancestors(thread_id, channels, namespace=namespace, checkpoint_id=checkpoint_id)
        )

    def list_threads(
        self, *, prefix: str = "", after: Thread | None = None, limit: int | None = None
    ) -> Iterator[Thread]:
        return iter(self._portal.call(_collected, self._face.list_threads(prefix=prefix, after=after, limit=limit)))

    def delete_thread(self, thread_id: str) -> None:
        self._portal.call(lambda: self._face.delete_thread(thread_id))

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        self._portal.call(lambda: self._face.delete_runs(run_ids))

    def copy_thread(self, source_id: str, target_id: str) -> None:
        self._portal.call(lambda: self._face.copy_thread(source_id, target_id))

    def prune(self, thread_ids: Sequence[str], *, keep: int = 1) -> None:
        self._portal.call(lambda: self._face.prune(thread_ids, keep=keep))

    def reindex(self, thread_id: str) -> int:
        return self._portal.call(lambda: self._face.reindex(thread_id))

    def close(self) -> None:
        self._portal.call(self._face.close)


async def _collected(items: AsyncIterator[ItemT]) -> list[ItemT]:
    return [item async for item in items]
