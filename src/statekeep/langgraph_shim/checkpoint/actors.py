"""Threads of actors: finds the actor of a config, or of a thread without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from ...domain import InvalidInput, PrunePolicy
from ...domain.shown import shown
from ...repositories.agentcore import AgentCoreCheckpoints
from ...repositories.operation import Operation, nested
from . import operations
from .config import identifier, identifiers


class OwnedThread(str):
    """A thread id that knows its actor.

    LangGraph takes nothing but the thread id from a config of ours when it reads the state of a nested graph. To
    everybody else it is the text that it is.

    >>> OwnedThread("chat-1", "ada"), OwnedThread("chat-1", "ada").actor_id
    ('chat-1', 'ada')
    """

    __slots__ = ("actor_id",)
    actor_id: str

    def __new__(cls, thread_id: str, actor_id: str) -> OwnedThread:
        made = super().__new__(cls, thread_id)
        made.actor_id = actor_id
        return made

    def __reduce__(self) -> tuple[type[OwnedThread], tuple[str, str]]:
        return type(self), (str(self), self.actor_id)


def actor_of(config: Any) -> str | None:
    """Return the actor that a config names, ``None`` if it names none.

    Raises:
        InvalidInput: ``actor_id`` is not text, or empty.
    """
    found = _configurable(config)
    if "actor_id" in found:
        return identifier(found["actor_id"], "config.configurable.actor_id")
    return _owner_of(found.get("thread_id"))


def means_all_threads(config: Any) -> bool:
    """Say whether a config names an actor and no thread: all threads of the actor."""
    found = _configurable(config)
    return "actor_id" in found and found.get("thread_id") is None


def _configurable(config: Any) -> Mapping[str, Any]:
    # A wrong config says nothing of actors; what is wrong with it is told by the operation that needs a thread.
    found = config.get("configurable") if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _owner_of(thread_id: Any) -> str | None:
    return thread_id.actor_id if isinstance(thread_id, OwnedThread) else None


def owned(config: RunnableConfig, actor_id: str) -> RunnableConfig:
    """Return the config with the actor added."""
    found = config["configurable"]
    thread = OwnedThread(found["thread_id"], actor_id)
    return {**config, "configurable": {**found, "thread_id": thread, "actor_id": actor_id}}


def _of(backend: AgentCoreCheckpoints, actor_id: str | None) -> AgentCoreCheckpoints:
    return backend if actor_id is None else backend.of_actor(actor_id)


def owner(
    backend: AgentCoreCheckpoints, thread_id: Any, actor_id: Any, field: str = "thread_id"
) -> Operation[str | None]:
    """Return the actor of a thread, ``None`` if nobody has such a thread.

    It is ``actor_id``, else the actor that ``thread_id`` knows, else the only one that has the thread.

    Raises:
        InvalidInput: several have one.
    """
    thread = identifier(thread_id, field)
    if actor_id is not None and actor_id != "":
        return identifier(actor_id, "actor_id")
    if (known := _owner_of(thread_id)) is not None:
        return known
    actors = yield from nested(backend.actors_of_thread(thread))
    if len(actors) > 1:
        some = ", ".join(shown(actor) for actor in actors[:5])
        raise InvalidInput(
            f"{field} {shown(thread)} is a thread of {len(actors)} actors ({some}); say whose with actor_id=",
            field="actor_id",
        )
    return actors[0] if actors else None


def required_actor(actor_id: Any, *thread_ids: Any) -> str:
    """Return ``actor_id``, or else the actor that the threads know.

    Raises:
        InvalidInput: there is none, or they are of several.
    """
    known = {_owner_of(thread_id) for thread_id in thread_ids} or {None}
    found = actor_id or (known.pop() if len(known) == 1 else None)
    if found is None:
        raise InvalidInput("actor_id is required: threads belong to actors, so say whose", field="actor_id")
    return identifier(found, "actor_id")


def delete_thread(backend: AgentCoreCheckpoints, thread_id: str, actor_id: str | None) -> Operation[None]:
    """Delete a thread."""
    actor = yield from owner(backend, thread_id, actor_id)
    yield from operations.delete_thread(_of(backend, actor), thread_id)


def delete_for_runs(backend: AgentCoreCheckpoints, run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of runs, in the threads of all actors."""
    actors: set[str] = set()
    for run_id in identifiers(run_ids, "run_ids"):
        actors |= set((yield from nested(backend.actors_of_run(run_id))))
    for actor in sorted(actors):
        yield from operations.delete_for_runs(backend.of_actor(actor), run_ids)


def copy_thread(
    backend: AgentCoreCheckpoints, source_thread_id: str, target_thread_id: str, actor_id: str | None
) -> Operation[None]:
    """Copy a thread to another one of the same actor."""
    identifier(target_thread_id, "target_thread_id")
    actor = yield from owner(backend, source_thread_id, actor_id, "source_thread_id")
    yield from operations.copy_thread(_of(backend, actor), source_thread_id, target_thread_id)


def prune(
    backend: AgentCoreCheckpoints, thread_ids: Sequence[str], policy: PrunePolicy, actor_id: str | None
) -> Operation[None]:
    """Delete old checkpoints."""
    owners: dict[str | None, list[str]] = {}
    identifiers(thread_ids, "thread_ids")
    for position, thread_id in enumerate(thread_ids):
        actor = yield from owner(backend, thread_id, actor_id, f"thread_ids[{position}]")
        owners.setdefault(actor, []).append(thread_id)
    for actor, threads in owners.items():
        yield from operations.prune(_of(backend, actor), threads, policy)
