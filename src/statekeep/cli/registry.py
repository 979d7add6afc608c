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
    "items": Listed("items:items", "List the items of a namespace, or search in it."),
    "item": Listed("items:item", "Show one item with its value."),
    "namespaces": Listed("items:namespaces", "List the namespaces of items, with how many each has, and their bytes."),
    "logs": Listed("logs:logs", "List logs with their values and bytes, or show the values of one."),
    "cache": Listed("cache:cache", "List namespaces of the cache with their entries and bytes, or clear them."),
    "delete": Listed("deleting:delete", "Delete threads with all that they have."),
    "prune": Listed("deleting:prune", "Delete old checkpoints of threads, and keep the newest."),
    "migrate": Listed("migrating:migrate", "Bring what another saver, store or cache of LangGraph keeps."),
    "reindex": Listed("reindexing:reindex", "Rebuild what is derived from records, such as indexes."),
    "export": Listed("archiving:export", "Write all records into a file, as JSON lines that `statekeep import` reads."),
    "import": Listed("archiving:restore", "Store what `statekeep export` wrote, exactly, in any service."),
    "copy": Listed("copying:copy", "Copy threads, items and logs to another service."),
    "stats": Listed("stats:stats", "Count records and bytes by kind, and name the largest threads and namespaces."),
    "doctor": Listed("doctor:doctor", "Check the service, its settings and your permissions, and say what to do."),
    "ui": Listed("ui:ui", "Serve a page to look at threads, items, logs and cache entries."),
    "emulator": Listed(
        "about:emulator", "Emulate Amazon Bedrock AgentCore Memory and sessions on this host.", raw=True
    ),
    "version": Listed("about:version", "Show the versions of Statekeep and of the drivers."),
}
