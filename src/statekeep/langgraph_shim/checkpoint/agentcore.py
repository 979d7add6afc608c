"""LangGraph's checkpointer on Amazon Bedrock AgentCore Memory."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from ...repositories.agentcore import AgentCoreCheckpoints, Progress, open_checkpoints
from ...repositories.agentcore.backend import ACTOR, INLINE
from ...repositories.checkpoints import CheckpointRepository
from ...repositories.encrypted_metadata import Encrypt
from ...repositories.process.notices import aws_logger, notice
from ..serializers import Strict, chosen_serde
from . import actors, operations
from .base import RepositorySaver
from .of_actors import SaverOfActors

__all__ = ["AgentCoreMemorySaver"]

_WITHOUT_EFFECT: Final = {
    "limit": "nothing is cut off here",
    "max_results": "no operation reads a whole thread here",
    "checkpoint_format": "there is one format, which reads and writes less than both of them",
    "max_retries": 'use config=botocore.config.Config(retries={"total_max_attempts": ...})',
    "initial_backoff": "boto3's own retries wait",
    "max_backoff": "boto3's own retries wait",
}


class AgentCoreMemorySaver(SaverOfActors):
    """A LangGraph checkpointer on Amazon Bedrock AgentCore Memory.

    Threads belong to actors: those of different actors are different threads, whatever their ids. The config says
    ``actor_id`` beside ``thread_id``; both may be any text. Serves ``invoke`` and ``ainvoke``, which calls boto3 in
    threads of its own. May be shared by threads and tasks.

    Args:
        memory_id: the id of the memory, ``NAME-XXXXXXXXXX``, or its ARN.
        actor_id: whose threads are meant by configs without an ``actor_id``.
        serde: serializes values; LangGraph's JsonPlusSerializer by default. Metadata, with what ``config`` has under
            ``configurable``, is stored in clear text even if it encrypts, to be filtered by: see ``encrypt_metadata``.
        strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
            :class:`~statekeep.langgraph_shim.StrictSerializer`. Recommended. Not with ``serde``.
        encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
            which alone ``list`` can filter then.
        inline: bytes up to which a channel value is stored within each checkpoint that has it.
        progress: called with a :class:`~statekeep.repositories.agentcore.Progress` while threads are deleted, which
            takes a call for each event.
        max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``; ``None``:
            all. A thread is pruned by some of its puts, so for a while it may have twice as many, or ten more. The
            service deletes 20 events a second, so a put that prunes takes seconds.
        **options: ``value_cache``, the bytes of long values that this process keeps for all actors, so that a put
            stores and sends what is new in them (0 stores and sends them whole), ``grace`` and ``renewal``, as of
            :class:`~statekeep.repositories.agentcore.AgentCoreCheckpoints`; how to reach the service: ``region_name``,
            ``credentials_profile_name``, ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_session_token``
            (text or ``SecretStr``), ``endpoint_url``, ``verify``, ``config`` (of botocore), ``session`` (of boto3), or
            a ready ``client``, which is never closed; see
            :class:`~statekeep.repositories.aws.AwsSettings`. Those of langgraph-checkpoint-aws that have no use here
            are accepted; the logger ``statekeep.aws`` says once what is done instead.

    Attributes:
        memory_id: as it was given.
        actor_id: as it was given.
        serde: the serializer.

    Raises:
        InvalidInput: an argument is wrong or unknown, or no region is known.
        MissingDependency: boto3 is not installed.

    Example:
        >>> from langgraph.graph import StateGraph
        >>> from statekeep.testing.aws import AwsEmulator
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> with AwsEmulator() as aws, AgentCoreMemorySaver(aws.memory_id, session=aws.session()) as saver:
        ...     graph = builder.compile(checkpointer=saver)
        ...     graph.invoke(1, {"configurable": {"thread_id": "session-1", "actor_id": "react-agent-1"}})
        2
    """

    _plain: AgentCoreCheckpoints

    def __init__(
        self,
        memory_id: str,
        *,
        actor_id: str = ACTOR,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        encrypt_metadata: Encrypt = False,
        inline: int = INLINE,
        progress: Callable[[Progress], None] | None = None,
        max_checkpoints: int | None = None,
        **options: Any,
    ) -> None:
        for name in options.keys() & _WITHOUT_EFFECT:
            del options[name]
            notice(aws_logger, logging.WARNING, name, f"{name} has no effect: {_WITHOUT_EFFECT[name]}")
        serde = chosen_serde(serde, strict)
        backend = open_checkpoints(memory_id, actor_id=actor_id, inline=inline, progress=progress, **options)
        super().__init__(
            CheckpointRepository(backend),
            serde=serde,
            encrypt_metadata=encrypt_metadata,
            max_checkpoints=max_checkpoints,
        )
        self.memory_id = backend.memory_id
        self.actor_id = backend.actor_id

    def _backend_of(self, actor_id: str) -> AgentCoreCheckpoints:
        return self._plain.of_actor(actor_id)

    # LangGraph's methods, where a thread may be anybody's

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints as :meth:`RepositorySaver.list` does.

        Without a config, those of the threads of all actors.

        A config with ``actor_id`` and without ``thread_id`` stands for all threads of an actor.
        """
        if actors.means_all_threads(config):
            return RepositorySaver.list(self._at(config), None, filter=filter, before=before, limit=limit)
        found = super().list(config, filter=filter, before=before, limit=limit)
        return found if config else self._everywhere(filter, before, limit)

    def _everywhere(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None, limit: int | None
    ) -> Iterator[CheckpointTuple]:
        for actor_id, thread in self._run(self._plain.every_thread(), "checkpoints.list_threads") if limit != 0 else ():
            where: RunnableConfig = {"configurable": {"thread_id": thread.thread_id}}
            for found in RepositorySaver.list(self._of(actor_id), where, filter=filter, before=before, limit=limit):
                yield found
                limit = None if limit is None else limit - 1
            if limit == 0:
                return

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As :meth:`list`: an async generator."""
        if actors.means_all_threads(config):
            return RepositorySaver.alist(self._at(config), None, filter=filter, before=before, limit=limit)
        found = super().alist(config, filter=filter, before=before, limit=limit)
        return found if config else self._aeverywhere(filter, before, limit)

    async def _aeverywhere(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None, limit: int | None
    ) -> AsyncIterator[CheckpointTuple]:
        for actor_id, thread in (
            await self._arun(self._plain.every_thread(), "checkpoints.list_threads") if limit != 0 else ()
        ):
            where: RunnableConfig = {"configurable": {"thread_id": thread.thread_id}}
            saver = self._of(actor_id)
            async for found in RepositorySaver.alist(saver, where, filter=filter, before=before, limit=limit):
                yield found
                limit = None if limit is None else limit - 1
            if limit == 0:
                return

    def delete_thread(self, thread_id: str, actor_id: str | None = None) -> None:
        """Delete all checkpoints and pending writes of a thread.

        One that does not exist is no error.

        Args:
            thread_id: the thread.
            actor_id: whose; not needed if no other actor has a thread of this id.

        Raises:
            InvalidInput: several actors have such a thread. Nothing was deleted.
        """
        self._run(actors.delete_thread(self._plain, thread_id, actor_id), "checkpoints.delete_thread")

    async def adelete_thread(self, thread_id: str, actor_id: str | None = None) -> None:
        """As :meth:`delete_thread`."""
        await self._arun(actors.delete_thread(self._plain, thread_id, actor_id), "checkpoints.delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As :meth:`RepositorySaver.delete_for_runs`, in the threads of all actors."""
        self._run(actors.delete_for_runs(self._plain, run_ids), "checkpoints.delete_runs")

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As :meth:`delete_for_runs`."""
        await self._arun(actors.delete_for_runs(self._plain, run_ids), "checkpoints.delete_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str, actor_id: str | None = None) -> None:
        """As :meth:`RepositorySaver.copy_thread`, within one actor's threads.

        Args:
            source_thread_id: the thread to read.
            target_thread_id: the thread to write.
            actor_id: whose they are; not needed if no other actor has a thread with the id of the source.

        Raises:
            InvalidInput: several actors have such a thread. Nothing was copied.
        """
        self._run(
            actors.copy_thread(self._plain, source_thread_id, target_thread_id, actor_id), "checkpoints.copy_thread"
        )

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str, actor_id: str | None = None) -> None:
        """As :meth:`copy_thread`."""
        await self._arun(
            actors.copy_thread(self._plain, source_thread_id, target_thread_id, actor_id), "checkpoints.copy_thread"
        )

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep: int | None = None,
        older_than: dt.timedelta | float | None = None,
        actor_id: str | None = None,
    ) -> None:
        """As :meth:`RepositorySaver.prune`.

        Args:
            thread_ids: the threads.
            strategy: ``"keep_latest"`` or ``"delete"``.
            keep: how many stay in each namespace; 1 by default.
            older_than: only those of the others go that are older: a ``timedelta``, or seconds.
            actor_id: whose they are; not needed if no other actor has threads of these ids.

        Raises:
            InvalidInput: several actors have such a thread, or as there. Nothing was deleted.
        """
        policy = operations.policy_of(strategy, keep, older_than)
        self._run(actors.prune(self._plain, thread_ids, policy, actor_id), "checkpoints.prune")

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep: int | None = None,
        older_than: dt.timedelta | float | None = None,
        actor_id: str | None = None,
    ) -> None:
        """As :meth:`prune`."""
        policy = operations.policy_of(strategy, keep, older_than)
        await self._arun(actors.prune(self._plain, thread_ids, policy, actor_id), "checkpoints.prune")
