"""A warning about checkpoints that will never be the newest."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Final

from ...domain import Checkpoint
from ...domain.shown import shown

logger: Final = logging.getLogger("statekeep")

THREADS: Final = 1024
"""The number of threads of which this process remembers that it warned."""


def check_order(checkpoint: Checkpoint) -> None:
    """Warn, once per thread, of an id that is not greater than the parent's.

    Args:
        checkpoint: one that is to be put.
    """
    parent_id = checkpoint.parent_id
    if parent_id is None or checkpoint.checkpoint_id > parent_id:
        return
    if unwarned := _unwarned(hash(checkpoint.thread_id)):
        unwarned.clear()
        logger.warning(
            "thread %s: the checkpoint %s is stored, but its id is not greater than that of its parent %s, so it is "
            "not the newest: the clock of this host is behind, or the ids are not ordered as text; "
            "new_checkpoint_id(after=parent_id) makes one that is",
            shown(checkpoint.thread_id),
            shown(checkpoint.checkpoint_id),
            shown(parent_id),
        )


@lru_cache(maxsize=THREADS)
def _unwarned(thread: int) -> list[int]:
    return [thread]
