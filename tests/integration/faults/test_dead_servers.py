"""A server that is killed, and comes back with what it had written to its log.

Its log is handed to the operating system before each answer, and that goes on living. With ``appendfsync everysec``
this is not so: while the disk is busy the server answers first, and what it had acknowledged is lost with it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from statekeep.repositories.valkey import client_from_url
from statekeep.testing.servers import ValkeyServer

from .crews import Face, audit_all, keeps_of, under, writers
from .tally import Tally

Driver = Literal["glide", "valkey-py"]

KILL_SERVER = "kill -9 of a server"
PAUSE = "server paused"


def killing(server: ValkeyServer, source: random.Random, tally: Tally, kills: int) -> Callable[[], None]:
    """Kill a server again and again, and now and then let it stand still for a while."""

    def inject() -> None:
        for _ in range(kills):
            time.sleep(source.uniform(0.05, 0.4))
            if source.random() < 0.25:
                server.pause()
                time.sleep(source.uniform(0.1, 0.6))
                tally.faults[PAUSE] += 1
                server.resume()
            else:
                server.kill()
                time.sleep(source.choice([0, 0.1, 0.4]))
                tally.faults[KILL_SERVER] += 1
                server.restart()

    return inject


@pytest.mark.slow
@pytest.mark.parametrize("deadline", [0.0, 20.0])
@pytest.mark.parametrize(
    ("driver", "face"), [("glide", "async"), ("valkey-py", "blocking"), ("glide", "blocking"), ("valkey-py", "async")]
)
def test_a_server_that_is_killed(
    driver: Driver, face: Face, deadline: float, source: random.Random, tally: Tally, factor: int
) -> None:
    tally.wanted = {KILL_SERVER}
    crew = writers(source, tally)
    with ValkeyServer(appendonly="yes", appendfsync=source.choice(["always", "no"])) as server:

        def opened() -> Any:
            return client_from_url(
                server.url, client=driver, deadline=deadline, request_timeout=0.5, connect_timeout=0.5
            )

        under(
            killing(server, source, tally, 5 * factor),
            crew,
            opened,
            lambda client: keeps_of(client, face),
            face,
            source,
        )
        with server.client() as client:
            audit_all(client, tally)
    if deadline:
        # Longer than any of these outages.
        assert not tally.operations["unacknowledged"]
