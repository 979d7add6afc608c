"""Pruning of threads while checkpoints are put to them."""

from __future__ import annotations

import logging
import zlib
from functools import lru_cache
from typing import Final

from ...domain import Checkpoint, InvalidInput, PrunePolicy, StatekeepError, Unsupported
from ...domain.shown import shown
from ...repositories.checkpoints import CheckpointBackend
from ...repositories.operation import Operation, nested
from ...repositories.validation import count

logger: Final = logging.getLogger("statekeep")

LEAST: Final = 10
"""Puts between two prunes of a thread, at least: each reads what is there."""

THREADS: Final = 1024
"""The number of threads whose puts are counted."""


class Retention:
    """A number of checkpoints that each namespace of a thread keeps.

    A thread is pruned when as many were put as stay, so that what a prune reads is spread over as many puts. Where the
    count of a process begins depends on the id that it sees first: of many short processes, some prune.

    Args:
        most: how many stay, 1 or more.

    Raises:
        InvalidInput: ``most`` is something else; ``field`` is ``max_checkpoints``.
    """

    def __init__(self, most: int) -> None:
        if count("max_checkpoints", most) == 0:
            raise InvalidInput("max_checkpoints must be 1 or more", field="max_checkpoints")
        self._policy = PrunePolicy(keep=most)
        self._puts = max(most, LEAST)
        self._counts = lru_cache(maxsize=THREADS)(_nothing_yet)

    def __reduce__(self) -> tuple[type[Retention], tuple[int]]:
        return type(self), (self._policy.keep,)

    def is_due(self, checkpoint: Checkpoint) -> bool:
        """Count a put, and say whether the thread is to be pruned."""
        counted = self._counts(hash(checkpoint.thread_id))
        if not counted:
            counted.append(zlib.crc32(checkpoint.checkpoint_id.encode()) % self._puts)
        counted[0] += 1
        if counted[0] < self._puts:
            return False
        counted[0] = 0
        return True

    def apply(self, backend: CheckpointBackend, thread_id: str) -> Operation[None]:
        """Prune a thread.

        As the put is done, a failure is logged, and the next prune makes up for it.

        Raises:
            Unsupported: the backend cannot prune.
        """
        try:
            yield from nested(backend.prune([thread_id], self._policy))
        except Unsupported:
            raise
        except StatekeepError as error:
            logger.warning("thread %s could not be pruned after a put: %s", shown(thread_id), error)


def _nothing_yet(thread: int) -> list[int]:
    return []
