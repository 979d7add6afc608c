"""Loggers, and messages that several modules log."""

from __future__ import annotations

import logging
from typing import Final

from ...domain import CorruptRecord, TypeMismatch
from ...domain.shown import shown

valkey_logger: Final = logging.getLogger("statekeep.valkey")
aws_logger: Final = logging.getLogger("statekeep.aws")
records_logger: Final = logging.getLogger("statekeep.records")

_given: set[tuple[str, str]] = set()


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


def damaged(error: CorruptRecord) -> None:
    """Log that a damaged record was found, or one of another type.

    Not the error's text, nor that of its cause, which may show what is stored.
    """
    where = shown(error.key, 400) if error.key else "no key of its own"
    what = "a value of another type" if isinstance(error, TypeMismatch) else "a damaged record"
    records_logger.error("%s found %s: %s", error.operation, what, where)
