"""Our stores against LangGraph's InMemoryStore, wherever that one is right."""

from __future__ import annotations

import operator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
)
from langgraph.store.memory import InMemoryStore

from statekeep.langgraph_shim import AsyncRepositoryStore, RepositoryStore, ValkeyStore
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.valkey import Client, client_from_url
from statekeep.testing.servers import ValkeyServer
from tests.awaited_store import AwaitedStore

LABELS = st.sampled_from(["user", "users", "a", "b/c", "*", "{x}", "😀"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
KEYS = st.sampled_from(["k", "b/c", "", "a", "7"])
TEXTS = st.sampled_from(["apple", "banana", "cherry", "fig", "kiwi"])
# InMemoryStore takes 1 for True, and raises an error where what is compared is no number.
NUMBERS = st.integers(2, 9) | st.floats(2, 9)
VALUES = st.fixed_dictionaries(
    {"n": NUMBERS},
    optional={
        "text": TEXTS,
        "flag": st.booleans() | st.none(),
        "deep": st.fixed_dictionaries({"n": NUMBERS}, optional={"list": st.lists(st.integers(2, 4), max_size=2)}),
    },
)
COMPARISONS = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), NUMBERS, min_size=1, max_size=2
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "n": NUMBERS | COMPARISONS,
        "text": TEXTS | st.none() | TEXTS.map(lambda text: {"$ne": text}),
        "flag": st.booleans() | st.none(),
        "deep": st.fixed_dictionaries({"list": st.lists(st.integers(2, 4), max_size=2)}),
        "nowhere": st.none() | st.just(3),
    },
)
CONDITIONS = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PREFIXES)
GETS = st.tuples(NAMESPACES, KEYS).map(lambda place: GetOp(*place))
PUTS = st.tuples(NAMESPACES, KEYS, VALUES | st.none()).map(lambda put: PutOp(*put))
LISTINGS = st.builds(
    ListNamespacesOp,
    st.none() | st.lists(CONDITIONS, max_size=2).map(tuple),
    max_depth=st.none() | st.integers(1, 3),
    limit=st.integers(0, 4) | st.just(100),
    offset=st.integers(0, 3),
)


class Oracle(InMemoryStore):
    """InMemoryStore without the namespaces that it lists although they are empty."""

    def batch(self, ops: Any) -> Any:
        found = super().batch(ops)
        for namespace in [namespace for namespace, items in self._data.items() if not items]:
            del self._data[namespace]
        return found


def plain(item: Item | None) -> Any:
    return None if item is None else (item.namespace, item.key, item.value)


class Stores(RuleBasedStateMachine):
    """Does the same to both."""

    client: Client | None = None
    count = 0

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()
        self.ours: BaseStore = self.make()
        self.order: list[tuple[tuple[str, ...], str]] = []
        """Namespace and key of the items in the order of their last puts."""

    def make(self) -> BaseStore:
        if self.client is None:
            return RepositoryStore(ItemRepository(MemoryItems()))
        type(self).count += 1
        return ValkeyStore(self.client, prefix=f"stores-{self.count}")

    def wrote(self, puts: list[PutOp]) -> None:
        for put in puts:
            place = (put.namespace, put.key)
            if place in self.order:
                self.order.remove(place)
            if put.value is not None:
                self.order.append(place)

    @rule(namespace=NAMESPACES, key=KEYS, value=VALUES)
    def put(self, namespace: tuple[str, ...], key: str, value: dict[str, Any]) -> None:
        for store in (self.oracle, self.ours):
            store.put(namespace, key, value)
        self.wrote([PutOp(namespace, key, value)])

    @rule(namespace=NAMESPACES, key=KEYS)
    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        for store in (self.oracle, self.ours):
            store.delete(namespace, key)
        self.wrote([PutOp(namespace, key, None)])

    @rule(ops=st.lists(GETS | PUTS | LISTINGS, max_size=8))
    def batch(self, ops: list[Op]) -> None:
        # InMemoryStore lists a namespace that a get before in the same batch asked for; each has its own batch here.
        puts = [op for op in ops if isinstance(op, PutOp)]
        expected: list[Any] = [None if isinstance(op, PutOp) else self.oracle.batch([op])[0] for op in ops]
        self.oracle.batch(puts)
        found: list[Any] = self.ours.batch(ops)
        assert len(found) == len(ops)
        for op, ours, theirs in zip(ops, found, expected, strict=True):
            if isinstance(op, GetOp):
                assert plain(ours) == plain(theirs)
            else:
                assert ours == theirs
        # Of several puts of one item in a batch the last one counts.
        self.wrote(list({(put.namespace, put.key): put for put in puts}.values()))

    @rule(prefix=PREFIXES, filter=FILTERS, limit=st.integers(0, 5), offset=st.integers(0, 3))
    def search(self, prefix: tuple[str, ...], filter: dict[str, Any], limit: int, offset: int) -> None:
        # InMemoryStore lists by namespaces; ours are the newest first.
        everything: list[SearchItem] = self.oracle.search(prefix, filter=filter, limit=1000)
        newest = sorted(everything, key=lambda item: self.order.index((item.namespace, item.key)), reverse=True)
        found = self.ours.search(prefix, filter=filter, limit=limit, offset=offset)
        assert list(map(plain, found)) == list(map(plain, newest[offset : offset + limit]))
        assert all(item.score is None for item in found)
        assert all(type(item) is SearchItem for item in found)

    @rule(op=LISTINGS)
    def list_namespaces(self, op: ListNamespacesOp) -> None:
        assert self.ours.batch([op]) == self.oracle.batch([op])

    @invariant()
    def everything(self) -> None:
        ours, theirs = self.ours.search((), limit=1000), self.oracle.search((), limit=1000)
        assert sorted(map(plain, ours), key=operator.itemgetter(0, 1)) == sorted(
            map(plain, theirs), key=operator.itemgetter(0, 1)
        )


class AsyncStores(Stores):
    def make(self) -> BaseStore:
        self.face = AwaitedStore(AsyncRepositoryStore(AsyncItemRepository(MemoryItems())))
        return self.face

    def teardown(self) -> None:
        self.face.end()


TestMemoryStores = Stores.TestCase
TestMemoryStores.settings = settings(stateful_step_count=30)
TestAsyncMemoryStores = AsyncStores.TestCase
TestAsyncMemoryStores.settings = settings(stateful_step_count=15)


def test_valkey_stores(valkey_server: ValkeyServer) -> None:
    client = client_from_url(valkey_server.url)

    class OnValkey(Stores):
        pass

    OnValkey.client = client
    try:
        run_state_machine_as_test(OnValkey, settings=settings(stateful_step_count=30))
    finally:
        client.close()


def test_the_machine_notices_a_difference() -> None:
    machine = Stores()
    machine.oracle.put(("a",), "k", {"n": 2})
    with pytest.raises(AssertionError):
        machine.everything()
