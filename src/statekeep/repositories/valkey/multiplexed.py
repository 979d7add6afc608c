"""Connections of valkey-py's asyncio client on which many requests are under way at a time.

The client's own pool lends a connection to one request. Here a request is written behind those before it, and the server
answers in order: that costs a fraction of the client's time, and few connections serve many tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import libvalkey
from valkey.asyncio.connection import DefaultParser
from valkey.exceptions import ConnectionError, InvalidResponse, TimeoutError

from .requests import Arg, Reply

DEPTH: Final = 64
"""Requests under way on each connection, from which on another one is opened if it may be."""

CLOSED: Final = "the connection was closed here"

_INCOMPLETE: Final = object()

_LOAD: Final = attrgetter("load")


class _Answer:
    """The replies to the commands of one request."""

    __slots__ = ("count", "future", "replies")

    def __init__(self, future: asyncio.Future[list[Reply]], count: int) -> None:
        self.future = future
        self.count = count
        self.replies: list[Reply] = []


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        connected: one of valkey-py's, which has connected: it knows how to do that, and is not used any more afterwards.
        patience: seconds without a word of the server, after which the connection is given up if it owes an answer.
        lost: is called when the connection has ended.
    """

    def __init__(self, connected: Any, patience: float, lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        # Timers keep this one, and not that of the request that happened to need them.
        self._context = contextvars.copy_context()
        self._connected = connected
        self._patience = patience
        self._lost = lost
        self._reader = libvalkey.Reader(
            protocolError=InvalidResponse, replyError=DefaultParser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._answers: deque[_Answer] = deque()
        self._unsent: list[bytes] = []
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._end: tuple[type[Exception], str] | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._long = 0
        self._transport: asyncio.Transport = connected._writer.transport
        self._transport.set_protocol(self)

    @property
    def load(self) -> int:
        """How many requests one would wait for here; what may take long counts as many."""
        return len(self._answers) + self._long * DEPTH

    @property
    def is_occupied(self) -> bool:
        """Whether something is under way here that may take long."""
        return self._long > 0

    def send(self, commands: Sequence[Sequence[Arg | int]]) -> asyncio.Future[list[Reply]]:
        """Send a request; the result are the replies to its commands, errors of the server among them.

        Raises:
            ConnectionError: the connection has ended; the future raises so if it ends before the answer.
            TimeoutError: likewise, because the server said nothing for too long.
        """
        if self._transport.is_closing():
            raise self._error()
        packed = b"".join([libvalkey.pack_command(tuple(command)) for command in commands])
        answer = _Answer(self._loop.create_future(), len(commands))
        if not self._answers:
            self._heard = self._loop.time()
            self._transport.write(packed)
        else:
            # The server is at work for others: what comes until the event loop looks again is sent at once.
            if not self._unsent:
                self._loop.call_soon(self._flush, context=self._context)
            self._unsent.append(packed)
        self._answers.append(answer)
        if self._watch is None:
            self._watch = self._loop.call_later(self._patience, self._look, context=self._context)
        return answer.future

    async def occupy(self, commands: Sequence[Sequence[Arg | int]]) -> list[Reply]:
        """As :meth:`send`, for what may take long: others go to another connection meanwhile, if there is one."""
        self._long += 1
        try:
            return await self.send(commands)
        finally:
            self._long -= 1

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        self._transport.write(b"".join(unsent))

    def _look(self) -> None:
        # One timer for all, and none while nothing is under way.
        self._watch = None
        if not self._answers:
            return
        left = self._heard + self._patience - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look, context=self._context)
        else:
            self._give_up(TimeoutError, f"the server said nothing for {self._patience:g} seconds")

    def _give_up(self, kind: type[Exception], why: str) -> None:
        self._end = self._end or (kind, why)
        self._transport.abort()

    def _error(self) -> Exception:
        kind, why = self._end or (ConnectionError, "the connection was lost")
        return kind(why)

    async def close(self) -> None:
        """End the connection, whatever is under way."""
        self._give_up(ConnectionError, CLOSED)
        await asyncio.shield(self._ended)

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        """Pass replies on to who waits for them, the first one first."""
        self._heard = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets(False)) is not _INCOMPLETE:
                answer = self._answers[0]
                answer.replies.append(reply)
                if len(answer.replies) == answer.count:
                    self._answers.popleft()
                    if not answer.future.done():  # nobody waits for the answer to a request that was cancelled
                        answer.future.set_result(answer.replies)
        except InvalidResponse as error:
            self._give_up(InvalidResponse, str(error))
        except IndexError:
            self._give_up(ConnectionError, "an answer that nobody waits for")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all who wait."""
        self._end = self._end or (ConnectionError, f"the server closed the connection: {error or 'no reason given'}")
        self._ended.set_result(None)
        self._lost(self)
        if self._watch is not None:
            self._watch.cancel()
        for answer in self._answers:
            if not answer.future.done():
                answer.future.set_exception(self._error())
        self._answers.clear()
        self._connected._close()


class Connections:
    """The connections of one event loop. A request goes where the fewest are under way.

    Args:
        make: returns a connection of valkey-py that has not connected yet.
        most: how many there are at most.
        patience: see :class:`Connection`.
    """

    def __init__(self, make: Callable[[], Any], most: int, patience: float) -> None:
        self._make = make
        self._most = most
        self._patience = patience
        self._open: list[Connection] = []
        self._opening: asyncio.Task[Connection] | None = None
        self._is_closed = False

    async def ask(self, commands: Sequence[Sequence[Arg | int]]) -> list[Reply]:
        """Return the replies to the commands of a request. Raises as :meth:`Connection.send`, or what connecting did."""
        best = min(self._open, key=_LOAD, default=None)
        if best is None or (best.is_occupied and self._may_open()):
            best = await self._opened()
        elif best.load >= DEPTH and self._may_open():
            self._one_more()  # for those who come later
        return await best.send(commands)

    async def ask_alone(self, commands: Sequence[Sequence[Arg | int]]) -> list[Reply]:
        """As :meth:`ask`, for what may take long: it holds up no others, if there may be another connection."""
        best = min(self._open, key=_LOAD, default=None)
        if best is None or (best.load and self._may_open()):
            best = await self._opened()
        return await best.occupy(commands)

    def _may_open(self) -> bool:
        return len(self._open) < self._most

    def _one_more(self) -> asyncio.Task[Connection]:
        """Open a connection, or join those who wait for one already."""
        if self._opening is None:
            # In a context of its own: a connection would keep that of the first request for as long as it lives.
            self._opening = asyncio.create_task(self._connect(), context=contextvars.Context())
            self._opening.add_done_callback(self._settled)
        return self._opening

    def _settled(self, opening: asyncio.Task[Connection]) -> None:
        self._opening = None
        if not opening.cancelled():
            # Those who wait for it raise it. If nobody does, there are other connections.
            opening.exception()

    async def _opened(self) -> Connection:
        if self._is_closed:
            raise ConnectionError(CLOSED)
        opening = self._one_more()
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and not (task and task.cancelling()):
                raise ConnectionError(CLOSED) from None
            raise

    async def _connect(self) -> Connection:
        connected = self._make()
        await connected.connect()  # whatever fails in there, it closes what it opened
        connection = Connection(connected, self._patience, self._open.remove)
        self._open.append(connection)
        return connection

    async def close(self) -> None:
        """End all connections, whatever is under way."""
        self._is_closed = True
        opening = self._opening
        while opening is not None and not opening.done():
            # More than once: the client uses asyncio.wait_for, which may overlook one before Python 3.12.
            opening.cancel()
            await asyncio.wait([opening], timeout=0.05)
        for connection in list(self._open):
            await connection.close()
