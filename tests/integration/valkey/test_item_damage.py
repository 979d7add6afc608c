"""Whatever happens to the stored bytes of items, a read says so, or it answers as before; nothing is half-written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

from statekeep import CorruptRecord, DeleteItem, Item, ItemRepository, ListItems, Payload, PutItem, Unavailable, connect
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.repositories.valkey.items.keys import clock_key, item_keys, namespace_index_keys
from statekeep.testing.servers import ValkeyServer

from .item_audit import audit_items
from .item_kinds import INDEX, Watched, texts
from .test_damage import GARBAGE, differences, errors

SPACE = ("a", "b")


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def items(client: Any, prefix: str) -> ItemRepository:
    # What is damaged behind the back of a process that keeps the vectors, it need not see.
    index = INDEX.model_copy(update={"vector_cache": 0})
    items = ItemRepository(ValkeyItems(client_for(client), prefix=prefix, index=index))
    items.put(SPACE, "1", texts(3), ttl=1000)
    items.put(SPACE, "2", texts(1))
    items.put(SPACE, "2", texts(6))
    items.put(("a",), "other", 1)
    items.append(("a", "log"), [texts(1), 2])
    assert not audit_items(client, prefix).problems
    return items


def everything(items: ItemRepository) -> dict[str, Any]:
    """All that can be read, part by part: what was read, or the error that was raised."""

    def attempt(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except CorruptRecord as error:
            return error

    return {
        "1": attempt(lambda: items.get(SPACE, "1")),
        "2": attempt(lambda: items.get(SPACE, "2")),
        "list": attempt(lambda: list(items.list(SPACE))),
        "search": attempt(items.search),
        "filter": attempt(lambda: items.search(("a",), filter={"texts": {"$ne": 1}}, offset=1)),
        "query": attempt(lambda: items.search((), query="aaa")),
        "namespaces": attempt(items.list_namespaces),
    }


def raised(operation: Callable[[], Any]) -> CorruptRecord | None:
    try:
        operation()
    except CorruptRecord as error:
        return error
    return None


State = dict[bytes, tuple[bytes, int]]


def saved(client: Any, prefix: str) -> State:
    return {key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter(f"{prefix}:*")}


def restore(client: Any, prefix: str, state: State) -> None:
    client.delete(b"nothing", *client.scan_iter(f"{prefix}:*"))
    for key, (dump, end) in state.items():
        client.restore(key, max(end, 0), dump, absttl=end > 0)


NOT_READ = {"namespace", "ttl", "vectors"}
"""Fields of records that reading an item does not need."""

FREE = {"created_at", "expires_at", "value", "version"}
"""Fields of which some damage cannot be told from a change that somebody made with redis-om."""


@pytest.mark.parametrize("kind", [*GARBAGE, "missing"])
def test_damaged_records(items: ItemRepository, client: Any, prefix: str, kind: str) -> None:
    before = everything(items)
    assert not errors(before)
    reported = set()
    for key in ("1", "2"):
        record = item_keys(prefix, SPACE).record(key)
        state = saved(client, prefix)
        for field, value in client.hgetall(record).items():
            name = field.decode()
            if kind == "missing":
                client.hdel(record, field)
            else:
                client.hset(record, field, GARBAGE[kind](value))
            after = everything(items)
            for error in errors(after):
                assert error.key == record, name
            reported |= {name} if errors(after) else set()
            if name in NOT_READ:
                assert after == before, name
            elif name == "updated_at":
                # Its vectors are not of this time, so a query does not rank it.
                assert errors(after) or after["1" if key == "1" else "2"] is not None
            elif name not in FREE:
                assert not differences(before, after), name
            # Whatever it was, a put makes it whole, and a deletion removes it.
            for heal in (lambda key=key: items.put(SPACE, key, 1), lambda key=key: items.delete(SPACE, key)):
                heal()
                assert not errors(everything(items)), name
            problems = audit_items(client, prefix, cut=True).problems
            assert not problems, (name, problems)
            restore(client, prefix, state)
    if kind in ("no text", "odd characters", "nested"):
        assert reported >= {"item_key", "value", "created_at", "updated_at", "version"}


@pytest.mark.parametrize("value", ["x", "-1", "0", "inf", "nan", "1e300", "1" * 400, ""])
def test_bad_numbers(items: ItemRepository, client: Any, prefix: str, value: str) -> None:
    """Nothing that somebody stored makes later puts wrong."""
    record = item_keys(prefix, SPACE).record("1")
    before = items.put(SPACE, "1", texts(2))
    for field in ("version", "updated_at", "created_at"):
        client.hset(record, field, value)
        item = items.put(SPACE, "1", texts(2))
        assert item.updated_at > before.updated_at
        assert items.get(SPACE, "1") == item
        before = items.put(SPACE, "other", 1)
    item = items.put(SPACE, "1", texts(2), ttl=1000)
    client.hset(record, "ttl", value)
    for read in (
        lambda: items.get(SPACE, "1", refresh=True),
        lambda: items.search(filter={"texts": {"$ne": 1}}, refresh=True),
    ):
        if value:
            with pytest.raises(CorruptRecord, match="ttl") as caught:
                read()
            assert caught.value.key == record
    assert items.get(SPACE, "1") == item
    assert not audit_items(client, prefix).problems
    # Indexes with times that are none.
    keys = item_keys(prefix, SPACE)
    for index in (keys.recency, keys.expiry, item_keys(prefix, ("a",)).recency):
        client.zadd(index, {"far": 1e300, "near": -5})
    client.set(clock_key(prefix), value)
    for field in ("last", "most", "ends", "lease"):
        client.hset(keys.state, field, value)
    later = items.put(SPACE, "later", 1)
    assert later.updated_at > item.updated_at
    assert items.search(limit=1)[0] == items.search(SPACE, limit=1)[0]
    assert items.search(limit=1)[0].key == "later"


@pytest.mark.parametrize("number", ["x", "", "inf", "nan", "-5", "1.5", "1e17", "9" * 400])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_sequence_that_is_no_number_begins_anew(
    items: ItemRepository, client: Any, prefix: str, number: str, is_known: bool
) -> None:
    keys = item_keys(prefix, ("a", "log"))
    client.set(keys.sequence, number)
    appending = items if is_known else ItemRepository(ValkeyItems(client_for(client), prefix=prefix, index=INDEX))
    assert appending.append(("a", "log"), [3, 4]) == [item.key for item in items.list(("a", "log"))][2:]
    assert [item.value for item in items.list(("a", "log"))] == [texts(1), 2, 3, 4]
    assert not audit_items(client, prefix).problems


@pytest.mark.parametrize(
    ("field", "text"),
    [("value", "NaN"), ("value", '{"a":[-Infinity]}'), ("version", "1_0"), ("version", " 5"), ("version", "+5")],
)
def test_what_only_python_reads_is_damage(
    items: ItemRepository, client: Any, prefix: str, field: str, text: str
) -> None:
    record = item_keys(prefix, SPACE).record("1")
    client.hset(record, field, text)
    for read in (lambda: items.get(SPACE, "1"), lambda: list(items.list(SPACE)), items.search):
        with pytest.raises(CorruptRecord) as caught:
            read()
        assert caught.value.key == record


TYPES = ["string", "hash", "list", "set", "sorted set"]


@pytest.mark.parametrize("kind", TYPES)
def test_keys_of_another_type(items: ItemRepository, client: Any, prefix: str, kind: str) -> None:
    before = everything(items)
    state = saved(client, prefix)
    keys = item_keys(prefix, SPACE)
    above = item_keys(prefix, ("a",))
    places = [
        keys.record("1"), keys.index, keys.recency, keys.expiry, keys.state, keys.vectors("default"),
        keys.vector("default", "2:5"), above.recency, above.expiry, above.state,
        item_keys(prefix, ("a", "log")).sequence, clock_key(prefix), *namespace_index_keys(prefix),
    ]  # fmt: skip
    operations: list[Callable[[], Any]] = [
        lambda: items.put(SPACE, "1", texts(2)),
        lambda: items.put(SPACE, "2", texts(1)),
        lambda: items.put(SPACE, "new", 1, expected=None),
        lambda: items.delete(SPACE, "1"),
        lambda: items.append(("a", "log"), [1]),
        lambda: items.pop(("a", "log")),
        lambda: items.get(SPACE, "1", refresh=True),
        lambda: items.batch(
            [PutItem(namespace=SPACE, key="x", value=1), DeleteItem(namespace=SPACE, key="2"),
             PutItem(namespace=("a", "log"), key="x", value=1)]
        ),
        lambda: items.clear(SPACE),
        lambda: items.reindex(SPACE),
    ]  # fmt: skip
    for place in places:
        right = client.type(place)
        client.delete(place)
        match kind:
            case "string":
                client.set(place, b"garbage")
            case "hash":
                client.hset(place, "garbage", "1")
            case "list":
                client.rpush(place, "garbage")
            case "set":
                client.sadd(place, "garbage")
            case "sorted set":
                client.zadd(place, {":garbage": 1})
        if client.type(place) == right:
            client.delete(b"nothing", *client.scan_iter(f"{prefix}:*"))
        else:
            after = everything(items)
            assert {error.key for error in errors(after)} <= {place}
            assert not differences(before, after), place
            for number, operation in enumerate(operations):
                dumps = saved(client, prefix)
                error = raised(operation)
                if error is not None:
                    assert error.key == place, (place, number)
                    changed = {key for key, (dump, _) in saved(client, prefix).items() if dumps[key][0] != dump}
                    if number < 8:  # clear and reindex go in steps
                        assert not changed, (place, number)
        restore(client, prefix, state)
    assert everything(items) == before


def test_members_of_indexes_that_are_nobodys(items: ItemRepository, client: Any, prefix: str) -> None:
    before = everything(items)
    keys = item_keys(prefix, SPACE)
    names, times, _ = namespace_index_keys(prefix)
    for member in ("", ":", "garbage", "a.b:", "a..b:x", ":::", "x:y:z", "%41:b", "é:*"):
        client.zadd(keys.recency, {member: 1.7e15})
        client.zadd(keys.expiry, {member: 1})
        client.zadd(keys.index, {f"no such {member}": 0})
        client.zadd(keys.vectors("default"), {f"{member}:0": 0})
        client.zadd(names, {f"no\0such {member}": 0})
        client.zadd(times, {f"no\0such {member}": 1})
        assert everything(items) == before, member
        assert everything(items) == before, member
        assert client.zscore(names, f"no\0such {member}") is None
        assert client.zscore(keys.index, f"no such {member}") is None
    for index in (keys.recency, keys.index, names):
        raw = b"\xff"
        client.zadd(index, {raw: 9e15})
        if index == names:
            client.zadd(times, {raw: 9e15})
        after = everything(items)
        assert {error.key for error in errors(after)} == {index}
        client.zrem(index, raw)
        client.zrem(times, raw)
        if index == keys.index:
            client.zadd(index, {raw: 0})
            for change in (lambda: items.pop(SPACE), lambda: items.clear(SPACE)):
                error = raised(change)
                assert error is not None
                assert error.key == index
            client.zrem(index, raw)
    client.zadd(keys.recency, {"x": "inf"})
    assert {error.key for error in errors(everything(items))} == {keys.recency}
    client.zrem(keys.recency, "x")
    for raw in (b"\xff:0", b"%ff:0", b"x", b"x:y", b"x:" + b"9" * 5000):
        client.zadd(keys.vectors("default"), {raw: 0})
        assert {error.key for error in errors(everything(items))} == {keys.vectors("default")}, raw
        client.zrem(keys.vectors("default"), raw)
    assert everything(items) == before


def test_vectors(items: ItemRepository, client: Any, prefix: str) -> None:
    keys = item_keys(prefix, SPACE)
    document = keys.vector("default", "2:0")
    before = everything(items)
    vector = client.hget(document, "vector")
    for bad in (b"", vector[:-1], vector + b"\0\0\0\0", b"\0\0\xc0\x7f" * 3, b"\0\0\x80\x7f" * 3):
        client.hset(document, "vector", bad)
        with pytest.raises(CorruptRecord, match="vector") as caught:
            items.search((), query="a")
        assert caught.value.key == document
    client.hset(document, "vector", vector)
    assert everything(items) == before
    # Of another version of the item: it does not count, and is removed.
    client.hset(document, "updated_at", "1.0")
    assert {item.key for item in items.search((), query="aaa")} >= {"1", "2"}
    assert not client.exists(document)
    # Deleted, all of them: the item is found behind those with vectors.
    client.delete(*(keys.vector("default", f"2:{place}") for place in range(6)))
    found = {item.key: item.score for item in items.search(SPACE, query="aaa")}
    assert found["2"] is None
    assert found["1"] is not None
    items.put(SPACE, "2", texts(2))
    assert not audit_items(client, prefix).problems


def test_records_that_others_deleted(items: ItemRepository, client: Any, prefix: str) -> None:
    keys = item_keys(prefix, SPACE)
    client.delete(keys.record("1"))
    assert items.get(SPACE, "1") is None
    assert [item.key for item in items.search(SPACE)] == ["2"]
    assert [item.key for item in items.search(SPACE, query="aaa")] == ["2"]
    assert [item.key for item in items.list(SPACE)] == ["2"]
    assert items.delete(SPACE, "1") is False
    client.delete(keys.record("2"))
    assert items.pop(SPACE) is None
    assert items.reindex(SPACE) == 0
    assert SPACE not in items.list_namespaces()
    found = audit_items(client, prefix)
    assert not found.problems, found.problems
    assert items.put(SPACE, "1", 1).version == 1


def test_many_of_one_time(client: Any, prefix: str) -> None:
    """redis-om may give many records the same time."""
    watched = Watched(client)
    items = ItemRepository(ValkeyItems(watched, prefix=prefix))
    keys = item_keys(prefix, ("n",))
    for first in range(0, 1200, 400):
        items.batch(
            [PutItem(namespace=("n",), key=f"{number:04}", value=number) for number in range(first, first + 400)]
        )
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1200):
            pipeline.hset(
                keys.record(f"{number:04}"), mapping={"updated_at": "1700000000.0", "created_at": "1700000000.0"}
            )
        pipeline.execute()
    assert items.reindex(("n",)) == 1200
    assert items.search(filter={"a": 1}) == []
    assert sorted(item.key for item in items.search((), limit=1300)) == [f"{number:04}" for number in range(1200)]
    pages = [item.key for offset in range(0, 1200, 300) for item in items.search((), limit=300, offset=offset)]
    assert len(set(pages)) == 1200


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_a_dead_server_raises(driver: Any, prefix: str) -> None:
    with ValkeyServer() as server:
        keep = connect(server.url, client=driver, prefix=prefix, index=INDEX, deadline=0.3)
        keep.items.put(SPACE, "k", texts(1))
        server.kill()
        attempts: list[Callable[[], Any]] = [
            lambda: keep.items.get(SPACE, "k"),
            lambda: keep.items.put(SPACE, "k", 1),
            lambda: keep.items.delete(SPACE, "k"),
            lambda: list(keep.items.list(SPACE)),
            keep.items.search,
            lambda: keep.items.search(query="a"),
            keep.items.list_namespaces,
            lambda: keep.items.append(SPACE, [1]),
            lambda: keep.items.pop(SPACE),
            lambda: keep.items.clear(SPACE),
            lambda: keep.items.reindex(SPACE),
        ]
        for attempt in attempts:
            with pytest.raises(Unavailable):
                attempt()
        keep.close()


def test_items_of_others_are_reported(items: ItemRepository, client: Any, prefix: str) -> None:
    keys = item_keys(prefix, SPACE)
    client.copy(keys.record("1"), keys.record("3"))
    with pytest.raises(CorruptRecord, match="another item") as caught:
        items.get(SPACE, "3")
    assert caught.value.key == keys.record("3")
    assert isinstance(items.put(SPACE, "3", 1), Item)
    assert items.get(SPACE, "3")
    with valkey.Valkey(port=client.connection_pool.connection_kwargs["port"]):
        assert not audit_items(client, prefix).problems


@pytest.mark.parametrize(
    "damage", [b"", b"@", b"@3:ra", b"@4:raw", b"@x:raw1", b"@0:1", b"raw", b"@3:\xff\xff\xff1", b"\xff"]
)
def test_damaged_payloads(client: Any, items: ItemRepository, prefix: str, damage: bytes) -> None:
    stored = items.put(SPACE, "payload", Payload(encoding="raw", data=b"\xff1"))
    record = item_keys(prefix, SPACE).record("payload")
    assert client.hget(record, "value") == b"@3:raw\xff1"
    client.hset(record, "value", damage)
    for read in (
        lambda: items.get(SPACE, "payload"),
        lambda: list(items.list(SPACE, prefix="p")),
        lambda: items.batch([ListItems(namespace=SPACE)]),
        lambda: items.of(Payload, SPACE).get("payload"),
    ):
        with pytest.raises(CorruptRecord) as caught:
            read()
        assert "payload" in str(caught.value)
    client.hset(record, "value", b"@3:raw\xff1")
    assert items.get(SPACE, "payload") == stored
