"""LangGraph checkpointer on Valkey whose threads belong to actors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, Final, Self

from langgraph.checkpoint.serde.base import SerializerProtocol

from ...domain import InvalidInput
from ...repositories.encrypted_metadata import Encrypt
from ...repositories.records.known_values import BYTES as VALUE_CACHE
from ...repositories.valkey import ValkeyCheckpoints
from ...repositories.valkey.keys import encode_part
from ..serializers import Strict
from . import actors
from .of_actors import SaverOfActors
from .valkey import ValkeySaver

__all__ = ["AgentCoreValkeySaver"]

_NOT_NEEDED: Final = ("max_retries", "retry_delay")


class AgentCoreValkeySaver(SaverOfActors, ValkeySaver):
    """A LangGraph checkpointer on Valkey that keeps the threads of actors apart.

    A :class:`ValkeySaver` whose configs must name an ``actor_id`` beside the ``thread_id``: threads of different actors
    are different threads, whatever their ids. Each actor's have a key prefix of their own, ``PREFIX:actor:ACTOR``.

    Args:
        client: as for :class:`ValkeySaver`, like all other arguments.

    Raises:
        InvalidInput: an argument is wrong, or ``max_retries`` or ``retry_delay`` is given: requests are repeated until
            the ``deadline``.

    Example:
        >>> from langgraph.graph import StateGraph
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> with AgentCoreValkeySaver.from_conn_string("embedded:") as saver:
        ...     graph = builder.compile(checkpointer=saver)
        ...     graph.invoke(1, {"configurable": {"thread_id": "session-1", "actor_id": "ada"}})
        2
    """

    _plain: ValkeyCheckpoints

    def __init__(
        self,
        client: Any,
        *,
        ttl: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        encrypt_metadata: Encrypt = False,
        deadline: float = 10.0,
        max_checkpoints: int | None = None,
        value_cache: int = VALUE_CACHE,
        index_metadata: Collection[str] = (),
        **options: Any,
    ) -> None:
        for name in options:
            if name in _NOT_NEEDED:
                raise InvalidInput(f"{name} is not needed: requests are repeated until the deadline", field=name)
            raise InvalidInput(f"there is no argument {name}", field=name)
        super().__init__(
            client,
            ttl=ttl,
            serde=serde,
            strict=strict,
            prefix=prefix,
            refresh_on_read=refresh_on_read,
            encrypt_metadata=encrypt_metadata,
            deadline=deadline,
            max_checkpoints=max_checkpoints,
            value_cache=value_cache,
            index_metadata=index_metadata,
        )
        self._prefix = prefix

    @classmethod
    def afrom_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """As :meth:`from_conn_string`, which serves event loops, too.

        Use it with ``async with``.
        """
        return cls.from_conn_string(conn_string, **options)

    def _backend_of(self, actor_id: str) -> ValkeyCheckpoints:
        all_actors = self._plain
        return ValkeyCheckpoints(
            all_actors.client,
            prefix=f"{self._prefix}:actor:{encode_part(actor_id)}",
            ttl=all_actors.ttl,
            refresh_on_read=all_actors.refresh_on_read,
            value_cache=all_actors.value_cache,
            index_metadata=all_actors.index_metadata,
        )

    def _at(self, config: Any) -> Self:
        actor_id = actors.actor_of(config)
        if actor_id is None:
            field = "config.configurable.actor_id"
            raise InvalidInput(f"{field} is required: threads belong to actors", field=field)
        return self._of(actor_id)

    def delete_thread(self, thread_id: str, actor_id: str | None = None) -> None:
        """Delete all checkpoints and pending writes of an actor's thread.

        One that does not exist is no error.

        Args:
            thread_id: the thread.
            actor_id: whose. Only a ``thread_id`` out of a config that this saver returned knows it, too.

        Raises:
            InvalidInput: it is not known whose.
        """
        ValkeySaver.delete_thread(self._of(actors.required_actor(actor_id, thread_id)), thread_id)

    async def adelete_thread(self, thread_id: str, actor_id: str | None = None) -> None:
        """As :meth:`delete_thread`."""
        await ValkeySaver.adelete_thread(self._of(actors.required_actor(actor_id, thread_id)), thread_id)

    def delete_for_runs(self, run_ids: Sequence[str], actor_id: str | None = None) -> None:
        """As :meth:`ValkeySaver.delete_for_runs`, in the threads of one actor.

        Raises:
            InvalidInput: ``actor_id`` is missing.
        """
        ValkeySaver.delete_for_runs(self._of(actors.required_actor(actor_id)), run_ids)

    async def adelete_for_runs(self, run_ids: Sequence[str], actor_id: str | None = None) -> None:
        """As :meth:`delete_for_runs`."""
        await ValkeySaver.adelete_for_runs(self._of(actors.required_actor(actor_id)), run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str, actor_id: str | None = None) -> None:
        """As :meth:`ValkeySaver.copy_thread`, within one actor's threads.

        Raises:
            InvalidInput: it is not known whose they are.
        """
        saver = self._of(actors.required_actor(actor_id, source_thread_id))
        ValkeySaver.copy_thread(saver, source_thread_id, target_thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str, actor_id: str | None = None) -> None:
        """As :meth:`copy_thread`."""
        saver = self._of(actors.required_actor(actor_id, source_thread_id))
        await ValkeySaver.acopy_thread(saver, source_thread_id, target_thread_id)

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep: int | None = None,
        older_than: dt.timedelta | float | None = None,
        actor_id: str | None = None,
    ) -> None:
        """As :meth:`ValkeySaver.prune`, in the threads of one actor.

        Raises:
            InvalidInput: it is not known whose they are.
        """
        saver = self._of(actors.required_actor(actor_id, *thread_ids))
        ValkeySaver.prune(saver, thread_ids, strategy=strategy, keep=keep, older_than=older_than)

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
        saver = self._of(actors.required_actor(actor_id, *thread_ids))
        await ValkeySaver.aprune(saver, thread_ids, strategy=strategy, keep=keep, older_than=older_than)
