"""A TCP proxy that cuts connections at any byte, and holds back answers."""

from __future__ import annotations

import random
import socket
import time

from ..valkey.counting_proxy import CountingProxy
from .tally import Tally

CUT_REQUEST = "connection cut in a request"
CUT_REPLY = "connection cut in a reply"
SLOW = "slow reply"


class CuttingProxy(CountingProxy):
    """Forwards connections to a port of 127.0.0.1, most of them only for some time.

    Args:
        target: the port.
        source: of chance.
        tally: counts what was done.
        mean: bytes of a direction after which it is cut, on an average.
        slowness: probability of an answer's being held back.

    Attributes:
        is_calm: nothing is cut or held back from now on.
    """

    def __init__(
        self, target: int, source: random.Random, tally: Tally, *, mean: float = 12_000, slowness: float = 0.01
    ) -> None:
        super().__init__(target)
        self.is_calm = False
        self._source = source
        self._tally = tally
        self._mean = mean
        self._slowness = slowness

    def _forward(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        with self._lock:
            chance = random.Random(self._source.random())
        # A request that is cut at its end was executed; an answer that is cut before its beginning was lost.
        left = int(chance.expovariate(1 / self._mean))
        try:
            while data := source.recv(1 << 18):
                if not self.is_calm:
                    if not asking and chance.random() < self._slowness:
                        self._note(SLOW)
                        time.sleep(chance.uniform(0.1, 0.8))
                    if len(data) >= left:
                        target.sendall(data[:left])
                        self._note(CUT_REQUEST if asking else CUT_REPLY)
                        break
                    left -= len(data)
                target.sendall(data)
        except OSError:
            pass  # one end hung up: so does the other
        self._hang_up(source, target, asking)

    def _note(self, kind: str) -> None:
        with self._lock:
            self._tally.faults[kind] += 1
