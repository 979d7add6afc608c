"""The contract of a backend of items, as tests that its authors inherit.

Example, for a backend of your own (``pytest``, ``hypothesis`` and ``anyio`` are needed)::

    # In conftest.py, so that failures say what was compared:
    pytest.register_assert_rewrite("statekeep.testing.contracts.items")
    from statekeep.testing.contracts.items import ItemContract

    class TestMyBackend(ItemContract):
        @pytest.fixture
        def repository(self):
            with ItemRepository(MyBackend(...)) as repository:
                yield repository

        @pytest.fixture
        async def arepository(self):
            async with AsyncItemRepository(MyBackend(...)) as repository:
                yield repository

What is to be found by meaning is tested by :mod:`statekeep.testing.contracts.vector_search`.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar, TypeVar, cast

import anyio
import pytest

from ...domain import (
    ANY,
    CheckItem,
    Conflict,
    DeleteItem,
    GetItem,
    InvalidInput,
    Item,
    ListItems,
    NamespaceMatch,
    Payload,
    PutItem,
    SearchStatus,
    Unsupported,
)
from ...domain.items import ItemOperation, Namespace
from ...domain.json_values import DEEPEST
from ...domain.model import LONGEST_ID, MOST_LABELS
from ...repositories.item_backend import unit_of
from ...repositories.items import AsyncItemRepository, ItemRepository
from ..comparison import canonical
from ..differences import NONE, Differences
from ..faces import awaited
from ..strategies import NASTY_TEXTS
from ..strategies.texts import Disguised, member

__all__ = ["ItemContract"]

ItemT = TypeVar("ItemT")
TOO_LONG = "x" * (LONGEST_ID + 1)
Call = Callable[[], Coroutine[Any, Any, Any]]

JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 1.0, -0.0, 0.1, 1e-300, 1e300, 2**53 + 1, -(2**70), 10**400, "", "é\x00", "😀", "\ud800",
    "\udc00 \ud800", "null", "\u2028", [], {}, [[]], [None, {"a": [1, 2.5, "x", True, None]}], {"": {"": ""}},
    {"$eq": 1}, {"value": 1, "a.b": 2, "*": 3}, {"\x00": "\x00"},
)  # fmt: skip


PAYLOADS: tuple[Payload, ...] = tuple(
    Payload(encoding=encoding, data=data)
    for encoding, data in (
        ("json", b'{"a":1}'),
        ("raw", b""),
        ("raw", b"\x00\xff\xfe@3:raw"),
        ("é:@ 😀\x00", b"1"),
        ("1:", b"@1:x"),
        ("x" * 1000, b"null"),
    )
)


class Tier(IntEnum):
    """A kind of number."""

    GOLD = 1


class Version(IntEnum):
    """A version of an item."""

    SECOND = 2


class _Text(str):
    """A kind of text of somebody's own."""


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def _circle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"a": value})
    return value


NO_JSON: dict[str, Any] = {
    "nan": math.nan,
    "infinity": {"a": [math.inf]},
    "minus infinity": [-math.inf],
    "bytes": b"x",
    "bytearray": {"a": bytearray(b"x")},
    "set": {"a": {1, 2}},
    "frozenset": frozenset("a"),
    "datetime": {"at": dt.datetime(2024, 1, 1)},
    "object": [object()],
    "iterator": iter([1]),
    "number as key": {1: "x"},
    "none as key": {"a": {None: 1}},
    "tuple as key": {("a",): 1},
    "circle": _circle(),
    "depth": _nested(100_000),
    "one level too many": _nested(DEEPEST + 1),
    "digits": 10**5000,
    "surrogates that become one character": "\ud83d\ude00",
    "surrogates in a key": {"\ud83d\ude00": 1},
}

NAMESPACES: tuple[Namespace, ...] = (
    (), ("a",), ("a", "b"), ("a", "b", "c"), ("a.b",), ("a.b", "c"), ("a", "b.c"), ("a/b",), ("a|b",), ("a:b",),
    ("a,b",), ("a\x00b",), ("a\nb",), ("a\\", "b"), ("a", "\\b"), ("{a}",), ("{a", "b}"), ("a*",), ("*",), ("a?",),
    ("[a]",), ("a%2Eb",), ("%61",), ("A",), (" a",), ("a ",), ("é",), ("e\u0301",), ("😀", "a"), ("users",), ("user",),
    ("user", "s"), ("x" * 1000,), ("x" * 999, "x"), ("x",) * 30,
)  # fmt: skip
"""Namespaces that are the same to somebody who joins labels, counts bytes, or takes some characters as special."""


FILTERED: dict[str, Any] = {
    "0": {"n": 0, "s": "0"},
    "1": {"n": 1, "s": "1", "b": True},
    "1.0": {"n": 1.0, "s": "10", "b": False},
    "9": {"n": 9, "s": "9", "b": None},
    "10": {"n": 10, "s": "é", "b": 1},
    "text": {"n": "10", "tags": {"a": 1, "b": {"c": [1, 2]}}},
    "true": {"n": True, "tags": {"a": 2}},
    "null": {"n": None, "tags": None},
    "list": {"n": [1], "tags": [{"a": 1, "b": 2}, 3]},
    "none": {},
    "scalar": 1,
    "array": [1],
}


async def listed(items: AsyncIterator[ItemT]) -> list[ItemT]:
    """Return the results of a listing."""
    return [item async for item in items]


async def keys(items: AsyncIterator[Item]) -> list[str]:
    """Return the keys of a listing."""
    return [item.key async for item in items]


def places(items: Sequence[Item]) -> list[tuple[Namespace, str]]:
    """Return namespace and key of each item."""
    return [(item.namespace, item.key) for item in items]


async def refused(field: str, call: Call) -> None:
    """Have a call raise :class:`~statekeep.InvalidInput` that names the argument."""
    with pytest.raises(InvalidInput) as caught:
        await call()
    assert caught.value.field == field
    assert field in str(caught.value)
    assert len(str(caught.value)) < 400


async def filled(keep: AsyncItemRepository, namespace: Namespace, values: dict[str, Any]) -> None:
    """Put some items, one after the other."""
    for key, value in values.items():
        await keep.put(namespace, key, value)


class ItemContract:
    """Tests of everything that an item repository documents but vector search.

    See :class:`~statekeep.repositories.items.ItemRepository`.

    See the module for how to use it. Each test gets empty repositories, made without a TTL, without
    ``refresh_on_read`` and without an index. Those that take ``keep`` run with both faces.

    Attributes:
        differences: those that the backend declares.
        divisor: tests that need many items make do with this part of them, for a backend whose calls take long.
    """

    pytestmark = pytest.mark.anyio

    differences: ClassVar[Differences] = NONE
    divisor: ClassVar[int] = 1

    def supports(self, operation: str) -> bool:
        """Return whether the backend has an operation."""
        return operation not in self.differences.unsupported

    def needs(self, operation: str) -> None:
        """Leave out a test of an operation that the backend declares not to have."""
        if not self.supports(operation):
            pytest.skip(f"{operation} is unsupported, as declared")

    def needs_method(self, keep: AsyncItemRepository, method: str) -> None:
        """Leave out a test of a method that a backend need not have."""
        self.needs(method)
        if not hasattr(keep.backend, method):
            pytest.skip(f"the backend has no method {method}")

    def needs_atomic_batches(self) -> None:
        """Leave out a test of batches that the backend declares not to be atomic."""
        if self.differences.batches_are_not_atomic:
            pytest.skip("batches are not atomic, as declared")

    def many(self, count: int) -> int:
        """Return how many items a test makes that would like to have ``count``."""
        return max(6, count // self.divisor)

    async def appended(self, keep: AsyncItemRepository, namespace: Namespace, values: Sequence[Any]) -> list[str]:
        """Append values; without ``append`` put them under keys that grow."""
        if self.supports("append"):
            return await keep.append(namespace, values)
        names = [f"{number:020}" for number in range(len(values))]
        await keep.batch(
            [PutItem(namespace=namespace, key=key, value=value) for key, value in zip(names, values, strict=True)]
        )
        return names

    async def popped(self, keep: AsyncItemRepository, namespace: Sequence[str]) -> Item | None:
        """Pop an item; without ``pop`` delete the last one."""
        if self.supports("pop"):
            return await keep.pop(namespace)
        for item in await listed(keep.list(namespace, reverse=True, limit=1)):
            assert await keep.delete(namespace, item.key, expected=item)
            return item
        return None

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def repository(self) -> Iterator[ItemRepository]:
        """Yield an empty repository; override it."""
        raise NotImplementedError("override the fixture `repository`")

    @pytest.fixture
    async def arepository(self) -> AsyncIterator[AsyncItemRepository]:
        """Yield an empty repository for asyncio; override it."""
        raise NotImplementedError("override the fixture `arepository`")
        yield

    @pytest.fixture(params=["blocking", "async"])
    def keep(self, request: pytest.FixtureRequest) -> AsyncItemRepository:
        """One face after the other."""
        if request.param == "blocking":
            return awaited(cast(ItemRepository, request.getfixturevalue("repository")))
        return cast(AsyncItemRepository, request.getfixturevalue("arepository"))

    # -- what is missing

    async def test_nothing_stored(self, keep: AsyncItemRepository) -> None:
        for namespace in ((), ("n",)):
            assert await keep.get(namespace, "k") is None
            assert await keep.delete(namespace, "k") is False
            assert await keep.delete(namespace, "k", expected=None) is False
            assert await self.popped(keep, namespace) is None
            assert await keep.clear(namespace) == 0
            assert await keep.reindex(namespace) == 0
            assert await keep.append(namespace, []) == []
            assert await listed(keep.list(namespace)) == []
            assert await keep.search(namespace) == []
        assert await keep.batch([]) == []
        assert await keep.batch([GetItem(namespace=("n",), key="k"), DeleteItem(namespace=("n",), key="k")]) == [
            None,
            False,
        ]
        assert await keep.list_namespaces() == []

    async def test_others_find_nothing(self, keep: AsyncItemRepository) -> None:
        await keep.put(("n",), "k", 1)
        for namespace, key in (
            (("n",), "K"),
            (("n",), "k "),
            (("N",), "k"),
            ((), "k"),
            (("n", "k"), ""),
            (("n", "n"), "k"),
        ):
            assert await keep.get(namespace, key) is None
            assert await keep.delete(namespace, key) is False
        assert await keep.get(("n",), "k") is not None

    # -- what is stored is what comes back

    @pytest.mark.parametrize("value", JSON_VALUES, ids=lambda value: ascii(value)[:30])
    async def test_values_are_exact(self, keep: AsyncItemRepository, value: Any) -> None:
        stored = await keep.put(("n",), "k", value)
        nested = await keep.put(("n",), "nested", {"a": [value, {"b": value}]})
        [appended] = await self.appended(keep, ("m",), [value])
        assert canonical(stored.value) == canonical(value)
        assert canonical(nested.value) == canonical({"a": [value, {"b": value}]})
        for item in (
            await keep.get(("n",), "k"),
            await keep.get(("m",), appended),
            *await listed(keep.list(("n",), prefix="k")),
            *await keep.search(("n",), limit=1, offset=1),
        ):
            assert item is not None
            assert canonical(item.value) == canonical(value)

    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: ascii(payload)[:40])
    async def test_payloads_are_exact(self, keep: AsyncItemRepository, payload: Payload) -> None:
        stored = await keep.put(("n",), "k", payload)
        [appended] = await self.appended(keep, ("m",), [payload])
        assert stored.value == payload
        for item in (
            await keep.get(("n",), "k"),
            *await listed(keep.list(("n",))),
            *await listed(keep.list(("n",), order="updated")),
            *await keep.batch([GetItem(namespace=("n",), key="k")]),
            *(await keep.batch([ListItems(namespace=("n",))]))[0],
            *await keep.search(("n",)),
            await keep.get(("m",), appended),
            await self.popped(keep, ("m",)),
        ):
            assert item is not None
            assert type(item.value) is Payload
            assert type(item.value.data) is bytes
            assert item.value == payload
        assert await listed(keep.keys(("n",))) == ["k"]

    async def test_payloads_and_json_replace_each_other(self, keep: AsyncItemRepository) -> None:
        n, payload = ("n",), Payload(encoding="json", data=b'{"a":1}')
        first = await keep.put(n, "k", payload, expected=None)
        second = await keep.put(n, "k", {"a": 1}, expected=first)
        [third, found] = await keep.batch(
            [PutItem(namespace=n, key="k", value=payload, ttl=1000), GetItem(namespace=n, key="k")]
        )
        assert [second.value, third.value, third.version] == [{"a": 1}, payload, 3]
        assert found == third == await keep.get(n, "k", refresh=False)
        refreshed = await keep.get(n, "k", refresh=True)
        assert refreshed is not None
        assert refreshed.value == payload

    async def test_no_filter_finds_a_payload(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        await keep.put(n, "payload", Payload(encoding="json", data=b'{"a":1}'))
        await keep.put(n, "value", {"a": 1})
        assert [item.key for item in await keep.search(n)] == ["value", "payload"]
        for condition in ({"a": 1}, {"b": None}, {"a": {"$ne": 2}}):
            assert [item.key for item in await keep.search(n, filter=condition)] == ["value"]
            assert await keys(keep.list(n, filter=condition)) == ["value"]
        assert len(await keep.search(n, filter={})) == 2

    async def test_a_megabyte_of_bytes(self, keep: AsyncItemRepository) -> None:
        payload = Payload(encoding="raw", data=bytes(range(256)) * 4096)
        stored = await keep.put(("n",), "k", payload)
        assert stored.value == payload
        assert await keep.get(("n",), "k") == stored

    async def test_payloads_within_values_are_refused(self, keep: AsyncItemRepository) -> None:
        payload = Payload(encoding="raw", data=b"x")
        await refused("value", lambda: keep.put(("n",), "k", {"a": [payload]}))
        await refused("value", lambda: keep.put(("n",), "k", [payload]))
        assert await listed(keep.keys(("n",))) == []

    async def test_an_item(self, keep: AsyncItemRepository) -> None:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        item = await keep.put(["users", "ada"], "theme", {"dark": True})
        assert type(item) is Item
        assert (item.namespace, item.key, item.value, item.version) == (("users", "ada"), "theme", {"dark": True}, 1)
        assert (item.created_at, item.expires_at) == (item.updated_at, None)
        assert item.updated_at.utcoffset() == dt.timedelta(0)
        assert before < item.updated_at < before + dt.timedelta(minutes=10)
        assert await keep.get(("users", "ada"), "theme") == item
        assert await listed(keep.list(("users", "ada"))) == [item]
        assert await keep.batch([GetItem(namespace=("users", "ada"), key="theme")]) == [item]
        [found] = await keep.search()
        assert dict(found) == dict(item) | {"score": None}
        assert await self.popped(keep, ("users", "ada")) == item

    async def test_what_is_like_json_is_stored_as_json(self, keep: AsyncItemRepository) -> None:
        value = {_Text("a"): (1, (2,)), "b": _Text("x")}
        await keep.put(("n",), _Text("k"), value)
        item = await keep.get([_Text("n")], "k")
        assert item is not None
        assert canonical(item.value) == canonical({"a": [1, [2]], "b": "x"})

    async def test_what_is_stored_cannot_be_changed_from_outside(self, keep: AsyncItemRepository) -> None:
        value: dict[str, Any] = {"list": [1], "dict": {"a": 1}}
        stored = await keep.put(("n",), "k", value)
        for read in (
            stored,
            await keep.get(("n",), "k"),
            *await listed(keep.list(("n",))),
            *await keep.search(),
            *await keep.batch([GetItem(namespace=("n",), key="k")]),
        ):
            for changed in (value, read.value):
                changed["list"].append(2)
                changed["dict"]["b"] = 2
                changed["new"] = 1
        item = await keep.get(("n",), "k")
        assert item is not None
        assert item.value == {"list": [1], "dict": {"a": 1}}

    @pytest.mark.parametrize("disguise", [Disguised, member])
    async def test_a_name_of_a_subclass_of_str_is_the_text_that_it_is(
        self, keep: AsyncItemRepository, disguise: Callable[[str], str]
    ) -> None:
        space, k, gold = (disguise("a"), disguise("b")), disguise("k"), Tier.GOLD
        put = await keep.put(space, k, {disguise("kind"): disguise("fact"), "tier": gold, "all": [disguise("x")]})
        value = {"kind": "fact", "tier": 1, "all": ["x"]}
        for item in (put, await keep.get(("a", "b"), "k"), await keep.get(space, k)):
            assert item is not None
            assert canonical([item.namespace, item.key, item.value]) == canonical([("a", "b"), "k", value])
        assert await keys(keep.list(space, prefix=k)) == ["k"]
        assert await keys(keep.list(space, after=disguise("a"))) == ["k"]
        for condition in ({"kind": disguise("fact")}, {disguise("tier"): gold}, {"tier": {disguise("$gte"): gold}}):
            assert places(await keep.search(space[:1], filter=condition)) == [(("a", "b"), "k")]
        assert await keep.list_namespaces(prefix=space[:1], suffix=space[1:]) == [("a", "b")]
        put_one = PutItem(namespace=space, key=k, value=1)
        delete_one = DeleteItem(namespace=space, key=k, expected=Version.SECOND)
        moved: dict[str, Any] = {"namespace": space, "key": disguise("other")}
        assert (await keep.batch([put_one, delete_one]))[1] is True
        _, got = await keep.batch([put_one.model_copy(update=moved), GetItem(**moved)])
        assert canonical([got.namespace, got.key, got.value]) == canonical([("a", "b"), "other", 1])
        assert await keep.delete(space, disguise("other"))
        await self.appended(keep, ("a", "b"), [disguise("x")])
        popped = await self.popped(keep, space)
        assert popped is not None
        assert canonical(popped.value) == canonical("x")
        await keep.put(space, k, 1)
        assert await keep.reindex(space) == 1
        assert await keep.clear(space) == 1

    @pytest.mark.parametrize("text", ["", *NASTY_TEXTS], ids=lambda text: ascii(text)[:20])
    async def test_any_text_is_a_key_and_a_label(self, keep: AsyncItemRepository, text: str) -> None:
        namespace = (text, "n", text) if text else ("n",)
        await filled(keep, namespace, {f"{text}2": "neighbour", text: {text: text}})
        await keep.put((*namespace, text or "below"), text, "below")
        item = await keep.get(namespace, text)
        assert item is not None
        assert (item.namespace, item.key, item.value) == (namespace, text, {text: text})
        assert await keys(keep.list(namespace)) == [text, f"{text}2"]
        assert await keys(keep.list(namespace, prefix=text, limit=1)) == [text]
        assert await keys(keep.list(namespace, after=text)) == [f"{text}2"]
        assert await keys(keep.list(namespace, after=f"{text}2", reverse=True)) == [text]
        if not text.startswith("$"):
            assert places(await keep.search(namespace, filter={text: text})) == [(namespace, text)]
        assert len(await keep.search(namespace[:1])) == 3
        assert await keep.list_namespaces(suffix=namespace) == [namespace]
        assert await keep.list_namespaces(prefix=namespace) == [namespace, (*namespace, text or "below")]
        assert await keep.delete(namespace, text) is True
        assert await keep.get(namespace, text) is None
        popped = await self.popped(keep, namespace)
        assert popped is not None
        assert (popped.key, popped.value) == (f"{text}2", "neighbour")
        assert await keep.list_namespaces() == [(*namespace, text or "below")]

    async def test_namespaces_never_collide(self, keep: AsyncItemRepository) -> None:
        for number, namespace in enumerate(NAMESPACES):
            for key in ("", "c", "b:c", "b", namespace[-1] if namespace else "x"):
                await keep.put(namespace, key, [number, key])
        for number, namespace in enumerate(NAMESPACES):
            items = await listed(keep.list(namespace))
            assert {item.namespace for item in items} == {namespace}
            assert [item.value for item in items] == [[number, item.key] for item in items]
            assert len(items) >= 4
            below = {other for other in NAMESPACES if other[: len(namespace)] == namespace}
            found = {item.namespace for item in await keep.search(namespace, limit=1000)}
            assert found == below
        assert await keep.list_namespaces() == sorted(NAMESPACES)
        left = list(NAMESPACES)
        for number, namespace in enumerate(NAMESPACES[::2]):
            await keep.clear(namespace)
            left.remove(namespace)
            if self.divisor == 1 or number % 6 == 5:
                assert await keep.list_namespaces() == sorted(left)
        for namespace in left:
            assert len(await listed(keep.list(namespace))) >= 4

    async def test_a_megabyte(self, keep: AsyncItemRepository) -> None:
        value = {"text": "é" * 2**19, "numbers": list(range(10_000))}
        await keep.put(("n",), "k", value)
        item = await keep.get(("n",), "k")
        assert item is not None
        assert item.value == value
        assert [found.value for found in await keep.search(filter={"text": {"$gt": "a"}})] == [value]

    async def test_many_items_at_once(self, keep: AsyncItemRepository) -> None:
        count = self.many(1200) // 3 * 3
        puts = [PutItem(namespace=("n", str(number % 3)), key=f"{number}", value=number) for number in range(count)]
        assert [item.value for item in await keep.batch(puts)] == list(range(count))
        gets = [GetItem(namespace=("n", str(number % 3)), key=f"{number}") for number in range(count + 1)]
        assert [item and item.value for item in await keep.batch(gets)] == [*range(count), None]
        assert len(await keep.search(("n",), limit=5000)) == count
        assert [await keep.clear(("n", label)) for label in "0123"] == [*[count // 3] * 3, 0]

    async def test_deep_values(self, keep: AsyncItemRepository) -> None:
        value = {"a": _nested(DEEPEST - 1)}
        await keep.put(("n",), "k", value)
        item = await keep.get(("n",), "k")
        assert item is not None
        assert item.value == value
        assert len(await keep.search(filter={"a": value["a"]})) == 1

    # -- versions and times

    async def test_versions_and_times(self, keep: AsyncItemRepository) -> None:
        first = await keep.put(("n",), "k", 1)
        last = first
        for version in range(2, 6):
            item = await keep.put(("n",), "k", 1)
            assert item.version == version
            assert item.created_at == first.created_at
            assert item.updated_at > last.updated_at
            assert await keep.get(("n",), "k") == item
            last = item
        await keep.delete(("n",), "k")
        again = await keep.put(("n",), "k", 1)
        assert again.version == 1
        assert again.created_at == again.updated_at > last.updated_at

    async def test_reading_changes_nothing(self, keep: AsyncItemRepository) -> None:
        item = await keep.put(("n",), "k", 1)
        for refresh in (None, True, False):
            assert await keep.get(("n",), "k", refresh=refresh) == item
            assert await listed(keep.list(("n",), refresh=refresh)) == [item]
            assert places(await keep.search(refresh=refresh)) == [(("n",), "k")]
        assert await keep.reindex(("n",)) == 1
        assert await keep.get(("n",), "k") == item

    async def test_later_puts_have_later_times(self, keep: AsyncItemRepository) -> None:
        items = [await keep.put(("n", f"{number % 4}"), f"{number % 7}", number) for number in range(60)]
        for namespace in (("n", "1"), ("n", "2")):
            puts = [PutItem(namespace=namespace, key=f"b{number}", value=number) for number in range(20)]
            items += await keep.batch(puts)
        appended = await self.appended(keep, ("n", "0"), list(range(20)))
        items += [item for key in appended if (item := await keep.get(("n", "0"), key))]
        assert len(items) == 120
        for one, other in pairwise(items):
            assert one.updated_at < other.updated_at

    # -- exactly as they were elsewhere

    def exact_item(self, key: str, value: Any = 1, **fields: Any) -> Item:
        """Return an item of some time ago, of the tenth version."""
        created_at = dt.datetime(2020, 2, 3, 4, 5, 6, 789012, dt.UTC)
        usual: dict[str, Any] = {
            "namespace": ("n",),
            "created_at": created_at,
            "updated_at": created_at + dt.timedelta(days=3, microseconds=1),
            "version": 10,
        }
        return Item(key=key, value=value, **usual | fields)

    async def test_restored_items_are_exact(self, keep: AsyncItemRepository) -> None:
        self.needs_method(keep, "restore")
        ends = dt.datetime(2199, 12, 31, 23, 59, 59, 123000, dt.UTC)
        items = [
            self.exact_item("a", {"text": "x", "z": [1.0, None], "a": {}}),
            self.exact_item("b", Payload(encoding="raw", data=b"\x00\xff"), version=1, expires_at=ends),
            self.exact_item("c", None, created_at=dt.datetime(1970, 1, 1, tzinfo=dt.UTC), version=2**40),
            self.exact_item(
                "d", 2, namespace=("n", "below"), updated_at=dt.datetime(2026, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
            ),
            self.exact_item("", [], namespace=()),
        ]
        assert await keep.restore(items) == 5
        for item in items:
            assert canonical(dict(await keep.get(item.namespace, item.key) or ())) == canonical(dict(item))
        assert canonical([dict(item) for item in await listed(keep.list(("n",)))]) == canonical(
            list(map(dict, items[:3]))
        )
        assert await keep.restore(items) == 5
        assert await keep.restore([]) == 0
        if self.supports("list_namespaces"):
            assert await keep.list_namespaces() == [(), ("n",), ("n", "below")]
        if self.supports("search"):
            assert [item.key for item in await keep.search(("n",), limit=1)] == ["d"]

    async def test_times_of_other_zones_and_parts_of_milliseconds(self, keep: AsyncItemRepository) -> None:
        self.needs_method(keep, "restore")
        zone = dt.timezone(dt.timedelta(hours=5, minutes=45))
        ends = dt.datetime(2100, 1, 1, 0, 0, 0, 1, zone)
        await keep.restore([self.exact_item("a", updated_at=dt.datetime(2020, 3, 1, tzinfo=zone), expires_at=ends)])
        item = await keep.get(("n",), "a")
        assert item is not None
        assert item.updated_at == dt.datetime(2020, 3, 1, tzinfo=zone)
        assert item.expires_at == dt.datetime(2100, 1, 1, 0, 0, 0, 1000, zone)
        assert item.updated_at.utcoffset() == item.expires_at.utcoffset() == dt.timedelta(0)

    async def test_puts_go_on_after_a_restore(self, keep: AsyncItemRepository) -> None:
        self.needs_method(keep, "restore")
        late = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)  # by a clock that was wrong
        restored = [self.exact_item("a"), self.exact_item("b", updated_at=late)]
        await keep.restore(restored)
        again = await keep.put(("n",), "a", 2, expected=restored[0])
        assert (again.version, again.created_at) == (11, restored[0].created_at)
        other = await keep.put(("n",), "b", 2)
        assert other.version == 11
        assert other.updated_at > late
        with pytest.raises(Conflict):
            await keep.put(("n",), "b", 3, expected=10)
        assert await keep.delete(("n",), "b", expected=11)
        fresh = await keep.put(("n",), "b", 4)
        assert fresh.version == 1
        assert fresh.created_at > other.updated_at

    async def test_a_restore_replaces(self, keep: AsyncItemRepository) -> None:
        self.needs_method(keep, "restore")
        before = await keep.put(("n",), "a", {"old": 1}, ttl=3600)
        await keep.put(("n",), "b", 2)
        assert await keep.restore([self.exact_item("a", "first"), self.exact_item("a", "last", version=3)]) == 2
        found = await keep.get(("n",), "a")
        assert found is not None
        assert (found.value, found.version, found.expires_at) == ("last", 3, None)
        assert found.updated_at < before.updated_at
        assert [item.key for item in await listed(keep.list(("n",), order="updated"))] == ["a", "b"]

    async def test_items_that_were_put_at_one_time_are_listed_by_time(self, keep: AsyncItemRepository) -> None:
        self.needs_method(keep, "restore")
        names = [f"{number:03}" for number in range(self.many(230))]
        await keep.restore([self.exact_item(name) for name in names])
        assert await keys(keep.list(("n",), order="updated")) == names
        assert await keys(keep.list(("n",), order="updated", reverse=True)) == names[::-1]

    async def test_restored_items_end(self, keep: AsyncItemRepository) -> None:
        self.needs_method(keep, "restore")
        now = dt.datetime.now(dt.UTC)
        await keep.put(("n",), "a", "stays")
        gone = self.exact_item("a", expires_at=now - dt.timedelta(seconds=1))
        soon = self.exact_item("b", expires_at=now + dt.timedelta(seconds=0.4))
        later = self.exact_item("c", expires_at=now + dt.timedelta(hours=1))
        assert await keep.restore([gone, soon, later]) == 2
        await anyio.sleep(0.6)
        assert [item.value for item in await listed(keep.list(("n",)))] == ["stays", 1]
        refreshed = await keep.get(("n",), "c", refresh=True)
        assert refreshed is not None
        assert refreshed.expires_at is not None
        assert later.expires_at is not None
        # It lives on for as long as it did from its last put to its end.
        life = later.expires_at - later.updated_at
        assert abs(refreshed.expires_at - now - life) < dt.timedelta(minutes=1)

    @pytest.mark.parametrize(
        "fields",
        [
            {"updated_at": dt.datetime(1969, 12, 31, tzinfo=dt.UTC)},
            {"created_at": dt.datetime(9999, 6, 1, tzinfo=dt.UTC)},
            {"expires_at": dt.datetime(9999, 6, 1, tzinfo=dt.UTC)},
            {"version": 2**60},
        ],
        ids=str,
    )
    async def test_items_that_cannot_be_restored(self, keep: AsyncItemRepository, fields: dict[str, Any]) -> None:
        self.needs_method(keep, "restore")
        with pytest.raises(InvalidInput):
            await keep.restore([self.exact_item("a"), self.exact_item("b", **fields)])
        assert await listed(keep.list(("n",))) == []

    @pytest.mark.parametrize("wrong", ["items", None, [1], [{"key": "a"}]], ids=str)
    async def test_what_is_no_item_cannot_be_restored(self, keep: AsyncItemRepository, wrong: Any) -> None:
        self.needs_method(keep, "restore")
        await refused("items", lambda: keep.restore(wrong))

    async def test_measure(self, keep: AsyncItemRepository) -> None:
        assert (await keep.measure(("n",))).items == 0
        assert (await keep.measure(("n",))).bytes == 0
        await keep.batch([PutItem(namespace=("n",), key=str(key), value="x" * 1000) for key in range(7)])
        await keep.put(("n", "below"), "k", "x" * 10_000)
        small = await keep.measure(("n",))
        assert small.items == 7
        assert 7000 <= small.bytes < 20_000
        await keep.put(("n",), "large", Payload(encoding="raw", data=bytes(100_000)))
        large = await keep.measure(("n",))
        assert large.items == 8
        assert small.bytes + 100_000 <= large.bytes < 400_000
        await refused("namespace", lambda: keep.measure(cast(Any, "n")))

    # -- compare and set

    async def test_compare_and_set(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        assert (await keep.put(n, "k", "a", expected=None)).version == 1
        assert (await keep.put(n, "k", "b", expected=1)).version == 2
        assert (await keep.put(n, "k", "c", expected=ANY)).version == 3
        calls: list[tuple[Any, str, Call]] = [
            (None, "put", lambda: keep.put(n, "k", "x", expected=None)),
            (1, "put", lambda: keep.put(n, "k", "x", expected=1)),
            (4, "put", lambda: keep.put(n, "k", "x", expected=4)),
            (None, "delete", lambda: keep.delete(n, "k", expected=None)),
            (2, "delete", lambda: keep.delete(n, "k", expected=2)),
        ]
        for expected, operation, call in calls:
            with pytest.raises(Conflict) as caught:
                await call()
            assert (caught.value.key, caught.value.expected, caught.value.actual) == ("k", expected, 3)
            assert caught.value.operation == operation
        item = await keep.get(n, "k")
        assert item is not None
        assert (item.value, item.version) == ("c", 3)
        assert await keep.delete(n, "k", expected=3) is True
        for call in (lambda: keep.put(n, "k", "x", expected=3), lambda: keep.delete(n, "k", expected=3)):
            with pytest.raises(Conflict) as caught:
                await call()
            assert (caught.value.key, caught.value.expected, caught.value.actual) == ("k", 3, None)
        assert await keep.get(n, "k") is None
        assert await keep.list_namespaces() == []
        assert (await keep.put(n, "k", "y", expected=None)).version == 1

    async def test_an_expected_item(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        first = await keep.put(n, "k", "a", expected=None)
        second = await keep.put(n, "k", "b", expected=first)
        assert (second.version, second.created_at) == (2, first.created_at)
        with pytest.raises(Conflict) as caught:
            await keep.put(n, "k", "x", expected=first)
        assert (caught.value.key, caught.value.expected, caught.value.actual) == ("k", 1, 2)
        [found] = await keep.search()
        third = await keep.put(n, "k", "c", expected=found)
        [read] = await listed(keep.list(n))
        results = await keep.batch(
            [
                GetItem(namespace=n, key="k"),
                PutItem(namespace=n, key="k", value="d", expected=read),
            ]
        )
        await keep.put(n, "other", 1, expected=None)
        assert [item.version for item in results] == [3, 4]
        assert results[0] == third
        assert await keep.delete(n, "k", expected=results[1]) is True
        for call in (
            lambda: keep.put(n, "k", "x", expected=results[1]),
            lambda: keep.delete(n, "k", expected=results[1]),
        ):
            with pytest.raises(Conflict) as caught:
                await call()
            assert (caught.value.expected, caught.value.actual) == (4, None)
        await refused("expected", lambda: keep.put(n, "other", 1, expected=first))
        await refused("expected", lambda: keep.put(("m",), "k", 1, expected=first))
        assert await keys(keep.list(n)) == ["other"]

    @pytest.mark.parametrize("end", ["delete", "pop", "clear", "batch", "expire"])
    async def test_an_expected_item_is_not_one_that_was_put_again(self, keep: AsyncItemRepository, end: str) -> None:
        n = ("n",)
        gone = await keep.put(n, "k", "a", ttl=0.05 if end == "expire" else None)
        if end == "expire":
            with anyio.fail_after(20):
                while await keep.get(n, "k"):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        elif end == "batch":
            await keep.batch([DeleteItem(namespace=n, key="k"), PutItem(namespace=n, key="k", value="b")])
        else:
            ends: dict[str, Call] = {
                "delete": lambda: keep.delete(n, "k"),
                "pop": lambda: self.popped(keep, n),
                "clear": lambda: keep.clear(n),
            }
            await ends[end]()
        if end != "batch":
            await keep.put(n, "k", "b")
        there = await keep.get(n, "k")
        assert there is not None
        assert (there.version, gone.version) == (1, 1)
        assert there.created_at > gone.created_at
        calls: list[Call] = [
            lambda: keep.put(n, "k", "stale", expected=gone),
            lambda: keep.delete(n, "k", expected=gone),
            lambda: keep.batch([GetItem(namespace=n, key="k"), DeleteItem(namespace=n, key="k", expected=gone)]),
        ]
        if not self.differences.batches_are_not_atomic:
            puts = [PutItem(namespace=n, key="l", value=1), PutItem(namespace=n, key="k", value=1, expected=gone)]
            calls.append(lambda: keep.batch(puts))
        for call in calls:
            with pytest.raises(Conflict, match="of the item created at") as caught:
                await call()
            assert (caught.value.key, caught.value.expected, caught.value.actual) == ("k", 1, 1)
        assert await listed(keep.list(n)) == [there]
        assert (await keep.put(n, "k", "stale", expected=1)).version == 2  # a bare version does not tell them apart

    async def test_items_of_one_key_are_created_at_different_times(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        turn: list[Any] = [PutItem(namespace=n, key="k", value=1), DeleteItem(namespace=n, key="k")]
        found = [item for _ in range(3) for item in await keep.batch(turn * 100) if isinstance(item, Item)]
        for _ in range(20):
            found.append(await keep.put(n, "k", 1, expected=None))
            await keep.delete(n, "k")
        assert {item.version for item in found} == {1}
        assert len({item.created_at for item in found}) == len(found) == 320
        # What an action of the same batch puts is another item, too.
        last = await keep.put(n, "k", 1)
        with pytest.raises(Conflict):
            await keep.batch([turn[1], turn[0], PutItem(namespace=n, key="k", value=2, expected=last)])
        with pytest.raises(Conflict):
            await keep.batch([turn[0], DeleteItem(namespace=n, key="k", expected=last)])
        assert await keep.get(n, "k") == last

    def test_a_lock_by_eight_threads(self, repository: ItemRepository) -> None:
        holders: list[int] = []
        most: list[int] = []

        def take_and_release(number: int) -> None:
            done = 0
            while done < 4:
                try:
                    lock = repository.put(("locks",), "k", number, expected=None)
                except Conflict:
                    continue
                holders.append(number)
                most.append(len(holders))
                holders.remove(number)
                assert repository.delete(("locks",), "k", expected=lock)
                done += 1
                # It belongs to somebody else by now, or to nobody.
                with pytest.raises(Conflict):
                    repository.delete(("locks",), "k", expected=lock)

        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(take_and_release, number) for number in range(8)]:
                future.result()
        assert set(most) == {1}
        assert len(most) == 32

    def test_one_of_sixteen_threads_is_the_first(self, repository: ItemRepository) -> None:
        start = threading.Barrier(16)

        def create(number: int) -> bool:
            start.wait()
            try:
                repository.put(("n",), "k", number, expected=None)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            created = list(pool.map(create, range(16)))
        assert created.count(True) == 1
        item = repository.get(("n",), "k")
        assert item is not None
        assert (item.value, item.version) == (created.index(True), 1)

    def test_a_count_by_eight_threads(self, repository: ItemRepository) -> None:
        repository.put(("n",), "k", 0)

        def count() -> None:
            for _ in range(5):
                while True:
                    item = repository.get(("n",), "k")
                    assert item is not None
                    try:
                        repository.put(("n",), "k", item.value + 1, expected=item.version)
                    except Conflict:
                        continue
                    break

        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(count) for _ in range(8)]:
                future.result()
        item = repository.get(("n",), "k")
        assert item is not None
        assert (item.value, item.version) == (40, 41)

    def test_twenty_writers_of_one_item(self, repository: ItemRepository) -> None:
        start = threading.Barrier(20)

        def write(number: int) -> list[Item]:
            start.wait()
            return [repository.put(("n",), "k", {"by": number, "text": f"{number}" * 1000}) for _ in range(5)]

        with ThreadPoolExecutor(20) as pool:
            items = [item for done in pool.map(write, range(20)) for item in done]
        items.sort(key=lambda item: item.version)
        assert [item.version for item in items] == list(range(1, 101))
        assert len({item.created_at for item in items}) == 1
        assert all(one.updated_at < other.updated_at for one, other in pairwise(items))
        last = repository.get(("n",), "k")
        assert last == items[-1]
        assert last.value["text"] == f"{last.value['by']}" * 1000
        assert len(repository.search()) == 1

    # -- batches

    async def test_a_batch_goes_in_order(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        get, delete = GetItem(namespace=n, key="k"), DeleteItem(namespace=n, key="k")
        puts = [PutItem(namespace=n, key="k", value=value) for value in ("a", "b")]
        results = await keep.batch([get, puts[0], get, puts[1], get, delete, get, delete, puts[0], get])
        found = [(item.value, item.version) if isinstance(item, Item) else item for item in results]
        assert found == [None, ("a", 1), ("a", 1), ("b", 2), ("b", 2), True, None, False, ("a", 1), ("a", 1)]
        assert results[1].created_at == results[4].created_at < results[8].created_at
        assert await keep.get(n, "k") == results[-1]

    async def test_a_batch_over_namespaces(self, keep: AsyncItemRepository) -> None:
        puts = [PutItem(namespace=(label,), key="k", value=label) for label in "abcdef"]
        gets = [GetItem(namespace=(label,), key="k") for label in "fedcba"]
        results = await keep.batch([*puts, *gets, DeleteItem(namespace=("c",), key="k")])
        assert [item.value for item in results[:12]] == list("abcdeffedcba")
        assert results[12] is True
        assert await keep.list_namespaces() == [(label,) for label in "abdef"]

    async def test_listings_in_a_batch(self, keep: AsyncItemRepository) -> None:
        n, m = ("n",), ("m",)
        for number in (3, 1, 4, 5):
            await keep.put(n, f"k{number}", number)
        await keep.put(m, "other", 1)
        every = [item async for item in keep.list(n)]
        for _ in range(2):  # the second time the keys may be known
            batch: list[GetItem | ListItems] = [
                GetItem(namespace=n, key="k3"),
                ListItems(namespace=n),
                ListItems(namespace=n, prefix="k", after="k3", limit=1),
                ListItems(namespace=n, reverse=True, limit=2),
                ListItems(namespace=n, order="updated"),
                ListItems(namespace=n, order="updated", reverse=True, limit=2, prefix="k"),
                ListItems(namespace=m),
                ListItems(namespace=n, limit=0),
                ListItems(namespace=("nobody",)),
            ]
            found = await keep.batch(batch)
            assert found[:2] == [every[1], every]
            assert [[item.key for item in part] for part in found[2:]] == [
                ["k4"],
                ["k5", "k4"],
                ["k3", "k1", "k4", "k5"],
                ["k5", "k4"],
                ["other"],
                [],
                [],
            ]

    async def test_a_listing_in_a_batch_shows_what_is_before_it(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        for key in "abcd":
            await keep.put(n, key, key)
        for order in ("key", "updated"):
            listing = ListItems(namespace=n, limit=3, order=order)
            found = await keep.batch(
                [
                    listing,
                    DeleteItem(namespace=n, key="a"),
                    listing,
                    PutItem(namespace=n, key="b", value="again"),
                    PutItem(namespace=n, key="aa", value="new"),
                    listing,
                    DeleteItem(namespace=n, key="aa"),
                    PutItem(namespace=n, key="a", value="a"),
                    PutItem(namespace=n, key="b", value="b"),
                    PutItem(namespace=n, key="c", value="c"),
                    PutItem(namespace=n, key="d", value="d"),
                ]
            )
            listed_then = [[(item.key, item.value) for item in found[at]] for at in (0, 2, 5)]
            a, b, c, d = (("a", "a"), ("b", "b"), ("c", "c"), ("d", "d"))
            changed = [("aa", "new"), ("b", "again"), c] if order == "key" else [c, d, ("b", "again")]
            assert listed_then == [[a, b, c], [b, c, d], changed]
        assert [item.version for item in await listed(keep.list(n))] == [1, 5, 3, 3]

    async def test_listings_with_expectations(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        first = await keep.put(n, "k", 1)
        [second, found] = await keep.batch(
            [PutItem(namespace=n, key="k", value=2, expected=first), ListItems(namespace=n)]
        )
        assert found == [second]
        with pytest.raises(Conflict):
            await keep.batch([PutItem(namespace=n, key="k", value=3, expected=first), ListItems(namespace=n)])
        if unit_of(keep.backend) != 0:
            put = PutItem(namespace=n, key="k", value=3, expected=second)
            await refused("operations", lambda: keep.batch([put, ListItems(namespace=("other",))]))
        assert await listed(keep.list(n)) == [second]

    @pytest.mark.parametrize("position", [0, 3, 7])
    async def test_a_batch_of_all_kinds(self, keep: AsyncItemRepository, position: int) -> None:
        self.needs_atomic_batches()
        n = ("n",)
        gate, old = await keep.put(n, "gate", "open"), await keep.put(n, "old", 1, ttl=3000)
        operations: list[ItemOperation] = [
            ListItems(namespace=n),
            CheckItem(namespace=n, key="gate", expected=gate),
            PutItem(namespace=n, key="new", value=2, expected=None),
            GetItem(namespace=n, key="new"),
            CheckItem(namespace=n, key="new", expected=1),
            DeleteItem(namespace=n, key="old", expected=old),
            ListItems(namespace=n, order="updated", reverse=True, limit=2),
        ]
        wrong = CheckItem(namespace=n, key="gate", expected=7)
        with pytest.raises(Conflict) as caught:
            await keep.batch([*operations[:position], wrong, *operations[position:]])
        assert (caught.value.key, caught.value.expected, caught.value.actual) == ("gate", 7, 1)
        assert await listed(keep.list(n)) == [gate, old]
        before, checked, new, read, again, deleted, after = await keep.batch(operations)
        assert (before, checked, read, again, deleted) == ([gate, old], None, new, None, True)
        assert after == [new, gate]
        with pytest.raises(Conflict) as caught:
            await keep.batch(operations)
        assert caught.value.key == "new"
        assert await listed(keep.list(n)) == [gate, new]

    async def test_all_kinds_about_one_item(self, keep: AsyncItemRepository) -> None:
        place = {"namespace": ("n",), "key": "k"}
        first = await keep.put(("n",), "k", 1)
        check, put = CheckItem(**place, expected=first), PutItem(**place, value=2)
        listing = ListItems(namespace=("n",))
        results = await keep.batch([check, put, GetItem(**place), CheckItem(**place, expected=2), listing])
        second = results[1]
        assert results == [None, second, second, None, [second]]
        assert (second.value, second.version) == (2, 2)
        with pytest.raises(Conflict) as caught:
            await keep.batch([check, DeleteItem(**place), listing])
        assert (caught.value.expected, caught.value.actual) == (1, 2)
        gone = CheckItem(**place, expected=None)
        assert await keep.batch([DeleteItem(**place), gone, listing]) == [True, None, []]

    async def test_how_many_items_a_batch_lists(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        most = self.many(600)
        await keep.batch([PutItem(namespace=n, key=f"{number:03}", value=number) for number in range(most)])
        halves = [ListItems(namespace=n, limit=500), ListItems(namespace=n, limit=500, reverse=True)]
        one, other = await keep.batch(halves)
        assert [item.value for item in one] == list(range(most))[:500]
        assert [item.value for item in other] == list(range(most))[::-1][:500]
        await refused("operations", lambda: keep.batch([*halves, ListItems(namespace=n, limit=1)]))

    async def test_listings_of_a_batch_leave_out_what_has_expired(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        most = self.many(240)
        await keep.batch(
            [PutItem(namespace=n, key=f"{number:03}", value=1, ttl=[None, 0.5][number % 2]) for number in range(most)]
        )
        await anyio.sleep(0.7)
        both = [ListItems(namespace=n, limit=most, order="updated"), ListItems(namespace=n, limit=3, reverse=True)]
        every, last = await keep.batch(both)
        assert [item.key for item in every] == [f"{number:03}" for number in range(0, most, 2)]
        assert last == every[::-1][:3]

    async def test_a_listing_in_a_batch_refreshes(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        before = await keep.put(n, "k", 1, ttl=1000)
        lasting = await keep.put(n, "lasting", 1)
        await anyio.sleep(0.01)
        [left] = await keep.batch([ListItems(namespace=n, refresh=False)])
        assert left == [before, lasting]
        [found] = await keep.batch([ListItems(namespace=n, refresh=True)])
        assert before.expires_at is not None
        assert found[0].expires_at > before.expires_at
        assert found == [await keep.get(n, "k", refresh=False), lasting]

    async def test_expectations_of_a_batch_are_about_what_is_before_them(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        results = await keep.batch(
            [
                PutItem(namespace=n, key="k", value="a", expected=None),
                PutItem(namespace=n, key="k", value="b", expected=1),
                DeleteItem(namespace=n, key="k", expected=2),
                DeleteItem(namespace=n, key="k", expected=None),
                PutItem(namespace=n, key="k", value="c", expected=None),
                GetItem(namespace=n, key="k"),
            ]
        )
        assert [item.version for item in (*results[:2], *results[4:])] == [1, 2, 1, 1]
        assert results[2:4] == [True, False]

    @pytest.mark.parametrize("position", range(4))
    async def test_a_batch_with_a_conflict_writes_nothing(self, keep: AsyncItemRepository, position: int) -> None:
        self.needs_atomic_batches()
        n = ("n",)
        before = [
            await keep.put(n, "there", 1, ttl=3000),
            await keep.put(n, "there too", {"a": 1}),
        ]
        operations: list[Any] = [
            PutItem(namespace=n, key="there", value=2, expected=1),
            PutItem(namespace=n, key="new", value=3, expected=None),
            DeleteItem(namespace=n, key="there too", expected=1),
        ]
        wrong: Any
        for wrong in (
            PutItem(namespace=n, key="wrong", value=0, expected=7),
            DeleteItem(namespace=n, key="wrong", expected=7),
        ):
            with pytest.raises(Conflict) as caught:
                await keep.batch([*operations[:position], wrong, *operations[position:]])
            error = caught.value
            assert (error.key, error.expected, error.actual, error.operation) == ("wrong", 7, None, "batch")
            assert await listed(keep.list(n)) == before
            assert len(await keep.search()) == 2
            assert await keep.list_namespaces() == [n]

    async def test_a_conflict_in_a_new_namespace_leaves_none(self, keep: AsyncItemRepository) -> None:
        puts = [PutItem(namespace=("n",), key="k", value=1, expected=expected) for expected in (None, None)]
        with pytest.raises(Conflict) as caught:
            await keep.batch(puts)
        assert (caught.value.expected, caught.value.actual) == (None, 1)
        assert await keep.list_namespaces() == []

    async def test_a_check_writes_nothing(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        item = await keep.put(n, "k", 1, ttl=3000)
        for expected in (1, item):
            check = CheckItem(namespace=n, key="k", expected=expected)
            assert await keep.batch([check]) == [None]
            assert await keep.batch([check, GetItem(namespace=n, key="k"), check]) == [None, item, None]
        assert await keep.batch([CheckItem(namespace=("m",), key="k", expected=None)]) == [None]
        assert await listed(keep.list(n)) == [item]
        assert await keep.list_namespaces() == [n]

    async def test_a_check_of_what_is_not_there(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        gone = await keep.put(n, "k", 1)
        await keep.delete(n, "k")
        item = await keep.put(n, "k", 2)
        for key, expected, actual in (("k", gone, 1), ("k", 2, 1), ("k", None, 1), ("other", 1, None)):
            with pytest.raises(Conflict) as caught:
                await keep.batch([CheckItem(namespace=n, key=key, expected=expected)])
            error = caught.value
            wanted = expected.version if isinstance(expected, Item) else expected
            assert (error.key, error.expected, error.actual, error.operation) == (key, wanted, actual, "batch")
        assert await listed(keep.list(n)) == [item]

    async def test_checks_are_about_what_is_before_them(self, keep: AsyncItemRepository) -> None:
        place: dict[str, Any] = {"namespace": ("n",), "key": "k"}
        put, delete = PutItem(**place, value="a"), DeleteItem(**place)
        none, first, second = (CheckItem(**place, expected=expected) for expected in (None, 1, 2))
        results = await keep.batch([none, put, first, put, second, GetItem(**place), delete, none, put, first])
        assert [item.version for item in results if isinstance(item, Item)] == [1, 2, 2, 1]
        assert results[::2] == [None, None, None, True, results[8]]
        wrong: list[list[ItemOperation]] = [[put, first], [delete, second], [put, put, none]]
        for operations in wrong:
            with pytest.raises(Conflict):
                await keep.batch(operations)
        assert await listed(keep.list(("n",))) == [results[8]]

    @pytest.mark.parametrize("position", range(3))
    async def test_a_batch_whose_check_fails_writes_nothing(self, keep: AsyncItemRepository, position: int) -> None:
        self.needs_atomic_batches()
        n = ("n",)
        before = [await keep.put(n, "goes", 1, ttl=3000), await keep.put(n, "stays", 2)]
        operations: list[ItemOperation] = [
            PutItem(namespace=n, key="new", value=3),
            DeleteItem(namespace=n, key="goes"),
        ]
        for key, expected in (("stays", 2), ("stays", None), ("stays", before[0].model_copy(update={"key": "stays"}))):
            check = CheckItem(namespace=n, key=key, expected=expected)
            with pytest.raises(Conflict) as caught:
                await keep.batch([*operations[:position], check, *operations[position:]])
            assert (caught.value.key, caught.value.actual) == ("stays", 1)
            assert await listed(keep.list(n)) == before
        check = CheckItem(namespace=n, key="stays", expected=before[1])
        results = await keep.batch([*operations[:position], check, *operations[position:]])
        assert results.pop(position) is None
        assert results[1] is True
        assert await listed(keep.list(n)) == [results[0], before[1]]

    def test_checked_by_eight_threads(self, repository: ItemRepository) -> None:
        """An item is put as long as another one is there, and never again."""
        self.needs_atomic_batches()
        n = ("n",)
        gate = repository.put(n, "gate", "open")

        def write(number: int) -> int:
            check = CheckItem(namespace=n, key="gate", expected=gate)
            for count in range(40):
                if (number, count) == (0, 10):
                    assert repository.delete(n, "gate")
                    left = len(list(repository.list(n)))
                    assert len(list(repository.list(n))) == left
                try:
                    repository.batch([PutItem(namespace=n, key=f"{number} {count}", value=1), check])
                except Conflict:
                    return count
            return 40

        with ThreadPoolExecutor(8) as pool:
            counts = list(pool.map(write, range(8)))
        assert counts[0] == 10
        assert len(list(repository.list(n))) == sum(counts)

    # -- units of several namespaces

    def unit_spaces(self, keep: AsyncItemRepository | ItemRepository) -> tuple[Namespace, Namespace, Namespace]:
        """Return two namespaces of one unit, and one of another."""
        unit = unit_of(keep.backend)
        if unit is None:
            pytest.skip("each namespace is a unit by itself")
        one: Namespace = tuple(f"l.{place}" for place in range(unit))
        return one, (*one, "below", "{x}"), (*one[:-1], "other", "below")

    async def test_a_batch_over_a_unit(self, keep: AsyncItemRepository) -> None:
        one, two, _ = self.unit_spaces(keep)
        put = PutItem(namespace=one, key="k", value="a", expected=None)
        results = await keep.batch([put, PutItem(namespace=two, key="k", value="b", ttl=3000, expected=None)])
        assert [(item.namespace, item.value) for item in results] == [(one, "a"), (two, "b")]
        assert await keep.batch([GetItem(namespace=two, key="k"), GetItem(namespace=one, key="k")]) == results[::-1]
        assert await keep.list_namespaces() == [one, two]
        assert {item.namespace for item in await keep.search(one)} == {one, two}
        assert [item.namespace for item in await keep.search(two)] == [two]
        _, gone, moved = await keep.batch(
            [
                CheckItem(namespace=one, key="k", expected=results[0]),
                DeleteItem(namespace=two, key="k", expected=results[1]),
                PutItem(namespace=(*two, "new"), key="k", value="b"),
            ]
        )
        assert gone is True
        assert [item.namespace for item in await keep.search(one)] == [(*two, "new"), one]
        assert await keep.reindex((*two, "new")) == 1
        assert await listed(keep.list((*two, "new"))) == [moved]
        assert await keep.clear(one, below=True) == 2
        assert await keep.list_namespaces() == []

    async def test_a_conflict_leaves_a_whole_unit_as_it_was(self, keep: AsyncItemRepository) -> None:
        one, two, _ = self.unit_spaces(keep)
        before = await keep.put(one, "k", 1)
        writes: list[ItemOperation] = [PutItem(namespace=two, key="k", value=2), DeleteItem(namespace=one, key="k")]
        for wrong in (
            CheckItem(namespace=one, key="other", expected=1),
            CheckItem(namespace=two, key="k", expected=7),
            PutItem(namespace=(*two, "new"), key="k", value=1, expected=1),
        ):
            for operations in ([*writes, wrong], [wrong, *writes]):
                with pytest.raises(Conflict) as caught:
                    await keep.batch(operations)
                assert caught.value.key == wrong.key
                assert await keep.list_namespaces() == [one]
                assert await listed(keep.list(one)) == [before]
                assert await listed(keep.list(two)) == []

    async def test_a_batch_lists_namespaces_of_a_unit(self, keep: AsyncItemRepository) -> None:
        one, two, _ = self.unit_spaces(keep)
        gate = await keep.put(one, "k", "open")
        await keep.batch([PutItem(namespace=two, key=key, value=key, ttl=3000) for key in "ab"])
        every = await listed(keep.list(two))
        listing = ListItems(namespace=two)
        for expected in (gate, 1):  # the second time the keys may be known
            operations: list[ItemOperation] = [
                listing,
                CheckItem(namespace=one, key="k", expected=expected),
                PutItem(namespace=two, key="c", value="c", expected=None),
                PutItem(namespace=(*two, "new"), key="c", value="c"),
                ListItems(namespace=two, order="updated", reverse=True, limit=2),
                ListItems(namespace=(*two, "new")),
                DeleteItem(namespace=two, key="c", expected=1),
                DeleteItem(namespace=(*two, "new"), key="c"),
                ListItems(namespace=one),
                ListItems(namespace=(*two, "new")),
                listing,
            ]
            before, checked, put, moved, newest, new, *deleted, own, none, after = await keep.batch(operations)
            assert (before, checked, after) == (every, None, every)
            assert (newest, new, deleted, own, none) == ([put, every[1]], [moved], [True, True], [gate], [])
        for position in range(3):
            wrong: list[ItemOperation] = [listing, PutItem(namespace=two, key="c", value="c")]
            wrong.insert(position, CheckItem(namespace=one, key="k", expected=2))
            with pytest.raises(Conflict):
                await keep.batch(wrong)
        assert await listed(keep.list(two)) == every
        assert await keep.list_namespaces() == [one, two]

    async def test_expectations_over_two_units(self, keep: AsyncItemRepository) -> None:
        one, two, other = self.unit_spaces(keep)
        if not unit_of(keep.backend):
            pytest.skip("all namespaces are one unit")
        for places in ([two, other], [one, ()], [one[:-1], two]):
            puts = [PutItem(namespace=place, key="k", value=1, expected=None) for place in places]
            await refused("operations", lambda puts=puts: keep.batch(puts))  # type: ignore[misc]
            check = CheckItem(namespace=places[0], key="k", expected=None)
            await refused("operations", lambda both=[check, *puts[1:]]: keep.batch(both))  # type: ignore[misc]
            listing = ListItems(namespace=places[1])
            await refused("operations", lambda both=[listing, check]: keep.batch(both))  # type: ignore[misc]
        assert await keep.list_namespaces() == []
        puts = [PutItem(namespace=place, key="k", value=1) for place in (one[:-1], one, two, other)]
        assert len(await keep.batch(puts)) == 4
        assert await keep.list_namespaces() == sorted({one[:-1], one, two, other})

    def test_a_sum_over_a_unit(self, repository: ItemRepository) -> None:
        """Threads move numbers between namespaces, and none gets lost or doubled."""
        spaces = self.unit_spaces(repository)[:2]
        start = [repository.put(space, "k", 100) for space in spaces]

        def move(number: int) -> None:
            for count in range(1, 6):
                while True:
                    now = repository.batch([GetItem(namespace=space, key="k") for space in spaces])
                    changes = (number + count, -number - count)
                    puts = [
                        PutItem(namespace=item.namespace, key="k", value=item.value + change, expected=item)
                        for item, change in zip(now, changes, strict=True)
                    ]
                    try:
                        repository.batch(puts)
                    except Conflict:
                        continue
                    break

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(move, range(4)))
        moved = sum(number + count for number in range(4) for count in range(1, 6))
        found = [repository.get(space, "k") for space in spaces]
        assert [item and item.value for item in found] == [100 + moved, 100 - moved]
        assert [item and item.version for item in found] == [21, 21]
        assert [item and item.created_at for item in found] == [item.created_at for item in start]

    async def test_how_many_may_have_expectations(self, keep: AsyncItemRepository) -> None:
        self.needs_atomic_batches()
        puts = [PutItem(namespace=("n",), key=f"{number:03}", value=number, expected=None) for number in range(501)]
        await refused("operations", lambda: keep.batch(puts))
        check = CheckItem(namespace=("n",), key="k", expected=None)
        if unit_of(keep.backend) != 0:
            await refused("operations", lambda: keep.batch([puts[0], GetItem(namespace=("m",), key="k")]))
            await refused("operations", lambda: keep.batch([check, PutItem(namespace=("m",), key="k", value=1)]))
        await refused("operations", lambda: keep.batch([check] * 501))
        assert await keep.list_namespaces() == []
        assert len(await keep.batch(puts[:500])) == 500
        with pytest.raises(Conflict):
            await keep.batch(
                [*(PutItem(namespace=("n",), key=f"x{number}", value=1) for number in range(499)), puts[0]]
            )
        assert len(await listed(keep.list(("n",)))) == 500

    async def test_what_is_declared_as_unsupported_is_refused(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        before = await keep.put(n, "k", 1)
        puts = [PutItem(namespace=n, key=key, value=2, expected=expected) for key, expected in (("k", 1), ("l", None))]
        calls: list[Call] = []
        if not self.supports("append"):
            calls.append(lambda: keep.append(n, [1]))
        if not self.supports("pop"):
            calls.append(lambda: keep.pop(n))
        if self.differences.batches_are_not_atomic:
            calls.append(lambda: keep.batch(puts))
            calls.append(lambda: keep.batch([puts[0], DeleteItem(namespace=n, key="l")]))
            check = CheckItem(namespace=n, key="l", expected=None)
            calls.append(lambda: keep.batch([check, PutItem(namespace=n, key="k", value=2)]))
            calls.append(lambda: keep.batch([check, CheckItem(namespace=n, key="k", expected=1)]))
            calls.append(lambda: keep.batch([ListItems(namespace=n), check]))
            calls.append(lambda: keep.batch([check, ListItems(namespace=n), DeleteItem(namespace=n, key="l")]))
        for call in calls:
            with pytest.raises(Unsupported):
                await call()
        assert await listed(keep.list(n)) == [before]

    # -- append and pop

    async def test_append(self, keep: AsyncItemRepository) -> None:
        self.needs("append")
        n = ("n",)
        await keep.put(n, "other", "x")
        found = await keep.append(n, ["a", {"b": 1}])
        found += await keep.append(n, ["c"])
        found += await keep.append(n, list(range(500)))
        assert len(set(found)) == 503
        assert found == sorted(found)
        assert all(len(key) == len(found[0]) and key.isascii() and key.isdecimal() for key in found)
        items = await listed(keep.list(n))
        assert [item.key for item in items] == [*found, "other"]
        assert [item.value for item in items] == ["a", {"b": 1}, "c", *range(500), "x"]
        assert all((item.version, item.created_at) == (1, item.updated_at) for item in items)
        assert await keep.append(("m",), []) == []
        assert await keep.list_namespaces() == [n]

    async def test_appended_keys_never_come_again(self, keep: AsyncItemRepository) -> None:
        self.needs("append")
        n = ("n",)
        [last] = await keep.append(n, ["a"])
        ends: list[Call] = [lambda: keep.pop(n), lambda: keep.clear(n), lambda: keep.delete(n, last)]
        for end in ends:
            assert await end()
            [key] = await keep.append(n, ["b"])
            assert key > last
            last = key
        await keep.put(n, last, "changed")
        assert (await keep.append(n, ["c"]))[0] > last

    async def test_append_leaves_what_is_there(self, keep: AsyncItemRepository) -> None:
        self.needs("append")
        n = ("n",)
        [key] = await keep.append(n, ["a"])
        ahead = [f"{int(key) + number:0{len(key)}}" for number in range(1, 200)]
        await filled(keep, n, dict.fromkeys(ahead, "mine"))
        added = await keep.append(n, ["b"] * 10)
        assert not {key, *ahead} & set(added)
        assert len(await listed(keep.list(n))) == 210
        assert {item.value for item in await listed(keep.list(n)) if item.key in ahead} == {"mine"}

    async def test_pop(self, keep: AsyncItemRepository) -> None:
        self.needs("pop")
        n = ("n",)
        names = ["", "\x00", "10", "9", "Z", "a", "é", "\uffff", "😀", "\U0010ffff"]
        await filled(keep, n, {key: {"of": key} for key in reversed(names)})
        await keep.put(("n", "below"), "\U0010ffff\U0010ffff", 1)
        for key in reversed(names):
            stored = await keep.get(n, key)
            assert await keep.pop(n) == stored
            assert await keep.get(n, key) is None
        assert await keep.pop(n) is None
        assert await keep.list_namespaces() == [("n", "below")]

    def test_appending_by_sixteen_threads(self, repository: ItemRepository) -> None:
        self.needs("append")
        start = threading.Barrier(16)

        def append(number: int) -> list[str]:
            start.wait()
            return [
                key
                for turn in range(5)
                for key in repository.append(("n",), [[number, turn, place] for place in range(3)])
            ]

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(append, range(16)))
        stored = {item.key: item.value for item in repository.list(("n",))}
        assert len(stored) == 240
        for number, mine in enumerate(found):
            assert mine == sorted(mine)
            assert [stored[key] for key in mine] == [[number, turn, place] for turn in range(5) for place in range(3)]

    def test_popping_by_sixteen_threads(self, repository: ItemRepository) -> None:
        self.needs("pop")
        repository.append(("n",), list(range(100)))
        start = threading.Barrier(16)

        def pop(_: int) -> list[int]:
            start.wait()
            found = []
            while item := repository.pop(("n",)):
                found.append(item.value)
            return found

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(pop, range(16)))
        assert sorted(value for mine in found for value in mine) == list(range(100))
        assert all(mine == sorted(mine, reverse=True) for mine in found)
        assert repository.list_namespaces() == []

    async def test_appending_by_sixteen_tasks(self, arepository: AsyncItemRepository) -> None:
        self.needs("append")
        found: list[str] = []

        async def append(number: int) -> None:
            found.extend(await arepository.append(("n",), [number] * 5))

        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(append, number)
        assert await keys(arepository.list(("n",))) == sorted(set(found))
        assert len(set(found)) == 80

    # -- listing

    async def test_list(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        names = ["", "\x00", "10", "9", "Z", "a", "a\x00", "ab", "a😀", "b", "é", "\uffff", "😀", "😀a"]
        assert names == sorted(names, key=str.encode)
        await filled(keep, n, dict.fromkeys([*names[::2], *names[1::2]], 1))
        await keep.put(("n", "m"), "below", 1)
        await keep.put((), "above", 1)
        for prefix in ("", "a", "a\x00", "😀", "\uffff", "*", "[a]", "c"):
            for after in (None, "", "a", "aa", "9", "a\U0010ffff", "😀", "\U0010ffff"):
                for reverse in (False, True):
                    want = [
                        name
                        for name in (reversed(names) if reverse else names)
                        if name.startswith(prefix) and (after is None or (name < after if reverse else name > after))
                    ]
                    found = await keys(keep.list(n, prefix=prefix, after=after, reverse=reverse))
                    assert found == want
                    assert await listed(keep.keys(n, prefix=prefix, after=after, reverse=reverse)) == want
                    for limit in (0, 1, 3):
                        part = await keys(keep.list(n, prefix=prefix, after=after, reverse=reverse, limit=limit))
                        assert part == want[:limit]
                        names_alone = keep.keys(n, prefix=prefix, after=after, reverse=reverse, limit=limit)
                        assert await listed(names_alone) == want[:limit]

    async def test_long_listings(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        most = self.many(321)
        names = [f"{number:03}" for number in range(most)]
        await keep.batch([PutItem(namespace=n, key=name, value=name) for name in reversed(names)])
        assert await keys(keep.list(n)) == names
        assert await keys(keep.list(n, reverse=True)) == names[::-1]
        for limit in (1, 99, 100, 101, 200, most - 1, most, most + 1, 1000):
            assert await keys(keep.list(n, limit=limit)) == names[:limit]
            assert await keys(keep.list(n, reverse=True, limit=limit)) == names[::-1][:limit]
        ones = [name for name in names[4:] if name.startswith("0")]
        assert await keys(keep.list(n, prefix="0", after="003", limit=80)) == ones[:80]
        assert await listed(keep.keys(n, prefix="0", after="003", limit=80)) == ones[:80]
        assert [item.value for item in await listed(keep.list(n, prefix="01"))] == names[10:20]

    async def test_list_by_time(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        for name in ("c", "a", "b", "aa"):
            await keep.put(n, name, {"name": name})
        await keep.put((*n, "below"), "z", 1)
        await keep.put(n, "a", {"name": "a again"}, ttl=1000)
        assert await keys(keep.list(n, order="updated")) == ["c", "b", "aa", "a"]
        assert await keys(keep.list(n, order="updated", reverse=True)) == ["a", "aa", "b", "c"]
        assert await keys(keep.list(n, order="updated", prefix="a")) == ["aa", "a"]
        assert await keys(keep.list(n, order="updated", prefix="a", reverse=True, limit=1)) == ["a"]
        assert await keys(keep.list(n, order="updated", filter={"name": {"$gt": "a "}}, limit=2)) == ["c", "b"]
        assert await keys(keep.list(n, order="updated", reverse=True, offset=1, limit=2)) == ["aa", "b"]
        assert await keys(keep.list(n, order="updated", prefix="x")) == []
        await keep.delete(n, "b")
        assert await keys(keep.list(n, order="updated")) == ["c", "aa", "a"]
        [last] = await listed(keep.list(n, order="updated", reverse=True, limit=1))
        assert last == await keep.get(n, "a")

    async def test_long_listings_by_time(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        most = self.many(321)
        names = [f"{number % 7}{number:03}" for number in range(most)]
        await keep.batch([PutItem(namespace=n, key=name, value=name) for name in names])
        assert await keys(keep.list(n, order="updated")) == names
        assert await keys(keep.list(n, order="updated", reverse=True)) == names[::-1]
        for limit in (1, 99, 100, 101, most - 1, most, most + 1):
            assert await keys(keep.list(n, order="updated", limit=limit)) == names[:limit]
            assert await keys(keep.list(n, order="updated", reverse=True, limit=limit)) == names[::-1][:limit]
        threes = [name for name in names if name.startswith("3")]
        assert await keys(keep.list(n, order="updated", prefix="3")) == threes
        assert await keys(keep.list(n, order="updated", prefix="3", reverse=True, limit=2)) == threes[::-1][:2]

    async def test_offset_of_a_listing(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        most = self.many(640)
        names = [f"{number:03}" for number in range(most)]
        puts = [PutItem(namespace=n, key=name, value={"odd": int(name) % 2}) for name in names]
        await keep.batch(puts)
        odd = names[1::2]
        for offset in (0, 1, 2, 150, most // 2 - 1, most - 1, most, most + 1):
            assert await keys(keep.list(n, offset=offset)) == names[offset:]
            assert await keys(keep.list(n, offset=offset, limit=3, reverse=True)) == names[::-1][offset:][:3]
            assert await keys(keep.list(n, offset=offset, after="001", limit=2)) == names[2:][offset:][:2]
            assert await keys(keep.list(n, offset=offset, filter={"odd": 1}, limit=2)) == odd[offset:][:2]
        await keep.batch([DeleteItem(namespace=n, key=name) for name in names[:5]])
        assert await keys(keep.list(n, offset=1)) == names[6:]

    async def test_offset_skips_what_has_expired(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        puts = [PutItem(namespace=n, key=f"{number}", value=1, ttl=[0.5, None][number % 2]) for number in range(8)]
        await keep.batch(puts)
        await anyio.sleep(0.7)
        assert await keys(keep.list(n, offset=1)) == ["3", "5", "7"]
        assert len(await keys(keep.list(n, offset=3, order="updated"))) == 1
        assert await keys(keep.list(n, offset=4)) == []

    @pytest.mark.parametrize("reverse", [False, True])
    async def test_a_listing_by_time_ends_although_its_items_are_put_again(
        self, keep: AsyncItemRepository, reverse: bool
    ) -> None:
        n = ("n",)
        most = self.many(230)
        for number in range(most):
            await keep.put(n, f"{number:03}", number)
        found = []
        async for item in keep.list(n, order="updated", reverse=reverse):
            found.append(item.value)
            await keep.put(n, item.key, item.value)
        assert found == sorted(range(most), reverse=reverse)

    async def test_keys_alone(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        assert await listed(keep.keys(n)) == []
        most = self.many(1203)
        names = [f"{number:04}" for number in range(most)]
        await keep.batch([PutItem(namespace=n, key=name, value=name) for name in reversed(names)])
        assert await listed(keep.keys(n)) == names
        assert await listed(keep.keys(n, reverse=True, after=names[-2])) == names[-3::-1]
        for limit in (1, most - 1, most, most + 1):
            assert await listed(keep.keys(n, limit=limit)) == names[:limit]
            assert await listed(keep.keys(n, limit=limit, reverse=True)) == names[::-1][:limit]
        await keep.batch([DeleteItem(namespace=n, key=name) for name in names[:3]])
        assert await listed(keep.keys(n, limit=3)) == names[3:6]
        await keep.clear(n)
        assert await listed(keep.keys(n)) == []

    async def test_keys_of_what_has_expired(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        most = self.many(240)
        names = [f"{number:03}" for number in range(most)]
        await keep.batch(
            [PutItem(namespace=n, key=name, value=1, ttl=0.5 if int(name) % 2 else None) for name in names]
        )
        assert set(names[::2]) <= set(await listed(keep.keys(n)))
        await anyio.sleep(0.7)
        assert await listed(keep.keys(n)) == names[::2]
        assert await listed(keep.keys(n, reverse=True, limit=2)) == names[::2][:-3:-1]

    async def test_keys_refresh_nothing(self, keep: AsyncItemRepository) -> None:
        item = await keep.put(("n",), "k", 1, ttl=1000)
        await anyio.sleep(0.01)
        assert await listed(keep.keys(("n",))) == ["k"]
        assert await keep.get(("n",), "k", refresh=False) == item

    async def test_a_listing_that_is_left_early(self, keep: AsyncItemRepository) -> None:
        most = self.many(250)
        await self.appended(keep, ("n",), list(range(most)))
        async with aclosing(cast(Any, keep.list(("n",)))) as items:
            async for item in items:
                assert item.value == 0
                break
        assert len(await keys(keep.list(("n",)))) == most

    @pytest.mark.parametrize("reverse", [False, True])
    async def test_changes_while_listing(self, keep: AsyncItemRepository, reverse: bool) -> None:
        n = ("n",)
        names = [f"{number:03}" for number in range(100, 400)]
        await keep.batch([PutItem(namespace=n, key=name, value=1) for name in names])
        found = []
        async for item in keep.list(n, reverse=reverse):
            found.append(item.key)
            if len(found) == 5:
                gone = [*names[10:20], *names[-20:-10], item.key]
                await keep.batch([DeleteItem(namespace=n, key=name) for name in gone])
                await keep.put(n, "000", 1)
                await keep.put(n, "999", 1)
        assert found == sorted(set(found), reverse=reverse)
        assert {*names[20:-20]} <= set(found)
        assert len(set(found) & {*names[10:20], *names[-20:-10]}) <= 10  # those of pages that were not read yet

    async def test_list_while_all_is_deleted(self, keep: AsyncItemRepository) -> None:
        most = 250 if self.divisor == 1 else 110  # more than a page
        await self.appended(keep, ("n",), list(range(most)))
        found: list[Any] = []
        async for item in keep.list(("n",)):
            if not found:
                await keep.clear(("n",))
            found.append(item.value)
        assert found == list(range(len(found)))
        assert len(found) < most

    # -- searching without an index

    async def test_search_is_newest_first(self, keep: AsyncItemRepository) -> None:
        for number in range(30):
            await keep.put(("n", f"{number % 3}"), f"{number}", number)
        await keep.put(("n", "0"), "3", "again")
        want = ["again", *(number for number in range(29, -1, -1) if number != 3)]
        for offset in (0, 1, 10, 29, 30, 31, 1000):
            for limit in (0, 1, 10, 30, 31, 1000):
                found = await keep.search(("n",), limit=limit, offset=offset)
                assert [item.value for item in found] == want[offset : offset + limit]
                assert all(item.score is None for item in found)
        assert [item.value for item in await keep.search()] == want[:10]
        assert [item.value for item in await keep.search(("n", "1"), offset=8)] == [4, 1]

    async def test_a_query_without_an_index_means_nothing(self, keep: AsyncItemRepository) -> None:
        await filled(keep, ("n",), {"1": {"text": "cat"}, "2": {"text": "dog"}})
        for query in (None, "", "cat"):
            found = await keep.search(query=query)
            assert [(item.key, item.score) for item in found] == [("2", None), ("1", None)]
        await keep.put(("n",), "3", {"text": "cow"}, index=["text"])
        await keep.put(("n",), "4", {"text": "hen"}, index=False)
        assert [item.key for item in await keep.search(query="cow", limit=1)] == ["4"]

    async def test_setup(self, keep: AsyncItemRepository) -> None:
        status = await keep.setup()
        assert type(status) is SearchStatus
        await keep.put(("n",), "k", 1)
        assert await keep.setup() == status
        assert len(await keep.search()) == 1

    async def test_search_goes_by_whole_labels(self, keep: AsyncItemRepository) -> None:
        namespaces: list[Namespace] = [
            ("user",),
            ("users",),
            ("user", "1"),
            ("user", "12"),
            ("user", "1", "2"),
            ("u",),
            (),
        ]
        for namespace in namespaces:
            await keep.put(namespace, "k", 1)
        for prefix in (*namespaces, ("user", "1", "2", "3"), ("user", "2"), ("use",), ("user*",), ("*",)):
            found = {item.namespace for item in await keep.search(prefix)}
            assert found == {namespace for namespace in namespaces if namespace[: len(prefix)] == tuple(prefix)}

    @pytest.mark.parametrize(
        ("filter", "want"),
        [
            ({}, "0 1 1.0 9 10 text true null list none scalar array"),
            ({"n": 1}, "1 1.0"),
            ({"n": 1.0}, "1 1.0"),
            ({"n": True}, "true"),
            ({"n": False}, ""),
            ({"n": "10"}, "text"),
            ({"n": None}, "null none scalar array"),
            ({"n": [1]}, "list"),
            ({"n": [True]}, ""),
            ({"n": [1, 1]}, ""),
            ({"n": []}, ""),
            ({"n": {"$eq": 1}}, "1 1.0"),
            ({"n": {"$eq": None}}, "null none scalar array"),
            ({"n": {"$eq": [1.0]}}, "list"),
            ({"n": {"$ne": 1}}, "0 9 10 text true null list none scalar array"),
            ({"n": {"$ne": None}}, "0 1 1.0 9 10 text true list"),
            ({"n": {"$gt": 1}}, "9 10"),
            ({"n": {"$gte": 1}}, "1 1.0 9 10"),
            ({"n": {"$lt": 9.5}}, "0 1 1.0 9"),
            ({"n": {"$lte": 0}}, "0"),
            ({"n": {"$gt": 0, "$lt": 9}}, "1 1.0"),
            ({"n": {"$gt": -math.inf, "$ne": 9}}, "0 1 1.0 10"),
            ({"n": {"$lt": math.nan}}, ""),
            ({"n": {"$gt": "1"}}, "text"),
            ({"n": {"$gt": None}}, ""),
            ({"n": {"$gte": True}}, ""),
            ({"n": {"$gte": [1]}}, ""),
            ({"s": {"$gt": "1"}}, "1.0 9 10"),
            ({"s": {"$lte": "10"}}, "0 1 1.0"),
            ({"s": {"$gt": 1}}, ""),
            ({"b": True}, "1"),
            ({"b": False}, "1.0"),
            ({"b": 1}, "10"),
            ({"b": 0}, ""),
            ({"b": None}, "0 9 text true null list none scalar array"),
            ({"b": {"$ne": True}}, "0 1.0 9 10 text true null list none scalar array"),
            ({"tags": {"a": 1}}, "text"),
            ({"tags": {"a": {"$gte": 1}}}, "text true"),
            ({"tags": {"b": {"c": [1, 2]}}}, "text"),
            ({"tags": {"b": {"c": [1, {"$gt": 1}]}}}, "text"),
            ({"tags": {"b": {"c": [1]}}}, ""),
            ({"tags": {"c": None}}, "text true"),
            ({"tags": {}}, "text true"),
            ({"tags": [{"a": 1}, 3]}, "list"),
            ({"tags": {"$eq": {"a": 2}}}, "true"),
            ({"tags": {"$eq": {"a": 1}}}, ""),
            ({"n": 1, "s": "10"}, "1.0"),
            ({"n": 1, "missing": None}, "1 1.0"),
            ({"n": 1, "missing": 1}, ""),
            ({"missing": {"$ne": 1}, "n": {"$lt": 1}}, "0"),
            ({"missing": {"$lt": 1}}, ""),
            ({"tags.a": 1}, ""),
        ],
        ids=str,
    )
    async def test_filters(self, keep: AsyncItemRepository, filter: dict[str, Any], want: str) -> None:
        await keep.batch([PutItem(namespace=("n",), key=key, value=value) for key, value in FILTERED.items()])
        await keep.put(("m",), "other", {"n": 1})
        newest_first = want.split()[::-1]
        assert [item.key for item in await keep.search(("n",), filter=filter, limit=100)] == newest_first
        assert [item.key for item in await keep.search(("n",), filter=filter, limit=2, offset=1)] == newest_first[1:3]

    async def test_filters_come_before_offset_and_limit(self, keep: AsyncItemRepository) -> None:
        await keep.batch(
            [PutItem(namespace=("n",), key=f"{number}", value={"odd": number % 50 == 1}) for number in range(400)]
        )
        assert [item.key for item in await keep.search(filter={"odd": True}, limit=3, offset=2)] == [
            "251",
            "201",
            "151",
        ]

    # -- namespaces

    async def test_list_namespaces(self, keep: AsyncItemRepository) -> None:
        stored: list[Namespace] = [
            (), ("a",), ("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "c", "f"), ("a.b", "c"),
            ("b", "a"), ("b", "b", "b"), ("é", "*"),
        ]  # fmt: skip
        for namespace in reversed(stored):
            await filled(keep, namespace, {"1": 1, "2": 2})
        cases: list[tuple[dict[str, Any], list[Namespace]]] = [
            ({}, stored),
            ({"prefix": ("a",)}, stored[1:6]),
            ({"prefix": ("a", "b")}, stored[2:5]),
            ({"prefix": ("a", "*", "c")}, stored[2:3]),
            ({"prefix": ("*",)}, stored[1:]),
            ({"prefix": ("*", "b")}, [*stored[2:5], stored[8]]),
            ({"prefix": ["a", "*", "*", "*"]}, stored[3:5]),
            ({"prefix": ("a*",)}, []),
            ({"suffix": ("c",)}, [stored[2], stored[6]]),
            ({"suffix": ("b", "*")}, [stored[2], stored[7], stored[8]]),
            ({"suffix": ("*", "*", "*", "*")}, stored[3:5]),
            ({"suffix": ("a",)}, [stored[1], stored[7]]),
            ({"prefix": ("a",), "suffix": ("e",)}, stored[3:4]),
            ({"prefix": ("a", "b", "c"), "suffix": ("b", "c")}, stored[2:3]),
            ({"max_depth": 1}, [(), ("a",), ("a.b",), ("b",), ("é",)]),
            ({"max_depth": 2, "prefix": ("a",)}, [("a",), ("a", "b"), ("a", "c")]),
            ({"max_depth": 3, "suffix": ("i",)}, [("a", "b", "d")]),
            ({"max_depth": 100}, stored),
            ({"max_depth": 1, "offset": 1, "limit": 2}, [("a",), ("a.b",)]),
            ({"limit": 0}, []),
            ({"limit": 3}, stored[:3]),
            ({"offset": 8}, stored[8:]),
            ({"offset": 11}, []),
            ({"offset": 2, "limit": 100}, stored[2:]),
            ({"matches": [NamespaceMatch(where="prefix", path=("*", "b"))]}, [*stored[2:5], stored[8]]),
            (
                {
                    "prefix": ("a",),
                    "matches": [
                        NamespaceMatch(where="prefix", path=("*", "b")),
                        NamespaceMatch(where="suffix", path=("d", "*")),
                    ],
                },
                stored[3:5],
            ),
            ({"matches": [NamespaceMatch(where="suffix", path=())]}, stored),
        ]
        for conditions, want in cases:
            assert await keep.list_namespaces(**conditions) == want, conditions

    async def test_empty_namespaces_are_gone(self, keep: AsyncItemRepository) -> None:
        n, m = ("n",), ("n", "m")
        ends: list[Call] = [
            lambda: keep.delete(n, "k"),
            lambda: self.popped(keep, n),
            lambda: keep.clear(n),
            lambda: keep.batch([DeleteItem(namespace=n, key="k")]),
        ]
        await keep.put(m, "k", 1)
        await keep.get(("never",), "k")
        for end in ends:
            await keep.put(n, "k", 1)
            assert await keep.list_namespaces() == [n, m]
            await end()
            assert await keep.list_namespaces() == [m]

    async def test_many_namespaces(self, keep: AsyncItemRepository) -> None:
        most = self.many(250)
        await keep.batch([PutItem(namespace=("n", f"{number:03}"), key="k", value=1) for number in range(most)])
        assert await keep.list_namespaces() == [("n", f"{number:03}") for number in range(most)]
        assert await keep.list_namespaces(offset=most // 2, limit=2) == [
            ("n", f"{most // 2 + number:03}") for number in range(2)
        ]
        assert await keep.list_namespaces(max_depth=1) == [("n",)]
        assert await keep.list_namespaces(suffix=("2*",)) == []

    # -- clear, reindex

    async def test_clear(self, keep: AsyncItemRepository) -> None:
        each, times = self.many(500), 3 if self.supports("append") else 1
        for _ in range(times):
            await self.appended(keep, ("n",), list(range(each)))
        for namespace in ((), ("n", "below"), ("n2",)):
            await keep.put(namespace, "k", 1)
        assert await keep.clear(("n",)) == times * each
        assert await keep.clear(("n",)) == 0
        assert await listed(keep.list(("n",))) == []
        assert len(await keep.search()) == 3
        assert await keep.list_namespaces() == [(), ("n", "below"), ("n2",)]
        assert (await keep.put(("n",), "k", 1)).version == 1

    async def test_clear_below(self, keep: AsyncItemRepository) -> None:
        stays: list[Namespace] = [
            (),
            ("a",),
            ("ab",),
            ("a", "bc"),
            ("a", "b.c"),
            ("b", "a", "b"),
            ("a", "B"),
            ("a", "*"),
        ]
        goes: list[Namespace] = [
            ("a", "b"),
            ("a", "b", "c"),
            ("a", "b", "*", "\x00"),
            ("a", "b", "a", "b"),
            ("a", "b", "\x01"),
        ]
        many: list[Namespace] = [("a", "b", "users", f"{number:03}") for number in range(self.many(120))]
        await keep.batch([PutItem(namespace=space, key="k", value=1) for space in (*stays, *goes, *many)])
        each, times = self.many(500), 2 if self.supports("append") else 1
        for _ in range(times):
            await self.appended(keep, ("a", "b", "log"), list(range(each)))
        await self.appended(keep, ("a", "b"), list(range(4)))
        await keep.put(("a", "b", "c"), "ends", 1, ttl=1000)
        with anyio.fail_after(20):
            await keep.put(("a", "b", "ended"), "k", 1, ttl=0.05)
            while await keep.get(("a", "b", "ended"), "k"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert await keep.clear(("a", "b"), below=False) == 5
        assert await keep.clear(("a", "b", "no", "such"), below=True) == 0
        await keep.put(("a", "b"), "k", 1)
        assert await keep.clear(("a", "b"), below=True) == len(goes) + len(many) + times * each + 1
        assert await keep.clear(("a", "b"), below=True) == 0
        assert await keep.list_namespaces() == sorted(stays)
        assert await keep.search(("a", "b")) == []
        assert {item.namespace for item in await keep.search(limit=100)} == set(stays)
        assert await keep.clear((), below=True) == len(stays)
        assert await keep.list_namespaces() == []
        assert await keep.search() == []

    async def test_reindex(self, keep: AsyncItemRepository) -> None:
        most = self.many(250)
        await self.appended(keep, ("n",), list(range(most)))
        await keep.put(("n", "m"), "k", 1)
        before = await listed(keep.list(("n",)))
        found = await keep.search(limit=1000)
        assert await keep.reindex(("n",)) == most
        assert await keep.reindex(("n", "m")) == 1
        assert await keep.reindex(()) == 0
        assert await listed(keep.list(("n",))) == before
        assert await keep.search(limit=1000) == found
        assert await keep.list_namespaces() == [("n",), ("n", "m")]

    # -- expiry

    @pytest.mark.parametrize("ttl", [0.5, 1, 3600, 0.0123456, 86400 * 365.25 * 100])
    async def test_when_items_end(self, keep: AsyncItemRepository, ttl: float) -> None:
        began = time.monotonic()
        [put] = await keep.batch([PutItem(namespace=("n",), key="k", value=1, ttl=ttl)])
        items = [put, await keep.put(("n",), "k2", 1, ttl=ttl)]
        if ttl > 60:
            items.append(await keep.get(("n",), "k"))
            if self.supports("append"):
                [key] = await keep.append(("n",), [1], ttl=ttl)
                items.append(await keep.get(("n",), key))
        took = time.monotonic() - began
        for item in items:
            assert item is not None
            assert item.expires_at is not None
            assert item.expires_at.utcoffset() == dt.timedelta(0)
            assert item.expires_at.microsecond % 1000 == 0
            # Up to a millisecond later than asked for; the rest is what two clocks may differ by, and how long it took.
            assert -0.05 < (item.expires_at - item.updated_at).total_seconds() - ttl < 0.05 + took

    async def test_the_expired_are_gone(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        stays = [await keep.put(n, "stays", 1), await keep.put(("n", "stays"), "k", 1, ttl=3600)]
        await keep.put(n, "0", 1, ttl=0.2)
        await keep.put(n, "zzz", 1)
        brief = await keep.put(n, "zzz", {"brief": True}, ttl=0.2)
        assert brief.version == 2
        await keep.put(("brief",), "k", 1, ttl=0.2)
        with anyio.fail_after(20):
            while await keep.get(n, "zzz") or await keep.get(("brief",), "k"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert await listed(keep.list(n)) == stays[:1]
        assert await keep.batch([GetItem(namespace=n, key="zzz")]) == [None]
        assert places(await keep.search()) == [(("n", "stays"), "k"), (n, "stays")]
        assert await keep.list_namespaces() == [n, ("n", "stays")]
        assert await keep.reindex(n) == 1
        assert await keep.reindex(("brief",)) == 0
        assert await keep.clear(("brief",)) == 0
        assert await keep.delete(n, "zzz", expected=None) is False
        with pytest.raises(Conflict) as caught:
            await keep.put(n, "zzz", 1, expected=2)
        assert caught.value.actual is None
        again = await keep.put(n, "zzz", 1, expected=None)
        assert (again.version, again.expires_at) == (1, None)
        assert again.created_at == again.updated_at > brief.updated_at
        assert await keep.delete(n, "zzz") is True
        assert await self.popped(keep, n) == stays[0]
        assert await self.popped(keep, n) is None

    async def test_what_expires_while_it_is_listed(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        names = [f"{number:03}" for number in range(240)]
        await keep.batch(
            [PutItem(namespace=n, key=name, value=1, ttl=0.5 if int(name) % 2 else None) for name in names]
        )
        found: list[str] = []
        async for item in keep.list(n):
            if not found:
                await anyio.sleep(0.7)
            found.append(item.key)
        assert found == sorted(set(found))
        assert set(names[::2]) <= set(found)
        assert not {name for name in names[-110:] if int(name) % 2} & set(found)

    async def test_every_put_says_anew_when_the_item_ends(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        first = await keep.put(n, "k", 1, ttl=1000)
        second = await keep.put(n, "k", 1, ttl=100)
        assert first.expires_at is not None
        assert second.expires_at is not None
        assert second.expires_at < first.expires_at
        assert (await keep.put(n, "k", 1)).expires_at is None
        assert (await keep.put(n, "k", 1, ttl=50)).expires_at is not None
        assert (await keep.put(n, "k", 1, ttl=None)).expires_at is None
        assert await keep.get(n, "k") == await keep.get(n, "k", refresh=True)

    async def test_an_item_that_was_to_end_and_is_not_any_more(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        await keep.put(n, "k", 1, ttl=0.1)
        await keep.put(n, "k", 2)
        await anyio.sleep(0.3)
        assert [item.value for item in await listed(keep.list(n))] == [2]
        assert len(await keep.search()) == 1
        assert await keep.list_namespaces() == [n]

    async def test_refresh(self, keep: AsyncItemRepository) -> None:
        n = ("n",)

        async def got(refresh: bool | None) -> Item | None:
            return await keep.get(n, "k", refresh=refresh)

        async def from_list(refresh: bool | None) -> Item | None:
            return (await listed(keep.list(n, refresh=refresh)))[0]

        async def from_search(refresh: bool | None) -> Item | None:
            _, found = await keep.search(refresh=refresh)
            return Item(**{name: getattr(found, name) for name in Item.model_fields})

        async def from_batch(refresh: bool | None) -> Item | None:
            found: list[Item] = await keep.batch([GetItem(namespace=n, key="k", refresh=refresh)])
            return found[0]

        item = await keep.put(n, "k", 1, ttl=1000)
        other = await keep.put(n, "other", 1)
        for read in (got, from_list, from_search, from_batch):
            await anyio.sleep(0.005)
            assert await read(None) == item
            assert await read(False) == item
            refreshed = await read(True)
            assert refreshed is not None
            assert refreshed.expires_at is not None
            assert item.expires_at is not None
            assert refreshed.expires_at > item.expires_at
            assert refreshed.model_copy(update={"expires_at": item.expires_at}) == item
            assert await got(None) == refreshed
            item = refreshed
        assert await keep.get(n, "other", refresh=True) == other

    async def test_only_what_is_returned_is_refreshed(self, keep: AsyncItemRepository) -> None:
        n = ("n",)
        items = {key: await keep.put(n, key, key, ttl=1000) for key in "abcd"}
        await anyio.sleep(0.005)
        assert await keys(keep.list(n, after="a", limit=1, refresh=True)) == ["b"]
        assert [item.key for item in await keep.search(limit=1, offset=1, refresh=True)] == ["c"]
        assert await keep.search(filter={"x": 1}, refresh=True) == []
        for key, item in items.items():
            assert ((await keep.get(n, key)) == item) is (key in "ad")

    # -- bad input

    @pytest.mark.parametrize("name", NO_JSON)
    async def test_values_that_json_cannot_hold(self, keep: AsyncItemRepository, name: str) -> None:
        n, bad = ("n",), NO_JSON[name]
        before = await keep.put(n, "k", "before")

        async def batch() -> None:
            await keep.batch([PutItem(namespace=n, key="new", value=1), PutItem(namespace=n, key="k", value=bad)])

        await refused("value", lambda: keep.put(n, "k", bad))
        await refused("value", lambda: keep.put(("m",), "k", {"a": [bad]}))
        await refused("value", batch)
        await refused("values", lambda: keep.append(n, [1, bad]))
        assert await listed(keep.list(n)) == [before]
        assert await keep.list_namespaces() == [n]

    @pytest.mark.parametrize(
        "bad",
        [
            "n",
            b"n",
            None,
            1,
            [""],
            ["n", ""],
            ["n", 1],
            [b"n"],
            ["n", "\ud800"],
            [["n"]],
            pytest.param([TOO_LONG], id="too long label"),
            pytest.param([TOO_LONG[2:], "xx"], id="too long together"),
            pytest.param(["x"] * (MOST_LABELS + 1), id="too many"),
        ],
    )
    async def test_bad_namespaces(self, keep: AsyncItemRepository, bad: Any) -> None:
        calls: list[tuple[str, Call]] = [
            ("namespace", lambda: keep.get(bad, "k")),
            ("namespace", lambda: keep.put(bad, "k", 1)),
            ("namespace", lambda: keep.delete(bad, "k")),
            ("namespace", lambda: keep.append(bad, [1])),
            ("namespace", lambda: keep.pop(bad)),
            ("namespace", lambda: listed(keep.list(bad))),
            ("namespace_prefix", lambda: keep.search(bad)),
            ("prefix", lambda: keep.list_namespaces(prefix=bad)),
            ("suffix", lambda: keep.list_namespaces(suffix=bad)),
            ("namespace", lambda: keep.clear(bad)),
            ("namespace", lambda: keep.clear(bad, below=True)),
            ("namespace", lambda: keep.reindex(bad)),
        ]
        for field, call in calls:
            await refused(field, call)
        assert await keep.list_namespaces() == []

    async def test_the_longest_ids(self, keep: AsyncItemRepository) -> None:
        key = "é" * (LONGEST_ID // 2)
        for namespace in [
            (":" * LONGEST_ID,),
            ("a", "é" * (LONGEST_ID // 2 - 1), "b"),
            ("é" * (LONGEST_ID // 2 // MOST_LABELS),) * MOST_LABELS,
        ]:
            put = await keep.put(namespace, key, {"a": 1})
            assert await keep.get(namespace, key) == put
            assert await listed(keep.list(namespace, prefix=key)) == [put]
            assert places(await keep.search(namespace[:1])) == [(namespace, key)]
            assert await keep.list_namespaces(prefix=namespace) == [namespace]
            if self.supports("append"):
                [number] = await keep.append(namespace, [1])
                assert await keep.delete(namespace, number)
            assert await self.popped(keep, namespace) == put

    async def test_huge_numbers_are_numbers(self, keep: AsyncItemRepository) -> None:
        n, huge = ("n",), 10**400
        put = await keep.put(n, "k", 1)
        assert await listed(keep.list(n, limit=huge)) == [put]
        assert places(await keep.search(n, limit=huge)) == [(n, "k")]
        assert await keep.search(n, offset=huge) == []
        assert await keep.list_namespaces(limit=huge, max_depth=huge) == [n]
        assert await keep.list_namespaces(offset=huge) == []
        with pytest.raises(Conflict):
            await keep.put(n, "k", 1, expected=huge)
        await refused("expected", lambda: keep.put(n, "k", 1, expected=10**5000))

    @pytest.mark.parametrize("bad", [None, 1, b"k", ["k"], "\ud800", pytest.param(TOO_LONG, id="too long")])
    async def test_bad_keys(self, keep: AsyncItemRepository, bad: Any) -> None:
        n = ("n",)
        await refused("key", lambda: keep.get(n, bad))
        await refused("key", lambda: keep.put(n, bad, 1))
        await refused("key", lambda: keep.delete(n, bad))
        if bad is not None:
            await refused("after", lambda: listed(keep.list(n, after=bad)))
        if bad == TOO_LONG:
            assert await listed(keep.list(n, prefix=bad)) == []
            assert await keep.search(query=bad) == []
        else:
            await refused("prefix", lambda: listed(keep.list(n, prefix=bad)))
            if bad is not None:
                await refused("query", lambda: keep.search(query=bad))
        assert await keep.list_namespaces() == []

    @pytest.mark.parametrize(
        "bad", [0, -1, 1e300, 10**400, math.nan, math.inf, -math.inf, True, "60", b"1", Decimal(1), Fraction(1)]
    )
    async def test_bad_ttl(self, keep: AsyncItemRepository, bad: Any) -> None:
        n = ("n",)
        await refused("ttl", lambda: keep.put(n, "k", 1, ttl=bad))
        await refused("ttl", lambda: keep.append(n, [1], ttl=bad))
        await refused("ttl", lambda: keep.batch([PutItem(namespace=n, key="k", value=1, ttl=bad)]))
        assert await keep.list_namespaces() == []

    @pytest.mark.parametrize("bad", [0, -1, 1.0, True, "1", "any", [1]])
    async def test_bad_expectations(self, keep: AsyncItemRepository, bad: Any) -> None:
        n = ("n",)

        async def put() -> None:
            PutItem(namespace=n, key="k", value=1, expected=bad)

        async def delete() -> None:
            DeleteItem(namespace=n, key="k", expected=bad)

        async def check() -> None:
            CheckItem(namespace=n, key="k", expected=bad)

        await refused("expected", check)
        await refused("expected", lambda: keep.put(n, "k", 1, expected=bad))
        await refused("expected", lambda: keep.delete(n, "k", expected=bad))
        await refused("expected", put)
        await refused("expected", delete)
        assert await keep.list_namespaces() == []

    async def test_bad_arguments(self, keep: AsyncItemRepository) -> None:
        untyped: Any = keep
        n = ("n",)
        before = await keep.put(n, "k", 1)
        calls: list[tuple[str, Call]] = [
            ("refresh", lambda: untyped.get(n, "k", refresh=1)),
            ("refresh", lambda: listed(untyped.list(n, refresh="yes"))),
            ("refresh", lambda: untyped.search(refresh=0)),
            ("index", lambda: untyped.put(n, "k", 2, index="text")),
            ("index", lambda: untyped.put(n, "k", 2, index=True)),
            ("index", lambda: untyped.put(n, "k", 2, index=["a["])),
            ("index", lambda: untyped.append(n, [2], index=[1])),
            ("values", lambda: untyped.append(n, "text")),
            ("values", lambda: untyped.append(n, {"a": 1})),
            ("values", lambda: untyped.append(n, (value for value in [1]))),
            ("values", lambda: untyped.append(n, [1] * 501)),
            ("limit", lambda: listed(untyped.list(n, limit=-1))),
            ("limit", lambda: listed(untyped.list(n, limit=True))),
            ("reverse", lambda: listed(untyped.list(n, reverse=None))),
            ("order", lambda: listed(untyped.list(n, order="time"))),
            ("order", lambda: listed(untyped.list(n, order=None))),
            ("after", lambda: listed(untyped.list(n, order="updated", after="k"))),
            ("offset", lambda: listed(untyped.list(n, offset=-1))),
            ("offset", lambda: listed(untyped.list(n, offset=None))),
            ("filter", lambda: listed(untyped.list(n, filter={"a": {"$like": 1}}))),
            ("filter", lambda: listed(untyped.list(n, filter=[]))),
            ("prefix", lambda: listed(untyped.keys(n, prefix=None))),
            ("after", lambda: listed(untyped.keys(n, after=1))),
            ("limit", lambda: listed(untyped.keys(n, limit=-1))),
            ("reverse", lambda: listed(untyped.keys(n, reverse=1))),
            ("namespace", lambda: listed(untyped.keys("n"))),
            ("below", lambda: untyped.clear(n, below=1)),
            ("below", lambda: untyped.clear(n, below=None)),
            ("limit", lambda: untyped.search(limit=-1)),
            ("limit", lambda: untyped.search(limit=None)),
            ("limit", lambda: untyped.search(limit="1")),
            ("offset", lambda: untyped.search(offset=-1)),
            ("offset", lambda: untyped.search(offset=1.0)),
            ("filter", lambda: untyped.search(filter=[("a", 1)])),
            ("filter", lambda: untyped.search(filter={"a": {"$like": 1}})),
            ("filter", lambda: untyped.search(filter={"a": {"$gt": 1, "b": 2}})),
            ("filter", lambda: untyped.search(filter={"a": {"b": [{"$in": 1}]}})),
            ("filter", lambda: untyped.search(filter={"$or": [{"a": 1}]})),
            ("filter", lambda: untyped.search(filter={"$and": []})),
            ("filter", lambda: untyped.search(filter={"$gt": 5})),
            ("filter", lambda: untyped.search(filter={"a": 1, "$eq": {"b": 1}})),
            ("filter", lambda: untyped.search(filter=[])),
            ("filter", lambda: untyped.search(filter="")),
            ("filter", lambda: untyped.search(filter={"a": b"x"})),
            ("filter", lambda: untyped.search(filter={1: 1})),
            ("query", lambda: untyped.search(query=1)),
            ("max_depth", lambda: untyped.list_namespaces(max_depth=0)),
            ("max_depth", lambda: untyped.list_namespaces(max_depth=-1)),
            ("limit", lambda: untyped.list_namespaces(limit=-1)),
            ("offset", lambda: untyped.list_namespaces(offset=None)),
            ("matches", lambda: untyped.list_namespaces(matches=[("a",)])),
            ("matches", lambda: untyped.list_namespaces(matches="a")),
            ("operations", lambda: untyped.batch(GetItem(namespace=n, key="k"))),
            ("operations", lambda: untyped.batch([("get", n, "k")])),
            ("operations", lambda: untyped.batch(operation for operation in [DeleteItem(namespace=n, key="k")])),
            ("operations", lambda: untyped.batch([DeleteItem(namespace=n, key="k"), None])),
            ("prefix", lambda: untyped.batch([ListItems(namespace=n, prefix="\ud800")])),
            ("after", lambda: untyped.batch([ListItems(namespace=n, after="\ud800")])),
            ("namespace", lambda: untyped.batch([ListItems(namespace=("\ud800",))])),
            ("index", lambda: untyped.batch([PutItem(namespace=n, key="k", value=2, index=["]"])])),
        ]
        for field, call in calls:
            await refused(field, call)
        assert await listed(keep.list(n)) == [before]

    async def test_listings_refuse_bad_input_before_the_first_step(self, keep: AsyncItemRepository) -> None:
        with pytest.raises(InvalidInput):
            keep.list(("n",), limit=-1)
        with pytest.raises(InvalidInput):
            keep.keys(("n",), limit=-1)

    async def test_errors_say_which_operation_failed(self, keep: AsyncItemRepository) -> None:
        with pytest.raises(Conflict) as caught:
            await keep.put(("n",), "the key", 1, expected=4)
        assert "operation='put'" in str(caught.value)
        assert "the key" in str(caught.value)
        assert "4" in str(caught.value)

    # -- the rest

    async def test_ping(self, keep: AsyncItemRepository) -> None:
        seconds = await keep.ping()
        assert isinstance(seconds, float)
        assert seconds >= 0

    async def test_now(self, keep: AsyncItemRepository) -> None:
        first, second = await keep.now(), await keep.now()
        assert first <= second
        assert first.utcoffset() == dt.timedelta(0)
        item = await keep.put(("n",), "k", 1)
        third = await keep.now()
        assert first.replace(microsecond=0) <= item.updated_at <= third + dt.timedelta(seconds=1)

    async def test_close_is_idempotent(self, keep: AsyncItemRepository) -> None:
        await keep.put(("n",), "k", 1)
        await keep.close()
        await keep.close()

    async def test_repr(self, keep: AsyncItemRepository) -> None:
        assert type(keep.backend).__name__ in repr(keep)
