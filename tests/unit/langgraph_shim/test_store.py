"""LangGraph's stores over items: batches, namespaces, times, TTLs, search, and the errors on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.base import Item as LangGraphItem
from langgraph.store.base import SearchItem as LangGraphSearchItem

import statekeep
from statekeep.domain import EmbeddingFailed, InvalidInput, VectorIndex, WrongEventLoop
from statekeep.langgraph_shim.store import operations as store_operations
from statekeep.langgraph_shim.store.base import AsyncRepositoryStore, RepositoryStore
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import run
from tests.awaited_store import AwaitedStore

N = ("notes", "ada")


class Clock:
    """A clock that is moved by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Letters:
    """Makes vectors of how often "a" and "b" occur, and remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return [[float(text.count("a")), float(text.count("b"))] for text in texts]


class Recorder(ItemRepository):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(MemoryItems())
        self.log: list[tuple[str, int]] = []

    def batch(self, operations: Sequence[Any]) -> list[Any]:
        self.log.append(("batch", len(operations)))
        return super().batch(operations)

    def search(self, *args: Any, **kwargs: Any) -> Any:
        self.log.append(("search", 1))
        return super().search(*args, **kwargs)

    def list_namespaces(self, **kwargs: Any) -> Any:
        self.log.append(("list_namespaces", 1))
        return super().list_namespaces(**kwargs)


class Both:
    """Makes stores over memory, called by their sync or async methods."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.made: list[AwaitedStore] = []

    def __call__(self, *, ttl: Any = None, index: Any = None, repository_ttl: Any = None, **options: Any) -> BaseStore:
        backend = MemoryItems(index=VectorIndex.of(index), ttl=repository_ttl, **options)
        if self.kind == "sync":
            return RepositoryStore(ItemRepository(backend), ttl=ttl)
        self.made.append(AwaitedStore(AsyncRepositoryStore(AsyncItemRepository(backend), ttl=ttl)))
        return self.made[-1]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Both]:
    both = Both(request.param)
    yield both
    for store in both.made:
        store.end()


@pytest.fixture
def store(make: Both) -> BaseStore:
    return make()


def value(store: BaseStore, key: str = "k", namespace: tuple[str, ...] = N) -> Any:
    found = store.get(namespace, key)
    return None if found is None else found.value


WRONG_TTLS: Any = (0, -1, math.nan, math.inf, 1e308, "60", True, NOT_PROVIDED)
BAD: Any = [
    (GetOp(("a.b",), "k"), InvalidNamespaceError, None),
    (GetOp(("a", ""), "k"), InvalidNamespaceError, None),
    (PutOp(("a\0",), "k", {}), InvalidNamespaceError, None),
    (PutOp((1,), "k", None), InvalidNamespaceError, None),  # type: ignore[arg-type]
    (SearchOp(("a.b",)), InvalidNamespaceError, None),
    (ListNamespacesOp((MatchCondition("suffix", ("a.b",)),)), InvalidNamespaceError, None),
    (GetOp("notes", "k"), InvalidInput, "namespace"),  # type: ignore[arg-type]
    (PutOp(None, "k", {}), InvalidInput, "namespace"),  # type: ignore[arg-type]
    (PutOp(("\ud800",), "k", {}), InvalidInput, "namespace"),
    (SearchOp("notes"), InvalidInput, "namespace_prefix"),  # type: ignore[arg-type]
    (ListNamespacesOp((MatchCondition("suffix", "public"),)), InvalidInput, "path"),  # type: ignore[arg-type]
    (ListNamespacesOp((MatchCondition("infix", ("a",)),)), InvalidInput, "where"),  # type: ignore[arg-type]
    (PutOp(N, "\ud800", {}), InvalidInput, "key"),
    (PutOp(N, "k", [1]), InvalidInput, "value"),  # type: ignore[arg-type]
    (PutOp(N, "k", "text"), InvalidInput, "value"),  # type: ignore[arg-type]
    (PutOp(N, "k", {"n": math.nan}), InvalidInput, "value"),
    (PutOp(N, "k", {"a": [b"bytes"]}), InvalidInput, "value"),
    (PutOp(N, "k", {"a": [dt.time(1, tzinfo=dt.UTC)]}), InvalidInput, "value"),
    (PutOp(N, "k", {1: 2}), InvalidInput, "value"),  # type: ignore[dict-item]
    *((PutOp(N, "k", {}, ttl=ttl), InvalidInput, "ttl") for ttl in WRONG_TTLS),
    (PutOp(N, "k", {}, index=["a["]), InvalidInput, "index"),
    (PutOp(N, "k", {}, index="text"), InvalidInput, "index"),  # type: ignore[arg-type]
    (PutOp(N, "k", {}, index=True), InvalidInput, "index"),  # type: ignore[arg-type]
    (GetOp(N, "k", refresh_ttl="no"), InvalidInput, "refresh_ttl"),  # type: ignore[arg-type]
    (SearchOp(N, limit=-1), InvalidInput, "limit"),
    (SearchOp(N, limit=None), InvalidInput, "limit"),  # type: ignore[arg-type]
    (SearchOp(N, offset=1.0), InvalidInput, "offset"),  # type: ignore[arg-type]
    (SearchOp(N, query=3), InvalidInput, "query"),  # type: ignore[arg-type]
    (SearchOp(N, filter=["a"]), InvalidInput, "filter"),  # type: ignore[arg-type]
    (SearchOp(N, filter={"a": {"$regex": "b"}}), ValueError, "filter"),
    (SearchOp(N, filter={"$or": [{"a": 1}]}), ValueError, "filter"),
    (ListNamespacesOp(limit=-1), InvalidInput, "limit"),
    (ListNamespacesOp(max_depth=0), InvalidInput, "max_depth"),
    (ListNamespacesOp(offset="1"), InvalidInput, "offset"),  # type: ignore[arg-type]
    ("get", ValueError, "ops"),
    (None, InvalidInput, "ops"),
]


class TestBatch:
    def test_reads_see_what_was_there_before_the_writes(self, store: BaseStore) -> None:
        store.put(N, "k", {"n": 1})
        found = store.batch(
            [
                PutOp(N, "k", {"n": 2}),
                GetOp(N, "k"),
                PutOp(N, "new", {"n": 3}),
                SearchOp(N),
                GetOp(N, "new"),
                PutOp(("other",), "k", {}),
                ListNamespacesOp(),
                PutOp(N, "k", {"n": 4}),
            ]
        )
        assert found[0] is found[2] is found[5] is found[7] is None
        assert isinstance(found[1], LangGraphItem)
        assert found[1].value == {"n": 1}
        assert [item.value for item in found[3]] == [{"n": 1}]  # type: ignore[union-attr]
        assert found[4] is None
        assert found[6] == [N]
        assert value(store) == {"n": 4}
        assert value(store, "new") == {"n": 3}

    @pytest.mark.parametrize(
        ("last", "expected"), [({"n": 2}, {"n": 2}), (None, None)], ids=["put after delete", "delete after put"]
    )
    def test_the_last_write_of_an_item_wins(self, store: BaseStore, last: Any, expected: Any) -> None:
        first: Any = {"n": 1} if last is None else None
        assert store.batch([PutOp(N, "k", first), PutOp(N, "k", last), PutOp(N, "j", {})]) == [None] * 3
        assert value(store) == expected

    def test_one_request_for_all_reads_and_one_for_all_writes(self) -> None:
        recorder = Recorder()
        gets = [GetOp(("n", str(number)), "k") for number in range(20)]
        puts = [PutOp(("n", str(number)), "k", {"n": number}) for number in range(20)]
        mixed: list[Any] = [op for pair in zip(gets, puts, strict=True) for op in pair]
        everything = [*mixed, SearchOp(("n",), limit=5), ListNamespacesOp(), PutOp(("n", "0"), "k", None)]
        found = run(store_operations.batch(everything, None), lambda request: request(recorder))
        assert found == [None] * 40 + [[], [], None]
        assert recorder.log == [("batch", 20), ("search", 1), ("list_namespaces", 1), ("batch", 20)]
        recorder.log.clear()
        items = run(store_operations.batch(gets, None), lambda request: request(recorder))
        assert [item and item.value for item in items] == [None, *({"n": number} for number in range(1, 20))]  # type: ignore[union-attr]
        assert recorder.log == [("batch", 20)]

    def test_one_call_makes_all_vectors(self, make: Both) -> None:
        embed = Letters()
        store = make(index={"dims": 2, "embed": embed, "fields": ["text", "title"]})
        puts = [PutOp(N, str(number), {"text": f"a{number}", "title": "b"}) for number in range(5)]
        store.batch([*puts, PutOp(N, "0", {"text": "last"}), PutOp(N, "x", {"text": "none"}, index=False)])
        [texts] = embed.calls
        assert sorted(texts) == ["a1", "a2", "a3", "a4", "b", "last"]

    @pytest.mark.parametrize("ops", [[], (), iter([])])
    def test_nothing(self, store: BaseStore, ops: Any) -> None:
        assert store.batch(ops) == []

    def test_any_iterable(self, store: BaseStore) -> None:
        assert store.batch(PutOp(N, key, {}) for key in "ab") == [None, None]
        assert {item.key for item in store.search(N)} == {"a", "b"}

    @pytest.mark.parametrize(("op", "error", "field"), BAD)
    def test_nothing_is_done_if_one_is_wrong(self, op: Any, error: Any, field: Any) -> None:
        recorder = Recorder()
        good: Any = [GetOp(N, "k"), PutOp(N, "before", {}), SearchOp(N)]
        with pytest.raises(error) as raised:
            run(store_operations.batch([*good, op, PutOp(N, "after", {})], None), lambda request: request(recorder))
        assert getattr(raised.value, "field", None) == field
        assert recorder.log == []

    def test_a_single_operation_is_no_batch(self, store: BaseStore) -> None:
        with pytest.raises(InvalidInput, match="ops must be GetOp"):
            store.batch(GetOp(N, "k"))  # type: ignore[arg-type]

    def test_an_embedder_that_fails_writes_nothing(self, make: Both) -> None:
        def embed(texts: list[str]) -> list[list[float]]:
            raise OSError("no model")

        store = make(index={"dims": 2, "embed": embed})
        with pytest.raises(EmbeddingFailed, match="no model"):
            store.batch([PutOp(N, "plain", {}, index=False), PutOp(N, "k", {"text": "a"})])
        assert store.search(()) == []


class TestItems:
    def test_what_is_put_comes_back(self, store: BaseStore) -> None:
        before = dt.datetime.now(dt.UTC)
        store.put(N, "k", MappingProxyType({"tuple": (1, 2.5, None), "ü": {"": True}}))
        item = store.get(N, "k")
        assert type(item) is LangGraphItem
        assert (item.namespace, item.key, item.value) == (N, "k", {"tuple": [1, 2.5, None], "ü": {"": True}})
        assert before - dt.timedelta(seconds=1) < item.created_at == item.updated_at
        assert item.updated_at.utcoffset() == dt.timedelta(0)
        [found] = store.search(())
        assert type(found) is LangGraphSearchItem
        assert found == item
        assert found.score is None
        assert found.dict()["created_at"] == item.created_at.isoformat()

    def test_an_update_keeps_created_at_and_moves_updated_at(self, store: BaseStore) -> None:
        times = []
        for number in range(5):
            store.put(N, "k", {"n": number})
            item = store.get(N, "k")
            assert item is not None
            times.append((item.created_at, item.updated_at))
        assert len({created for created, _ in times}) == 1
        assert len({updated for _, updated in times}) == 5
        assert times == sorted(times)

    @pytest.mark.parametrize(("zone", "hours"), [("America/Bogota", -5), ("Asia/Tokyo", 9), ("UTC", 0)])
    def test_times_are_in_the_zone_of_the_index(self, make: Both, zone: str, hours: int) -> None:
        store = make(index={"dims": 2, "embed": Letters(), "timezone": zone}, clock=Clock())
        store.put(N, "k", {})
        items = [store.get(N, "k"), *store.search(N)]
        assert len(items) == 2
        for item in items:
            assert item is not None
            assert item.created_at.utcoffset() == item.updated_at.utcoffset() == dt.timedelta(hours=hours)
            assert item.created_at == dt.datetime.fromtimestamp(1_800_000_000, dt.UTC)

    def test_values_are_copies(self, store: BaseStore) -> None:
        given = {"list": [1]}
        store.put(N, "k", given)
        given["list"].append(2)
        item = store.get(N, "k")
        assert item is not None
        item.value["list"].append(3)
        assert value(store) == {"list": [1]}

    def test_keys_are_made_text(self, store: BaseStore) -> None:
        store.put(N, 7, {"n": 7})  # type: ignore[arg-type]
        assert value(store, "7") == {"n": 7}
        assert value(store, 7) == {"n": 7}  # type: ignore[arg-type]
        [found] = store.batch([GetOp(N, 7)])  # type: ignore[arg-type]
        assert found is not None
        store.batch([PutOp(N, 7, {"n": 8})])  # type: ignore[arg-type]
        assert value(store, "7") == {"n": 8}
        store.delete(N, 7)  # type: ignore[arg-type]
        assert value(store, "7") is None

    @pytest.mark.parametrize("key", ["", "a/b", "a.b", "*", "{x}", "\0", "😀", "k" * 1000])
    def test_any_key(self, store: BaseStore, key: str) -> None:
        store.put(N, key, {"key": key})
        store.put(N, f"{key}!", {})
        assert value(store, key) == {"key": key}
        store.delete(N, key)
        assert value(store, key) is None
        assert value(store, f"{key}!") == {}

    @pytest.mark.parametrize("missing", [N, ("nowhere",), ()])
    def test_what_is_missing_is_none(self, store: BaseStore, missing: tuple[str, ...]) -> None:
        assert store.get(missing, "k") is None
        store.delete(missing, "k")
        assert store.search(missing) == []

    @pytest.mark.parametrize("namespace", [(), ("langgraph",), ("langgraph", "x"), ("a.b",), ("a", ""), ("a\0",)])
    def test_what_put_refuses(self, store: BaseStore, namespace: tuple[str, ...]) -> None:
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {})
        assert store.search(()) == []

    @pytest.mark.parametrize("namespace", [(), ("langgraph", "x"), ["a", "b"]])
    def test_what_a_batch_accepts(self, store: BaseStore, namespace: Any) -> None:
        store.batch([PutOp(namespace, "k", {"n": 1})])
        [item] = store.batch([GetOp(namespace, "k")])
        assert isinstance(item, LangGraphItem)
        assert item.namespace == tuple(namespace)

    def test_text_is_no_namespace(self, store: BaseStore) -> None:
        with pytest.raises(InvalidInput) as raised:
            store.put("notes", "k", {})  # type: ignore[arg-type]
        assert raised.value.field == "namespace"

    def test_what_other_users_of_the_repository_stored(self) -> None:
        keep = statekeep.connect("memory:").items
        store = RepositoryStore(keep)
        keep.put(("list",), "k", [1, 2])
        keep.put(("a.b",), "k", {"n": 1})
        assert value(store, namespace=("list",)) == [1, 2]
        assert {item.namespace for item in store.search(())} == {("list",), ("a.b",)}
        assert store.list_namespaces() == [("a.b",), ("list",)]
        with pytest.raises(InvalidNamespaceError):
            store.get(("a.b",), "k")


class TestLifetimes:
    def alive(self, store: BaseStore, key: str = "k") -> bool:
        return store.get(N, key, refresh_ttl=False) is not None

    @pytest.mark.parametrize("minutes", [1, 0.005, 1 / 60, 90.5])
    def test_ttls_are_minutes(self, make: Both, minutes: float) -> None:
        clock = Clock()
        store = make(clock=clock)
        store.put(N, "k", {}, ttl=minutes)
        clock.now += minutes * 60 - 0.01
        assert self.alive(store)
        clock.now += 0.02
        assert not self.alive(store)
        assert store.search(()) == []
        assert store.list_namespaces() == []

    def test_the_default(self, make: Both) -> None:
        clock = Clock()
        store = make(clock=clock, ttl={"default_ttl": 2.0, "refresh_on_read": False})
        store.put(N, "default", {})
        store.put(N, "own", {}, ttl=3)
        store.put(N, "forever", {}, ttl=None)
        store.batch([PutOp(N, "raw", {})])
        for minute, left in ((1.9, {"default", "own"}), (2.1, {"own"}), (3.1, set())):
            clock.now = Clock().now + minute * 60
            assert {item.key for item in store.search(N)} == {*left, "forever", "raw"}

    @pytest.mark.parametrize("ttl", [None, {}, {"refresh_on_read": False}])
    def test_the_default_of_the_repository_holds_if_the_store_has_none(self, make: Both, ttl: Any) -> None:
        clock = Clock()
        options: Any = {"clock": clock, "repository_ttl": 30.0}
        store, timed = make(clock=clock, ttl=ttl), make(ttl=ttl, **options)
        for each in (store, timed):
            each.put(N, "k", {})
            each.put(N, "forever", {}, ttl=None)
        clock.now += 31
        assert self.alive(store)
        assert not self.alive(timed)
        assert self.alive(timed, "forever")

    def test_a_default_of_none_is_for_ever(self, make: Both) -> None:
        clock = Clock()
        store = make(clock=clock, repository_ttl=30.0, ttl={"default_ttl": None})
        store.put(N, "k", {})
        clock.now += 31
        assert self.alive(store)

    def test_a_put_starts_it_anew(self, make: Both) -> None:
        clock = Clock()
        store = make(clock=clock)
        store.put(N, "longer", {}, ttl=1)
        store.put(N, "forever", {}, ttl=1)
        clock.now += 50
        store.put(N, "longer", {}, ttl=1)
        store.put(N, "forever", {})
        clock.now += 50
        assert self.alive(store, "longer")
        clock.now += 1e6
        assert not self.alive(store, "longer")
        assert self.alive(store, "forever")

    @pytest.mark.parametrize("how", ["get", "search", "batch"])
    @pytest.mark.parametrize("config", [None, {"default_ttl": 9.0}, {"refresh_on_read": True}])
    def test_reading_starts_it_anew_with_the_items_own(self, make: Both, how: str, config: Any) -> None:
        clock = Clock()
        store = make(clock=clock, ttl=config)
        store.put(N, "k", {}, ttl=1)
        for _ in range(3):
            clock.now += 50
            if how == "get":
                assert store.get(N, "k") is not None
            elif how == "search":
                assert store.search(N) != []
            else:
                assert store.batch([GetOp(N, "k")]) != [None]
        clock.now += 61
        assert not self.alive(store)

    @pytest.mark.parametrize("how", ["get", "search", "config", "listing"])
    def test_reading_does_not_if_not_wanted(self, make: Both, how: str) -> None:
        clock = Clock()
        config: Any = {"refresh_on_read": False} if how == "config" else None
        store = make(clock=clock, ttl=config)
        store.put(N, "k", {}, ttl=1)
        clock.now += 50
        if how == "get":
            assert store.get(N, "k", refresh_ttl=False) is not None
        elif how == "search":
            assert store.search(N, refresh_ttl=False) != []
        elif how == "config":
            assert store.get(N, "k") is not None
            assert store.search(N) != []
        else:
            assert store.list_namespaces() == [N]
        clock.now += 11
        assert not self.alive(store)

    def test_the_argument_beats_the_config(self, make: Both) -> None:
        clock = Clock()
        store = make(clock=clock, ttl={"refresh_on_read": False})
        store.put(N, "k", {}, ttl=1)
        clock.now += 50
        assert store.get(N, "k", refresh_ttl=True) is not None
        clock.now += 50
        assert self.alive(store)

    @pytest.mark.parametrize(
        ("config", "field"),
        [
            (60.0, "ttl"),
            ([("default_ttl", 1)], "ttl"),
            ({"default": 60.0}, "ttl"),
            ({"ttl_seconds": 60.0}, "ttl"),
            ({"default_ttl": "60"}, "default_ttl"),
            ({"default_ttl": 0}, "default_ttl"),
            ({"default_ttl": math.inf}, "default_ttl"),
            ({"default_ttl": True}, "default_ttl"),
            ({"refresh_on_read": "yes"}, "refresh_on_read"),
            ({"refresh_on_read": None}, "refresh_on_read"),
            ({"omit_expired": 1}, "omit_expired"),
            ({"sweep_interval_minutes": -1}, "sweep_interval_minutes"),
        ],
    )
    def test_a_wrong_config(self, make: Both, config: Any, field: str) -> None:
        with pytest.raises(InvalidInput) as raised:
            make(ttl=config)
        assert raised.value.field == field

    def test_a_whole_config(self, make: Both) -> None:
        config: Any = {
            "default_ttl": 60,
            "refresh_on_read": True,
            "omit_expired": False,
            "sweep_interval_minutes": 5,
        }
        store = RepositoryStore(statekeep.connect("memory:").items, ttl=config)
        assert store.ttl_config == config
        assert store.supports_ttl
        config["default_ttl"] = -1
        store.put(N, "k", {})


class TestSearch:
    def fill(self, store: BaseStore, **values: dict[str, Any]) -> None:
        for key, each in values.items():
            store.put(N, key, each)

    def keys(self, store: BaseStore, *args: Any, **kwargs: Any) -> list[str]:
        return [item.key for item in store.search(*args, **kwargs)]

    def test_a_prefix_is_of_labels(self, store: BaseStore) -> None:
        for namespace in (("user",), ("users",), ("user", "a"), ("a", "user")):
            store.put(namespace, "k", {})
        assert {item.namespace for item in store.search(("user",))} == {("user",), ("user", "a")}
        assert len(store.search(())) == 4

    def test_newest_first_limit_and_offset(self, store: BaseStore) -> None:
        self.fill(store, a={}, b={}, c={})
        store.put(N, "a", {"again": True})
        assert self.keys(store, N) == ["a", "c", "b"]
        assert self.keys(store, N, limit=2) == ["a", "c"]
        assert self.keys(store, N, limit=2, offset=2) == ["b"]
        assert self.keys(store, N, limit=0) == []
        assert self.keys(store, N, offset=3) == []

    @pytest.mark.parametrize(
        ("filter", "keys"),
        [
            (None, "abc"),
            ({}, "abc"),
            ({"n": 1}, "a"),
            ({"n": {"$eq": 1.0}}, "a"),
            ({"n": {"$ne": 1}}, "bc"),
            ({"n": {"$gt": 1}}, "b"),
            ({"n": {"$gte": 1, "$lt": 2}}, "a"),
            ({"n": {"$lte": 2}}, "ab"),
            ({"n": None}, "c"),
            ({"n": {"$gt": "0"}}, ""),
            ({"deep": {"x": {"y": True}}}, "a"),
            ({"deep": {"x": {"y": 1}}}, ""),
            ({"deep": {"x": {"z": {"$gte": 9}}}}, "b"),
            ({"tags": ["x", "y"]}, "c"),
            ({"tags": ["x"]}, ""),
            ({"n": 2, "deep": {"x": {"z": 10}}}, "b"),
            ({"n": 2, "tags": None}, "b"),
        ],
    )
    def test_filters(self, store: BaseStore, filter: Any, keys: str) -> None:
        self.fill(
            store,
            a={"n": 1, "deep": {"x": {"y": True, "more": 0}}},
            b={"n": 2, "deep": {"x": {"z": 10}}},
            c={"tags": ["x", "y"]},
        )
        assert sorted(self.keys(store, N, filter=filter)) == list(keys)

    def test_a_filter_comes_before_the_limit(self, store: BaseStore) -> None:
        for number in range(20):
            store.put(N, str(number), {"even": number % 2 == 0})
        assert self.keys(store, N, filter={"even": True}, limit=3, offset=2) == ["14", "12", "10"]

    def test_a_query_without_an_index_is_ignored(self, store: BaseStore) -> None:
        self.fill(store, a={"text": "a"}, b={"text": "b"})
        assert self.keys(store, N, query="a") == ["b", "a"]
        assert [item.score for item in store.search(N, query="a")] == [None, None]

    def test_a_query(self, make: Both) -> None:
        embed = Letters()
        store = make(index={"dims": 2, "embed": embed, "fields": ["text", "parts[*].text"]})
        self.fill(
            store,
            a={"text": "aaa"},
            b={"text": "b", "parts": [{"text": "bbbb"}, {"text": "aab"}]},
            ab={"text": "ab"},
            other={"title": "aaaa"},
        )
        store.put(N, "hidden", {"text": "aaaa"}, index=False)
        store.put(N, "title", {"text": "b", "title": "aaaab"}, index=["title"])
        found = store.search(N, query="a")
        assert [(item.key, item.score and round(item.score, 3)) for item in found] == [
            ("a", 1.0),
            ("title", 0.970),
            ("b", 0.894),
            ("ab", 0.707),
            ("hidden", None),
            ("other", None),
        ]
        assert self.keys(store, N, query="a", limit=2, offset=1) == ["title", "b"]
        assert self.keys(store, N, query="a", filter={"title": None}, limit=2) == ["a", "b"]
        store.put(N, "a", {"text": "b"})
        assert self.keys(store, N, query="a", limit=1) == ["title"]
        store.delete(N, "title")
        assert self.keys(store, N, query="a", limit=1) == ["b"]

    def test_an_empty_query_is_none(self, make: Both) -> None:
        embed = Letters()
        store = make(index={"dims": 2, "embed": embed})
        store.put(N, "k", {"text": "a"}, index=False)
        assert [item.score for item in store.search(N, query="")] == [None]
        assert embed.calls == []


class TestNamespaces:
    @pytest.fixture
    def filled(self, store: BaseStore) -> BaseStore:
        for path in ("a/b/c", "a/b/d/e", "a/b/d/i", "a/b/f", "a/c/f", "b/a/f", "users/123", "users/456/settings"):
            store.put(tuple(path.split("/")), "k", {})
        return store

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"prefix": ("a", "b")}, "a/b/c a/b/d/e a/b/d/i a/b/f"),
            ({"suffix": ("f",)}, "a/b/f a/c/f b/a/f"),
            ({"prefix": ("a",), "suffix": ("f",)}, "a/b/f a/c/f"),
            ({"prefix": ("a", "b"), "max_depth": 3}, "a/b/c a/b/d a/b/f"),
            ({"prefix": ("a", "*", "f")}, "a/b/f a/c/f"),
            ({"suffix": ("*", "f"), "offset": 1}, "a/c/f b/a/f"),
            ({"suffix": ("456", "*")}, "users/456/settings"),
            ({"prefix": ("user",)}, ""),
            ({"max_depth": 1, "limit": 2}, "a b"),
            ({"max_depth": 2, "offset": 3}, "users/123 users/456"),
            ({"limit": 0}, ""),
            ({"prefix": ("a", "b", "d", "e", "x")}, ""),
            ({"suffix": ("x", "a", "b", "d", "e")}, ""),
        ],
    )
    def test_list(self, filled: BaseStore, query: Any, expected: str) -> None:
        assert filled.list_namespaces(**query) == [tuple(path.split("/")) for path in expected.split()]

    def test_several_conditions(self, filled: BaseStore) -> None:
        conditions = [
            MatchCondition("prefix", ("a",)),
            MatchCondition("prefix", ("*", "b")),
            MatchCondition("suffix", ()),
        ]
        [found] = filled.batch([ListNamespacesOp(tuple(conditions), max_depth=2)])
        assert found == [("a", "b")]

    def test_an_empty_one_is_gone(self, filled: BaseStore) -> None:
        filled.delete(("users", "123"), "k")
        filled.get(("users", "789"), "k")
        assert filled.list_namespaces(prefix=("users",)) == [("users", "456", "settings")]


class TestFaces:
    def test_the_wrong_repository(self) -> None:
        backend = MemoryItems()
        sync, asynchronous = ItemRepository(backend), AsyncItemRepository(backend)
        with pytest.raises(InvalidInput, match="use AsyncRepositoryStore"):
            RepositoryStore(asynchronous)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="use RepositoryStore"):
            AsyncRepositoryStore(sync)  # type: ignore[arg-type]
        for wrong in (None, backend, statekeep.connect("memory:"), statekeep.connect("memory:").checkpoints):
            with pytest.raises(InvalidInput) as raised:
                RepositoryStore(wrong)  # type: ignore[arg-type]
            assert raised.value.field == "repository"

    def test_they_are_what_langgraph_asks_for(self) -> None:
        store = RepositoryStore(statekeep.connect("memory:").items)
        assert isinstance(store, BaseStore)
        assert repr(store).startswith("RepositoryStore(MemoryItems(")
        assert store.index is None
        assert store.ttl_config is None

    @pytest.mark.anyio
    async def test_one_backend_from_both_sides(self) -> None:
        keep = statekeep.connect("memory:")
        store = RepositoryStore(keep.items)
        store.put(N, "sync", {"n": 1})
        await store.aput(N, "async", {"n": 2})
        assert (await store.aget(N, "sync")) == store.get(N, "sync") is not None
        assert {item.key for item in await store.asearch(N)} == {"sync", "async"}
        await store.adelete(N, "sync")
        assert store.get(N, "sync") is None
        assert await store.alist_namespaces() == store.list_namespaces() == [N]

    @pytest.mark.anyio
    async def test_an_async_store_does_not_block_its_loop(self) -> None:
        store = AsyncRepositoryStore(statekeep.aconnect("memory:").items)
        calls: list[Any] = [
            lambda: store.put(N, "k", {}),
            lambda: store.get(N, "k"),
            lambda: store.delete(N, "k"),
            lambda: store.search(N),
            store.list_namespaces,
            lambda: store.batch([]),
        ]
        for call in calls:
            with pytest.raises(WrongEventLoop, match=r"AsyncRepositoryStore: .*store\.aget"):
                call()
        await asyncio.to_thread(store.put, N, "k", {"from": "thread"})
        item = await store.aget(N, "k")
        assert item is not None
        assert item == await asyncio.to_thread(store.get, N, "k")

    def test_an_async_store_outlives_its_loops(self) -> None:
        store = AsyncRepositoryStore(statekeep.aconnect("memory:").items)
        for number in range(3):
            asyncio.run(store.aput(N, str(number), {}))
        assert len(store.search(N)) == 3

    @pytest.mark.anyio
    async def test_they_close_what_they_were_given(self) -> None:
        closed = []

        class Closing(MemoryItems):
            def close(self) -> None:
                closed.append("sync")

            async def aclose(self) -> None:
                closed.append("async")

        with RepositoryStore(ItemRepository(Closing())) as store:
            store.put(N, "k", {})
        async with store as same:
            assert same is store
        async with AsyncRepositoryStore(AsyncItemRepository(Closing())):
            pass
        assert closed == ["sync", "async", "async"]
        store.close()
        await store.aclose()
        assert len(closed) == 5

    @pytest.mark.anyio
    async def test_setup_has_one_name(self) -> None:
        prepared = []

        class Prepared(MemoryItems):
            def setup(self) -> Any:
                prepared.append(self)
                return super().setup()

        one, other = Prepared(), Prepared()
        RepositoryStore(ItemRepository(one)).setup()
        await AsyncRepositoryStore(AsyncItemRepository(other)).setup()
        assert prepared == [one, other]
