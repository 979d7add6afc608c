"""Loggers, and messages that several modules log."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Final

from ...domain import CorruptRecord, TypeMismatch
from ...domain.shown import shown

valkey_logger: Final = logging.getLogger("statekeep.valkey")
aws_logger: Final = logging.getLogger("statekeep.aws")
records_logger: Final = logging.getLogger("statekeep.records")

_given: set[tuple[str, str]] = set()
_warned: dict[tuple[str, str], float] = {}


def notice(logger: logging.Logger, level: int, topic: str, message: str) -> None:
    """Log ``message``, unless this process logged one about the same topic before.

    Args:
        logger: who says it.
        level: of :mod:`logging`.
        topic: the name of an option, say.
        message: the whole text.
    """
    if (logger.name, topic) not in _given:
        _given.add((logger.name, topic))
        logger.log(level, "%s", message)


EVERY: Final = 60.0
"""Seconds between two warnings about one topic."""


def sometimes(
    logger: logging.Logger, topic: str, message: str, *arguments: object, otherwise: int = logging.INFO
) -> None:
    """Log a warning, at most once a minute about one topic.

    It is of a lower level if another came before.

    Args:
        logger: who says it.
        topic: the address of a server, and what happens to it.
        message: with the places of the arguments.
        arguments: of the message.
        otherwise: the lower level.
    """
    now = time.monotonic()
    is_due = _warned.get((logger.name, topic), -EVERY) + EVERY <= now
    if is_due:
        _warned[logger.name, topic] = now
    logger.log(logging.WARNING if is_due else otherwise, message, *arguments)


def healed(thread_id: str, checkpoint_id: str, names: Collection[str]) -> None:
    """Log that values were gone on which a checkpoint builds.

    They are stored anew.
    """
    if names:
        records_logger.warning(
            "thread %s: values that the checkpoint %s builds on were not stored any more, and are stored anew; their "
            "channels: %s",
            shown(thread_id, 200),
            shown(checkpoint_id, 200),
            shown(", ".join(sorted(names)), 400),
        )


def damaged(error: CorruptRecord) -> None:
    """Log that a damaged record was found, or one of another type.

    Not the error's text, nor that of its cause, which may show what is stored.
    """
    where = shown(error.key, 400) if error.key else "no key of its own"
    what = "a value of another type" if isinstance(error, TypeMismatch) else "a damaged record"
    records_logger.error("%s found %s: %s", error.operation, what, where)
