"""Pickle and deep copies: what is made from a URL is made again from it, with connections of its own."""

from __future__ import annotations

from typing import NoReturn


def refuse(what: str, advice: str) -> NoReturn:
    """Say why something can be neither pickled nor copied.

    Raises:
        TypeError: always, as pickle does for what it cannot take.
    """
    raise TypeError(f"{what} cannot be pickled or copied; {advice}")
