"""The lanes of checkpoints' records.

::

    ACTOR                     THREAD                     the root's index: one event for each checkpoint
    ACTOR:statekeep-HASH      statekeep-namespace-NS     the index of another namespace
                              statekeep-listed-NS        what the lists below name of a namespace
                              statekeep-checkpoint-NS-ID one checkpoint, and its pending writes
                              statekeep-value-NS-VALUE   one channel value that is too large to be in checkpoints,
                                                         or versions of one in pieces
    ACTOR:statekeep-threads   THREAD                     the thread's namespaces
    statekeep-threads         statekeep-thread-HASH      the actors that have a thread of this id
    statekeep-runs            statekeep-run-HASH         the threads in which a run put checkpoints
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from attrs import frozen

from ...domain import Payload
from ..records.names import digest
from ..records.piece_lanes import lane_of
from .ids import OURS, Lane, actor_name, hashed_session, session_name, thread_actor

_NAMESPACE: Final = 24
"""Hexadecimal digits that stand for a namespace."""


_THREADS: Final = f":{OURS}threads"


def threads_actor(actor: str) -> str:
    """Return the actor whose sessions are the threads of ``actor``."""
    return f"{actor_name(actor)}{_THREADS}"


def owner_of_threads(name: str) -> str | None:
    """Return the name of the actor whose threads are an actor's sessions.

    ``None`` if the sessions are not threads.
    """
    return name.removesuffix(_THREADS) if name.endswith(_THREADS) else None


def actors_lane(thread_id: str) -> Lane:
    """Return the list of a thread's actors."""
    return Lane(f"{OURS}threads", hashed_session("thread", thread_id))


def run_lane(run_id: str) -> Lane:
    """Return the list of a run's threads."""
    return Lane(f"{OURS}runs", hashed_session("run", run_id))


@frozen
class ThreadPlace:
    """The lanes of one thread."""

    actor: str
    thread_id: str

    @property
    def own_actor(self) -> str:
        """The actor that has this thread's lanes only."""
        return thread_actor(self.actor, self.thread_id)

    @property
    def key(self) -> tuple[str, str]:
        """The texts that stand for the thread in this process."""
        return (self.actor, self.thread_id)

    @property
    def namespaces(self) -> Lane:
        """The list of the thread's namespaces."""
        return Lane(threads_actor(self.actor), session_name(self.thread_id, "thread"))

    def index(self, namespace: str) -> Lane:
        """Return the index of a namespace."""
        if namespace == "":
            return Lane(actor_name(self.actor), session_name(self.thread_id, "thread"))
        return Lane(self.own_actor, f"{OURS}namespace-{digest(namespace)}")

    def listed(self, namespace: str) -> Lane:
        """Return the lane that says what the lists name of a namespace."""
        return Lane(self.own_actor, f"{OURS}listed-{digest(namespace)}")

    def checkpoint(self, namespace: str, checkpoint_id: str) -> Lane:
        """Return the lane of a checkpoint."""
        return Lane(self.own_actor, f"{self.checkpoints_of(namespace)}{digest(checkpoint_id)}")

    def value(self, namespace: str, name: str) -> Lane:
        """Return the lane of a channel value by its name.

        See :mod:`..records.piece_lanes`.
        """
        return Lane(self.own_actor, f"{self.values_of(namespace)}{lane_of(name)}")

    def known_at(self, namespace: str | None = None) -> str:
        """Return where this process knows values of a namespace, or of the thread."""
        return f"{self.own_actor} {'' if namespace is None else self.values_of(namespace)}"

    def checkpoints_of(self, namespace: str) -> str:
        """Return the prefix of the sessions of a namespace's checkpoints."""
        return f"{OURS}checkpoint-{digest(namespace)[:_NAMESPACE]}-"

    def values_of(self, namespace: str) -> str:
        """Return the prefix of the sessions of a namespace's values."""
        return f"{OURS}value-{digest(namespace)[:_NAMESPACE]}-"


def is_checkpoint(lane: Lane) -> bool:
    """Return whether a lane of a thread's own actor is that of a checkpoint."""
    return lane.session.startswith(f"{OURS}checkpoint-")


def is_value(lane: Lane) -> bool:
    """Return whether a lane of a thread's own actor is that of a value."""
    return lane.session.startswith(f"{OURS}value-")


def value_name(channel: str, version: str | int | float, payload: Payload) -> str:
    """Return the name of a channel's value at a version.

    Forks may have several under one version.
    """
    content = sha256(payload.data).hexdigest()
    return digest(channel, type(version).__name__, str(version), payload.encoding, content)
