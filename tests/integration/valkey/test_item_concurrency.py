"""Many writers at once, in threads and tasks, on one server and in a cluster; afterwards everything fits together."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
import valkey

from statekeep import Conflict, DeleteItem, PutItem
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.valkey import ValkeyItems, client_from_url
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .item_audit import ItemAudit, audit_items
from .item_kinds import INDEX, texts

WRITERS = 20
SPACE = ("a", "b")


@pytest.fixture(params=["standalone", "cluster"])
def server(request: pytest.FixtureRequest) -> ValkeyServer | ValkeyCluster:
    found: ValkeyServer | ValkeyCluster = request.getfixturevalue(
        "valkey_cluster" if request.param == "cluster" else "valkey_server"
    )
    return found


@pytest.fixture
def client(server: ValkeyServer | ValkeyCluster) -> Iterator[Any]:
    with server.client() as client:
        yield client


@pytest.fixture(params=["glide", "valkey-py"])
def backend(request: pytest.FixtureRequest, server: ValkeyServer | ValkeyCluster, prefix: str) -> Iterator[ValkeyItems]:
    backend = ValkeyItems(client_from_url(server.url, client=request.param), prefix=prefix, index=INDEX)
    yield backend
    backend.close()


@pytest.fixture
def items(backend: ValkeyItems) -> ItemRepository:
    return ItemRepository(backend)


def check(client: Any, prefix: str, **options: Any) -> ItemAudit:
    found = audit_items(client, prefix, **options)
    assert not found.problems, "\n".join(found.problems)
    return found


def everywhere(function: Any, count: int = WRITERS) -> list[Any]:
    """Run ``function(0)``, ``function(1)`` ... in threads that begin together."""
    together = threading.Barrier(count)

    def run(number: int) -> Any:
        together.wait()
        return function(number)

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run, number) for number in range(count)]]


@pytest.mark.parametrize("with_vectors", [False, True])
def test_puts_of_one_item(items: ItemRepository, client: Any, prefix: str, with_vectors: bool) -> None:
    def write(writer: int) -> list[Any]:
        source = random.Random(writer)
        found = []
        for number in range(15):
            value = texts(source.randrange(9), "ab"[number % 2]) if with_vectors else {}
            found.append(
                items.put(SPACE, "k", value | {"writer": writer, "number": number}, ttl=source.choice([None, 900]))
            )
        return found

    stored = everywhere(write)
    for own in stored:
        assert [item.version for item in own] == sorted({item.version for item in own})
        assert [item.updated_at for item in own] == sorted({item.updated_at for item in own})
    every = sorted((item for own in stored for item in own), key=lambda item: item.version)
    assert [item.version for item in every] == list(range(1, WRITERS * 15 + 1))
    times = [item.updated_at for item in every]
    assert times == sorted(set(times))
    assert {item.created_at for item in every} == {times[0]}
    last = items.get(SPACE, "k")
    assert last == every[-1]
    found = check(client, prefix)
    assert (found.items, found.vectors) == (1, len(last.value.get("texts", [])) if last else 0)
    assert [item.key for item in items.search(("a",))] == ["k"]
    assert items.delete(SPACE, "k")
    # In a cluster, who lists namespaces finds out that this one is empty.
    left = check(client, prefix).left
    assert all(":item-namespace-index:" in key for key in left)
    assert not left or isinstance(client, valkey.ValkeyCluster)


def test_puts_and_deletions_of_a_few_items(items: ItemRepository, client: Any, prefix: str) -> None:
    spaces = (SPACE, ("a",), ("a", "b", "c"), ())

    def write(writer: int) -> None:
        source = random.Random(writer)
        for number in range(25):
            space, key = source.choice(spaces), source.choice("xy")
            match source.randrange(6):
                case 0:
                    items.delete(space, key)
                case 1:
                    present = items.get(space, key)
                    try:
                        items.put(space, key, texts(3), expected=None if present is None else present.version)
                    except Conflict:
                        pass  # somebody else was faster
                case 2:
                    puts = [PutItem(namespace=space, key=name, value=texts(number % 6)) for name in "xy"]
                    items.batch([*puts, DeleteItem(namespace=space, key=key)])
                case 3:
                    items.get(space, key, refresh=True)
                case _:
                    items.put(space, key, texts(source.randrange(8)), ttl=source.choice([None, 500, 1000]))

    everywhere(write)
    found = check(client, prefix)
    assert len(items.search(limit=100)) == found.items
    assert len(items.search(query="aaa", limit=100)) == found.items
    for space in spaces:
        items.clear(space)
    items.list_namespaces()
    found = check(client, prefix)
    assert found.items == found.vectors == 0
    assert {key for key in found.left if ":item-namespace-index:" not in key} == set()


def test_a_count(items: ItemRepository, client: Any, prefix: str) -> None:
    tries: dict[int, int] = defaultdict(int)

    def write(writer: int) -> None:
        for _ in range(5):
            while True:
                tries[writer] += 1
                present = items.get(SPACE, "n")
                try:
                    if present is None:
                        items.put(SPACE, "n", 1, expected=None)
                    else:
                        items.put(SPACE, "n", present.value + 1, expected=present.version)
                    break
                except Conflict:
                    pass  # somebody else was faster

    everywhere(write, 10)
    last = items.get(SPACE, "n")
    assert last is not None
    assert (last.value, last.version) == (50, 50)
    assert sum(tries.values()) > 50
    check(client, prefix)


def test_appends_and_pops(items: ItemRepository, client: Any, prefix: str) -> None:
    def write(writer: int) -> tuple[list[str], list[Any]]:
        keys: list[str] = []
        popped = []
        for number in range(10):
            new = items.append(SPACE, [{"writer": writer, "number": number, "place": place} for place in range(3)])
            assert new == sorted(set(new))
            assert not keys or new[0] > keys[-1]
            keys += new
            if writer % 2:
                popped.append(items.pop(SPACE))
        return keys, popped

    results = everywhere(write)
    keys = [key for found, _ in results for key in found]
    assert len(set(keys)) == WRITERS * 10 * 3
    popped = [item for _, found in results for item in found]
    assert None not in popped
    left = list(items.list(SPACE))
    assert sorted([item.key for item in left] + [item.key for item in popped]) == sorted(keys)
    values = {tuple(item.value.values()) for item in [*left, *popped]}
    assert len(values) == len(keys)
    check(client, prefix)

    def drain(writer: int) -> int:
        count = 0
        while items.pop(SPACE) is not None:
            count += 1
        return count

    assert sum(everywhere(drain)) == len(left)
    assert {key for key in check(client, prefix).left if ":item-namespace-index:" not in key} == set()


@pytest.mark.anyio
async def test_tasks(backend: ValkeyItems, client: Any, prefix: str) -> None:
    items = AsyncItemRepository(backend)
    versions: list[int] = []
    keys: list[str] = []

    async def write(writer: int) -> None:
        for number in range(5):
            versions.append((await items.put(SPACE, "k", texts((writer + number) % 7))).version)
            keys.extend(await items.append(("list",), [writer, number]))

    async with anyio.create_task_group() as tasks:
        for writer in range(WRITERS):
            tasks.start_soon(write, writer)
    assert sorted(versions) == list(range(1, WRITERS * 5 + 1))
    assert len(set(keys)) == WRITERS * 5 * 2
    assert [item.key async for item in items.list(("list",))] == sorted(keys)
    check(client, prefix)
    await items.close()
