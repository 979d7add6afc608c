"""A state machine that does the same to a backend of items and to an oracle.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryItems
    >>> machine = item_machine_for(lambda: nullcontext(MemoryItems(index=INDEX)))
    >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import pairwise
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from ...domain import (
    ANY,
    DeleteItem,
    GetItem,
    Item,
    ListItems,
    NamespaceMatch,
    PutItem,
    SearchItem,
    Unsupported,
    VectorIndex,
)
from ...domain.items import ItemOperation
from ...repositories.item_backend import ItemBackend, unit_of
from ...repositories.items import AsyncItemRepository, ItemRepository
from .. import strategies as some
from ..comparison import Call, Expiry, expected_form, outcome
from ..differences import NONE, Differences
from ..embedding import DIMS, letter_counts
from ..faces import blocking
from ..oracles.items import ItemOracle, Kept, Labels
from ..strategies.items import namespaces_of_unit
from .item_listings import ListingMachine

__all__ = ["INDEX", "item_machine_for"]

MakeItemBackend = Callable[[], AbstractContextManager[ItemBackend] | AbstractAsyncContextManager[ItemBackend]]
"""Opens an empty backend; in an event loop of its own if it is an async context manager."""

INDEX: Final = VectorIndex(dims=DIMS, embed=letter_counts, fields=("text", "parts[*]"), index_type="flat")
"""The index that a backend must have been made with, or none."""


LONG_AGO: Final = dt.datetime(2001, 2, 3, tzinfo=dt.UTC)
"""Before anything that is put."""

FAR_AWAY: Final = dt.datetime(2150, 1, 1, tzinfo=dt.UTC)

_lives = st.sampled_from([None, None, -1.0, 0.5, 5.0])


def _places() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"namespace": some.item_namespaces(), "key": some.item_keys()})


class ItemMachine(ListingMachine):
    """The machine; :func:`item_machine_for` makes one for a backend."""

    kind = "items"
    pace = 100

    def __init__(self) -> None:
        super().__init__()
        self.repository, self.stepwise = self.opened(
            ItemRepository,
            lambda backend, portal, lazily: blocking(AsyncItemRepository(backend), portal, lazily=lazily),
        )
        self.repository.setup()
        index = self.repository.backend.index
        fields = [path.removesuffix("[*]") for path in index.fields] if index else []
        self.oracle = (
            ItemOracle(self.expiry.ttl, self.expiry.refresh_on_read, self.expiry.clock, fields)
            if self.expiry
            else ItemOracle(fields=fields)
        )
        self.appended: dict[Labels, str] = {}
        self.read: list[Item] = []
        self.restored = 0
        self.updated_at = dt.datetime.min.replace(tzinfo=dt.UTC)

    # -- what is compared

    def check_times(self, puts: Sequence[Item]) -> None:
        """Check that these puts are later than all before them, and in order."""
        for item in puts:
            assert item.updated_at > self.updated_at
            assert item.updated_at.utcoffset() == dt.timedelta(0)
        for one, other in pairwise(puts):
            # Namespaces may live on servers with clocks of their own.
            assert one.namespace != other.namespace or one.updated_at < other.updated_at
        self.updated_at = max([self.updated_at, *(item.updated_at for item in puts)])

    def do(self, act: Callable[[], list[Any]], operations: Sequence[ItemOperation]) -> None:
        """Do the same to both."""
        self.oracle.expire()
        seen: list[Any] = []

        def got() -> list[Any]:
            seen.extend(act())
            return [self.result(item) for item in seen]

        got_outcome = outcome(got)
        if self.is_refused(operations):
            assert got_outcome is Unsupported
            return
        wanted = outcome(lambda: [self.result(item) for item in self.oracle.do(operations, seen)], expected_form)
        assert got_outcome == wanted
        self.check_times([item for item, done in zip(seen, operations, strict=False) if isinstance(done, PutItem)])
        self.read += [item for part in seen for item in _listed(part) if isinstance(item, Item)]

    def is_refused(self, operations: Sequence[ItemOperation]) -> bool:
        """Return whether a batch expects, and is more than is done as one."""
        writes = [one for one in operations if not isinstance(one, GetItem | ListItems)]
        if not self.differences.batches_are_not_atomic or not any(one.expected is not ANY for one in writes):
            return False
        places = {(one.namespace, one.key) for one in writes}
        before_the_last = operations[: max(at for at, one in enumerate(operations) if one is writes[-1])]
        return len(places) > 1 or any(isinstance(one, ListItems) for one in before_the_last)

    # -- write

    @initialize(puts=st.lists(some.puts(expected=st.just(ANY)), min_size=3, max_size=15))
    def fill(self, puts: list[PutItem]) -> None:
        self.do(lambda: self.repository.batch(puts), puts)

    @rule(put=some.puts())
    def put(self, put: PutItem) -> None:
        self.do(
            lambda: [
                self.repository.put(
                    put.namespace, put.key, put.value, ttl=put.ttl, expected=put.expected, index=put.index
                )
            ],
            [put],
        )

    @precondition(lambda self: self.oracle.items)
    @rule(data=st.data(), put=some.puts())
    def put_again(self, data: st.DataObject, put: PutItem) -> None:
        """Over an item that is there, mostly expecting what is."""
        namespace, key = data.draw(st.sampled_from(sorted(self.oracle.items)))
        version = data.draw(st.sampled_from([self.oracle.items[namespace, key].version, put.expected]))
        self.put(put.model_copy(update={"namespace": namespace, "key": key, "expected": version}))

    @precondition(lambda self: self.read)
    @rule(data=st.data(), put=some.puts(expected=st.just(ANY)), renew=st.booleans(), how=st.integers(0, 2))
    def write_what_was_read(self, data: st.DataObject, put: PutItem, renew: bool, how: int) -> None:
        """Over an item that was read some time ago.

        It may have been deleted and put again since.
        """
        item = data.draw(st.sampled_from(self.read[-20:]))
        place = {"namespace": item.namespace, "key": item.key}
        if renew:
            again: list[ItemOperation] = [DeleteItem(**place)]
            again += [PutItem(**place, value=version) for version in range(item.version)]
            self.do(lambda: self.repository.batch(again), again)
        written = put.model_copy(update=place | {"expected": item})
        if how == 0:
            self.put(written)
        elif how == 1:
            self.delete(place, item)
        else:
            operations = [put.model_copy(update=place | {"key": put.key}), written]
            self.do(lambda: self.repository.batch(operations), operations)

    @precondition(lambda self: self.oracle.items)
    @rule(data=st.data(), put=some.puts(expected=st.just(ANY)), query=st.sampled_from(some.TEXTS))
    def put_again_and_search(self, data: st.DataObject, put: PutItem, query: str) -> None:
        """Find an item by what it is now, and not by what it was before."""
        namespace, key = data.draw(st.sampled_from(sorted(self.oracle.items)))
        self.put(put.model_copy(update={"namespace": namespace, "key": key}))
        self.search(namespace, {}, query, 100, 0, None)

    @rule(place=_places(), expected=some.expectations())
    def delete(self, place: dict[str, Any], expected: Any) -> None:
        self.do(lambda: [self.repository.delete(**place, expected=expected)], [DeleteItem(**place, expected=expected)])

    @rule(operations=some.operations(expected=st.just(ANY)))
    def batch(self, operations: list[ItemOperation]) -> None:
        self.do(lambda: self.repository.batch(operations), operations)

    @rule(data=st.data(), namespace=some.item_namespaces())
    def batch_of_one_unit(self, data: st.DataObject, namespace: Labels) -> None:
        operations = data.draw(some.operations(namespaces_of_unit(namespace, unit_of(self.repository.backend))))
        self.do(lambda: self.repository.batch(operations), operations)

    @precondition(lambda self: self.can("append"))
    @rule(
        namespace=some.item_namespaces(),
        values=st.lists(some.item_values() | some.payloads(), max_size=3),
        ttl=st.sampled_from(some.TTLS),
        index=some.indexed(),
    )
    def append(self, namespace: Labels, values: list[Any], ttl: Any, index: Any) -> None:
        self.oracle.expire()
        keys = self.repository.append(namespace, values, ttl=ttl, index=index)
        assert len(keys) == len(values)
        for key in keys:
            assert _is_appended(key)
            assert key > self.appended.get(namespace, "")
            self.appended[namespace] = key
        puts = [
            PutItem(namespace=namespace, key=key, value=value, ttl=ttl, expected=None, index=index)
            for key, value in zip(keys, values, strict=True)
        ]
        items = [self.repository.get(namespace, key, refresh=False) for key in keys]
        self.compare(
            lambda: [self.result(item) for item in items],
            lambda: [self.result(kept) for kept in self.oracle.do(puts, items)],
        )
        self.check_times([item for item in items if item is not None])

    @precondition(lambda self: self.can("restore") and self.has("restore"))
    @rule(items=st.lists(some.items(), min_size=1, max_size=3), lives=st.lists(_lives, min_size=3, max_size=3))
    def restore(self, items: list[Item], lives: list[float | None]) -> None:
        """Put items with versions and times of long ago, no two at one time."""
        self.oracle.expire()
        restored = []
        for item, life in zip(items, lives, strict=False):
            self.restored += 1
            fields: dict[str, Any] = {"updated_at": LONG_AGO + self.restored * dt.timedelta(microseconds=1)}
            fields["expires_at"] = None if life is None else self._end_in(life)
            restored.append(item.model_copy(update=fields))
        self.compare(lambda: self.repository.restore(restored), lambda: self.oracle.restore(restored))

    def _end_in(self, seconds: float) -> dt.datetime:
        """Return a time, which is far away if only the backend knows what time it is."""
        if self.clock is None:
            return FAR_AWAY if seconds > 0 else dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return dt.datetime.fromtimestamp(self.clock() + seconds * self.pace, dt.UTC)

    @rule(namespace=some.item_namespaces())
    def measure(self, namespace: Labels) -> None:
        self.compare(
            lambda: self.repository.measure(namespace).items, lambda: len(self.oracle.list(namespace, refresh=False))
        )

    @rule(namespace=some.item_namespaces())
    def pop(self, namespace: Labels) -> None:
        self.compare(
            lambda: self.result(self.repository.pop(namespace)), lambda: self.result(self.oracle.pop(namespace))
        )

    @rule(namespace=some.item_namespaces(), below=st.booleans())
    def clear(self, namespace: Labels, below: bool) -> None:
        self.compare(lambda: self.repository.clear(namespace, below=below), lambda: self.oracle.clear(namespace, below))

    # -- read

    @rule(place=_places(), refresh=some.refreshes())
    def get(self, place: dict[str, Any], refresh: bool | None) -> None:
        self.do(lambda: [self.repository.get(**place, refresh=refresh)], [GetItem(**place, refresh=refresh)])

    @rule(
        prefix=st.just(()) | some.item_namespaces(),
        filter=st.just({}) | some.filters(),
        query=st.sampled_from([None, *some.TEXTS]),
        limit=st.just(100) | st.integers(0, 4),
        offset=st.integers(0, 3),
        refresh=some.refreshes(),
    )
    def search_anything(
        self,
        prefix: Labels,
        filter: dict[str, Any],
        query: str | None,
        limit: int,
        offset: int,
        refresh: bool | None,
    ) -> None:
        self.search(prefix, filter, query, limit, offset, refresh)

    def search(
        self, prefix: Labels, filter: dict[str, Any], query: str | None, limit: int, offset: int, refresh: bool | None
    ) -> None:
        if not self.can("search"):
            return
        self.oracle.expire()
        every: Sequence[Kept] = self.oracle.search(prefix, filter)
        if len({kept.updated_at for kept in every}) < len(every):
            return  # two servers may say the same time; then the order is open
        found = self.repository.search(prefix, filter=filter, query=query, limit=limit, offset=offset, refresh=refresh)
        places = [(item.namespace, item.key) for item in found]
        if query is None or not self.oracle.fields:
            want = every[offset:][:limit]
            assert [item.score for item in found] == [None] * len(want)
            assert places == [(kept.namespace, kept.key) for kept in want]
        else:
            self.ranked(found, every, query, slice(offset, offset + limit))
        self.oracle.read([self.oracle.items[place] for place in places], refresh)
        self.compare(
            lambda: [self.fields(item) for item in found],
            lambda: [self.fields(self.oracle.items[place]) for place in places],
        )

    @rule(
        prefix=st.just(()) | some.item_namespaces(),
        query=st.sampled_from([None, *some.TEXTS]),
        refresh=some.refreshes(),
    )
    def search_all(self, prefix: Labels, query: str | None, refresh: bool | None) -> None:
        self.search(prefix, {}, query, 100, 0, refresh)

    def ranked(self, found: Sequence[SearchItem], every: Sequence[Kept], query: str, part: slice) -> None:
        """Compare with the best of all.

        What scores the same but for rounding may come in any order.
        """
        scores = {(kept.namespace, kept.key): self.oracle.score(kept, query) for kept in every}
        assert len({(item.namespace, item.key) for item in found}) == len(found)
        best = sorted((score for score in scores.values() if score is not None), reverse=True)
        behind = [place for place, score in scores.items() if score is None]
        want = [*best, *behind][part]
        assert len(found) == len(want)
        for item, place_or_score in zip(found, want, strict=True):
            if item.score is None:
                assert (item.namespace, item.key) == place_or_score
            else:
                score = scores[item.namespace, item.key]
                assert score is not None and math.isclose(item.score, score, abs_tol=1e-5)
                assert isinstance(place_or_score, float) and math.isclose(item.score, place_or_score, abs_tol=1e-5)
        for one, other in pairwise(item for item in found if item.score is not None):
            assert (one.score, one.updated_at) > (other.score, other.updated_at)

    @rule(
        prefix=some.namespace_paths(),
        suffix=some.namespace_paths(),
        max_depth=st.none() | st.integers(1, 2),
        part=st.tuples(*2 * [st.integers(0, 3)]),
    )
    def list_namespaces(self, prefix: Labels, suffix: Labels, max_depth: int | None, part: tuple[int, int]) -> None:
        matches = [NamespaceMatch(where="prefix", path=prefix), NamespaceMatch(where="suffix", path=suffix)]
        self.compare(
            lambda: self.repository.list_namespaces(prefix=prefix, suffix=suffix, max_depth=max_depth),
            lambda: self.oracle.list_namespaces(matches, max_depth),
        )
        offset, limit = part
        self.compare(
            lambda: self.repository.list_namespaces(matches=matches, max_depth=max_depth, offset=offset, limit=limit),
            lambda: self.oracle.list_namespaces(matches, max_depth)[offset:][:limit],
        )

    @rule(namespace=some.item_namespaces())
    def reindex(self, namespace: Labels) -> None:
        self.compare(
            lambda: self.repository.reindex(namespace), lambda: len(self.oracle.list(namespace, refresh=False))
        )

    @precondition(lambda self: self.clock is not None and self.oracle.items)
    @rule(
        data=st.data(),
        how=st.sampled_from(["get", "list", "search"]),
        refresh=st.sampled_from([True, True, None, False]),
    )
    def use_in_time(self, data: st.DataObject, how: str, refresh: bool | None) -> None:
        """Read an item shortly before it expires, which may let it live on."""
        namespace, key = data.draw(st.sampled_from(sorted(self.oracle.items)))
        self.wait(9.6)
        if how == "get":
            self.get({"namespace": namespace, "key": key}, refresh)
        elif how == "list":
            self.list_anything(namespace, {"refresh": refresh})
        else:
            self.search(namespace, {}, None, 100, 0, refresh)
        self.wait(3.1)

    # -- several calls at once

    @rule(data=st.data(), namespace=some.item_namespaces())
    def at_once(self, data: st.DataObject, namespace: Labels) -> None:
        """Change and read one namespace in several threads, in all ways."""
        here = st.just(namespace)
        single = some.puts(here) | some.deletes(here) | some.gets(here)
        several = some.operations(here).map(_by_key)
        if self.differences.batches_are_not_atomic:
            several = several.map(_of_one_key)
        batches = data.draw(st.lists(single.map(lambda one: [one]) | several, min_size=2, max_size=3))
        calls = [self._batch_call(batch) for batch in batches]
        others = [self._pop_call(namespace)] if self.can("pop") else []
        others += [self._append_call(namespace, value) for value in (1, 2)] if self.can("append") else []
        some_others = data.draw(st.lists(st.sampled_from(range(3)), max_size=2, unique=True))
        calls += [others[at] for at in some_others if at < len(others)]
        self.side_by_side(
            calls[-3:],
            lambda: [self._timeless(item) for item in self.repository.list(namespace, refresh=False)],
            lambda oracle: [self._timeless(kept) for kept in oracle.list(namespace, refresh=False)],
        )
        for item in self.repository.list(namespace, refresh=False):
            self.updated_at = max(self.updated_at, item.updated_at)
        self.repository.clear(namespace)
        self.oracle.clear(namespace, below=False)

    def _timeless(self, item: Item | Kept) -> Any:
        """Return the fields that do not depend on the order of calls at once."""
        return {name: getattr(item, name) for name in ("namespace", "key", "value", "version")}

    def _batch_call(self, operations: Sequence[ItemOperation]) -> Call:
        return Call(
            lambda: self.repository.batch(operations),
            lambda oracle, seen: [self._told(item) for item in oracle.do(operations, seen or ())],
            lambda items: [self._told(item) for item in items],
        )

    def _told(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self._timeless(item) for item in result]
        return self._timeless(result) if isinstance(result, (Item, Kept)) else result

    def _pop_call(self, namespace: Labels) -> Call:
        return Call(
            lambda: self.repository.pop(namespace), lambda oracle, _: self._told(oracle.pop(namespace)), self._told
        )

    def _append_call(self, namespace: Labels, value: Any) -> Call:
        def expect(oracle: ItemOracle, keys: list[str]) -> list[str]:
            # Each append is behind all others that came before it.
            assert all(key < keys[0] for place, key in oracle.items if place == namespace and _is_appended(key))
            oracle.do([PutItem(namespace=namespace, key=key, value=value, expected=None) for key in keys])
            return keys

        return Call(lambda: self.repository.append(namespace, [value]), expect)

    # -- after each step

    @invariant()
    def all_is_there(self) -> None:
        namespaces = sorted({namespace for namespace, _ in self.oracle.items})
        if self.can("list_namespaces"):
            self.compare(self.repository.list_namespaces, lambda: self.oracle.list_namespaces((), None))
        for namespace in namespaces:
            self.compare(
                lambda at=namespace: [self.fields(item) for item in self.repository.list(at, refresh=False)],  # type: ignore[misc]
                lambda at=namespace: [self.fields(kept) for kept in self.oracle.list(at, refresh=False)],  # type: ignore[misc]
            )


def _of_one_key(operations: list[ItemOperation]) -> list[ItemOperation]:
    """Have a batch be about its first item alone."""
    single = [one for one in operations if not isinstance(one, ListItems)]
    return [one.model_copy(update={"key": single[0].key}) for one in single]


def _by_key(operations: list[ItemOperation]) -> list[ItemOperation]:
    """Have its listings be in the order of keys: that of puts at once is not known."""
    return [one.model_copy(update={"order": "key"}) if isinstance(one, ListItems) else one for one in operations]


def _listed(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [result]


def _is_appended(key: str) -> bool:
    return len(key) == 20 and key.isascii() and key.isdecimal()


def item_machine_for(
    make_backend: MakeItemBackend,
    *,
    name: str = "",
    expiry: Expiry | None = None,
    restart: Callable[[], None] | None = None,
    differences: Differences = NONE,
) -> type[ItemMachine]:
    """Return a state machine that acts on backends of items.

    ``make_backend`` opens one for each example.

    Run it with :func:`hypothesis.stateful.run_state_machine_as_test`, or take its ``TestCase``.

    Args:
        make_backend: opens an empty backend, without an index or with ``INDEX``; called without arguments, for each
            example.
        name: what the backend is called in summaries; the name of its class if there is none.
        expiry: for backends with a clock that can be set: how they were made. Without it the backend
            must have no TTL of its own, and what items are put with outlasts every example.
        restart: for backends whose records survive a restart of what keeps them: ends it and starts it again. It is
            called between any two steps.
        differences: what the backend does otherwise than the contract has it.
    """
    return ItemMachine.over(make_backend, name=name, expiry=expiry, restart=restart, differences=differences)
