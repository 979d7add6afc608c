"""The backends that the contracts, the state machines and others are run over."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, Literal, TypeVar

import pytest
from attrs import frozen

from statekeep.repositories.checkpoints import CheckpointBackend
from statekeep.repositories.items import ItemBackend
from statekeep.repositories.memory import MemoryCheckpoints, MemoryItems
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_from_url
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

BackendT = TypeVar("BackendT", bound=CheckpointBackend | ItemBackend)


@frozen
class Backend(Generic[BackendT]):
    """How to make an empty backend under a key prefix; servers are fixtures, got from the request."""

    make: Callable[..., BackendT]

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


def _memory(kind: Callable[..., BackendT]) -> Backend[BackendT]:
    return Backend(lambda request, prefix, **options: kind(**options))


def _valkey(kind: Callable[..., BackendT], client: Literal["glide", "valkey-py"], fixture: str) -> Backend[BackendT]:
    """A backend over a server or cluster of this session."""

    def make(request: pytest.FixtureRequest, prefix: str, **options: Any) -> BackendT:
        server: ValkeyServer | ValkeyCluster = request.getfixturevalue(fixture)
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

_QUICK = {
    ("memory", "blocking"),
    ("memory", "async"),
    ("glide", "async"),
    ("valkey-py", "blocking"),
    ("glide-cluster", "blocking"),
    ("valkey-py-cluster", "async"),
}

RUNS = [
    (name, face)
    for name in BACKENDS
    for face in ("blocking", "async")
    if (name, face) in _QUICK or os.environ.get("HYPOTHESIS_PROFILE", "quick") != "quick"
]
"""Backends and faces that state machines act on: in quick runs each client, each kind of server and each face, but not
all of their combinations, which the contracts go through anyway."""
