"""The stores that are compared, and what they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from langgraph.store.base import GetOp, PutOp
from langgraph.store.memory import InMemoryStore

from statekeep.domain import VectorIndex
from statekeep.langgraph_shim import AsyncRepositoryStore, AsyncValkeyStore, RepositoryStore, ValkeyStore
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.testing.embedding import DIMS, letter_counts

from .calls import Script, call, expect
from .comparison import compare
from .conversations import text
from .savers import IN_MEMORY, INCUMBENT, MEMORY, POOL, Contender
from .servers import Servers
from .suite import Suite

ITEMS = 100
BATCH = 10


def _incumbent(servers: Servers) -> AbstractContextManager[Any]:
    from langgraph_checkpoint_aws import ValkeyStore

    # Without pool_size, which it takes but fails with.
    opened: AbstractContextManager[Any] = ValkeyStore.from_conn_string(servers.valkey_url)
    return opened


def _async_incumbent(servers: Servers) -> AbstractAsyncContextManager[Any]:
    from langgraph_checkpoint_aws import AsyncValkeyStore

    opened: AbstractAsyncContextManager[Any] = AsyncValkeyStore.from_conn_string(servers.valkey_url)
    return opened


def _statekeep(client: str, index: Any = None) -> Contender:
    prefix = f"bench-{client}{'-index' if index else ''}"
    options: dict[str, Any] = {"client": client, "pool_size": POOL, "prefix": prefix, "index": index}
    return Contender(
        f"Statekeep, {client}",
        "valkey",
        lambda servers: ValkeyStore.from_conn_string(servers.valkey_url, **options),
        lambda servers: AsyncValkeyStore.from_conn_string(servers.valkey_url, **options),
    )


def _memory(index: Any = None) -> Contender:
    return Contender(
        MEMORY,
        None,
        lambda _: RepositoryStore(ItemRepository(MemoryItems(index=VectorIndex.of(index)))),
        lambda _: AsyncRepositoryStore(AsyncItemRepository(MemoryItems(index=VectorIndex.of(index)))),
    )


def _in_memory(index: Any = None) -> Contender:
    @contextlib.contextmanager
    def opened(servers: Servers) -> Iterator[Any]:
        yield InMemoryStore(index=index)

    @contextlib.asynccontextmanager
    async def aopened(servers: Servers) -> AsyncIterator[Any]:
        yield InMemoryStore(index=index)

    return Contender(IN_MEMORY, None, opened, aopened)


STORES = (
    Contender(INCUMBENT, "valkey", _incumbent, _async_incumbent),
    _statekeep("glide"),
    _statekeep("valkey-py"),
    _memory(),
    _in_memory(),
)

INDEX = {"dims": DIMS, "embed": letter_counts, "fields": ["text"]}
INDEXED = (_statekeep("glide", INDEX), _statekeep("valkey-py", INDEX), _memory(INDEX), _in_memory(INDEX))


def items(thread_id: str) -> Script:
    """A hundred items of 200 bytes in a namespace: write, read, find and delete them."""
    namespace = ("users", thread_id, "facts")

    def value(number: int) -> dict[str, Any]:
        return {"kind": "even" if number % 2 == 0 else "odd", "rank": number, "text": text(200)}

    keys = [f"item-{number}" for number in range(ITEMS)]
    for number, key in enumerate(keys):
        yield call("put, new", "put", namespace, key, value(number))
    for number, key in enumerate(keys[:20]):
        yield call("put, again", "put", namespace, key, value(number))
    for number, key in enumerate(keys[:20]):
        item = yield call("get", "get", namespace, key)
        expect(item is not None and item.value["rank"] == number, "not the item that was put")
    for _ in range(5):
        item = yield call("get, there is none", "get", namespace, "nothing")
        expect(item is None, "an item that nobody put")
    for _ in range(3):
        found = yield call("search, limit 10 of 100", "search", ("users", thread_id), limit=10)
        expect(len(found) == 10, "not 10 items")
    for _ in range(3):
        found = yield call("search, filter, limit 10", "search", ("users", thread_id), filter={"kind": "odd"}, limit=10)
        expect(len(found) == 10 and {item.value["kind"] for item in found} == {"odd"}, "not 10 odd items")
    for _ in range(3):
        yield call("list_namespaces", "list_namespaces", prefix=("users", thread_id), limit=10)
    for _ in range(3):
        found = yield call("batch of 10 gets", "batch", [GetOp(namespace, key) for key in keys[:BATCH]])
        expect([item.value["rank"] for item in found] == list(range(BATCH)), "not the items that were put")
    for _ in range(3):
        puts = [PutOp(namespace, key, value(number)) for number, key in enumerate(keys[:BATCH])]
        yield call("batch of 10 puts", "batch", puts)
    for key in keys:
        yield call("delete", "delete", namespace, key)
    item = yield call(None, "get", namespace, keys[0])
    expect(item is None, "an item that was deleted")


def meanings(thread_id: str) -> Script:
    """A hundred items with a vector each, of which ten are found by meaning."""
    namespace = ("users", thread_id, "memories")
    for number in range(ITEMS):
        yield call("put, with a vector", "put", namespace, f"item-{number}", {"text": text(200)})
    for _ in range(5):
        found = yield call("search by meaning, 10 of 100", "search", namespace, query=text(200), limit=10)
        expect(len(found) == 10 and found[0].score >= found[-1].score, "not the nearest 10 items")
    for number in range(ITEMS):
        yield call(None, "delete", namespace, f"item-{number}")


def store(suite: Suite) -> None:
    """Compare stores, without the search module; those that search by meaning without it in a table of their own."""
    compare(suite, "store", "Store", items, rounds=40, seconds=30, contenders=STORES)
    # langgraph-checkpoint-aws gives items scores by the words that they share with the query instead.
    compare(
        suite,
        "store/meaning",
        "Store with an index, no search module",
        meanings,
        rounds=30,
        seconds=20,
        contenders=INDEXED,
        baseline=IN_MEMORY,
    )
