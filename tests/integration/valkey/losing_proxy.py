"""A TCP proxy that loses answers."""

from __future__ import annotations

import socket

from .counting_proxy import CountingProxy


class LosingProxy(CountingProxy):
    """Forwards connections to a port of 127.0.0.1. The server does what it is asked, but the answer may get lost.

    Attributes:
        losing: how many of the next requests lose their answers, and their connection with them.
        lost: how many did.
    """

    def __init__(self, target: int) -> None:
        self.losing = 0
        self.lost = 0
        self._doomed: set[socket.socket] = set()
        super().__init__(target)

    def _forward(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        try:
            while data := source.recv(1 << 18):
                server = target if asking else source
                with self._lock:
                    if asking and self.losing and server not in self._doomed:
                        self.losing -= 1
                        self._doomed.add(server)
                    if not asking and server in self._doomed:
                        self.lost += 1
                        break
                target.sendall(data)
        except OSError:
            pass  # one end hung up: so does the other
        self._hang_up(source, target, asking)
