"""LangGraph's InMemorySaver, and ours over every backend."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from statekeep.langgraph_shim import AsyncValkeySaver, BedrockSessionSaver, RepositorySaver, ValkeySaver
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.repositories.valkey import client_from_url
from statekeep.testing.aws import AwsEmulator
from tests.integration.bedrock.named import named

Open = Callable[[], BaseCheckpointSaver[str]]
Storages = Callable[[], Open]
"""Makes an empty storage, of which any number of savers can be opened."""

KINDS = ("memory", "glide", "valkey-py", "glide-cluster", "valkey-py-cluster", "async glide", "agentcore", "sessions")


class DelayedSaver(InMemorySaver):
    """LangGraph's saver, slow by chance: what is stored at the same time arrives in another order each time."""

    _chance = random.Random(0)

    def _seconds(self) -> float:
        return self._chance.choice([0.0, 0.0, 0.001, 0.005])

    def put(self, *args: Any) -> RunnableConfig:
        time.sleep(self._seconds())
        return super().put(*args)

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        time.sleep(self._seconds())
        super().put_writes(config, writes, task_id, task_path)

    async def aput(self, *args: Any) -> RunnableConfig:
        await asyncio.sleep(self._seconds())
        return super().put(*args)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.sleep(self._seconds())
        super().put_writes(config, writes, task_id, task_path)


@contextmanager
def storages(kind: str, request: pytest.FixtureRequest, prefix: str, runner: asyncio.Runner) -> Iterator[Storages]:
    """Storages of one kind, over one client."""
    numbers = itertools.count()
    if kind == "memory":

        def memory() -> Open:
            backend = MemoryCheckpoints()
            return lambda: RepositorySaver(CheckpointRepository(backend))

        yield memory
    elif kind == "agentcore":
        with AwsEmulator() as aws:
            client = open_client("bedrock-agentcore", session=aws.session())

            def agentcore() -> Open:
                memory_id = aws.agentcore.create_memory()
                return lambda: RepositorySaver(CheckpointRepository(AgentCoreCheckpoints(client, memory_id)))

            yield agentcore
            client.close()
    elif kind == "sessions":
        with AwsEmulator() as aws:
            boto_client = aws.client("bedrock-agent-runtime")

            def sessions() -> Open:
                known: dict[str, str] = {}
                return lambda: named(BedrockSessionSaver(boto_client, inline=200), known)

            yield sessions
    else:
        make: Any = AsyncValkeySaver if kind.startswith("async ") else ValkeySaver
        driver: Any = kind.removeprefix("async ").removesuffix("-cluster")
        server = request.getfixturevalue("valkey_cluster" if kind.endswith("-cluster") else "valkey_server")
        opened = client_from_url(server.url, client=driver)

        def valkey() -> Open:
            own = f"{prefix}-{next(numbers)}"
            return lambda: make(opened, prefix=own)

        try:
            yield valkey
        finally:
            runner.run(opened.aclose())
