"""The backends of cache entries that the contract, the state machine and others are run over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Literal

import pytest
from attrs import frozen

from statekeep.repositories.cache import CacheBackend
from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.repositories.valkey import ValkeyCacheEntries, client_from_url
from statekeep.testing.servers import ValkeyCluster, ValkeyServer


@frozen
class Backend:
    """How to open an empty backend under a key prefix; servers are fixtures, got from the request."""

    open: Callable[[pytest.FixtureRequest, str], AbstractContextManager[CacheBackend]]
    aopen: Callable[[pytest.FixtureRequest, str], AbstractAsyncContextManager[CacheBackend]]


@contextmanager
def _memory(request: pytest.FixtureRequest, prefix: str) -> Iterator[CacheBackend]:
    yield MemoryCacheEntries()


@asynccontextmanager
async def _amemory(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[CacheBackend]:
    yield MemoryCacheEntries()


def _valkey(client: Literal["glide", "valkey-py"], fixture: str) -> Backend:
    """A backend over a server or cluster of this session."""

    def make(request: pytest.FixtureRequest, prefix: str) -> ValkeyCacheEntries:
        server: ValkeyServer | ValkeyCluster = request.getfixturevalue(fixture)
        return ValkeyCacheEntries(client_from_url(server.url, client=client), prefix=prefix)

    @contextmanager
    def opened(request: pytest.FixtureRequest, prefix: str) -> Iterator[CacheBackend]:
        backend = make(request, prefix)
        try:
            yield backend
        finally:
            backend.close()

    @asynccontextmanager
    async def aopened(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[CacheBackend]:
        backend = make(request, prefix)
        try:
            yield backend
        finally:
            await backend.aclose()

    return Backend(opened, aopened)


BACKENDS = {
    "memory": Backend(_memory, _amemory),
    "glide": _valkey("glide", "valkey_server"),
    "valkey-py": _valkey("valkey-py", "valkey_server"),
    "glide-cluster": _valkey("glide", "valkey_cluster"),
    "valkey-py-cluster": _valkey("valkey-py", "valkey_cluster"),
}
