"""Log messages of which a process needs one."""

from __future__ import annotations

import logging
from typing import Final

valkey_logger: Final = logging.getLogger("statekeep.valkey")
aws_logger: Final = logging.getLogger("statekeep.aws")

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
