"""valkey-py as a driver: blocking and asyncio, one server and cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.cluster
from valkey.client import NEVER_DECODE
from valkey.exceptions import (
    NoScriptError,
    ValkeyError,
)

from .....telemetry import hook
from ...requests import Arg, Ask, Call, Commands, Reply, Request, Scan, size_of
from ..clock import within
from ..driver import as_resp2
from ..errors import CommandError

# The reply as bytes, also of a client that was made with decode_responses=True.
RAW: Final[dict[str, Any]] = {NEVER_DECODE: True}

# More at a time would only open more connections, where the pool has no limit of its own.
MOST: Final = 64

SCAN_COUNT: Final = "1000"


def raw_command(command: Sequence[Arg]) -> list[Arg]:
    """Make valkey-py return the reply of a command as it came.

    It converts replies by the command's name (HGETALL to dict, EXPIRE to bool). A trailing space makes the name one
    that it does not know there; when the command is packed or routed, the space is dropped.
    """
    name = command[0].decode() if isinstance(command[0], bytes) else command[0]
    return [f"{name} ", *command[1:]]


def unless_error(reply: Any) -> Reply:
    """Return a reply, or raise it if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def replies_of(commands: Sequence[Sequence[Arg]], replies: Sequence[Any]) -> list[Reply]:
    """Return the replies to a pipeline's commands, or raise their first error."""
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ValkeyError):
            raise CommandError(reply, command) from reply
        if isinstance(reply, Exception):  # of a signal handler: pipelines take it for a reply
            raise reply
    return [as_resp2(reply) for reply in replies]


def scan_command(cursor: Arg, pattern: str) -> list[Arg]:
    """Return the command for the next keys of hashes that match a pattern."""
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", "HASH"]


def disconnect_idle(pool: Any) -> None:
    """Close the idle connections of the user's pool; they connect again when needed."""
    if isinstance(pool, valkey.BlockingConnectionPool):
        # Its own method would close those that others use, too.
        with pool.pool.mutex:
            for connection in pool.pool.queue:
                if connection is not None:
                    connection.disconnect()
    else:
        pool.disconnect(inuse_connections=False)


def address_of(kwargs: dict[str, Any]) -> str:
    """Return where connections with these options go, as messages name it."""
    return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")


def database_of(kwargs: dict[str, Any]) -> int | None:
    """Return the number of the database that connections with these options use."""
    return int(kwargs.get("db") or 0)


def limit_of(client: Any) -> int:
    """Return how many requests may be under way on the user's client."""
    if client.connection is not None or getattr(client, "single_connection_client", False):
        return 1
    return min(int(client.connection_pool.max_connections), MOST)


def _count(call: Call, source: str) -> None:
    """Count a call that is sent again, with the text of an unknown script."""
    if hook.observers:
        hook.count(round_trips=1, sent=size_of(call) + len(source))


class Sync:
    """A ``valkey.Valkey``.

    An exception that a signal handler raises in the midst of a request may have it give back a connection that owes an
    answer, which would be taken for that to the next request.
    """

    cluster = False

    def __init__(self, client: valkey.Valkey, patience: float) -> None:
        self._client: Any = client
        self.patience = patience
        self.limit = limit_of(client)
        self.server = address_of(client.connection_pool.connection_kwargs)
        self.database = database_of(client.connection_pool.connection_kwargs)

    def perform(self, request: Request) -> Reply:
        try:
            return self._answer(request)
        except (ValkeyError, CommandError):
            raise
        except BaseException:
            self._forsake()
            raise

    def _forsake(self) -> None:
        if self._client.connection is not None:
            self._client.connection.disconnect()
        disconnect_idle(self._client.connection_pool)

    def _answer(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                try:
                    return self._evaluate("EVALSHA", script.sha, str(len(keys)), *keys, *args)
                except NoScriptError:
                    _count(request, script.source)
                    return self._evaluate("EVAL", script.source, str(len(keys)), *keys, *args)
            case Commands(commands):
                return self._commands(commands)
            case Scan(pattern):
                return list(self._scan(self._client, pattern))
            case Ask(command, near):
                return as_resp2(self._ask(command, near))

    def _evaluate(self, *command: Arg) -> Reply:
        return as_resp2(self._client.execute_command(*command, **RAW))

    def _ask(self, command: Sequence[Arg], near: str) -> Any:
        return self._client.execute_command(*raw_command(command), **RAW)

    def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*raw_command(command), **RAW)
            replies = pipeline.execute(raise_on_error=False)
        return replies_of(commands, replies)

    def _scan(self, node: Any, pattern: str) -> dict[bytes, None]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            hook.count(round_trips=1, sent=len(pattern))
            cursor, keys = self._scan_on(node, scan_command(cursor, pattern))
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return found

    def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        return as_resp2(node.execute_command(*raw_command(command), **RAW))

    def close(self) -> None:
        self._client.close()
        self._client.connection_pool.disconnect()


class Async:
    """A ``valkey.asyncio.Valkey``. See :class:`Sync`; you may cancel a request."""

    cluster = False

    def __init__(self, client: valkey.asyncio.Valkey, patience: float) -> None:
        self._client: Any = client
        self.patience = patience
        self.limit = limit_of(client)
        self.server = address_of(client.connection_pool.connection_kwargs)
        self.database = database_of(client.connection_pool.connection_kwargs)

    async def perform(self, request: Request) -> Reply:
        self._close_struck()
        try:
            return await self._answer(request)
        except (ValkeyError, CommandError, asyncio.CancelledError):
            raise
        except BaseException:
            self._forsake()
            raise

    def _idle(self) -> Iterator[Any]:
        if self._client.connection is not None:
            yield self._client.connection
        yield from self._client.connection_pool._available_connections

    def _forsake(self) -> None:
        for connection in self._idle():
            connection._close()

    def _close_struck(self) -> None:
        # What raised in the event loop while it read is kept by asyncio, and would be raised in the next request.
        for connection in self._idle():
            if connection._reader is not None and connection._reader.exception() is not None:
                connection._close()

    async def _answer(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                try:
                    return await self._evaluate("EVALSHA", script.sha, str(len(keys)), *keys, *args)
                except NoScriptError:
                    _count(request, script.source)
                    return await self._evaluate("EVAL", script.source, str(len(keys)), *keys, *args)
            case Commands(commands):
                return await self._commands(commands)
            case Scan(pattern):
                return list(await self._scan(self._client, pattern))
            case Ask(command, near):
                return await self._ask(command, near)

    # Clients made without socket_timeout would wait for ever for a server that hangs, hence the timeouts.

    async def _evaluate(self, *command: Arg) -> Reply:
        async with within(self.patience):
            return as_resp2(await self._client.execute_command(*command, **RAW))

    async def _ask(self, command: Sequence[Arg], near: str) -> Reply:
        async with within(self.patience):
            return as_resp2(await self._client.execute_command(*raw_command(command), **RAW))

    async def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        async with within(self.patience), self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*raw_command(command), **RAW)
            replies = await pipeline.execute(raise_on_error=False)
        return replies_of(commands, replies)

    async def _scan(self, node: Any, pattern: str) -> dict[bytes, None]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            hook.count(round_trips=1, sent=len(pattern))
            cursor, keys = await self._scan_on(node, scan_command(cursor, pattern))
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return found

    async def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        async with within(self.patience):
            return as_resp2(await node.execute_command(*raw_command(command), **RAW))

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()
