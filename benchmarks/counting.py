"""What each call sends over the network and gets back, counted by a proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from attrs import define, field, frozen

from tests.integration.valkey.counting_proxy import CountingProxy

from .calls import Call, Script, drive
from .savers import Contender
from .servers import Servers


@frozen
class Traffic:
    """Of one call.

    Attributes:
        asked: the call.
        turns: round trips.
        sent: bytes to the server.
        received: bytes from the server.
    """

    asked: Call
    turns: int
    sent: int
    received: int


@define
class Counter:
    """Notes the traffic of each call through a proxy."""

    proxy: CountingProxy
    traffic: list[Traffic] = field(factory=list)

    def start(self) -> None:
        """Begin."""
        self.proxy.reset()

    def stop(self, ended: Call) -> None:
        """End."""
        self.traffic.append(Traffic(ended, self.proxy.turns, self.proxy.sent, self.proxy.received))


def traffic(servers: Servers, contender: Contender, script: Callable[[str], Script]) -> Sequence[Traffic]:
    """Count what a script sends; it runs once before, so that connections are open and the server knows the scripts."""
    port = servers.valkey_port if contender.server == "valkey" else servers.port_of_postgres
    with ExitStack() as stack:
        proxy = stack.enter_context(CountingProxy(port))
        subject = stack.enter_context(contender.open(servers.behind(proxy.port, proxy.port)))
        drive(subject, script("first"), Counter(proxy))
        counter = Counter(proxy)
        drive(subject, script("second"), counter)
    return counter.traffic
