"""The backends of checkpoints that the contract, the state machine and others are run over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Literal

import pytest
from attrs import frozen

from statekeep.repositories.checkpoints import CheckpointBackend
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.repositories.valkey import ValkeyCheckpoints, client_from_url
from statekeep.testing.servers import ValkeyCluster, ValkeyServer


@frozen
class Backend:
    """How to open an empty backend under a key prefix; servers are fixtures, got from the request."""

    open: Callable[[pytest.FixtureRequest, str], AbstractContextManager[CheckpointBackend]]
    aopen: Callable[[pytest.FixtureRequest, str], AbstractAsyncContextManager[CheckpointBackend]]


@contextmanager
def _memory(request: pytest.FixtureRequest, prefix: str) -> Iterator[CheckpointBackend]:
    yield MemoryCheckpoints()


@asynccontextmanager
async def _amemory(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[CheckpointBackend]:
    yield MemoryCheckpoints()


def _valkey(client: Literal["glide", "valkey-py"], fixture: str) -> Backend:
    """A backend over a server or cluster of this session."""

    def make(request: pytest.FixtureRequest, prefix: str) -> ValkeyCheckpoints:
        server: ValkeyServer | ValkeyCluster = request.getfixturevalue(fixture)
        return ValkeyCheckpoints(client_from_url(server.url, client=client), prefix=prefix)

    @contextmanager
    def opened(request: pytest.FixtureRequest, prefix: str) -> Iterator[CheckpointBackend]:
        backend = make(request, prefix)
        try:
            yield backend
        finally:
            backend.close()

    @asynccontextmanager
    async def aopened(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[CheckpointBackend]:
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
