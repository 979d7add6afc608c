"""Searches of many items and namespaces: pages of bounded size, and no more of them than it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from statekeep import ItemRepository, PutItem
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.repositories.valkey.items import listing
from statekeep.repositories.valkey.requests import Call, Reply, Request
from statekeep.testing.servers import ValkeyCluster, ValkeyServer


class Asking:
    """A client that keeps the sizes of what operations ask for.

    Attributes:
        sizes: bytes of each reply since the last :meth:`clear`.
        scripts: the names of the scripts that were run.
    """

    def __init__(self, client: Any, *, cluster: bool) -> None:
        self.cluster = cluster
        self._client = client_for(client)
        self.clear()

    def clear(self) -> None:
        self.sizes: list[int] = []
        self.scripts: list[str] = []

    def execute(self, request: Request) -> Reply:
        reply = self._client.execute(request)
        self.sizes.append(bytes_of(reply))
        self.scripts.append(request.script.name if isinstance(request, Call) else "")
        return reply

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def bytes_of(reply: Reply) -> int:
    if isinstance(reply, list):
        return sum(map(bytes_of, reply))
    return len(reply) if isinstance(reply, bytes) else 8


@pytest.fixture(params=["standalone", "cluster"])
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    is_cluster = request.param == "cluster"
    server: ValkeyServer | ValkeyCluster = request.getfixturevalue("valkey_cluster" if is_cluster else "valkey_server")
    with server.client() as client:
        yield Asking(client, cluster=is_cluster)


def items_of(asking: Asking, prefix: str) -> ItemRepository:
    return ItemRepository(ValkeyItems(asking, prefix=prefix))


def put(items: ItemRepository, *entries: tuple[tuple[str, ...], str, Any]) -> None:
    for first in range(0, len(entries), 100):
        items.batch([PutItem(namespace=one, key=key, value=value) for one, key, value in entries[first : first + 100]])


def test_a_filter_stops_as_soon_as_there_are_enough(asking: Asking, prefix: str) -> None:
    items = items_of(asking, prefix)
    put(items, *((("n",), str(number), {"half": number % 2}) for number in range(1000)))
    assert len(items.search(("n",), filter={"half": 1}, limit=10)) == 10
    asking.clear()
    found = items.search(("n",), filter={"half": 1}, limit=10)
    assert {item.value["half"] for item in found} == {1}
    assert len(asking.sizes) == 2


def test_a_filter_that_hardly_anything_matches_reads_more_at_once(asking: Asking, prefix: str) -> None:
    items = items_of(asking, prefix)
    put(items, *((("n",), f"{number:04}", {"number": number}) for number in range(2000)))
    assert [item.key for item in items.search(("n",), filter={"number": 0})] == ["0000"]
    asking.clear()
    assert [item.key for item in items.search(("n",), filter={"number": 0})] == ["0000"]
    # 100, 200, 400, 500, 500 and the rest: two round trips each.
    assert len(asking.sizes) == 2 * 6


def test_values_that_are_large_are_read_few_at_once(
    asking: Asking, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_BYTES", 50_000)
    monkeypatch.setattr(listing, "PAGE", 20)
    items = items_of(asking, prefix)
    put(items, *((("n",), f"{number:03}", {"number": number, "text": "x" * 5000}) for number in range(100)))
    asking.clear()
    assert [item.key for item in items.search(("n",), filter={"number": 0}, limit=1)] == ["000"]
    # Nobody knows before the first page; then they are 50 KB.
    sizes = sorted(asking.sizes)
    assert sizes[-2] < 60_000 < sizes[-1] < 120_000
    assert sum(sizes) < 100 * 6000


def test_a_search_of_many_namespaces_reads_each_about_once(
    asking: Asking, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK", 20)
    monkeypatch.setattr(listing, "PAGE", 10)
    items = items_of(asking, prefix)
    put(items, *((("n", f"{number:03}"), "item", {"number": number}) for number in range(400)))
    assert items.search(("n",), filter={"number": -1}) == []
    asking.clear()
    assert items.search(("n",), filter={"number": -1}) == []
    if not asking.cluster:
        # 20 at a time, some again in the next page; the index of namespaces is read in growing parts.
        assert asking.scripts.count("recent") <= 4 * 400 // 20
        assert asking.scripts.count("below") <= 6
    [found] = items.search(("n",), filter={"number": 3})
    assert found.namespace == ("n", "003")
    assert [item.value["number"] for item in items.search(("n",), limit=399, offset=1)] == [*reversed(range(399))]


def test_namespaces_are_listed_in_pages(asking: Asking, prefix: str) -> None:
    items = items_of(asking, prefix)
    put(items, *((("n", f"{number:04}"), "item", number) for number in range(1200)))
    asking.clear()
    assert items.list_namespaces() == [("n", f"{number:04}") for number in range(1200)]
    assert len(asking.sizes) == 6
    assert max(asking.sizes) < 500 * 40
    asking.clear()
    assert items.list_namespaces(limit=5, offset=10) == [("n", f"{number:04}") for number in range(10, 15)]
    assert max(asking.sizes) < 25 * 40
    asking.clear()
    assert items.list_namespaces(max_depth=1) == [("n",)]
    assert len(asking.sizes) <= 4
    assert max(asking.sizes) < 500 * 40
