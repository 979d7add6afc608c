"""Reports of records that an index knows and the server no longer has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from ...domain.shown import shown

logger: Final = logging.getLogger("statekeep.valkey")
"""The logger that tells of records gone which nobody deleted through Statekeep."""


def report(kind: str, index: str, members: Sequence[bytes]) -> None:
    """Log a warning about records that are gone before their time.

    Args:
        kind: of the records, in the plural.
        index: the key of the index that names them.
        members: of the index; none, no report.
    """
    if members:
        logger.warning(
            "%d %s of %s are gone: the server evicted them (its maxmemory-policy is to be noeviction), or another "
            "program deleted them; the first is %.200r",
            len(members),
            kind,
            index,
            members[0].decode(errors="backslashreplace"),
        )


def report_index(index: str, thread_id: str) -> None:
    """Log a warning about an index that is gone.

    Nothing tells which records it named.

    Args:
        index: its key.
        thread_id: the thread that it belongs to.
    """
    logger.warning(
        "%s, or the index of the thread's namespaces, was gone: the server evicted it (its maxmemory-policy is to be "
        "noeviction), or another program deleted it; reindex(%s) finds the records that listings now lack",
        index,
        shown(thread_id),
    )
