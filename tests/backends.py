"""The backends that the contracts, the state machines and others are run over."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, Literal, TypeVar

import pytest
from attrs import frozen

from statekeep.repositories.cache import CacheBackend
from statekeep.repositories.checkpoints import CheckpointBackend
from statekeep.repositories.item_backend import ItemBackend
from statekeep.repositories.logs import LogBackend
from statekeep.repositories.memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems, MemoryLogs
from statekeep.repositories.valkey import (
    ValkeyCacheEntries,
    ValkeyCheckpoints,
    ValkeyItems,
    ValkeyLogs,
    client_from_url,
)
from statekeep.repositories.valkey.embedded import EmbeddedServer
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

BackendT = TypeVar("BackendT", bound=CheckpointBackend | ItemBackend | CacheBackend | LogBackend)


@frozen
class Backend(Generic[BackendT]):
    """How to make an empty backend under a key prefix; servers are fixtures, got from the request."""

    make: Callable[..., BackendT]

    def with_options(self, **options: Any) -> Backend[BackendT]:
        """The same with some options besides."""
        return Backend(lambda request, prefix, **more: self.make(request, prefix, **options | more))

    @contextmanager
    def open(self, request: pytest.FixtureRequest, prefix: str, **options: Any) -> Iterator[BackendT]:
        backend = self.make(request, prefix, **options)
        try:
            yield backend
        finally:
            backend.close()

    @asynccontextmanager
    async def aopen(self, request: pytest.FixtureRequest, prefix: str, **options: Any) -> AsyncIterator[BackendT]:
        backend = self.make(request, prefix, **options)
        try:
            yield backend
        finally:
            await backend.aclose()


def leave_out(tests: type, operations: Collection[str] = (), *, named: str) -> None:
    """Take tests of a contract away that ask for what a service cannot do: by the operations, or by their names."""
    for name, test in inspect.getmembers(tests, inspect.isfunction):
        if name.startswith("test_") and name not in vars(tests):
            source = inspect.getsource(test)
            if named in name or any(f".{operation}(" in source for operation in operations):
                setattr(tests, name, None)


def _memory(kind: Callable[..., BackendT]) -> Backend[BackendT]:
    return Backend(lambda request, prefix, **options: kind(**options))


def _valkey(kind: Callable[..., BackendT], client: Literal["glide", "valkey-py"], fixture: str) -> Backend[BackendT]:
    """A backend over a server or cluster of this session."""

    def make(request: pytest.FixtureRequest, prefix: str, **options: Any) -> BackendT:
        server: ValkeyServer | ValkeyCluster | EmbeddedServer = request.getfixturevalue(fixture)
        return kind(client_from_url(server.url, client=client), prefix=prefix, **options)

    return Backend(make)


def _all(memory: Callable[..., BackendT], valkey: Callable[..., BackendT]) -> dict[str, Backend[BackendT]]:
    return {
        "memory": _memory(memory),
        "glide": _valkey(valkey, "glide", "valkey_server"),
        "valkey-py": _valkey(valkey, "valkey-py", "valkey_server"),
        "glide-cluster": _valkey(valkey, "glide", "valkey_cluster"),
        "valkey-py-cluster": _valkey(valkey, "valkey-py", "valkey_cluster"),
    }


BACKENDS: dict[str, Backend[CheckpointBackend]] = _all(MemoryCheckpoints, ValkeyCheckpoints)
ITEM_BACKENDS: dict[str, Backend[ItemBackend]] = _all(MemoryItems, ValkeyItems)
CACHE_BACKENDS: dict[str, Backend[CacheBackend]] = _all(MemoryCacheEntries, ValkeyCacheEntries)
LOG_BACKENDS: dict[str, Backend[LogBackend]] = _all(MemoryLogs, ValkeyLogs)


def embedded(kind: Callable[..., BackendT], client: Literal["glide", "valkey-py"]) -> Backend[BackendT]:
    """A backend over a server that keeps its data in a directory, and which only its test uses."""
    return _valkey(kind, client, "embedded_server")
