"""Connections of valkey-py's asyncio client, with many requests under way.

The client's own pool lends a connection to one request. Here a request is written behind those before it, and the
server answers in order: that costs a fraction of the client's time, and few connections serve many tasks.

An exception of a signal handler may come between any two steps of the interpreter, and who uses the event loop again
afterwards must not get the answers of others. Two rules see to that. A request stands in the list of those that wait
before anything of it is sent, and until its answer was passed on. And a connection with such a list is given up when
something raises in the midst of its work, or when its event loop was left and entered again: what went wrong in there,
even in the loop's own code, where data that was read may be lost, is not known here.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import libvalkey
from valkey.asyncio.connection import DefaultParser
from valkey.exceptions import ConnectionError, InvalidResponse, ReadOnlyError, TimeoutError

from ....process.notices import sometimes, valkey_logger
from ...requests import Arg, Reply
from ..clock import Watch, loop_clock
from ..driver import joined

DEPTH: Final = 64
"""Requests under way on each connection at which another one is opened."""

CLOSED: Final = "the connection was closed here"
DEMOTED: Final = "the server is a replica now; another connection may lead to the primary"
INTERRUPTED: Final = "an exception interrupted the work of the connection or of its event loop"

LONGEST_CLOSE: Final = 2.0
"""Seconds to wait for the end of a connection: the event loop may have lost the call that tells of it."""

_INCOMPLETE: Final = object()

_LOAD: Final = attrgetter("load")


def _run() -> Any:
    """Identify this run of the event loop: each ``run_forever`` sets its own hooks."""
    return sys.get_asyncgen_hooks().firstiter


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
        connected: one of valkey-py's, which has connected: it knows how to do that, and is not used any more
            afterwards.
        patience: seconds without a word of the server, after which the connection is given up if it owes an answer.
        lost: is called when the connection takes no more requests.
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
        self._clock = loop_clock()
        self._heard = 0.0
        self._run = _run()
        self._watch: Watch | None = None
        self._end: tuple[type[Exception], str] | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._long = 0
        self._transport: asyncio.Transport = connected._writer.transport
        self._transport.set_protocol(self)

    @property
    def load(self) -> int:
        """Requests that one would wait for here; one that may take long counts as many."""
        return len(self._answers) + self._long * DEPTH

    @property
    def address(self) -> tuple[str, int]:
        """The server's; of TCP connections alone."""
        return self._connected.host, self._connected.port

    def leave(self) -> None:
        """End the connection to a server that is the wrong one now.

        Requests that are under way fail, and are tried again.
        """
        self._give_up(ConnectionError, DEMOTED)

    @property
    def is_occupied(self) -> bool:
        """Whether a request is under way here that may take long."""
        return self._long > 0

    def send(self, commands: Sequence[Sequence[Arg]]) -> asyncio.Future[list[Reply]]:
        """Send a request; return its replies, errors of the server among them.

        Raises:
            ConnectionError: the connection has ended; the future raises so if it ends before the answer.
            TimeoutError: likewise, because the server said nothing for too long.
        """
        if self._transport.is_closing():
            raise self._error()
        packed = b"".join([libvalkey.pack_command(tuple(command)) for command in commands])
        answer = _Answer(self._loop.create_future(), len(commands))
        is_first = not self._answers
        try:
            self._answers.append(answer)
            if is_first:
                self._heard = self._clock.time()
                self._transport.write(packed)
            else:
                # The server is at work for others: what comes until the event loop looks again is sent at once.
                if not self._unsent:
                    self._loop.call_soon(self._flush, context=self._context)
                self._unsent.append(packed)
            if self._watch is None or self._watch.is_over:
                # One for all, and none while nothing is under way.
                self._watch = Watch(self._left, self._fell_silent, self._context)
        except BaseException:
            answer.future.cancel()  # nobody will ask for it
            self._give_up(ConnectionError, INTERRUPTED)
            raise
        return answer.future

    def enter_again(self) -> None:
        """Take notice of another run of the event loop."""
        if self._answers:
            self._give_up(ConnectionError, INTERRUPTED)
        elif self._watch is not None:  # if its loop still knows of it
            self._watch.cancel()
            self._watch = None
        self._run = _run()

    async def occupy(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        """Send a request that may take long; others use another connection meanwhile."""
        self._long += 1
        try:
            return await self.send(commands)
        finally:
            self._long -= 1

    def _flush(self) -> None:
        try:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))
        except BaseException:
            self._give_up(ConnectionError, INTERRUPTED)
            raise

    def _left(self) -> float | None:
        return self._heard + self._patience - self._clock.time() if self._answers else None

    def _fell_silent(self) -> None:
        self._give_up(TimeoutError, f"the server said nothing for {self._patience:g} seconds")

    def _give_up(self, kind: type[Exception], why: str) -> None:
        self._end = self._end or (kind, why)
        self._lost(self)
        self._transport.abort()
        self._tell()

    def _tell(self) -> None:
        # At once, and not only when the event loop says that the connection was lost: that call may get lost, too.
        for answer in self._answers:
            if not answer.future.done():
                answer.future.set_exception(self._error())
        self._answers.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _error(self) -> Exception:
        kind, why = self._end or (ConnectionError, "the connection was lost")
        return kind(why)

    async def close(self) -> None:
        """End the connection, with all that is under way."""
        self._give_up(ConnectionError, CLOSED)
        await asyncio.wait([self._ended], timeout=LONGEST_CLOSE)

    # Called by the event loop.

    def data_received(self, data: bytes) -> None:
        """Pass replies on to their waiters, in order."""
        if self._run is not _run():
            self.enter_again()
        if self._end is not None:
            return
        self._heard = self._clock.time()
        is_replica = False
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets(False)) is not _INCOMPLETE:
                answer = self._answers[0]
                answer.replies.append(reply)
                if type(reply) is ReadOnlyError:
                    is_replica = True
                if len(answer.replies) == answer.count:
                    if not answer.future.done():  # nobody waits for the answer to a request that was cancelled
                        answer.future.set_result(answer.replies)
                    self._answers.popleft()
            if is_replica:
                self._give_up(ConnectionError, DEMOTED)
        except InvalidResponse as error:
            self._give_up(InvalidResponse, str(error))
        except IndexError:
            self._give_up(ConnectionError, "an answer that nobody waits for")
        except BaseException:
            self._give_up(ConnectionError, INTERRUPTED)
            raise

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all waiters."""
        self._end = self._end or (ConnectionError, f"the server closed the connection: {error or 'no reason given'}")
        self._lost(self)
        self._tell()
        if not self._ended.done():
            self._ended.set_result(None)
        self._connected._close()


class Connections:
    """The connections of one event loop.

    A request goes where the fewest are under way.

    Args:
        make: returns a connection of valkey-py that has not connected yet.
        most: how many there are at most.
        patience: see :class:`Connection`.
        server: its address, for logs.
    """

    def __init__(self, make: Callable[[], Any], most: int, patience: float, server: str = "the server") -> None:
        self._make = make
        self._server = server
        self._most = most
        self._patience = patience
        self._open: list[Connection] = []
        self._opening: asyncio.Task[Connection] | None = None
        self._run = _run()
        self._is_lost = False
        self._is_closed = False

    async def ask(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        """Return the replies to a request.

        Raises as :meth:`Connection.send` or connecting.
        """
        best = self._best()
        if best is None or (best.is_occupied and self._may_open()):
            best = await self._opened()
        elif best.load >= DEPTH and self._may_open():
            self._one_more()  # for those who come later
        return await best.send(commands)

    async def ask_alone(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        """Ask a request that may take long, on a connection that holds up no others."""
        best = self._best()
        if best is None or (best.load and self._may_open()):
            best = await self._opened()
        return await best.occupy(commands)

    def leave_others(self, address: tuple[str, int] | None) -> None:
        """Leave all connections to other servers."""
        for connection in [one for one in self._open if one.address != address]:
            connection.leave()

    def _best(self) -> Connection | None:
        if self._run is not _run():
            self._enter_again()
        return min(self._open, key=_LOAD, default=None)

    def _enter_again(self) -> None:
        self._run = _run()
        for connection in list(self._open):
            connection.enter_again()
        if self._opening is not None:
            self._opening.cancel()  # the event loop may have lost what would wake it
            self._opening = None

    def _may_open(self) -> bool:
        return len(self._open) < self._most

    def _one_more(self) -> asyncio.Task[Connection]:
        """Open a connection, or share one that is being opened."""
        if self._opening is None or self._opening.done():
            # In a context of its own: a connection would keep that of the first request for as long as it lives.
            self._opening = asyncio.create_task(self._connect(), context=contextvars.Context())
            self._opening.add_done_callback(self._settled)
        return self._opening

    def _settled(self, opening: asyncio.Task[Connection]) -> None:
        if self._opening is opening:
            self._opening = None
        if not opening.cancelled():
            # Those who wait for it raise it. If nobody does, there are other connections.
            opening.exception()

    async def _opened(self) -> Connection:
        if self._is_closed:
            raise ConnectionError(CLOSED)
        opening = self._one_more()
        try:
            return await joined(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and not (task and task.cancelling()):
                raise ConnectionError(CLOSED) from None
            raise

    async def _connect(self) -> Connection:
        connected = self._make()
        try:
            await connected.connect()
            connection = Connection(connected, self._patience, self._lose)
            self._open.append(connection)
        except BaseException:
            connected._close()
            raise
        if self._is_lost:
            self._is_lost = False
            sometimes(valkey_logger, f"{self._server} is back", "%s: connected again", self._server)
        return connection

    def _lose(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._is_lost = True

    async def close(self) -> None:
        """End all connections, with all that is under way."""
        self._is_closed = True
        opening = self._opening
        while opening is not None and not opening.done():
            # More than once: the client uses asyncio.wait_for, which may overlook one before Python 3.12.
            opening.cancel()
            await asyncio.wait([opening], timeout=0.05)
        for connection in list(self._open):
            await connection.close()
