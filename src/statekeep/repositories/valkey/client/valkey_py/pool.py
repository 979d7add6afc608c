"""Drivers over connections of our own, to one server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.cluster
from valkey.exceptions import (
    ConnectionError,
    ReadOnlyError,
    ResponseError,
)

from ....process.notices import valkey_logger
from ...requests import Arg, Reply, Request, words_of
from ..errors import cause_of

if TYPE_CHECKING:
    from .pipelined import Connections
from .base import MOST, Async, Sync, address_of, replies_of, unless_error

# Seconds for which a connection that answered is taken to be as it was left.
FIT: Final = 1.0


class Pool(valkey.ConnectionPool):
    """Connections of a client that nobody else uses.

    There is no queue to wait in and no limit, because no more requests are under way than there may be connections. A
    connection is looked at only if it may have been closed since it was used last.

    The pool knows only the connections that lie in it. One that was taken out comes back by a single step, after its
    answers were read; a request that ends before, wherever it does, leaves a connection that no other request gets.
    """

    def reset(self) -> None:
        super().reset()
        self._idle: list[tuple[Any, float]] = []  # with the time at which each was known to be as it should
        self._doubted = 0.0
        self._is_lost = False
        self._is_closed = False

    def get_connection(self, command_name: str, *keys: Any, **options: Any) -> Any:
        try:
            connection, known = self._idle.pop()
        except IndexError:
            connection, known = self.connection_class(**self.connection_kwargs), 0.0
        if self._doubted < known > time.monotonic() - FIT:
            return connection
        try:
            connection.connect()
            try:
                if connection.can_read():
                    raise ConnectionError("an answer that nobody waits for")
            except ConnectionError:
                connection.disconnect()
                connection.connect()
        except BaseException:
            self.drop(connection)
            raise
        if self._is_lost:
            self._is_lost = False
            valkey_logger.info("%s: connected again", address_of(self.connection_kwargs))
        return connection

    def release(self, connection: Any) -> None:
        if self._is_closed:
            connection.disconnect()
        else:
            self._idle.append((connection, time.monotonic()))

    def drop(self, connection: Any) -> None:
        """Close a broken connection."""
        # If the server has gone, it has closed all of them.
        self._doubted = time.monotonic()
        self._is_lost = True
        connection.disconnect()

    def disconnect(self, inuse_connections: bool = True) -> None:
        # Those in use are closed when they come back.
        self._is_closed = self._is_closed or inuse_connections
        while self._idle:
            with suppress(IndexError):  # another thread took it
                self._idle.pop()[0].disconnect()


def _received(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error.with_traceback(None)  # otherwise it would hold on to whoever keeps it


class SyncOwn(Sync):
    """Connections that were opened here."""

    def __init__(self, pool: Pool, patience: float) -> None:
        self._client = pool
        self.patience = patience
        self.limit = min(pool.max_connections, MOST)
        self.server = address_of(pool.connection_kwargs)

    perform = Sync._answer  # a connection that a request leaves is forsaken already

    def _evaluate(self, *command: Arg) -> Reply:
        [reply] = self._exchange([command])
        return unless_error(reply)

    def _ask(self, command: Sequence[Arg], near: str) -> Any:
        return self._evaluate(*command)

    def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        return replies_of(commands, self._exchange([*map(words_of, commands)]) if commands else [])

    def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        return self._evaluate(*command)

    def _exchange(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        # As execute_command and pipelines do, but without their retries, which are made elsewhere.
        pool = self._client
        connection = pool.get_connection("")
        try:
            # In one piece: what comes in several may be answered in several.
            packed = [piece for command in commands for piece in connection.pack_command(*command)]
            connection.send_packed_command([b"".join(packed)])
            replies = [_received(connection) for _ in commands]
        except BaseException:
            pool.drop(connection)
            raise
        if ReadOnlyError in map(type, replies):
            # The server is a replica now; the same name, or a sentinel, may lead to the primary.
            pool.drop(connection)
        else:
            pool.release(connection)
        return replies

    def close(self) -> None:
        self._client.disconnect()


class AsyncOwn(Async):
    """Connections that were opened here, for one event loop.

    They look after hanging servers themselves.
    """

    def __init__(self, connections: Connections, server: str, patience: float, limit: int) -> None:
        self._client = connections
        self.server = server
        self.patience = patience
        self.limit = limit

    perform = Async._answer

    async def _evaluate(self, *command: Arg) -> Reply:
        [reply] = await self._client.ask([command])
        return unless_error(reply)

    async def _ask(self, command: Sequence[Arg], near: str) -> Reply:
        [reply] = await self._client.ask_alone([command])
        return unless_error(reply)

    async def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        return replies_of(commands, await self._client.ask([*map(words_of, commands)]) if commands else [])

    async def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        return await self._evaluate(*command)

    async def close(self) -> None:
        await self._client.close()


class AsyncPooled(Async):
    """A client with a pool that was opened here, where libvalkey is missing."""

    async def perform(self, request: Request) -> Reply:
        try:
            return await super().perform(request)
        except Exception as error:
            if isinstance(cause_of(error), ReadOnlyError):
                await self._client.connection_pool.disconnect(inuse_connections=False)
            raise
