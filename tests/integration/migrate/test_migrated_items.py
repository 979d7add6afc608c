"""Items, with vectors and ends, from other packages' stores."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.base import BaseStore

import statekeep
from statekeep.langgraph_shim import AsyncRepositoryStore, RepositoryStore, amigrate, migrate
from statekeep.repositories.connection import Connection
from statekeep.testing.embedding import DIMS, letter_counts

from .peers import STORES, Peers

INDEX: Any = {"dims": DIMS, "embed": letter_counts, "fields": ["text"]}

KEYS = ("plain", "with space", "ünïcode-é世界", "a:b", "{tag}", "star*", "pipe|", "per%cent", "sla/sh", "quo'te", "x.y")
"""What each package takes as a key; they differ in what they cannot find again."""


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def keep() -> Iterator[Connection]:
    with statekeep.connect("memory:", index=INDEX) as keep:
        yield keep


def everything(store: BaseStore, namespace: tuple[str, ...]) -> dict[str, Any]:
    return {item.key: item.value for item in store.search(namespace, limit=1000)}


@pytest.fixture
def old(kind: str, peers: Peers) -> BaseStore:
    return peers.store(kind, INDEX if kind != "aws" else None)


def test_items_and_vectors(old: BaseStore, keep: Connection) -> None:
    for number in range(120):
        old.put(("notes", "many"), f"{number:03}", {"text": "a" * (number % 7), "number": number})
    old.put(("notes", "ada"), "tea", {"text": "zzz", "nested": {"list": [1, None, True, 1.5, "é"]}})
    old.put(("notes",), "top", {"text": "b"})
    report = migrate(old, keep.items, verify="all")
    assert (report.items, report.items_put, report.verified) == (122, 122, 122)

    new = RepositoryStore(keep.items)
    assert everything(new, ("notes", "many")) == {
        f"{number:03}": {"text": "a" * (number % 7), "number": number} for number in range(120)
    }
    assert new.get(("notes", "ada"), "tea").value["nested"] == {"list": [1, None, True, 1.5, "é"]}  # type: ignore[union-attr]
    assert [item.key for item in new.search(("notes",), query="z", limit=1)] == ["tea"]
    assert sorted(new.list_namespaces()) == [("notes",), ("notes", "ada"), ("notes", "many")]


def test_a_second_migration_writes_nothing(old: BaseStore, keep: Connection) -> None:
    for number in range(5):
        old.put(("n",), str(number), {"number": number})
    migrate(old, keep)
    versions = [(item.version, item.updated_at) for item in keep.items.list(("n",))]
    report = migrate(old, keep, verify="all")
    assert (report.items, report.written) == (5, 0)
    assert [(item.version, item.updated_at) for item in keep.items.list(("n",))] == versions

    old.put(("n",), "3", {"number": 33})
    report = migrate(old, keep, since=report)
    assert report.items_put == 1
    found = keep.items.get(("n",), "3")
    assert found is not None
    assert (found.value, found.version) == ({"number": 33}, 2)


def test_what_programs_put_into_the_target_stays(kind: str, old: BaseStore, keep: Connection) -> None:
    old.put(("n",), "a", {"v": 1})
    migrate(old, keep)
    time.sleep(1.1)  # times of SQLite have seconds
    keep.items.put(("n",), "a", {"v": "newer"})
    report = migrate(old, keep, verify="all")
    found = keep.items.get(("n",), "a")
    assert found is not None
    if kind == "aws":  # its times have no zone
        assert (report.items_put, report.items_kept, found.value) == (1, 0, {"v": 1})
        return
    assert (report.items_put, report.items_kept, found.value) == (0, 1, {"v": "newer"})
    old.put(("n",), "a", {"v": "newest"})
    assert migrate(old, keep, verify="all").items_put == 1


def test_ends(kind: str, old: BaseStore, keep: Connection) -> None:
    if kind == "memory":
        pytest.skip("it has no TTL")
    old.put(("n",), "ends", {"a": 1}, ttl=60)
    old.put(("n",), "stays", {"a": 2})
    migrate(old, keep, verify="all")
    ends, stays = keep.items.get(("n",), "ends"), keep.items.get(("n",), "stays")
    assert ends is not None
    assert ends.expires_at is not None
    assert stays is not None
    assert stays.expires_at is None
    left = ends.expires_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=59) < left < dt.timedelta(minutes=60, seconds=1)
    assert migrate(old, keep).written == 0


def test_times(kind: str, old: BaseStore, keep: Connection) -> None:
    old.put(("n",), "a", {"v": 1})
    before = old.get(("n",), "a")
    assert before is not None
    time.sleep(1.1)  # times of SQLite have seconds
    start = dt.datetime.now(dt.UTC)
    migrate(old, keep, verify="all")
    found = keep.items.get(("n",), "a")
    assert found is not None
    assert found.version == 1
    if kind == "aws":  # its times have no zone
        assert found.created_at > start
        return
    assert (found.created_at, found.updated_at) == tuple(map(in_utc, (before.created_at, before.updated_at)))

    old.put(("n",), "a", {"v": 2})
    migrate(old, keep, verify="all")
    after, again = old.get(("n",), "a"), keep.items.get(("n",), "a")
    assert after is not None
    assert again is not None
    assert (again.value, again.version) == ({"v": 2}, 2)
    assert again.updated_at == in_utc(after.updated_at)
    assert again.updated_at > found.updated_at
    assert keep.items.put(("n",), "a", {"v": 3}).version == 3


def test_items_end_by_the_ttl_of_the_target(peers: Peers) -> None:
    old = peers.store("memory", None)
    old.put(("n",), "a", {"v": 1})
    with statekeep.connect("memory:", ttl=60) as keep:
        migrate(old, keep.items)
        found = keep.items.get(("n",), "a")
        assert found is not None
        assert found.expires_at is not None


def in_utc(time: dt.datetime) -> dt.datetime:
    return time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["memory", "sqlite", "postgres"])
async def test_stores_for_event_loops(name: str, peers: Peers) -> None:
    async with statekeep.aconnect("memory:") as keep, peers.async_store(name) as old:
        for number in range(120):
            await old.aput(("notes",), str(number), {"number": number})
        store = AsyncRepositoryStore(keep.items)
        report = await amigrate(old, store, verify="all")
        assert (report.items_put, report.verified) == (120, 120)
        assert (await amigrate(old, keep, since=report)).written == 0
        found = await store.aget(("notes",), "119")
        assert found is not None
        assert found.value == {"number": 119}


def test_odd_keys(kind: str, old: BaseStore, keep: Connection) -> None:
    if kind == "redis":
        pytest.skip("it cannot put them: its own searches fail")
    for key in KEYS:
        old.put(("odd", "ünïcode {x}*|%"), key, {"key": key})
    if kind == "sqlite":
        old.put(("odd",), "nul\x00", {"key": "nul"})
    report = migrate(old, keep, verify="all")
    new = RepositoryStore(keep.items)
    for key in KEYS:
        found = new.get(("odd", "ünïcode {x}*|%"), key)
        assert found is not None
        assert found.value == {"key": key}
    assert report.items_put == len(KEYS) + (kind == "sqlite")


def test_errors_name_the_operation(peers: Peers) -> None:
    old = peers.store("memory", None)
    old.put(("n",), "a" * 20_000, {"v": 1})
    with statekeep.connect("memory:") as keep, pytest.raises(statekeep.StatekeepError) as caught:
        migrate(old, keep.items)
    assert caught.value.operation == "migrate"
