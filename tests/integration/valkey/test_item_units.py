"""Units of several namespaces: one script for each batch, and programs that have other units on the same database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

from statekeep import (
    CheckItem,
    Conflict,
    CorruptRecord,
    DeleteItem,
    GetItem,
    InvalidInput,
    Item,
    ItemRepository,
    ListItems,
    PutItem,
    Unavailable,
    connect,
)
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.repositories.valkey.items.keys import item_keys, namespace_index_keys, unit_keys
from statekeep.repositories.valkey.requests import Call, Commands, Request
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .item_audit import audit_items
from .item_kinds import INDEX, Killed, Watched, texts
from .search_responder import SearchResponder
from .slot_migration import SlotMigration

APP = ("app",)
SESSION = ("app", "ada", "1")
USER = ("app", "ada")
TTL = 1000.0


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture(params=[False, True], ids=["standalone", "cluster"])
def cluster(request: pytest.FixtureRequest) -> bool:
    """Whether the requests are those for a cluster; the server takes both kinds."""
    found: bool = request.param
    return found


def opened(
    client: Any, prefix: str, cluster: bool, unit: int | None = 1, **options: Any
) -> tuple[ItemRepository, Watched]:
    watched = Watched(client, cluster=cluster, **options)
    return ItemRepository(ValkeyItems(watched, prefix=prefix, ttl=TTL, index=INDEX, unit=unit)), watched


def check(client: Any, prefix: str, *, cut: bool = False, unit: int | None = 1) -> None:
    found = audit_items(client, prefix, cut=cut, unit=unit)
    assert not found.problems, "\n".join(found.problems)


def tags(request: Request) -> set[str]:
    assert isinstance(request, Call)
    return {key.partition("{")[2].partition("}")[0] for key in request.keys}


def spanning(items: ItemRepository) -> list[Any]:
    """A session's event, its state, the user's and the app's, as one."""
    return items.batch(
        [
            CheckItem(namespace=SESSION, key="revision", expected=1),
            PutItem(namespace=SESSION, key="revision", value=2),
            PutItem(namespace=(*SESSION, "events"), key="1", value=texts(6)),
            PutItem(namespace=USER, key="state", value=texts(1, "b")),
            DeleteItem(namespace=APP, key="old", expected=1),
            GetItem(namespace=APP, key="state"),
        ]
    )


def prepare(items: ItemRepository) -> None:
    items.put(SESSION, "revision", 1)
    items.put(USER, "state", texts(3))
    items.put(APP, "old", texts(2))
    items.put(APP, "state", texts(1), ttl=None)
    items.put(("other",), "state", 1)


def contents(items: ItemRepository) -> dict[Any, Any]:
    found = {(item.namespace, item.key): item.value for item in items.search((), limit=1000)}
    by_key = {(space, item.key): item.value for space in items.list_namespaces() for item in items.list(space)}
    ranked = items.search((), query="aaa", limit=1000)
    assert found == by_key == {(item.namespace, item.key): item.value for item in ranked}
    # What has texts is found by them, and only that.
    assert all((item.score is not None) is isinstance(item.value, dict) for item in ranked)
    return found


# -- one script


def test_a_batch_over_a_unit_is_one_call(client: Any, prefix: str, cluster: bool) -> None:
    items, watched = opened(client, prefix, cluster)
    prepare(items)
    items.put((*SESSION, "events"), "0", 0)
    watched.requests.clear()
    spanning(items)
    assert len(watched.requests) == 1
    assert tags(watched.requests[0]) == ({"app"} if cluster else {"app", "."})
    watched.requests.clear()
    puts = [PutItem(namespace=(*USER, str(number)), key="k", value=number, expected=None) for number in range(20)]
    assert len(items.batch(puts)) == 20
    if cluster:
        # All that is new is announced together.
        announced, applied = watched.requests
        assert tags(announced) == {"."}
        assert tags(applied) == {"app"}
    else:
        assert len(watched.requests) == 1
    watched.requests.clear()
    items.batch([PutItem(namespace=(*USER, str(number)), key="k", value=0, expected=1) for number in range(20)])
    assert len(watched.requests) == 1
    check(client, prefix)


def test_listings_of_a_unit_are_one_call(client: Any, prefix: str, cluster: bool) -> None:
    items, watched = opened(client, prefix, cluster)
    prepare(items)

    def listed() -> list[Any]:
        watched.requests.clear()
        return items.batch(
            [
                CheckItem(namespace=SESSION, key="revision", expected=1),
                ListItems(namespace=APP, refresh=False),
                PutItem(namespace=USER, key="state", value=texts(5)),
                ListItems(namespace=USER, order="updated", reverse=True, refresh=False),
            ]
        )

    first = listed()
    assert [[item.key for item in part] for part in (first[1], first[3])] == [["old", "state"], ["state"]]
    assert first[3] == [first[2]]
    # The keys of the listing are not known here yet.
    assert len(watched.requests) == 2
    second = listed()
    assert (second[0], second[1], second[3]) == (None, first[1], [second[2]])
    assert [tags(request) for request in watched.requests] == [{"app"} if cluster else {"app", "."}]
    items.put(APP, "new", texts(1))
    items.delete(APP, "old")
    assert [item.key for item in listed()[1]] == ["new", "state"]
    assert len(watched.requests) == 2
    check(client, prefix)


def test_another_process_finds_the_leases(client: Any, prefix: str) -> None:
    """It announces what it puts to, all in one round trip, as each process does for the first time."""
    first, _ = opened(client, prefix, cluster=True)
    prepare(first)
    second, watched = opened(client, prefix, cluster=True)
    spanning(second)
    assert [tags(request) for request in watched.requests] == [{"."}, {"app"}]
    longer, watched = opened(client, prefix, cluster=True)
    longer.put(USER, "state", 1)
    watched.requests.clear()
    # The script asks for what no lease covers: all of it at once.
    for space in (SESSION, APP, USER):
        client.hdel(item_keys(prefix, space, 1).state, "lease")
        longer.backend._settings.leases.note(space, 1e12)  # type: ignore[attr-defined]
    longer.batch([PutItem(namespace=space, key="k", value=1, ttl=None) for space in (SESSION, APP, USER)])
    assert [tags(request) for request in watched.requests] == [{"app"}, {"."}, {"app"}]
    check(client, prefix)


def test_keys_and_records(client: Any, prefix: str) -> None:
    items, _ = opened(client, prefix, cluster=False)
    items.put(SESSION, "a:b", texts(1))
    items.put(APP, "k", 1)
    items.put((), "k", 1)
    pk = b"{app}.ada.1:a%3Ab"
    assert client.hmget(f"{prefix}:item:{pk.decode()}", "pk", "namespace", "item_key") == [pk, b"app.ada.1", b"a:b"]
    assert client.hget(f"{prefix}:item:{{app}}:k", "namespace") == b"app"
    assert client.hget(f"{prefix}:item:{{.}}:k", "namespace") == b"."
    assert client.get(unit_keys(prefix, 1)[1]) == b"1"
    whole, _ = opened(client, f"{prefix}-0", cluster=False, unit=0)
    whole.put(SESSION, "k", texts(1), expected=None)
    assert client.hget(f"{prefix}-0:item:{{.}}.app.ada.1:k", "namespace") == b"app.ada.1"
    assert whole.search(query="a")[0].namespace == SESSION
    check(client, prefix)
    check(client, f"{prefix}-0", unit=0)


# -- faults


def test_dying_between_two_requests(client: Any, prefix: str, cluster: bool) -> None:
    whole, watched = opened(client, f"{prefix}-whole", cluster)
    prepare(whole)
    before = contents(whole)
    mortal, watched = opened(client, f"{prefix}-whole", cluster)
    spanning(mortal)
    count, after = len(watched.requests), contents(whole)
    assert before != after
    for place in range(count):
        own = f"{prefix}-{place}"
        plain, _ = opened(client, own, cluster)
        prepare(plain)
        mortal, _ = opened(client, own, cluster, dies_after=place)
        with pytest.raises(Killed):
            spanning(mortal)
        check(client, own, cut=True)
        # All of it is the last request but one, which tells the server what it may forget.
        assert contents(plain) in (before, after)
        assert (contents(plain) == before) is (place < 2 if cluster else place < 1)
        if contents(plain) == before:
            spanning(plain)
        assert contents(plain) == after
        check(client, own, cut=True)


def test_requests_that_come_twice(client: Any, prefix: str, cluster: bool) -> None:
    prepare(opened(client, prefix, cluster)[0])
    items, _ = opened(client, prefix, cluster, repeats=True)
    results = spanning(items)
    assert [item.version for item in results[1:4]] == [2, 1, 2]
    assert (results[0], results[4]) == (None, True)
    with pytest.raises(Conflict):
        spanning(items)
    check(client, prefix)


def test_a_slot_on_its_way(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    """A batch over a unit waits until the slot has arrived, and is done as a whole."""
    with connect(valkey_cluster.url, prefix=prefix, unit=1, client="valkey-py", deadline=0.5) as keep:
        items = keep.items
        app, user = items.put(APP, "k", 1), items.put(USER, "k", 1)
        batch = [
            PutItem(namespace=APP, key="k", value=2, expected=app),
            PutItem(namespace=USER, key="k", value=2, expected=user),
        ]
        with SlotMigration(valkey_cluster, "app") as migration:
            migration.move(*migration.keys()[:3])
            assert [
                item.value for item in items.batch([GetItem(namespace=space, key="k") for space in (APP, USER)])
            ] == [
                1,
                1,
            ]
            listings = [ListItems(namespace=APP), ListItems(namespace=USER, order="updated")]
            assert items.batch(listings) == [[app], [user]]
            with pytest.raises(Unavailable):
                items.batch(batch)
            migration.call_off()
        results = items.batch(batch)
        assert [item.version for item in results] == [2, 2]


# -- other units

FIRST: dict[str, Callable[[ItemRepository], Any]] = {
    "get": lambda items: items.get(USER, "state"),
    "get and refresh": lambda items: items.get(USER, "state", refresh=True),
    "get several": lambda items: items.batch([GetItem(namespace=USER, key="state")] * 2),
    "get several and refresh": lambda items: items.batch([GetItem(namespace=USER, key="state", refresh=True)] * 2),
    "put": lambda items: items.put(USER, "state", 1),
    "put several": lambda items: items.batch([PutItem(namespace=USER, key=key, value=1) for key in "ab"]),
    "put if there is none": lambda items: items.put(USER, "new", 1, expected=None),
    "delete": lambda items: items.delete(USER, "state"),
    "delete several": lambda items: items.batch([DeleteItem(namespace=USER, key=key) for key in ("state", "b")]),
    "check": lambda items: items.batch([CheckItem(namespace=USER, key="new", expected=None)]),
    "append": lambda items: items.append(USER, [1]),
    "pop": lambda items: items.pop(USER),
    "list": lambda items: list(items.list(USER)),
    "list by time": lambda items: list(items.list(USER, order="updated")),
    "list keys": lambda items: list(items.keys(USER)),
    "list in a batch": lambda items: items.batch([ListItems(namespace=USER)]),
    "search": lambda items: items.search(USER),
    "search by meaning": lambda items: items.search(USER, query="a"),
    "list namespaces": lambda items: items.list_namespaces(),
    "clear": lambda items: items.clear(USER),
    "clear below": lambda items: items.clear(APP, below=True),
    "reindex": lambda items: items.reindex(USER),
}

EXPLICIT = {"delete", "delete several", "get and refresh", "get several and refresh", "check", "list in a batch"}
"""What in a cluster sends nothing to the slot of the index, so that a process that begins with it asks there first."""

ALONE = {"list by time", "list keys"}
"""What sends nothing there on one server, either."""


def keyspace(client: Any, prefix: str) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.scan_iter(f"{prefix}:*", count=1000) if b"-call:" not in key}


@pytest.mark.parametrize(("stored", "unit"), [(None, 1), (1, None), (1, 2), (0, 1), (2, 0)])
@pytest.mark.parametrize("name", FIRST)
def test_another_unit_is_refused(
    client: Any, prefix: str, cluster: bool, name: str, stored: int | None, unit: int | None
) -> None:
    items, _ = opened(client, prefix, cluster, unit=stored)
    prepare(items)
    before = keyspace(client, prefix)
    other, _ = opened(client, prefix, cluster, unit=unit)
    with pytest.raises(InvalidInput) as caught:
        FIRST[name](other)
    assert caught.value.field == "unit"
    assert f"unit is {unit}, " in str(caught.value)
    assert ("without a unit" if stored is None else f"with unit={stored}") in str(caught.value)
    assert keyspace(client, prefix) == before
    with pytest.raises(InvalidInput):
        FIRST[name](other)
    check(client, prefix, unit=stored)


@pytest.mark.parametrize("unit", [None, 1])
@pytest.mark.parametrize("name", FIRST)
def test_the_comparison_takes_no_round_trip(
    client: Any, prefix: str, cluster: bool, name: str, unit: int | None
) -> None:
    """A process that begins takes as many as one that goes on."""
    counts = []
    for number in range(2):
        items, watched = opened(client, f"{prefix}-{number}", cluster, unit=unit)
        prepare(items)
        if number == 0:
            assert items.get(USER, "state")
            items.backend._settings.leases._ends.clear()  # type: ignore[attr-defined]
            items.backend._settings.below._known.clear()  # type: ignore[attr-defined]
            items.backend._any_ends = True  # type: ignore[attr-defined]
        else:
            items, watched = opened(client, f"{prefix}-{number}", cluster, unit=unit)
            items.backend._any_ends = True  # type: ignore[attr-defined]
        watched.requests.clear()
        FIRST[name](items)
        counts.append(len(watched.requests))
        watched.requests.clear()
        assert items.get(USER, "state") or name
        assert len(watched.requests) == 1
        get = watched.requests[0]
        assert isinstance(get, Commands)
        # From now on nothing is compared any more, but what puts to a new namespace.
        again = items.get(USER, "state")
        assert again is None or isinstance(again, Item)
        assert watched.requests[1] == Commands(get.commands[:1])
    explicit = name in ALONE or (cluster and name in EXPLICIT)
    assert counts[1] == counts[0] + explicit


def test_processes_that_began_before(client: Any, prefix: str, cluster: bool) -> None:
    """Each puts to a new namespace only if nobody put with another unit meanwhile."""
    one, _ = opened(client, prefix, cluster, unit=1)
    two, _ = opened(client, prefix, cluster, unit=2)
    none, _ = opened(client, prefix, cluster, unit=None)
    for items in (one, two, none):
        assert items.get(USER, "k") is None
        assert items.list_namespaces() == []
    one.put(USER, "k", 1)
    for items in (two, none):
        with pytest.raises(InvalidInput):
            items.put(USER, "k", 2)
        with pytest.raises(InvalidInput):
            items.get(USER, "k")
    one.put(SESSION, "k", 1)
    check(client, prefix)


def test_an_empty_database_takes_another_unit(client: Any, prefix: str) -> None:
    one, _ = opened(client, prefix, cluster=False, unit=1)
    prepare(one)
    assert one.clear((), below=True) == 5
    two, _ = opened(client, prefix, cluster=False, unit=2)
    assert two.get(USER, "state") is None
    two.put(SESSION, "k", 1)
    with pytest.raises(InvalidInput):
        one.put(SESSION, "k", 2)
    check(client, prefix, unit=2)
    two.delete(SESSION, "k")
    none, _ = opened(client, prefix, cluster=False, unit=None)
    none.put(SESSION, "k", 1)
    with pytest.raises(InvalidInput):
        two.put(SESSION, "l", 2)
    assert [item.value for item in none.search(())] == [1]


def test_what_others_wrote_of_units(client: Any, prefix: str) -> None:
    items, _ = opened(client, prefix, cluster=False)
    prepare(items)
    others, marker = unit_keys(prefix, 1)
    client.set(marker, "many\r\nlabels")
    with pytest.raises(InvalidInput, match="with another one"):
        items.put(("new",), "k", 1)
    client.delete(marker)
    items.put(("new",), "k", 1)
    assert client.get(marker) == b"1"
    client.delete(marker)
    none, _ = opened(client, prefix, cluster=False, unit=None)
    with pytest.raises(InvalidInput, match="with another one"):
        none.put(USER, "k", 1)
    with pytest.raises(InvalidInput, match="with another one"):
        none.get(USER, "k")
    client.set(others, "text")
    with pytest.raises(CorruptRecord, match="item-namespace-index"):
        items.put(("newer",), "k", 1)


# -- the rest


def test_reindex(client: Any, prefix: str, cluster: bool) -> None:
    items, _ = opened(client, prefix, cluster)
    prepare(items)
    before = contents(items)
    keys = item_keys(prefix, SESSION, 1)
    client.delete(keys.index, keys.recency, keys.expiry, *namespace_index_keys(prefix, 1))
    assert list(items.list(SESSION)) == []
    for space, _ in before:
        items.reindex(space)
    assert contents(items) == before


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_search_with_the_module(valkey_server: ValkeyServer, prefix: str, unit: int) -> None:
    with SearchResponder(valkey_server.port) as responder, valkey.Valkey(port=responder.port) as client:
        items = ItemRepository(ValkeyItems(client_for(client), prefix=prefix, index=INDEX, unit=unit))
        items.setup()
        prepare(items)
        found = items.search(APP, query="aa")
        assert {(item.namespace, item.key) for item in found if item.score is not None} == {
            (USER, "state"),
            (APP, "old"),
            (APP, "state"),
        }
        none = ItemRepository(ValkeyItems(client_for(client), prefix=prefix, index=INDEX))
        with pytest.raises(InvalidInput, match="unit"):
            none.search(APP, query="aa")
