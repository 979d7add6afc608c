"""A cluster in which replicas take over.

What is promised: a failover that the primary agrees to (``CLUSTER FAILOVER``) loses nothing that was acknowledged. One
after the primary's death may: replication is asynchronous, and nothing here waits for it. Then what was acknowledged
lately may be gone, each thing as a whole; what is there fits together, once threads and namespaces were
reindexed; and clients go on by themselves, within their deadline.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import pytest

from statekeep.repositories.valkey import client_from_url
from statekeep.testing.servers import ValkeyCluster

from .crews import Face, audit_all, keeps_of, under, writers
from .tally import Tally
from .work import Writer

Driver = Literal["glide", "valkey-py"]

FAILOVER = "failover by agreement"
KILL_PRIMARY = "kill -9 of a primary"

DEADLINE = 20.0
"""Seconds: more than twice the time in which this cluster notices that a node is dead."""


@pytest.fixture(scope="module")
def replicated() -> Iterator[ValkeyCluster]:
    with ValkeyCluster(primaries=3, replicas=1, node_timeout=500) as cluster:
        yield cluster


def _primaries(cluster: ValkeyCluster) -> list[int]:
    return [port for port in cluster.ports if cluster.role(port) == "master"]


def _settled(cluster: ValkeyCluster) -> None:
    cluster._until(cluster._healthy)


RUNS: list[tuple[Driver, Face]] = [
    ("glide", "async"),
    ("valkey-py", "blocking"),
    ("glide", "blocking"),
    ("valkey-py", "async"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "face"), RUNS)
def test_failovers_by_agreement_lose_nothing(
    driver: Driver,
    face: Face,
    replicated: ValkeyCluster,
    prefix: str,
    source: random.Random,
    tally: Tally,
    factor: int,
) -> None:
    tally.wanted = {FAILOVER}
    crew = writers(source, tally)

    def inject() -> None:
        for _ in range(3 * factor):
            time.sleep(source.uniform(0, 0.2))
            replicated.failover(replicated.replica_of(source.choice(_primaries(replicated))))
            tally.faults[FAILOVER] += 1
            _settled(replicated)

    _under(inject, crew, replicated, driver, face, prefix, source)
    with replicated.client() as client:
        audit_all(client, tally, prefix)
    assert not tally.operations["unacknowledged"]


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "face"), RUNS)
def test_dead_primaries_leave_nothing_half(
    driver: Driver,
    face: Face,
    replicated: ValkeyCluster,
    prefix: str,
    source: random.Random,
    tally: Tally,
    factor: int,
) -> None:
    tally.wanted = {KILL_PRIMARY}
    crew = writers(source, tally, is_lossy=True)

    def inject() -> None:
        for _ in range(factor):
            time.sleep(source.uniform(0.1, 0.4))
            primary = source.choice(_primaries(replicated))
            heir = replicated.replica_of(primary)
            replicated.kill(primary)
            tally.faults[KILL_PRIMARY] += 1
            replicated.wait_for_primary(heir)
            replicated.nodes[primary].restart()
            _settled(replicated)

    _under(inject, crew, replicated, driver, face, prefix, source)
    # Records and the indexes above them are in different slots, and so an index may have lost what a record has kept.
    mending = client_from_url(replicated.url)
    for writer in crew:
        asyncio.run(writer.reindex(keeps_of(mending, "blocking", prefix)))
    mending.close()
    with replicated.client() as client:
        audit_all(client, tally, prefix)
    assert not tally.operations["unacknowledged"]


def _under(
    inject: Callable[[], None],
    crew: Sequence[Writer],
    cluster: ValkeyCluster,
    driver: Driver,
    face: Face,
    prefix: str,
    source: random.Random,
) -> None:
    under(
        inject,
        crew,
        lambda: client_from_url(cluster.url, client=driver, deadline=DEADLINE, request_timeout=2.0),
        lambda client: keeps_of(client, face, prefix),
        face,
        source,
    )
