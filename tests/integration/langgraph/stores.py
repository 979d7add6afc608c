"""Stores over every backend, for the tests of LangGraph."""

from __future__ import annotations

from typing import Any

from statekeep.domain import VectorIndex
from statekeep.langgraph_shim import (
    AgentCoreMemoryStore,
    AsyncRepositoryStore,
    AsyncValkeyStore,
    RepositoryStore,
    ValkeyStore,
)
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryItems

from ..agentcore.emulated import Worlds
from .savers import AGENTCORE, Backends


class StoreBackends(Backends):
    """Opens stores by the name of a backend; the servers are started when the first one needs them."""

    def sync_store(self, backend: str, *, index: Any = None, ttl: Any = None) -> RepositoryStore:
        """Make a sync store, for ``with`` in blocking code, ``async with`` in an event loop."""
        if backend in AGENTCORE:
            worlds: Worlds = self._request.getfixturevalue("worlds")
            world = backend.removeprefix("agentcore, ")
            memory_id = worlds.emulator(world).agentcore.create_memory()
            return AgentCoreMemoryStore(memory_id, ttl=ttl, client=worlds.client(world))
        if backend == "memory":
            return RepositoryStore(ItemRepository(MemoryItems(index=VectorIndex.of(index))), ttl=ttl)
        url, arguments = self._arguments(backend)
        return ValkeyStore.from_conn_string(url, **arguments, index=index, ttl=ttl)

    def async_store(self, backend: str, *, index: Any = None, ttl: Any = None) -> AsyncRepositoryStore:
        """Make an async store, for ``async with``."""
        if backend == "memory":
            return AsyncRepositoryStore(AsyncItemRepository(MemoryItems(index=VectorIndex.of(index))), ttl=ttl)
        url, arguments = self._arguments(backend)
        return AsyncValkeyStore.from_conn_string(url, **arguments, index=index, ttl=ttl)
