"""Servers of other packages, one per worker of pytest-xdist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from statekeep.testing.servers import ValkeyServer

from .peers import Peers
from .postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with PostgresServer() as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ValkeyServer]:
    """A server with the modules for search and JSON, which langgraph-checkpoint-redis needs."""
    with ValkeyServer(search="redisearch") as server:
        yield server


@pytest.fixture(scope="session")
def peer_server() -> Iterator[ValkeyServer]:
    """A server whose keys have no prefix of their own, so each test empties it."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def peers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peers]:
    found = Peers(request, tmp_path)
    yield found
    found.close()
