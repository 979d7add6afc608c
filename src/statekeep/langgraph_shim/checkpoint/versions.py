"""Channel versions."""

from __future__ import annotations

import secrets
from typing import Any

from ...domain import InvalidInput
from ...domain.shown import shown


def next_version(current: Any) -> str:
    """Return a channel version greater than ``current``.

    It is a zero-padded number, a dot and 16 random digits. Branches that fork from one checkpoint count on from the
    same number, and a channel's values are stored by version. The random digits keep them apart, so they must not
    come from :mod:`random`, which an application may seed.

    Args:
        current: ``None`` for the first version, else a version as made here or by another saver.

    Raises:
        InvalidInput: ``current`` is not a version.
    """
    try:
        if isinstance(current, bool):
            raise TypeError("a bool is no version")
        number = 0 if current is None else int(current.split(".")[0] if isinstance(current, str) else current)
        text = f"{number + 1:032}"
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(
            f"current must be None, a number, or text such as '0001.5', got {shown(current)}", field="current"
        ) from error
    return f"{text}.{secrets.randbelow(10**16):016}"
