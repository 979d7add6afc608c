"""LangGraph checkpointers over any checkpoint repository."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from ...domain import CheckpointQuery
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from ...repositories.encrypted_metadata import Encrypt, encrypting
from ..faces import Awaiting, Blocking, Faces, checked_repository
from ..serializers import Strict, chosen_serde
from . import operations
from .retention import Retention
from .versions import next_version


class Saver(Faces, BaseCheckpointSaver[str]):
    """LangGraph's methods over both faces of one backend.

    No attribute may be derived from ``serde``: ``with_allowlist`` copies the saver and replaces it. (Encrypted metadata
    is text for the serializer, of which any one with this cipher makes the same.)
    """

    _backend: CheckpointBackend
    _plain: CheckpointBackend
    """The same without encryption of metadata."""

    def __init__(
        self,
        backend: CheckpointBackend,
        serde: SerializerProtocol | None,
        strict: Strict,
        encrypt_metadata: Encrypt = False,
        max_checkpoints: int | None = None,
    ) -> None:
        self._retention = None if max_checkpoints is None else Retention(max_checkpoints)
        super().__init__(serde=chosen_serde(serde, strict))
        self._plain = backend
        self._backend = encrypting(backend, self.serde, encrypt_metadata)
        self._execute, self._aexecute = backend.execute, backend.aexecute

    def _at(self, config: Any) -> Saver:
        """Return the saver that answers for a config: this one, unless it names an actor."""
        return self

    # LangGraph's methods

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint, its metadata and pending writes, or ``None``.

        Args:
            config: with ``thread_id`` (text, or an integer taken as text), ``checkpoint_ns`` (default: the root)
                and ``checkpoint_id`` (default: the newest) under ``configurable``.

        Raises:
            InvalidInput: ``thread_id`` is missing, or something is of a wrong type.
            CorruptRecord: stored bytes are damaged, or were written with another serializer.
        """
        saver = self._at(config)
        return saver._run(operations.get(saver._backend, self.serde, config), "checkpoints.get", config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As :meth:`get_tuple`."""
        saver = self._at(config)
        return await saver._arun(operations.get(saver._backend, self.serde, config), "checkpoints.get", config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Iterate over checkpoints, newest first; what was not iterated over is not read.

        Args:
            config: which thread; without ``checkpoint_ns`` all its namespaces, with ``checkpoint_id`` only that
                one. ``None`` for all threads.
            filter: pairs that must be equal in the metadata. There are no operators, as in LangGraph's savers.
            before: only checkpoints with a smaller id than this config's, which need not exist.
            limit: at most so many.

        Raises:
            InvalidInput: an argument is wrong; raised by the call, not by the iteration.
        """
        saver = self._at(config)
        saver._enter_sync()
        query = CheckpointQuery(**operations.query(saver._backend, self.serde, config, filter, before, limit))
        return saver._tuples(query)

    def _tuples(self, query: CheckpointQuery) -> Iterator[CheckpointTuple]:
        page = self._run(self._backend.list(query, None), "checkpoints.list", query)
        while True:
            for saved in page.items:
                yield self._run(operations.complete(self._backend, self.serde, saved, page.items))
            if page.cursor is None:
                return
            page = self._run(self._backend.list(query, page.cursor), "checkpoints.list", query)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As :meth:`list`: an async generator."""
        saver = self._at(config)
        query = CheckpointQuery(**operations.query(saver._backend, self.serde, config, filter, before, limit))
        return saver._atuples(query)

    async def _atuples(self, query: CheckpointQuery) -> AsyncIterator[CheckpointTuple]:
        page = await self._arun(self._backend.list(query, None), "checkpoints.list", query)
        while True:
            for saved in page.items:
                yield await self._arun(operations.complete(self._backend, self.serde, saved, page.items))
            if page.cursor is None:
                return
            page = await self._arun(self._backend.list(query, page.cursor), "checkpoints.list", query)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whole or not at all; one with the same id is replaced.

        Only the values of the channels in ``new_versions`` are serialized and sent. The repository asks for
        others only when it has lost them.

        Args:
            config: the thread and namespace; its ``checkpoint_id`` is the parent of the new checkpoint.
            checkpoint: what to store.
            metadata: to be filtered by; kept exactly, in clear text even if the serializer encrypts, unless
                ``encrypt_metadata`` says otherwise. LangGraph adds what ``config`` has under ``configurable``.
            new_versions: the channels that changed since the parent.

        Returns:
            The config of the stored checkpoint.

        Raises:
            InvalidInput: an argument does not have LangGraph's shape.
        """
        saver = self._at(config)
        return saver._run(
            operations.put(saver._backend, self.serde, config, checkpoint, metadata, new_versions, saver._retention),
            "checkpoints.put",
            config,
        )

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As :meth:`put`."""
        saver = self._at(config)
        return await saver._arun(
            operations.put(saver._backend, self.serde, config, checkpoint, metadata, new_versions, saver._retention),
            "checkpoints.put",
            config,
        )

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote, all or nothing.

        The checkpoint need not be stored yet. Of ordinary writes to one place the first one stays; of special
        ones (error, interrupt, resume) the last.

        Args:
            config: the checkpoint, with its ``checkpoint_id``.
            writes: (channel, value) pairs.
            task_id: the task.
            task_path: where in the step the task stands; writes are read in the order of their paths.

        Raises:
            InvalidInput: ``thread_id`` or ``checkpoint_id`` is missing, or something is of a wrong type.
        """
        saver = self._at(config)
        saver._run(
            operations.put_writes(saver._backend, self.serde, config, writes, task_id, task_path),
            "checkpoints.put_writes",
            config,
        )

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As :meth:`put_writes`."""
        saver = self._at(config)
        await saver._arun(
            operations.put_writes(saver._backend, self.serde, config, writes, task_id, task_path),
            "checkpoints.put_writes",
            config,
        )

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and pending writes of a thread.

        One that does not exist is no error.
        """
        self._run(operations.delete_thread(self._backend, thread_id), "checkpoints.delete_thread")

    async def adelete_thread(self, thread_id: str) -> None:
        """As :meth:`delete_thread`."""
        await self._arun(operations.delete_thread(self._backend, thread_id), "checkpoints.delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, with their pending writes.

        A checkpoint from which a remaining one rebuilds a ``DeltaChannel`` is kept.

        Args:
            run_ids: the runs, as in the metadata's ``run_id``; unknown ones are no error.
        """
        self._run(operations.delete_for_runs(self._backend, run_ids), "checkpoints.delete_runs")

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As :meth:`delete_for_runs`."""
        await self._arun(operations.delete_for_runs(self._backend, run_ids), "checkpoints.delete_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and pending writes of a thread to another.

        Args:
            source_thread_id: the thread to read; one that does not exist is no error.
            target_thread_id: the thread to write; what it has already stays.
        """
        self._run(operations.copy_thread(self._backend, source_thread_id, target_thread_id), "checkpoints.copy_thread")

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As :meth:`copy_thread`."""
        await self._arun(
            operations.copy_thread(self._backend, source_thread_id, target_thread_id), "checkpoints.copy_thread"
        )

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep: int | None = None,
        older_than: dt.timedelta | float | None = None,
    ) -> None:
        """Delete old checkpoints of threads.

        Args:
            thread_ids: the threads; unknown ones are no error.
            strategy: ``"keep_latest"`` keeps the newest checkpoints of each namespace, and the ancestors from
                which they rebuild a ``DeltaChannel``; ``"delete"`` deletes the threads.
            keep: how many stay in each namespace; 1 by default.
            older_than: only those of the others go that are older, as their ``ts`` says: a ``timedelta``, or seconds.

        Raises:
            InvalidInput: an argument is wrong, or ``thread_ids`` is one text (then also a ``TypeError``). Nothing
                was changed.
        """
        policy = operations.policy_of(strategy, keep, older_than)
        self._run(operations.prune(self._backend, thread_ids, policy), "checkpoints.prune")

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep: int | None = None,
        older_than: dt.timedelta | float | None = None,
    ) -> None:
        """As :meth:`prune`."""
        policy = operations.policy_of(strategy, keep, older_than)
        await self._arun(operations.prune(self._backend, thread_ids, policy), "checkpoints.prune")

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what ancestors wrote to channels since the last stored value.

        Args:
            config: the checkpoint; without ``checkpoint_id`` the newest.
            channels: names of channels.

        Returns:
            For each channel its ``writes``, oldest first, and the stored value as ``seed`` if there is one.
        """
        saver = self._at(config)
        return saver._run(
            operations.get_delta_channel_history(saver._backend, self.serde, config, channels),
            "checkpoints.ancestors",
            config,
        )

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As :meth:`get_delta_channel_history`."""
        saver = self._at(config)
        return await saver._arun(
            operations.get_delta_channel_history(saver._backend, self.serde, config, channels),
            "checkpoints.ancestors",
            config,
        )

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a version greater than ``current``, which no other branch will make."""
        return next_version(current)


class RepositorySaver(Blocking, Saver):
    """A LangGraph checkpointer over a checkpoint repository.

    Serves ``invoke`` and ``ainvoke`` alike: every backend answers both. May be shared by threads and tasks, and
    kept as long as the program runs; as a context manager it closes the repository at the end.

    Args:
        repository: where checkpoints are kept.
        serde: serializes channel values, pending writes and headers; LangGraph's JsonPlusSerializer by default.
        strict: only objects of known types are made of what is stored, see :class:`StrictSerializer`; recommended
            wherever others may write to the store. ``True``, or a list of types of yours to allow. Not with ``serde``.
        encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
            which alone ``list`` can filter then. See
            :class:`~statekeep.repositories.encrypted_metadata.EncryptedMetadata`.
        max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``; ``None``:
            all. A thread is pruned by some of its puts, so for a while it may have twice as many, or ten more.

    Raises:
        InvalidInput: ``repository`` is not a ``CheckpointRepository``, ``serde`` no serializer, or ``strict``
            no choice.

    Example:
        >>> import statekeep
        >>> from langgraph.graph import StateGraph
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> with RepositorySaver(statekeep.connect("memory:").checkpoints) as saver:
        ...     graph = builder.compile(checkpointer=saver)
        ...     graph.invoke(1, {"configurable": {"thread_id": "t"}})
        2
    """

    def __init__(
        self,
        repository: CheckpointRepository,
        *,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        encrypt_metadata: Encrypt = False,
        max_checkpoints: int | None = None,
    ) -> None:
        keep = checked_repository(repository, CheckpointRepository, AsyncCheckpointRepository, "AsyncRepositorySaver")
        super().__init__(keep.backend, serde, strict, encrypt_metadata, max_checkpoints)


class AsyncRepositorySaver(Awaiting, Saver):
    """A LangGraph checkpointer over an async checkpoint repository.

    Serves ``ainvoke``, and answers sync calls from threads in which no event loop runs, such as those of sync
    nodes in an async graph. A sync call in an event loop's own thread would block the loop; it is refused.

    Args:
        repository: where checkpoints are kept.
        serde: serializes channel values, pending writes and headers; LangGraph's JsonPlusSerializer by default.
        strict: only objects of known types are made of what is stored, see :class:`StrictSerializer`; recommended
            wherever others may write to the store. ``True``, or a list of types of yours to allow. Not with ``serde``.
        encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
            which alone ``list`` can filter then. See
            :class:`~statekeep.repositories.encrypted_metadata.EncryptedMetadata`.
        max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``; ``None``:
            all. A thread is pruned by some of its puts, so for a while it may have twice as many, or ten more.

    Raises:
        InvalidInput: ``repository`` is not an ``AsyncCheckpointRepository``, ``serde`` no serializer, or ``strict``
            no choice.

    Example:
        >>> import asyncio, statekeep
        >>> from langgraph.graph import StateGraph
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> async def main() -> int:
        ...     async with AsyncRepositorySaver(statekeep.aconnect("memory:").checkpoints) as saver:
        ...         graph = builder.compile(checkpointer=saver)
        ...         return await graph.ainvoke(1, {"configurable": {"thread_id": "t"}})
        >>> asyncio.run(main())
        2
    """

    _twins = "graph.ainvoke, graph.aget_state, saver.aget_tuple"

    def __init__(
        self,
        repository: AsyncCheckpointRepository,
        *,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        encrypt_metadata: Encrypt = False,
        max_checkpoints: int | None = None,
    ) -> None:
        keep = checked_repository(repository, AsyncCheckpointRepository, CheckpointRepository, "RepositorySaver")
        super().__init__(keep.backend, serde, strict, encrypt_metadata, max_checkpoints)
