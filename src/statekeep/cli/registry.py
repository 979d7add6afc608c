"""The commands, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Listed(NamedTuple):
    """A command that is imported when it is used.

    Attributes:
        place: its module in ``commands``, a colon, and the function.
        help: the first line of the function's docstring.
        raw: it reads its arguments itself, and has none of the common options.
    """

    place: str
    help: str
    raw: bool = False


COMMANDS: Final[Mapping[str, Listed]] = {
    # In the order of `statekeep --help`: to look, to change, to move, to operate.
    "version": Listed("about:version", "Show the versions of Statekeep and of the drivers."),
}
