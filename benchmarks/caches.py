"""The caches that are compared, and what they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from langchain_core.messages import AIMessage

from statekeep.langgraph_shim import RepositoryCache, ValkeyCache
from statekeep.repositories.cache import CacheRepository
from statekeep.repositories.memory import MemoryCacheEntries

from .calls import Script, call, expect
from .comparison import compare
from .conversations import text
from .savers import IN_MEMORY, INCUMBENT, MEMORY, POOL, Contender
from .servers import Servers
from .suite import Suite

SINGLES = 20
MANY = 30


@contextlib.asynccontextmanager
async def _awaited(opened: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    """A cache that is opened without waiting, and answers both kinds of calls."""
    with opened as cache:
        yield cache


def _both(name: str, server: str | None, opened: Callable[[Servers], AbstractContextManager[Any]]) -> Contender:
    def aopened(servers: Servers) -> AbstractAsyncContextManager[Any]:
        return _awaited(opened(servers))

    return Contender(name, server, opened, aopened)


def _incumbent(servers: Servers) -> AbstractContextManager[Any]:
    from langgraph_checkpoint_aws import ValkeyCache

    # Without pool_size, which it takes but fails with.
    opened: AbstractContextManager[Any] = ValkeyCache.from_conn_string(servers.valkey_url, ttl_seconds=3600)
    return opened


def _statekeep(client: str) -> Contender:
    options: dict[str, Any] = {"client": client, "pool_size": POOL, "prefix": f"bench-{client}"}

    def opened(servers: Servers) -> ValkeyCache[Any]:
        return ValkeyCache.from_conn_string(servers.valkey_url, ttl_seconds=3600, **options)

    return Contender(f"Statekeep, {client}", "valkey", opened, opened)


@contextlib.contextmanager
def _in_memory(servers: Servers) -> Iterator[Any]:
    from langgraph.cache.memory import InMemoryCache

    yield InMemoryCache()


CACHES = (
    _both(INCUMBENT, "valkey", _incumbent),
    _statekeep("glide"),
    _statekeep("valkey-py"),
    _both(MEMORY, None, lambda _: RepositoryCache(CacheRepository(MemoryCacheEntries()))),
    _both(IN_MEMORY, None, _in_memory),
)


def entries(thread_id: str) -> Script:
    """What nodes with a cache policy ask for: one entry, or thirty of a fan-out; each holds a message of 1 KB."""
    namespace = ("__pregel_ns_writes", thread_id, "model")

    def value() -> tuple[Any, int | None]:
        return [("messages", [AIMessage(content=text(1000))])], 3600

    keys = [(namespace, f"key-{number}") for number in range(MANY)]
    for key in keys[:SINGLES]:
        yield call("set", "set", {key: value()})
    for key in keys[:SINGLES]:
        found = yield call("get", "get", [key])
        expect(list(found) == [key], "not the entry that was set")
    for _ in range(5):
        found = yield call("get, a miss", "get", [(namespace, "nothing")])
        expect(found == {}, "an entry that nobody set")
    for _ in range(5):
        yield call("set of 30", "set", {key: value() for key in keys})
    for _ in range(5):
        found = yield call("get of 30", "get", keys)
        expect(found.keys() == set(keys), "not the entries that were set")
    yield call("clear of a namespace with 30", "clear", [namespace])
    found = yield call(None, "get", keys)
    expect(found == {}, "entries that were cleared")


def cache(suite: Suite) -> None:
    """Compare caches."""
    compare(suite, "cache", "Cache", entries, rounds=100, seconds=30, contenders=CACHES)
