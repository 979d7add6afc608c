"""Expiry of items on a real server. Times are short; each wait has a margin of a multiple of a slow step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from statekeep import ItemRepository, PutItem
from statekeep.repositories.valkey import ValkeyItems
from statekeep.repositories.valkey.items.keys import item_keys, namespace_index_keys
from statekeep.repositories.valkey.keys import ordered
from statekeep.testing.servers import ValkeyServer

from .item_audit import ItemAudit, audit_items
from .item_kinds import INDEX, Watched, texts

TTL = 0.5
OVER = TTL + 0.1
SPACE = ("a", "b")

Open = Callable[..., ItemRepository]


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture(params=[False, True], ids=["standalone", "cluster"])
def cluster(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture
def opened(client: Any, prefix: str, cluster: bool) -> Open:
    def opened(ttl: float | None = TTL, **options: Any) -> ItemRepository:
        return ItemRepository(
            ValkeyItems(Watched(client, cluster=cluster), prefix=prefix, ttl=ttl, index=INDEX, **options)
        )

    return opened


def check(client: Any, prefix: str, *, expired: bool = True) -> ItemAudit:
    found = audit_items(client, prefix, expired=expired)
    assert not found.problems, "\n".join(found.problems)
    return found


def test_everything_ends(opened: Open, client: Any, prefix: str, cluster: bool) -> None:
    items = opened(3)
    for space in (SPACE, ("a",), (), ("x", "y", "z")):
        for count in (0, 3, 9):
            items.put(space, f"{count}", texts(count))
        items.append((*space, "log"), [1, texts(2)])
        items.get(space, "9", refresh=True)
    assert check(client, prefix, expired=False).items == 20
    time.sleep(3.1)
    assert items.get(SPACE, "3") is None
    found = audit_items(client, prefix, expired=True)
    left = {key.removeprefix(f"{prefix}:").partition(":")[0] for key in found.left}
    # Numbers are kept for a minute, so that no key comes again. Namespaces are forgotten by those who list or put.
    assert found.items == found.vectors == 0
    assert left <= {"item-sequence", "item-namespace-index"}
    assert all(0 < client.pttl(key) <= 61_000 for key in found.left if ":item-namespace-index:" not in key)
    states = list(client.scan_iter(f"{prefix}:item-state:*"))
    assert len(states) == 8
    assert all(0 < client.pttl(key) <= 610_000 for key in states)
    assert items.search() == items.search((), query="a") == []
    assert items.list_namespaces() == []
    # Their names may be those of puts under way: they go when they are a minute old.
    names, times, _ = namespace_index_keys(prefix)
    assert client.zcard(names) == 8
    for name in client.zrange(names, 0, -1):
        client.zincrby(times, -121_000_000, name)
    assert items.list_namespaces() == []
    assert not client.exists(*namespace_index_keys(prefix))


def test_fractions_and_the_default(opened: Open, client: Any, prefix: str) -> None:
    items = opened(1.25)
    record = item_keys(prefix, SPACE).record
    items.put(SPACE, "default", texts(1))
    items.put(SPACE, "longer", texts(1), ttl=1234.567)
    items.put(SPACE, "lasting", texts(1), ttl=None)
    items.put(SPACE, "shortest", 1, ttl=0.0004)
    assert 0 < client.pttl(record("default")) <= 1250
    assert 1_200_000 < client.pttl(record("longer")) <= 1_234_567
    assert client.pttl(record("lasting")) == -1
    time.sleep(1.35)
    assert [item.key for item in items.list(SPACE)] == ["lasting", "longer"]
    item = items.put(SPACE, "longer", 1, ttl=None)
    assert item.expires_at is None
    assert client.pttl(record("longer")) == -1
    item = items.put(SPACE, "lasting", 1)
    assert item.expires_at is not None
    assert 1.2 < (item.expires_at - item.updated_at).total_seconds() < 1.3
    time.sleep(1.35)
    assert [item.key for item in items.search()] == ["longer"]


@pytest.mark.parametrize("count", [0, 3, 9, 20])
@pytest.mark.parametrize("reading", ["get", "list", "search", "query"])
def test_reading_refreshes(opened: Open, client: Any, prefix: str, cluster: bool, reading: str, count: int) -> None:
    items = opened(None)
    first = items.put(SPACE, "read", texts(count), ttl=50)
    left = items.put(SPACE, "left", texts(1), ttl=50)
    items.put(SPACE, "long", texts(1), ttl=100)
    lasting = items.put(SPACE, "lasting", texts(1))
    ends = [first.expires_at]
    for _ in range(3):
        time.sleep(0.02)
        match reading:
            case "get":
                found = items.get(SPACE, "read", refresh=True)
            case "list":
                [found] = items.list(SPACE, prefix="re", refresh=True)
            case "search":
                [found] = items.search(("a",), filter=first.value, refresh=True)
            case _:
                [found] = items.search(("a",), filter=first.value, query="aaa", refresh=True)
        assert found is not None
        ends.append(found.expires_at)
        check(client, prefix, expired=False)
    times = [end.timestamp() for end in ends if end]
    assert times == sorted(set(times))
    assert len(times) == 4
    assert [items.get(SPACE, key) for key in ("left", "lasting")] == [left, lasting]


def test_refresh_on_read(opened: Open) -> None:
    reading, plain = opened(50, refresh_on_read=True), opened(50)
    first = {key: plain.put(SPACE, key, 1).expires_at for key in ("read", "left")}
    time.sleep(0.02)
    read, left = reading.get(SPACE, "read"), reading.get(SPACE, "left", refresh=False)
    assert read is not None
    assert left is not None
    assert left.expires_at == first["left"]
    assert read.expires_at != first["read"]
    found = {item.key: item.expires_at for item in reading.search()}
    assert found["left"] != first["left"]


def test_what_is_refreshed_does_not_end(opened: Open) -> None:
    items = opened(3)
    for key in ("read", "left"):
        items.put(SPACE, key, texts(6))
    for _ in range(3):
        time.sleep(1.1)
        assert items.get(SPACE, "read", refresh=True)
    assert items.get(SPACE, "left") is None
    assert [item.key for item in items.search(("a",))] == ["read"]
    assert [item.key for item in items.search((), query="a")] == ["read"]


def test_indexes_forget_what_has_ended(opened: Open, client: Any, prefix: str, cluster: bool) -> None:
    """Also where items last, and where nobody reads."""
    items = opened(0.05)
    for space in ((), ("a",), SPACE):
        items.put(space, "lasting", texts(1), ttl=None)
    keys = [item_keys(prefix, space) for space in ((), ("a",), SPACE)]
    most = 0
    for number in range(40):
        puts = [
            PutItem(namespace=space, key=f"{number} {place}", value=texts(2))
            for space in (SPACE, ("a",))
            for place in range(20)
        ]
        items.batch(puts)
        time.sleep(0.02)
        most = max(most, *(client.zcard(its.recency) for its in keys))
    assert most < 40 * 20 * 0.6
    time.sleep(0.2)
    for _ in range(10):
        for space in ((), ("a",), SPACE):
            items.put(space, "lasting", texts(1), ttl=None)
    assert [client.zcard(its.recency) for its in keys] == [1, 1, 1]
    assert [client.zcard(its.index) for its in keys] == [1, 1, 1]
    assert [client.zcard(its.vectors("default")) for its in keys] == [1, 1, 1]


def test_namespaces_that_ended_are_forgotten_by_puts(opened: Open, client: Any, prefix: str) -> None:
    items = opened()
    names, _, ends = namespace_index_keys(prefix)
    for number in range(30):
        items.put(("old", f"{number}"), "k", 1, ttl=0.01)
    items.put(("old", "0"), "lasting", 1, ttl=None)
    assert client.zscore(ends, ordered(("old", "0"))) is None
    for name in client.zrange(ends, 0, -1):
        client.zincrby(ends, -200_000, name)
    for number in range(3):
        items.put(("new", f"{number}"), "k", 1)
    left = [("new", "0"), ("new", "1"), ("new", "2"), ("old", "0")]
    assert client.zrange(names, 0, -1) == [ordered(name).encode() for name in left]


@pytest.mark.parametrize("reader", ["search here", "search above", "put below", "list", "refresh"])
def test_a_namespace_whose_items_ended_is_not_listed(
    opened: Open, client: Any, prefix: str, cluster: bool, reader: str
) -> None:
    """Whoever drops what has ended drops it from all indexes, also where nothing made them end."""
    items = opened()
    items.put(("a",), "lasting", texts(1), ttl=None)
    for number in range(5):
        items.put(("a",), f"{number}", texts(1))
    items.delete(("a",), "lasting")
    items.put(("a", "b"), "other", 1, ttl=None)
    time.sleep(OVER)
    match reader:
        case "search here":
            items.search(("a",))
        case "search above":
            items.search(())
        case "put below":
            items.put(("a", "b"), "other", 2, ttl=None)
        case "list":
            assert list(items.list(("a",))) == []
        case "refresh":
            items.get(("a",), "0", refresh=True)
    assert items.list_namespaces() == [("a", "b")]
    found = check(client, prefix)
    keys = item_keys(prefix, ("a",))
    assert not client.exists(keys.index, keys.vectors("default")), found.left


def test_a_refresh_does_not_shorten_what_others_need(opened: Open, client: Any, prefix: str, cluster: bool) -> None:
    items = opened(20)
    items.put(SPACE, "long", texts(6), ttl=1000)
    items.put(SPACE, "short", texts(6))
    items.get(SPACE, "short", refresh=True)
    check(client, prefix, expired=False)
    # As one without an index of vectors, or with another one, sees it.
    other = ItemRepository(ValkeyItems(Watched(client, cluster=cluster), prefix=prefix, ttl=TTL))
    other.get(SPACE, "short", refresh=True)
    assert not audit_items(client, prefix, cut=True).problems
    other.put(SPACE, "short", 1)
    found = check(client, prefix, expired=False)
    assert found.vectors == 6
    assert [item.key for item in items.search((), query="aaa")] == ["long", "short"]


def test_an_item_that_is_to_end_sooner(opened: Open, client: Any, prefix: str, cluster: bool) -> None:
    items = opened(None)
    items.put(SPACE, "k", texts(2))
    items.put(SPACE, "k", texts(2), ttl=TTL)
    check(client, prefix, expired=False)
    time.sleep(OVER)
    assert items.search() == []
    assert list(items.list(SPACE)) == []
