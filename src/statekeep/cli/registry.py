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
    "threads": Listed("threads:threads", "List threads, the most recently updated first."),
    "show": Listed("show:show", "Show what happened in a thread, newest first, or one checkpoint with its values."),
    "diff": Listed("show:diff", "Show which channels of two checkpoints differ, and how."),
    "delete": Listed("deleting:delete", "Delete threads with all that they have."),
    "prune": Listed("deleting:prune", "Delete old checkpoints of threads, and keep the newest."),
    "reindex": Listed("reindexing:reindex", "Rebuild what is derived from records, such as indexes."),
    "export": Listed("archiving:export", "Write all records into a file, as JSON lines that `statekeep import` reads."),
    "import": Listed("archiving:restore", "Store what `statekeep export` wrote, exactly, in any service."),
    "emulator": Listed(
        "about:emulator", "Emulate Amazon Bedrock AgentCore Memory and sessions on this host.", raw=True
    ),
    "version": Listed("about:version", "Show the versions of Statekeep and of the drivers."),
}
