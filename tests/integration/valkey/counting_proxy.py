"""A TCP proxy that counts what goes through it."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Self


class CountingProxy:
    """Forwards connections to a port of 127.0.0.1, and counts turns and bytes.

    A turn begins when the client sends after the server was the last to send, or after a reset. A request in several
    packets is one turn, and so is a pipeline, as long as the server does not answer its beginning before its end was
    sent: turns may be counted twice, but none is overlooked. A caller that waits for each answer makes one turn
    for each round trip, because bytes are counted before they are passed on.

    Args:
        target: the port that it forwards to.
        delay: seconds after which bytes are passed on.

    Attributes:
        port: of the proxy.
        turns: how many there were since the last reset.
        sent: bytes from the clients since then.
        received: bytes from the server since then.
        connections: how many connections are open.
        most_connections: how many were open at the same time.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self._target = target
        self._delay = delay
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._closed = False
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.most_connections = 0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.turns = self.sent = self.received = 0
            self._asked = False

    def _count(self, asking: bool, size: int) -> None:
        with self._lock:
            if asking:
                self.sent += size
                self.turns += not self._asked
            else:
                self.received += size
            self._asked = asking

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.setblocking(True)
            server = socket.create_connection(("127.0.0.1", self._target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
                self.connections += 1
                self.most_connections = max(self.most_connections, self.connections)
            self._run(self._forward, client, server, True)
            self._run(self._forward, server, client, False)

    def _forward(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        try:
            while data := source.recv(1 << 18):
                self._count(asking, len(data))
                if self._delay:
                    time.sleep(self._delay)
                target.sendall(data)
        except OSError:
            pass  # one end hung up: so does the other
        self._hang_up(source, target, asking)

    def _hang_up(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already
        if asking:
            with self._lock:
                self.connections -= 1

    def _run(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._threads[0].join()
        self._listener.close()
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already
        for thread in self._threads[1:]:
            thread.join()
        for end in self._sockets:
            end.close()
