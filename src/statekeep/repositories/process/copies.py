"""Pickle and deep copies of what is made from a URL.

It is made again from the URL, with connections of its own.
"""

from __future__ import annotations

from typing import NoReturn


def refuse(what: str, advice: str) -> NoReturn:
    """Say why something can be neither pickled nor copied.

    Raises:
        TypeError: always, as pickle does for what it cannot take.
    """
    raise TypeError(f"{what} cannot be pickled or copied; {advice}")
