"""Items that earlier versions put, when namespaces held the items of all below them, are read and written.

``former_items.json`` has all keys that commit 47f66ff left under a prefix: their types, ends and contents.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statekeep import Conflict, ItemRepository
from statekeep.repositories.valkey import ValkeyItems
from statekeep.repositories.valkey.items.keys import item_keys, namespace_index_keys
from statekeep.repositories.valkey.keys import ordered
from statekeep.testing.servers import ValkeyServer

from .item_audit import audit_items
from .item_kinds import INDEX, Watched, texts

STORED = json.loads(Path(__file__).with_name("former_items.json").read_text("utf-8"))
ADA, BOB, LOG = ("users", "ada"), ("users", "bob", "x"), ("log",)
IN_USERS = [{"texts": ["aa", "b", "a"]}, 1, {"texts": ["b"]}]
ORDER = ["third", "second", "first", *IN_USERS, *({"n": n} for n in (3, 2, 1, 0))]


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture(params=["one server", "cluster"])
def written(request: pytest.FixtureRequest, client: Any, prefix: str) -> None:
    """What is stored, as it was written for one server or for a cluster."""
    for name, kind, end, content in STORED[request.param]:
        key = prefix.encode() + b64decode(name)
        match kind:
            case "hash":
                client.hset(key, mapping={b64decode(field): b64decode(value) for field, value in content})
            case "zset":
                client.zadd(key, {b64decode(member): score for member, score in content})
            case _:
                client.set(key, b64decode(content))
        if end > 0:
            client.pexpireat(key, end)


@pytest.fixture(params=[False, True], ids=["standalone", "cluster"])
def watched(request: pytest.FixtureRequest, client: Any) -> Watched:
    return Watched(client, cluster=request.param)


@pytest.fixture
def items(watched: Watched, written: None, prefix: str) -> ItemRepository:
    return ItemRepository(ValkeyItems(watched, prefix=prefix, index=INDEX))


def refused(operation: Callable[[], Any]) -> None:
    with pytest.raises(Conflict):
        operation()


TOUCHES: dict[str, Callable[[ItemRepository], Any]] = {
    "search": lambda items: items.search(ADA),
    "namespaces": lambda items: items.list_namespaces(),
    "list": lambda items: list(items.list(ADA)),
    "refresh": lambda items: items.get(ADA, "a.b:c", refresh=True),
    "refresh all": lambda items: items.search(refresh=True),
    "put": lambda items: items.put(ADA, "new", "new"),
    "put what ends": lambda items: items.put(BOB, "new", "new", ttl=1000),
    "delete": lambda items: items.delete(ADA, "ended"),
    "conflict": lambda items: refused(lambda: items.put(ADA, "drink", 1, expected=7)),
    "append": lambda items: items.append(LOG, ["new"]),
    "query": lambda items: items.search((), query="b"),
    "reindex": lambda items: [items.reindex(space) for space in ((), ADA, BOB, LOG)],
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_all_is_found_whatever_is_done_first(items: ItemRepository, client: Any, prefix: str, touch: str) -> None:
    TOUCHES[touch](items)
    assert [item.value for item in items.search(limit=100) if item.key != "new" and item.value != "new"] == ORDER
    assert [item.value for item in items.search(("users",)) if item.key != "new"] == IN_USERS
    assert items.list_namespaces() == [(), LOG, ADA, BOB]
    assert [item.key for item in items.list(ADA) if item.key != "new"] == ["a.b:c", "drink"]
    assert {item.key for item in items.search(query="b", limit=2)} == {"a.b:c", "drink"}
    assert not audit_items(client, prefix, expired=True, former=True).problems
    # Nothing is left to be done.
    before = len(client.keys(f"{prefix}:item-recent:*"))
    assert before == 4
    assert (items.delete(BOB, "only"), items.delete(BOB, "new")) == (True, touch == "put what ends")
    assert items.list_namespaces() == [(), LOG, ADA]


def test_what_ended_is_forgotten(items: ItemRepository, client: Any, prefix: str) -> None:
    assert ("users", "gone") not in items.list_namespaces()
    for space in (ADA, ("users", "gone")):
        keys = item_keys(prefix, space)
        items.search(space)
        assert client.zscore(keys.index, "ended") is None


def test_numbers_and_versions_go_on(items: ItemRepository) -> None:
    last = [item.key for item in items.list(LOG)][-1]
    assert items.append(LOG, ["fourth"]) > [last]
    popped = items.pop(LOG)
    assert popped is not None
    assert popped.value == "fourth"
    drink = items.get(ADA, "drink")
    assert drink is not None
    again = items.put(ADA, "drink", texts(2), expected=drink)
    assert (again.version, again.created_at) == (3, drink.created_at)
    assert again.updated_at > drink.updated_at
    assert items.clear(("users",), below=True) == 3
    assert [item.value for item in items.search(("users",))] == []


def test_reindex_removes_what_nobody_reads(items: ItemRepository, client: Any, prefix: str) -> None:
    former = [key for kind in ("recency", "expiry") for key in client.keys(f"{prefix}:item-{kind}:*")]
    assert len(former) >= 9
    for space in items.list_namespaces():
        items.reindex(space)
    assert not [key for key in former if b"gone" not in key and client.exists(key)]
    assert [item.value for item in items.search(limit=100)] == ORDER


def test_an_order_that_is_complete_is_not_made_again(items: ItemRepository, watched: Watched) -> None:
    for _ in range(2):
        items.search()
        items.list_namespaces()
    watched.requests.clear()
    items.search()
    items.list_namespaces()
    assert not {"adopt", "sweep"} & {getattr(getattr(one, "script", None), "name", "") for one in watched.requests}


def test_a_namespace_that_the_former_index_has_end(items: ItemRepository, client: Any, prefix: str) -> None:
    """The index of namespaces is the same as before."""
    names, _, ends = namespace_index_keys(prefix)
    assert client.zscore(ends, ordered(BOB)) is not None
    assert client.zscore(names, ordered(BOB)) is not None
    items.put(BOB, "lasting", 1)
    assert client.zscore(ends, ordered(BOB)) is None
