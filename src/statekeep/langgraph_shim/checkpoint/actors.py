"""Threads that belong to actors: whose thread a config means, and what to do with threads of which nobody says whose."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

from ...domain import InvalidInput, Thread
from ...domain.shown import shown
from ...repositories.agentcore import AgentCoreCheckpoints
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ...repositories.operation import Operation, arun, run
from . import operations
from .config import identifier, identifiers

Repository = CheckpointRepository | AsyncCheckpointRepository
ResultT = TypeVar("ResultT")


class OwnedThread(str):
    """A thread id that knows whose thread it is.

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
    """Return whose threads a config means, ``None`` if it does not say.

    Raises:
        InvalidInput: ``actor_id`` is not text, or empty.
    """
    found = _configurable(config)
    if "actor_id" in found:
        return identifier(found["actor_id"], "config.configurable.actor_id")
    return _owner_of(found.get("thread_id"))


def means_all_threads(config: Any) -> bool:
    """Whether a config says whose threads are meant, and not which."""
    found = _configurable(config)
    return "actor_id" in found and found.get("thread_id") is None


def _configurable(config: Any) -> Mapping[str, Any]:
    """What is wrong with a config is told by whoever needs a thread; here it says nothing of actors."""
    found = config.get("configurable") if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _owner_of(thread_id: Any) -> str | None:
    return thread_id.actor_id if isinstance(thread_id, OwnedThread) else None


def owned(config: RunnableConfig, actor_id: str) -> RunnableConfig:
    """Return a config that says whose thread it is."""
    found = config["configurable"]
    thread = OwnedThread(found["thread_id"], actor_id)
    return {**config, "configurable": {**found, "thread_id": thread, "actor_id": actor_id}}


def of_actor(keep: Repository, actor_id: str) -> Any:
    """Return the repository of another actor, of the same face."""
    return type(keep)(_backend(keep).of_actor(actor_id))


def _backend(keep: Repository) -> AgentCoreCheckpoints:
    backend = keep.backend
    assert isinstance(backend, AgentCoreCheckpoints)
    return backend


def _ask(keep: Repository, operation: Operation[ResultT]) -> ResultT | Awaitable[ResultT]:
    """Run an operation of the backend."""
    backend = keep.backend
    return _driven(keep, operation, backend.execute if isinstance(keep, CheckpointRepository) else backend.aexecute)


def _driven(keep: Repository, operation: Operation[ResultT], execute: Any) -> ResultT | Awaitable[ResultT]:
    """Run an operation as the face of a repository does."""
    driver: Any = run if isinstance(keep, CheckpointRepository) else arun
    done: ResultT | Awaitable[ResultT] = driver(operation, execute)
    return done


def _on(actor_id: str | None, operation: Operation[ResultT]) -> Operation[ResultT]:
    """Run an operation on the repository of an actor, or on the one that there is."""

    def request(keep: Repository) -> ResultT | Awaitable[ResultT]:
        place = keep if actor_id is None else of_actor(keep, actor_id)
        return _driven(keep, operation, lambda inner: inner(place))

    result: ResultT = yield request
    return result


def every_thread() -> Operation[Sequence[tuple[str, Thread]]]:
    """Return the threads of all actors with their actors, the most recently updated first."""
    found: Sequence[tuple[str, Thread]] = yield lambda keep: _ask(keep, _backend(keep).every_thread())
    return found


def owner(thread_id: Any, actor_id: Any, field: str = "thread_id") -> Operation[str | None]:
    """Return whose thread it is: as it is said, or else whoever has one; ``None`` if nobody has.

    Raises:
        InvalidInput: several have one.
    """
    thread = identifier(thread_id, field)
    if actor_id is not None and actor_id != "":
        return identifier(actor_id, "actor_id")
    if (known := _owner_of(thread_id)) is not None:
        return known
    actors: Sequence[str] = yield lambda keep: _ask(keep, _backend(keep).actors_of_thread(thread))
    if len(actors) > 1:
        some = ", ".join(shown(actor) for actor in actors[:5])
        raise InvalidInput(
            f"{field} {shown(thread)} is a thread of {len(actors)} actors ({some}); say whose with actor_id=",
            field="actor_id",
        )
    return actors[0] if actors else None


def delete_thread(thread_id: str, actor_id: str | None) -> Operation[None]:
    """Delete a thread."""
    actor = yield from owner(thread_id, actor_id)
    yield from _on(actor, operations.delete_thread(thread_id))


def delete_for_runs(run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of runs, whosesoever they are."""
    actors: set[str] = set()
    for run_id in identifiers(run_ids, "run_ids"):
        actors |= set((yield lambda keep, run_id=run_id: _ask(keep, _backend(keep).actors_of_run(run_id))))
    for actor in sorted(actors):
        yield from _on(actor, operations.delete_for_runs(run_ids))


def copy_thread(source_thread_id: str, target_thread_id: str, actor_id: str | None) -> Operation[None]:
    """Copy a thread to another one of the same actor."""
    identifier(target_thread_id, "target_thread_id")
    actor = yield from owner(source_thread_id, actor_id, "source_thread_id")
    yield from _on(actor, operations.copy_thread(source_thread_id, target_thread_id))


def prune(thread_ids: Sequence[str], strategy: str, actor_id: str | None) -> Operation[None]:
    """Delete old checkpoints."""
    operations.checkpoints_kept(strategy)
    owners: dict[str | None, list[str]] = {}
    for position, thread_id in enumerate(identifiers(thread_ids, "thread_ids")):
        actor = yield from owner(thread_id, actor_id, f"thread_ids[{position}]")
        owners.setdefault(actor, []).append(thread_id)
    for actor, threads in owners.items():
        yield from _on(actor, operations.prune(threads, strategy))
