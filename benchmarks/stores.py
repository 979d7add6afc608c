"""Stores and caches: one item and many, wide prefixes, search by meaning, and a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage
from langgraph.store.base import GetOp, PutOp

from statekeep import ItemRepository
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.repositories.valkey.requests import Commands, Request
from statekeep.testing.servers import ValkeyCluster

from .contenders import CACHES, IN_MEMORY, INCUMBENT, STORES, VALKEY_PY, alone, indexed
from .report import Table
from .running import Script, Stopwatch, Suite, call, compare, drive, expect
from .scripts import text

ITEMS = 100
BATCH = 10


def items(thread_id: str) -> Script:
    """A hundred items of 200 bytes in a namespace: write, read, find and delete them."""
    namespace = ("users", thread_id, "facts")

    def value(number: int) -> dict[str, Any]:
        return {"kind": "even" if number % 2 == 0 else "odd", "rank": number, "text": text(200)}

    keys = [f"item-{number}" for number in range(ITEMS)]
    for number, key in enumerate(keys):
        yield call("put", "put", namespace, key, value(number))
    for number, key in enumerate(keys[:20]):
        yield call("put again", "put", namespace, key, value(number))
    for number, key in enumerate(keys[:20]):
        item = yield call("get", "get", namespace, key)
        expect(item is not None and item.value["rank"] == number, "not the item that was put")
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


def store(suite: Suite) -> None:
    """Compare stores, and count what an item costs in a cluster."""
    table = Table(title="Items of 200 bytes", unit="µs", baseline=INCUMBENT)
    compare(suite, table, items, STORES, rounds=30, seconds=25)
    suite.publish("store", table)


class _Scripts:
    """A client of a cluster that counts the scripts that go one after the other."""

    cluster = True

    def __init__(self, client: Any) -> None:
        self.client = client
        self.scripts = 0

    def execute(self, request: Request) -> Any:
        """Answer a request; those of one are sent side by side."""
        self.scripts += not isinstance(request, Commands)
        return self.client.execute(request)


def cluster(suite: Suite) -> None:
    """Count the scripts of a put in a cluster, where the namespaces above an item's are in other slots."""
    table = Table(title="Items in a cluster of 3 primaries", unit="scripts, one after the other")
    with ValkeyCluster() as servers, servers.client() as client:
        counted = _Scripts(client_for(client))
        keep = ItemRepository(ValkeyItems(counted))  # type: ignore[arg-type]
        for number in range(4):
            for operation, act in (
                ("put", partial(keep.put, ("a", "b", f"c {number}"), "key", number)),
                ("put again", partial(keep.put, ("a", "b", f"c {number}"), "key", number)),
                ("delete", partial(keep.delete, ("a", "b", f"c {number}"), "key")),
            ):
                counted.scripts = 0
                act()
                if number:
                    table.add(operation, VALKEY_PY, counted.scripts)
    suite.publish("cluster", table)


WIDTHS = (1, 100, 10_000)


def wide(suite: Suite) -> None:
    """Search below prefixes that have many namespaces below them."""
    table = Table(title="Search below a prefix", unit="µs", baseline=INCUMBENT)
    widths = WIDTHS[:2] if suite.quick else WIDTHS
    with suite.face("sync") as opened:
        subjects = suite.open(opened, STORES)
        for turn in suite.race(table, subjects, rounds=20, seconds=60):
            with turn:
                for width in widths:
                    if turn.round == 0:
                        drive(subjects[turn.contender], _spread(width), Stopwatch(limit=30))
                    drive(subjects[turn.contender], _below(width), turn.watch)
    suite.publish("wide", table)


MANY = 100_000
"""Namespaces, and items of one."""


def many(suite: Suite) -> None:
    """List and search a hundred thousand namespaces, and as many items of one; on a server of their own."""
    count = 1_000 if suite.quick else MANY
    table = Table(title=f"{count:,} namespaces and {count:,} items", unit="ms", baseline=VALKEY_PY)
    for name, contender in suite.chosen(STORES[1:]).items():
        with ExitStack() as stack:
            stack.enter_context(suite.trying(name, table.title))
            servers = stack.enter_context(alone(suite.servers, "valkey"))
            subject = stack.enter_context(contender.open(servers))
            for start in range(0, count, 200):
                numbers = range(start, min(start + 200, count))
                puts = [PutOp(("users", str(number)), "item", {"number": number}) for number in numbers]
                puts += [PutOp(("all",), str(number), {"number": number, "half": number % 2}) for number in numbers]
                subject.batch(puts)
            for operation, method, arguments, expected in (
                ("list_namespaces, limit 100", "list_namespaces", {"limit": 100}, 100),
                ("list_namespaces, all", "list_namespaces", {"limit": 2 * count}, count + 1),
                ("list_namespaces, max_depth=1", "list_namespaces", {"max_depth": 1}, 2),
                ("search below, limit 10", "search", (("users",),), 10),
                ("search of one, limit 10, half match", "search", (("all",), {"half": 1}), 10),
                ("search of one, one matches", "search", (("all",), {"number": 1}), 1),
                ("search below, one matches", "search", (("users",), {"number": 1}), 1),
            ):
                for _ in range(3):
                    began = time.perf_counter()
                    if isinstance(arguments, dict):
                        found = getattr(subject, method)(**arguments)
                    else:
                        found = subject.search(*arguments[:1], filter=(*arguments, None)[1], limit=10)
                    table.add(operation, name, (time.perf_counter() - began) * 1000)
                    expect(len(found) == expected, f"not {expected}, but {len(found)}")
    suite.publish("many", table)


def _spread(width: int) -> Script:
    for number in range(width):
        namespace = (f"wide-{width}", f"user-{number}")
        yield call(None, "put", namespace, "item", {"kind": "odd" if number % 2 else "even", "text": text(200)})


def _below(width: int) -> Script:
    prefix, least = (f"wide-{width}",), min(width, 10)
    where = f"{width:,} namespace{'s' if width > 1 else ''} below"
    for _ in range(2):
        found = yield call(f"search, limit 10, {where}", "search", prefix, limit=10)
        expect(len(found) == least, f"not {least} items")
        found = yield call(f"search, filter, {where}", "search", prefix, filter={"kind": "even"}, limit=10)
        expect(len(found) == least and {item.value["kind"] for item in found} == {"even"}, f"not {least} even items")


VECTORS = ((10_000, 384), (10_000, 1_536), (50_000, 384))
QUERIES = 6


def meaning(suite: Suite) -> None:
    """Search by meaning without the search module; what is found is compared with numpy's nearest."""
    table = Table(title="Search by meaning, the nearest 10, without the module", unit="ms", baseline=IN_MEMORY)
    for count, dims in ((1_000, 384),) if suite.quick else VECTORS:
        source = np.random.default_rng(1)
        every = source.standard_normal((count + QUERIES, dims), dtype=np.float32)
        every /= np.linalg.norm(every, axis=1, keepdims=True)
        nearest = [set(np.argsort(every[:count] @ -query)[:10].tolist()) for query in every[count:]]

        def embed(texts: Sequence[str], every: Any = every) -> list[list[float]]:
            return [every[int(one)].tolist() for one in texts]

        index = {"dims": dims, "embed": embed, "fields": ["text"]}
        for name, contender in suite.chosen(indexed(index)).items():
            label = f"{count:,} x {dims:,}"
            # On a server of its own, which is gone afterwards.
            with ExitStack() as stack:
                stack.enter_context(suite.trying(name, f"{table.title}, {label}"))
                servers = stack.enter_context(alone(suite.servers, "valkey"))
                subject = stack.enter_context(contender.open(servers))
                began = time.perf_counter()
                for start in range(0, count, 200):
                    numbers = range(start, min(start + 200, count))
                    subject.batch([PutOp(("docs",), str(number), {"text": str(number)}) for number in numbers])
                table.add(f"{label}: put, one of 200", name, (time.perf_counter() - began) * 1000 / count)
                for number, wanted in enumerate(nearest):
                    began = time.perf_counter()
                    found = subject.search(("docs",), query=str(count + number), limit=10)
                    took = (time.perf_counter() - began) * 1000
                    expect({int(item.key) for item in found} == wanted, "not the nearest 10")
                    table.add(f"{label}: {'second' if number else 'first'} search", name, took)
    suite.publish("meaning", table)


def recall(suite: Suite) -> None:
    """Search by meaning with the search module: how many of the nearest 10 its graph finds."""
    table = Table(title="Search by meaning with the search module, HNSW", unit="what each row says", baseline=VALKEY_PY)
    count, dims, queries = (2_000 if suite.quick else 20_000), 384, 200
    source = np.random.default_rng(1)
    # As embeddings of texts are: around some topics, and mostly in a few directions.
    width = 1 / np.sqrt(1 + np.arange(dims))
    topics = source.standard_normal((300, dims)) * width
    every = topics[source.integers(0, 300, count + queries)]
    every = every + 0.7 * width * source.standard_normal((count + queries, dims))
    every /= np.linalg.norm(every, axis=1, keepdims=True)

    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [every[int(one)].tolist() for one in texts]

    index = {"dims": dims, "embed": embed, "fields": ["text"], "index_type": "hnsw", "hnsw_ef_runtime": 50}
    for name, contender in suite.chosen(indexed(index)[:1]).items():
        with ExitStack() as stack:
            stack.enter_context(suite.trying(name, table.title))
            servers = stack.enter_context(alone(suite.servers, "redis"))
            subject = stack.enter_context(contender.open(servers.behind(valkey=servers.port("redis"))))
            expect("hnsw" in str(subject.setup()), "the module is not in use")
            for start in range(0, count, 200):
                numbers = range(start, min(start + 200, count))
                subject.batch([PutOp(("docs",), str(number), {"text": str(number)}) for number in numbers])
            hits = 0
            for number in range(queries):
                nearest = np.argsort(every[:count] @ -every[count + number])[:10]
                began = time.perf_counter()
                found = subject.search(("docs",), query=str(count + number), limit=10)
                table.add(f"{count:,} x {dims}: search, ms", name, (time.perf_counter() - began) * 1000)
                hits += len({int(item.key) for item in found} & set(nearest.tolist()))
            table.add(f"{count:,} x {dims}: found of the nearest 10, ef_runtime 50", name, hits / (10 * queries))
    suite.publish("recall", table)


def entries(thread_id: str) -> Script:
    """What nodes with a cache policy ask for: one entry, or thirty of a fan-out; each holds a message of 1 KB."""
    namespace = ("__pregel_ns_writes", thread_id, "model")

    def value() -> tuple[Any, int | None]:
        return [("messages", [AIMessage(content=text(1000))])], 3600

    keys = [(namespace, f"key-{number}") for number in range(30)]
    for key in keys[:20]:
        yield call("set", "set", {key: value()})
    for key in keys[:20]:
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
    table = Table(title="Cache entries of 1 KB", unit="µs", baseline=INCUMBENT)
    compare(suite, table, entries, CACHES, rounds=50, seconds=20)
    suite.publish("cache", table)
