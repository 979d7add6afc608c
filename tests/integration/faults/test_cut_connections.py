"""Connections that are cut in the middle of requests and answers, whether the server has done what was asked or not."""

from __future__ import annotations

import random
import time
from typing import Any, Literal

import pytest

from statekeep.repositories.valkey import client_from_url
from statekeep.testing.servers import ValkeyServer

from .crews import Face, audit_all, keeps_of, under, writers
from .cutting_proxy import CUT_REPLY, CUT_REQUEST, SLOW, CuttingProxy
from .tally import Tally


@pytest.mark.slow
@pytest.mark.parametrize("deadline", [0.0, 20.0])
@pytest.mark.parametrize("face", ["blocking", "async"])
@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_connections_that_are_cut(
    driver: Literal["glide", "valkey-py"],
    face: Face,
    deadline: float,
    source: random.Random,
    tally: Tally,
    factor: int,
) -> None:
    tally.wanted = {CUT_REQUEST, CUT_REPLY, SLOW}
    crew = writers(source, tally)
    with ValkeyServer() as server, CuttingProxy(server.port, source, tally) as proxy:

        def inject() -> None:
            end = time.monotonic() + 60 * factor
            while min(tally.faults[CUT_REQUEST], tally.faults[CUT_REPLY]) < 10 * factor or not tally.faults[SLOW]:
                assert time.monotonic() < end, "too few connections were cut"
                time.sleep(0.05)
            proxy.is_calm = True

        def opened() -> Any:
            url = f"valkey://127.0.0.1:{proxy.port}"
            return client_from_url(url, client=driver, deadline=deadline, request_timeout=0.5, connect_timeout=0.5)

        under(inject, crew, opened, lambda client: keeps_of(client, face), face, source)
        with server.client() as client:
            audit_all(client, tally)
    if deadline:
        assert not tally.operations["unacknowledged"]
