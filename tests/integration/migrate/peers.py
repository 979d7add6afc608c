"""Other packages' savers, stores and caches over real servers, for the tests of migration."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import valkey
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.redis import RedisCache
from langgraph.cache.sqlite import SqliteCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.redis import RedisStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph_checkpoint_aws import AsyncValkeySaver, ValkeyCache, ValkeySaver, ValkeyStore

from statekeep.testing.servers import ValkeyServer

SAVERS = ("memory", "sqlite", "postgres", "redis", "aws")
STORES = ("memory", "sqlite", "postgres", "redis", "aws")
CACHES = ("memory", "sqlite", "redis", "aws")
URLS = ("sqlite", "postgres", "redis", "aws")


class Peers:
    """Opens what other packages have; each test begins with nothing in it."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._request, self._folder = request, folder
        self._stack = ExitStack()
        self._prepared: set[str] = set()

    def close(self) -> None:
        self._stack.close()

    # where they keep it

    def path(self) -> Path:
        return self._folder / "threads.db"

    def postgres_url(self) -> str:
        url: str = self._request.getfixturevalue("postgres_url")
        if "postgres" not in self._prepared:
            self._prepared.add("postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
                connection.execute("CREATE SCHEMA public")
        return url

    def redis_server(self) -> ValkeyServer:
        server: ValkeyServer = self._request.getfixturevalue("redis_server")
        return self._emptied("redis", server)

    def valkey_server(self) -> ValkeyServer:
        server: ValkeyServer = self._request.getfixturevalue("peer_server")
        return self._emptied("aws", server)

    def _emptied(self, name: str, server: ValkeyServer) -> ValkeyServer:
        if name not in self._prepared:
            self._prepared.add(name)
            with server.client() as client:
                client.flushall()
        return server

    def redis_client(self, **options: Any) -> Any:
        return self._stack.enter_context(redis.Redis(port=self.redis_server().port, **options))

    def valkey_client(self) -> Any:
        return self._stack.enter_context(valkey.Valkey(port=self.valkey_server().port))

    def url(self, name: str) -> str:
        match name:
            case "sqlite":
                return f"sqlite:///{self.path()}"
            case "postgres":
                return self.postgres_url()
            case "redis":
                return f"redis://127.0.0.1:{self.redis_server().port}"
            case "aws":
                return f"valkey://127.0.0.1:{self.valkey_server().port}"
        raise ValueError(name)

    # their savers, stores and caches

    def saver(self, name: str, *, ttl: float | None = None, serde: Any = None) -> BaseCheckpointSaver[Any]:
        """Open a saver; ``ttl`` in seconds is for those that have one."""
        match name:
            case "memory":
                return InMemorySaver(serde=serde)
            case "sqlite":
                connection = self._stack.enter_context(closing(sqlite3.connect(self.path(), check_same_thread=False)))
                return SqliteSaver(connection, serde=serde)
            case "postgres":
                saver = PostgresSaver(self._postgres(), serde=serde)
                saver.setup()
                return saver
            case "redis":
                options: Any = {} if ttl is None else {"ttl": {"default_ttl": ttl / 60}}
                made = RedisSaver(redis_client=self.redis_client(), **options)
                made.setup()
                return made
            case "aws":
                other: BaseCheckpointSaver[Any] = ValkeySaver(self.valkey_client(), ttl=ttl, serde=serde)
                return other
        raise ValueError(name)

    @asynccontextmanager
    async def async_saver(self, name: str) -> AsyncIterator[BaseCheckpointSaver[Any]]:
        match name:
            case "sqlite":
                async with AsyncSqliteSaver.from_conn_string(str(self.path())) as saver:
                    yield saver
            case "postgres":
                async with AsyncPostgresSaver.from_conn_string(self.postgres_url()) as kept:
                    await kept.setup()
                    yield kept
            case "redis":
                async with AsyncRedisSaver.from_conn_string(self.url("redis")) as made:
                    yield made
            case "aws":
                async with AsyncValkeySaver.from_conn_string(self.url("aws")) as found:
                    yield found
            case _:
                yield InMemorySaver()

    def _postgres(self) -> Any:
        return self._stack.enter_context(
            psycopg.connect(
                self.postgres_url(), autocommit=True, prepare_threshold=0, row_factory=psycopg.rows.dict_row
            )
        )

    def store(self, name: str, index: Any = None) -> BaseStore:
        match name:
            case "memory":
                return InMemoryStore(index=index)
            case "sqlite":
                connection = self._stack.enter_context(
                    closing(sqlite3.connect(self.path(), check_same_thread=False, isolation_level=None))
                )
                # Vectors need extensions, which not every Python can load; items are the same without.
                store = SqliteStore(connection)
                store.setup()
                return store
            case "postgres":
                kept = PostgresStore(self._postgres(), index=index)
                kept.setup()
                return kept
            case "redis":
                made = RedisStore(self.redis_client(), index=index)
                made.setup()
                return made
            case "aws":
                found = None if index is None else {"collection_name": "items", **index}
                other: BaseStore = ValkeyStore(self.valkey_client(), index=found)
                return other
        raise ValueError(name)

    @asynccontextmanager
    async def async_store(self, name: str) -> AsyncIterator[BaseStore]:
        match name:
            case "sqlite":
                async with AsyncSqliteStore.from_conn_string(str(self.path())) as store:
                    await store.setup()
                    yield store
            case "postgres":
                async with AsyncPostgresStore.from_conn_string(self.postgres_url()) as kept:
                    await kept.setup()
                    yield kept
            case _:
                yield InMemoryStore()

    def cache(self, name: str) -> BaseCache[Any]:
        match name:
            case "memory":
                return InMemoryCache()
            case "sqlite":
                return SqliteCache(path=str(self.path()))
            case "redis":
                return RedisCache(self.redis_client())
            case "aws":
                other: BaseCache[Any] = ValkeyCache(self.valkey_client())
                return other
        raise ValueError(name)

    def contents(self, name: str) -> Any:
        """Return all that is stored, to see that it is the same later."""
        if name == "sqlite":
            with closing(sqlite3.connect(self.path())) as connection:
                return list(connection.iterdump())
        if name == "postgres":
            with psycopg.connect(self.postgres_url()) as connection:
                tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
                return [sorted(map(repr, connection.execute(f"SELECT * FROM {table}").fetchall())) for table in tables]
        client: Any = self.redis_client() if name == "redis" else self.valkey_client()
        return {key: (client.dump(key), client.pttl(key) > 0) for key in client.scan_iter()}


@contextmanager
def closing(thing: Any) -> Iterator[Any]:
    try:
        yield thing
    finally:
        thing.close()


def unique(text: str = "") -> str:
    return f"{text}{uuid.uuid4().hex[:8]}"
