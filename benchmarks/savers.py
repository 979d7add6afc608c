"""The savers that are compared."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from attrs import frozen

from statekeep.langgraph_shim import AsyncRepositorySaver, AsyncValkeySaver, RepositorySaver, ValkeySaver
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints

from .servers import Servers

INCUMBENT = "langgraph-checkpoint-aws"
GLIDE = "Statekeep, glide"
VALKEY_PY = "Statekeep, valkey-py"
MEMORY = "Statekeep, memory"
IN_MEMORY = "LangGraph, memory"
SQLITE = "LangGraph, SQLite"
POSTGRES = "LangGraph, PostgreSQL"
FLOORS = {GLIDE: "floor, glide", VALKEY_PY: "floor, valkey-py"}
"""The same bytes in one round trip, through the client of the contender."""

OURS = (GLIDE, VALKEY_PY, MEMORY)

POOL = 256
"""Connections at most: the incumbent fails when it runs out of them."""


@frozen
class Contender:
    """Something that is compared with others.

    Attributes:
        name: in all tables.
        server: ``"valkey"`` or ``"postgres"``; ``None`` if it keeps its data in this process or in a file.
        open: opens it with blocking methods.
        aopen: opens it with awaitable methods.
        settle: is called when much was written: brings up to date what the server would by and by.
    """

    name: str
    server: str | None
    open: Callable[[Servers], AbstractContextManager[Any]]
    aopen: Callable[[Servers], AbstractAsyncContextManager[Any]]
    settle: Callable[[Servers], None] = lambda _: None


# What is not installed with the development tools is imported when it is opened.


def _incumbent(servers: Servers) -> AbstractContextManager[Any]:
    from langgraph_checkpoint_aws import ValkeySaver

    opened: AbstractContextManager[Any] = ValkeySaver.from_conn_string(servers.valkey_url, pool_size=POOL)
    return opened


def _async_incumbent(servers: Servers) -> AbstractAsyncContextManager[Any]:
    from langgraph_checkpoint_aws import AsyncValkeySaver

    opened: AbstractAsyncContextManager[Any] = AsyncValkeySaver.from_conn_string(servers.valkey_url, pool_size=POOL)
    return opened


def _statekeep(client: str) -> Contender:
    options: dict[str, Any] = {"client": client, "pool_size": POOL, "prefix": f"bench-{client}"}
    return Contender(
        f"Statekeep, {client}",
        "valkey",
        lambda servers: ValkeySaver.from_conn_string(servers.valkey_url, **options),
        lambda servers: AsyncValkeySaver.from_conn_string(servers.valkey_url, **options),
    )


@contextlib.contextmanager
def _in_memory(servers: Servers) -> Iterator[Any]:
    from langgraph.checkpoint.memory import InMemorySaver

    yield InMemorySaver()


@contextlib.asynccontextmanager
async def _async_in_memory(servers: Servers) -> AsyncIterator[Any]:
    from langgraph.checkpoint.memory import InMemorySaver

    yield InMemorySaver()


def _sqlite(servers: Servers) -> AbstractContextManager[Any]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    opened: AbstractContextManager[Any] = SqliteSaver.from_conn_string(str(servers.new_file()))
    return opened


def _async_sqlite(servers: Servers) -> AbstractAsyncContextManager[Any]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    opened: AbstractAsyncContextManager[Any] = AsyncSqliteSaver.from_conn_string(str(servers.new_file()))
    return opened


@contextlib.contextmanager
def _postgres(servers: Servers) -> Iterator[Any]:
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(servers.postgres_url) as saver:
        saver.setup()
        yield saver


@contextlib.asynccontextmanager
async def _async_postgres(servers: Servers) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(servers.postgres_url) as saver:
        await saver.setup()
        yield saver


def _analyze(servers: Servers) -> None:
    import psycopg

    with psycopg.connect(servers.postgres_url, autocommit=True) as connection:
        connection.execute("ANALYZE")


SAVERS = (
    Contender(INCUMBENT, "valkey", _incumbent, _async_incumbent),
    _statekeep("glide"),
    _statekeep("valkey-py"),
    Contender(
        MEMORY,
        None,
        lambda _: RepositorySaver(CheckpointRepository(MemoryCheckpoints())),
        lambda _: AsyncRepositorySaver(AsyncCheckpointRepository(MemoryCheckpoints())),
    ),
    Contender(IN_MEMORY, None, _in_memory, _async_in_memory),
    Contender(SQLITE, None, _sqlite, _async_sqlite),
    Contender(POSTGRES, "postgres", _postgres, _async_postgres, _analyze),
)
