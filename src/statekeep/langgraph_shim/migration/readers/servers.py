"""Valkey and Redis servers of peers.

Commands in bulk, walks through keys, and an index of what was found.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from ....domain import CorruptRecord, InvalidInput, StatekeepError, Unavailable, Unsupported
from ....domain.model import Ttl
from ....domain.shown import shown
from ....repositories.operation import Operation
from ..source import PAGE, Ask, Key

SCANNED: Final = 1000
"""Keys that a step of a walk looks at."""

AT_ONCE: Final = 500
"""Commands that are sent together."""

Command = tuple[Any, ...]


@frozen
class Server:
    """A client that answers commands.

    It is one of valkey-py or redis-py, blocking or for asyncio.

    Attributes:
        client: it stays as it is; only commands that read are sent.
    """

    client: Any

    def __attrs_post_init__(self) -> None:
        if "Cluster" in type(self.client).__name__:
            raise Unsupported("the source is a cluster, whose keys cannot be walked through by its own client here")

    def send(self, commands: Sequence[Command]) -> Ask:
        """Ask for the replies to some commands, in one round trip.

        An error of the server is a reply, too.
        """

        def blocking() -> list[Any]:
            if asyncio.iscoroutinefunction(self.client.execute_command):
                raise InvalidInput("the source answers in asyncio code only: await amigrate instead", field="source")
            with self.client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                found: list[Any] = _told(lambda: pipe.execute(raise_on_error=False))
                return found

        async def awaiting() -> list[Any]:
            if not asyncio.iscoroutinefunction(self.client.execute_command):
                return await asyncio.to_thread(blocking)
            async with self.client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                try:
                    found: list[Any] = await pipe.execute(raise_on_error=False)
                except Exception as error:
                    raise _translated(error) from error
                return found

        return Ask(blocking, awaiting)


def _told(send: Any) -> Any:
    try:
        return send()
    except Exception as error:
        raise _translated(error) from error


def _translated(error: Exception) -> StatekeepError:
    return Unavailable(f"the source does not answer: {type(error).__name__}: {error}")


def replies(server: Server, commands: Sequence[Command]) -> Operation[list[Any]]:
    """Return the replies to any number of commands.

    One is ``None`` if the key holds another type of value.

    Raises:
        Unavailable: the server does not answer, or refuses a command.
    """
    found: list[Any] = []
    for at in range(0, len(commands), AT_ONCE):
        some: list[Any] = yield server.send(commands[at : at + AT_ONCE])
        for reply in some:
            if isinstance(reply, Exception):
                if not _is_wrong_type(reply):
                    raise _translated(reply) from reply
                reply = None
            found.append(reply)
    return found


def _is_wrong_type(reply: Exception) -> bool:
    text = str(reply)
    return "wrong Redis type" in text or "Operation against a key" in text or text.startswith("Existing key has wrong")


def text_of(value: Any) -> str:
    """Return a reply as text; clients may have decoded it."""
    return value if isinstance(value, str) else bytes(value).decode()


def bytes_of(value: Any) -> bytes:
    """Return a reply as bytes; clients may have decoded it."""
    return value.encode() if isinstance(value, str) else bytes(value)


def glob(text: str) -> str:
    """Return a pattern that matches this text only."""
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)


def scan(server: Server, cursor: Any, prefix: str, kind: str) -> Operation[tuple[list[str], Any]]:
    """Return some keys with a prefix and a type of value, and the next cursor.

    The cursor is ``None`` at the end.
    """
    command = ("SCAN", cursor or 0, "MATCH", f"{glob(prefix)}*", "COUNT", SCANNED, "TYPE", kind)
    [reply] = yield server.send([command])
    if isinstance(reply, Exception):
        if "unknown type name" in str(reply):
            return [], None  # a server without the module that has this type has no such keys
        raise _translated(reply) from reply
    following, keys = reply
    return [text_of(key) for key in keys], (int(following) or None)


def some_keys(server: Server, cursor: Any, prefix: str, kind: str) -> Operation[tuple[list[str], Any]]:
    """Return at most a page of such keys: their values are in memory together."""
    following, keys = cursor or (None, [])
    if not keys:
        keys, following = yield from scan(server, following, prefix, kind)
    taken, left = keys[:PAGE], keys[PAGE:]
    return taken, ((following, left) if left or following is not None else None)


def documents(server: Server, keys: Sequence[str], paths: Sequence[str] = ()) -> Operation[list[Any]]:
    """Return the JSON documents under keys, or what is at some paths in them.

    Where there is none it is ``None``.
    """
    found = yield from replies(server, [("JSON.GET", key, *paths) for key in keys])
    # A client whose json() was used before parses replies itself.
    return [json.loads(reply) if isinstance(reply, str | bytes) else reply for reply in found]


def seconds_left(server: Server, keys: Sequence[str]) -> Operation[list[float | None]]:
    """Return the seconds that keys have left.

    ``None`` is for ever; those that are gone have 0.
    """
    found = yield from replies(server, [("PTTL", key) for key in keys])
    return [None if left == -1 else max(left, 0) / 1000 for left in found]


def longest(left: Iterable[float | None]) -> Ttl:
    """Return the longest of some times left; ``None`` for ever."""
    found = list(left)
    return None if None in found or not found else max(seconds for seconds in found if seconds is not None)


def corrupt(what: str, key: str, error: Exception) -> CorruptRecord:
    """Return the error for a record that cannot be read."""
    return CorruptRecord(f"cannot read {what} {shown(key)}: {type(error).__name__}: {error}")


_SCHEMA: Final = """
CREATE TABLE checkpoints (
    thread TEXT, namespace TEXT, id TEXT, key TEXT, PRIMARY KEY (thread, namespace, id)
) WITHOUT ROWID;
CREATE TABLE writes (thread TEXT, namespace TEXT, id TEXT, key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX writes_of ON writes (thread, namespace, id);
"""


@define
class Index:
    """The keys that a server has of each thread.

    They are in a temporary file, as there may be millions.
    """

    _database: sqlite3.Connection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.executescript(_SCHEMA)

    def add(self, table: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
        """Note keys: thread, namespace, checkpoint id and key."""
        self._database.execute("BEGIN")
        self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def threads(self) -> list[str]:
        """Return the ids of all threads, the last updated one at the end."""
        rows = self._database.execute("SELECT thread, MAX(id) FROM checkpoints GROUP BY thread ORDER BY 2, 1")
        return [row[0] for row in rows]

    def checkpoints(self, thread_id: str) -> dict[Key, str]:
        """Return where a thread's checkpoints are, oldest first."""
        query = "SELECT namespace, id, key FROM checkpoints WHERE thread = ? ORDER BY id, namespace"
        return {(namespace, id_): key for namespace, id_, key in self._database.execute(query, (thread_id,))}

    def writes(self, thread_id: str, key: Key) -> list[str]:
        """Return where the pending writes of a checkpoint are."""
        query = "SELECT key FROM writes WHERE thread = ? AND namespace = ? AND id = ?"
        return [row[0] for row in self._database.execute(query, (thread_id, *key))]
