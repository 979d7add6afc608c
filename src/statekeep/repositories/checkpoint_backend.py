"""The contract of a backend of checkpoints, and what is expected of their order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from ..domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    Conflict,
    Payload,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
)
from ..domain.model import Anything
from ..domain.shown import shown
from .faces import Backend
from .operation import Operation, Page

__all__ = ["EARLY_TTL", "CheckpointBackend", "ExpectedHead", "Supply", "needed", "overtaken"]

Supply = Callable[[Collection[str]], Mapping[str, Payload]]
"""Given the names of channels whose value is not stored, returns the payloads (none: the channel is empty)."""

ExpectedHead = str | None | Literal[Anything.ANY]
"""As ``expected_head``: the id of the checkpoint that must be the newest; ``None``: there must be none; :data:`ANY`."""

EARLY_TTL: Final = 86_400.0
"""Seconds that pending writes live at most while their checkpoint is not stored."""


class CheckpointBackend(Backend, Protocol):
    """The contract of a backend.

    Every operation is a generator, see :mod:`statekeep.repositories.operation`.

    The arguments are validated already. What each operation must do is said by the method of the same name of
    :class:`CheckpointRepository`, and proved by the contract tests in ``statekeep.testing``.

    ``measure(thread_ids)`` and ``expire(thread_id, ttl)`` are optional; ids come without repetition. Without the first,
    the repository reads the threads with :meth:`list`; without the second, it raises :class:`~statekeep.Unsupported`.
    """

    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> Operation[None]:
        """Store a checkpoint.

        If another one than ``expected_head`` is the newest of its namespace, nothing is written, and :func:`overtaken`
        makes the error. One that is the newest itself is replaced all the same: a put may be repeated.
        """
        ...

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]: ...

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]: ...

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        """Return one page.

        ``cursor`` is ``None`` for the first; ``query.limit`` holds for all pages together.
        """
        ...

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]: ...

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        """Return one page: at most ``limit`` threads behind ``after``.

        The cursor is the last thread.
        """
        ...

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]: ...

    def delete_thread(self, thread_id: str) -> Operation[None]: ...

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]: ...

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]: ...

    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> Operation[int]: ...

    def reindex(self, thread_id: str) -> Operation[int]: ...


def overtaken(checkpoint: Checkpoint, expected_head: str | None, newest: str | None) -> Conflict:
    """Return the error about an ``expected_head`` that does not hold.

    Args:
        checkpoint: what was to be stored.
        expected_head: the id that was expected.
        newest: the id that is there; ``None``: there is none.
    """
    wanted = "no checkpoint" if expected_head is None else f"{shown(expected_head, 200)} as the newest checkpoint"
    there = "there is none" if newest is None else f"the newest is {shown(newest, 200)}"
    where = f"thread {shown(checkpoint.thread_id, 200)}, namespace {shown(checkpoint.namespace, 200)}"
    return Conflict(
        f"expected {wanted} of {where}, but {there}; nothing was written",
        expected=expected_head,
        actual=newest,
        key=checkpoint.checkpoint_id,
    )


def needed(checkpoint_id: str) -> Conflict:
    """Return the error about deleting a checkpoint that others are rebuilt from."""
    return Conflict(
        "a later checkpoint rebuilds a replayed channel from this one; nothing was deleted",
        actual=checkpoint_id,
        key=checkpoint_id,
    )
