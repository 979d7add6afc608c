"""Logs under faults: nothing that was acknowledged is lost, and nothing comes twice."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
import valkey

import statekeep
from statekeep import Unavailable
from statekeep.repositories.valkey.embedded import EmbeddedServer
from statekeep.testing.servers import ValkeyServer

from .cutting_proxy import CUT_REPLY, CUT_REQUEST, CuttingProxy
from .tally import Tally

L = ("chat", "ada")
WRITERS = 3


def write(
    logs: Any, writer: int, numbers: Iterable[int], acknowledged: list[list[int]], doubtful: list[list[int]]
) -> None:
    """Append a pair of values for each number, one call after the other."""
    for number in numbers:
        pair = [[writer, number], [writer, -number - 1]]
        try:
            logs.append(L, pair)
        except Unavailable:
            doubtful.extend(pair)
        else:
            acknowledged.extend(pair)


def check(found: list[list[int]], acknowledged: list[list[int]], doubtful: list[list[int]]) -> None:
    counts = Counter(map(tuple, found))
    assert [value for value in acknowledged if counts[value[0], value[1]] != 1] == []
    assert max(counts.values()) == 1
    assert set(counts) <= set(map(tuple, acknowledged + doubtful))
    for writer in range(WRITERS):
        mine = [number for one, number in found if one == writer]
        assert mine[1::2] == [-number - 1 for number in mine[::2]], "a pair is not whole"
        assert mine[::2] == sorted(mine[::2]), "another order"


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_connections_that_are_cut(
    driver: Literal["glide", "valkey-py"], source: random.Random, tally: Tally, factor: int
) -> None:
    tally.wanted = {CUT_REQUEST, CUT_REPLY}
    acknowledged: list[list[int]] = []
    doubtful: list[list[int]] = []
    popped: list[list[int]] = []
    with ValkeyServer() as server, CuttingProxy(server.port, source, tally, mean=4000, slowness=0) as proxy:
        url = f"valkey://127.0.0.1:{proxy.port}?client={driver}&request_timeout=0.5&deadline=60"
        with statekeep.connect(url) as keep, ThreadPoolExecutor(WRITERS + 1) as pool:
            stop = threading.Event()

            def numbers() -> Iterator[int]:
                end = time.monotonic() + 60 * factor
                for number in itertools.count():
                    if number >= 40 * factor and all(tally.faults[kind] for kind in tally.wanted):
                        return
                    assert time.monotonic() < end, "too few connections were cut"
                    yield number

            def take() -> None:
                while not stop.is_set():
                    popped.extend(entry.value for entry in keep.logs.pop(L, 3, first=True))

            taker = pool.submit(take)
            try:
                for done in [
                    pool.submit(write, keep.logs, writer, numbers(), acknowledged, doubtful)
                    for writer in range(WRITERS)
                ]:
                    done.result()
            finally:
                stop.set()
            taker.result()
            proxy.is_calm = True
            found = [*popped, *(entry.value for entry in keep.logs.read(L))]
    tally.operations["acknowledged"] += len(acknowledged) // 2
    tally.operations["checked"] += len(found)
    assert doubtful == []
    assert len(acknowledged) == len(found)
    check(found, acknowledged, doubtful)


@pytest.mark.slow
def test_a_server_that_is_killed(tmp_path: Path) -> None:
    acknowledged: list[list[int]] = []
    doubtful: list[list[int]] = []
    with EmbeddedServer(tmp_path) as server:
        with statekeep.connect(server.url, deadline=60) as keep, ThreadPoolExecutor(WRITERS) as pool:
            work = [
                pool.submit(write, keep.logs, writer, range(60), acknowledged, doubtful) for writer in range(WRITERS)
            ]
            while len(acknowledged) < 20:
                time.sleep(0.01)
            with valkey.Valkey.from_url(server.url) as client:
                info: Any = client.info()
            os.kill(info["process_id"], signal.SIGKILL)  # whoever keeps it starts it again
            for each in work:
                each.result()
            check([entry.value for entry in keep.logs.read(L)], acknowledged, doubtful)
            assert [(log.name, log.count) for log in keep.logs.list()] == [(L, keep.logs.count(L))]
