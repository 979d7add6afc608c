"""Connections for the bridges to frameworks: what a test asks for in each of its forms, and one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import statekeep
from statekeep.testing.servers import ValkeyServer
from tests.integration.valkey.counting_proxy import CountingProxy

CLIENTS = ["memory", "glide", "valkey-py"]


def _opened(client: str, server: ValkeyServer, prefix: str) -> tuple[str, Any]:
    return ("memory:", {}) if client == "memory" else (server.url, {"client": client, "prefix": prefix})


@pytest.fixture(params=CLIENTS)
def keep(request: pytest.FixtureRequest, valkey_server: ValkeyServer, prefix: str) -> Iterator[statekeep.Connection]:
    url, options = _opened(request.param, valkey_server, prefix)
    with statekeep.connect(url, **options) as keep:
        yield keep


@pytest.fixture(params=CLIENTS)
async def akeep(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, prefix: str
) -> AsyncIterator[statekeep.AsyncConnection]:
    url, options = _opened(request.param, valkey_server, prefix)
    async with statekeep.aconnect(url, **options) as keep:
        yield keep


@pytest.fixture
def served(valkey_server: ValkeyServer, prefix: str) -> Iterator[statekeep.Connection]:
    with statekeep.connect(valkey_server.url, prefix=prefix) as keep:
        yield keep


@pytest.fixture
async def aserved(valkey_server: ValkeyServer, prefix: str) -> AsyncIterator[statekeep.AsyncConnection]:
    async with statekeep.aconnect(valkey_server.url, prefix=prefix) as keep:
        yield keep


@pytest.fixture
def proxy(valkey_server: ValkeyServer) -> Iterator[CountingProxy]:
    with CountingProxy(valkey_server.port) as proxy:
        yield proxy
