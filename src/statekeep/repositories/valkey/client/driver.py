"""The interface of a driver: one attempt at one request, with its own errors."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

from ....domain import ClientClosed
from ....telemetry.records import Service
from ..requests import Reply, Request

ResultT = TypeVar("ResultT")


class SyncDriver(Protocol):
    """A blocking client."""

    cluster: bool
    limit: int
    """Requests that may be under way at the same time."""
    server: str
    """The address, for messages."""
    patience: float
    """Seconds that one attempt takes at most while the process runs."""

    def perform(self, request: Request) -> Reply:
        """Answer a request, or raise the driver's error."""
        ...

    def close(self) -> None: ...


class AsyncDriver(Protocol):
    """A client of one event loop."""

    cluster: bool
    limit: int
    server: str
    patience: float
    """Seconds that one attempt may take."""

    async def perform(self, request: Request) -> Reply: ...

    async def close(self) -> None: ...


def as_resp2(reply: Reply) -> Reply:
    """Turn a reply into what RESP2 would have sent.

    RESP3 servers, and glide by the name of the command, answer with dicts, sets, floats, booleans and text.
    """
    if reply is None:
        return None
    kind = type(reply)
    if kind is bytes or kind is int:
        return reply
    if kind is list:
        return [item if type(item) is bytes else as_resp2(item) for item in reply]
    if kind is str:
        return reply.encode()
    if kind is bool:
        return int(reply)
    if kind is float:
        return (b"%d" % reply) if reply.is_integer() and abs(reply) < 1e17 else repr(reply).encode()
    if kind is dict:
        return [as_resp2(side) for pair in reply.items() for side in pair]
    if kind in (set, frozenset, tuple):
        return [as_resp2(item) for item in reply]
    return reply


async def joined(task: asyncio.Task[ResultT]) -> ResultT:
    """Wait for a shared task, which goes on if this wait is cancelled."""
    try:
        return await asyncio.shield(task)
    except (KeyboardInterrupt, SystemExit) as error:
        if task.done() and not task.cancelled() and task.exception() is error:
            # The event loop was left with it already; those who wait for the task when it runs again
            # do not end it anew.
            raise ConnectionError("an exception interrupted the event loop") from None
        raise


def service_at(server: str, database: object) -> Service:
    """Return the service at an address, or at the first of several.

    Args:
        server: ``"host:port"``, several of them with commas between, or the path of a unix socket.
        database: its number; ``None`` if it is not known.
    """
    number = None if database is None else str(database)
    if server.startswith("/"):
        return Service("valkey", server, None, number)
    first = server.partition(",")[0]
    host, colon, port = first.rpartition(":")
    if not colon or not port.isdecimal():
        return Service("valkey", first, None, number)
    return Service("valkey", host.removeprefix("[").removesuffix("]"), int(port), number)


def closed(server: str) -> ClientClosed:
    """Return the error of a request through a client that was closed."""
    return ClientClosed(
        f"{server}: this client is closed; use it (and what was built on it) inside its 'with' block, or before close()"
    )
