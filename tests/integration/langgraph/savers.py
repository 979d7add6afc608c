"""Savers over every backend, for the tests of LangGraph."""

from __future__ import annotations

from typing import Any

import pytest

from statekeep.langgraph_shim import (
    AgentCoreMemorySaver,
    AsyncBedrockSessionSaver,
    AsyncRepositorySaver,
    AsyncValkeySaver,
    BedrockSessionSaver,
    RepositorySaver,
    ValkeySaver,
)
from statekeep.langgraph_shim.checkpoint.base import Saver
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.memory.checkpoints import MemoryCheckpoints
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from ..agentcore.emulated import SESSION_WORLDS, WORLDS, Worlds
from ..bedrock.named import named

AGENTCORE = tuple(f"agentcore, {world}" for world in WORLDS)
"""Savers on the emulated AgentCore Memory; each serves blocking code and event loops."""

SESSIONS = tuple(f"sessions, {world}" for world in SESSION_WORLDS)
"""Savers in emulated sessions of Bedrock, each with a session for every thread that a test names."""

BACKENDS = ("memory", "embedded", "glide", "valkey-py", "glide-cluster", "valkey-py-cluster")


class Backends:
    """Opens savers by the name of a backend; the servers are started when the first one needs them."""

    def __init__(self, request: pytest.FixtureRequest, prefix: str) -> None:
        self._request = request
        self._prefix = prefix

    def server(self) -> ValkeyServer:
        server: ValkeyServer = self._request.getfixturevalue("valkey_server")
        return server

    def cluster(self) -> ValkeyCluster:
        cluster: ValkeyCluster = self._request.getfixturevalue("valkey_cluster")
        return cluster

    def _arguments(self, backend: str) -> tuple[str, dict[str, Any]]:
        if backend == "embedded":
            return "embedded:", {}
        client = backend.removesuffix("-cluster")
        url = self.cluster().url if backend.endswith("-cluster") else self.server().url
        return url, {"client": client, "prefix": self._prefix}

    def agentcore(self, backend: str, **options: Any) -> AgentCoreMemorySaver:
        """Make a saver over a memory of its own."""
        worlds: Worlds = self._request.getfixturevalue("worlds")
        world = backend.removeprefix("agentcore, ")
        memory_id = worlds.emulator(world).agentcore.create_memory()
        return AgentCoreMemorySaver(memory_id, client=worlds.client(world), **{"inline": 1000, **options})

    def _sessions(self, kind: Any, backend: str, options: dict[str, Any]) -> Any:
        worlds: Worlds = self._request.getfixturevalue("worlds")
        client = worlds.client(backend.removeprefix("sessions, "), "bedrock-agent-runtime")
        return named(kind(client, **{"inline": 1000, **options}))

    def sync(self, backend: str, **options: Any) -> RepositorySaver:
        """Make a sync saver, for ``with`` in blocking code, ``async with`` in an event loop."""
        if backend in AGENTCORE:
            return self.agentcore(backend, **options)
        if backend in SESSIONS:
            saver: BedrockSessionSaver = self._sessions(BedrockSessionSaver, backend, options)
            return saver
        if backend == "memory":
            return RepositorySaver(CheckpointRepository(MemoryCheckpoints()), **options)
        url, arguments = self._arguments(backend)
        return ValkeySaver.from_conn_string(url, **arguments, **options)

    def asynchronous(self, backend: str, **options: Any) -> Saver:
        """Make a saver for event loops, for ``async with``."""
        if backend in AGENTCORE:
            return self.agentcore(backend, **options)
        if backend in SESSIONS:
            saver: AsyncBedrockSessionSaver = self._sessions(AsyncBedrockSessionSaver, backend, options)
            return saver
        if backend == "memory":
            return AsyncRepositorySaver(AsyncCheckpointRepository(MemoryCheckpoints()), **options)
        url, arguments = self._arguments(backend)
        return AsyncValkeySaver.from_conn_string(url, **arguments, **options)
