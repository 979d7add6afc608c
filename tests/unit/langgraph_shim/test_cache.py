"""What LangGraph's cache methods make of keys, values, TTLs and outages."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
from collections import deque
from typing import Any

import pytest
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from statekeep import (
    AccessDenied,
    AsyncCacheRepository,
    CacheRepository,
    InvalidInput,
    Payload,
    QuotaExceeded,
    Throttled,
    Unavailable,
)
from statekeep.langgraph_shim import RepositoryCache, ValkeyCache
from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.testing.comparison import Clock

pytestmark = pytest.mark.anyio

K = (("n", "m"), "k")


class Both:
    """Calls the sync or the async methods."""

    def __init__(self, cache: BaseCache[Any], awaits: bool) -> None:
        self.cache = cache
        self.awaits = awaits

    async def get(self, keys: Any) -> Any:
        return await self.cache.aget(keys) if self.awaits else self.cache.get(keys)

    async def set(self, pairs: Any) -> None:
        if self.awaits:
            await self.cache.aset(pairs)
        else:
            self.cache.set(pairs)

    async def clear(self, namespaces: Any = None) -> None:
        if self.awaits:
            await self.cache.aclear(namespaces)
        else:
            self.cache.clear(namespaces)


@pytest.fixture
def repository() -> CacheRepository:
    return CacheRepository(MemoryCacheEntries())


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def awaits(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def cache(repository: CacheRepository, awaits: bool) -> Both:
    return Both(RepositoryCache(repository), awaits)


def test_the_methods_are_those_of_langgraph() -> None:
    for name in ("get", "aget", "set", "aset", "clear", "aclear"):
        ours, theirs = getattr(RepositoryCache, name), getattr(BaseCache, name)
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
    assert issubclass(RepositoryCache, BaseCache)
    assert issubclass(ValkeyCache, BaseCache)


@pytest.mark.parametrize("value", [None, 0, "", False, [], b"\xff", (1, 2), {"a": {1}}, deque([("ch", 1)])], ids=repr)
async def test_values_come_back_as_langgraph_keeps_them(cache: Both, value: Any) -> None:
    await cache.set({K: (value, None)})
    found = await cache.get([K, (("n",), "other")])
    reference: InMemoryCache[Any] = InMemoryCache()
    reference.set({K: (value, None)})
    assert found == reference.get([K])
    assert type(found[K]) is type(reference.get([K])[K])


async def test_keys_are_returned_as_they_were_asked_for(cache: Both) -> None:
    keys: list[Any] = [((), "k"), (("a",), "k"), (("a", "b"), "k"), (("a,b",), "k"), ((), ""), "plain", "k2", "", K]
    await cache.set({key: (number, None) for number, key in enumerate(keys) if key != ""})
    found = await cache.get(tuple(keys))
    assert found == {key: number for number, key in enumerate(keys) if key != ""} | {"": keys.index(((), ""))}
    assert await cache.get([]) == {}
    assert await cache.get(["missing", ((), "missing")]) == {}


async def test_a_plain_text_is_a_key_of_the_empty_namespace(cache: Both) -> None:
    await cache.set({"a": (1, None), "b": (2, None), K: (3, None)})
    assert await cache.get(["a", ((), "a"), "b"]) == {"a": 1, ((), "a"): 1, "b": 2}
    await cache.clear([()])
    assert await cache.get(["a", "b", K]) == {K: 3}


async def test_clear(cache: Both) -> None:
    keys = [((), "k"), (("a",), "k"), (("a", "b"), "k"), (("a*",), "k")]
    await cache.set(dict.fromkeys(keys, (1, None)))
    await cache.clear([])
    assert len(await cache.get(keys)) == 4
    await cache.clear([("a",), ("*",)])
    assert set(await cache.get(keys)) == {((), "k"), (("a", "b"), "k"), (("a*",), "k")}
    await cache.clear()
    assert await cache.get(keys) == {}


async def test_ttls(awaits: bool) -> None:
    clock = Clock()
    cache = Both(RepositoryCache(CacheRepository(MemoryCacheEntries(ttl=10, clock=clock))), awaits)
    await cache.set({"default": (1, None), "brief": (2, 0.5), "whole": (3, 20)})
    clock.now += 0.6
    assert set(await cache.get(["default", "brief", "whole"])) == {"default", "whole"}
    clock.now += 10
    assert set(await cache.get(["default", "brief", "whole"])) == {"whole"}


@pytest.mark.parametrize("ttl", [0, 0.0, -1, -0.5, -1e6])
async def test_a_value_that_is_over_at_once(cache: Both, ttl: float) -> None:
    """As LangGraph's own cache has it."""
    reference: InMemoryCache[Any] = InMemoryCache()
    for one in (cache, Both(reference, cache.awaits)):
        await one.set({((), "new"): (1, None), ((), "old"): (1, None), ((), "kept"): (1, None)})
        await one.set({((), "old"): (2, ttl), ((), "never"): (3, ttl), ((), "new"): (4, 60)})
        found = await one.get([((), "new"), ((), "old"), ((), "never"), ((), "kept")])
        assert found == {((), "new"): 4, ((), "kept"): 1}
        await one.set({((), "kept"): (5, ttl)})
        assert await one.get([((), "kept")]) == {}


@pytest.mark.parametrize("ttl", [float("nan"), float("inf"), -float("inf"), True, False, "60"])
async def test_wrong_ttls(cache: Both, ttl: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        await cache.set({"other": (1, 1), "k": (1, ttl)})
    assert caught.value.field == "ttl"
    assert await cache.get(["other", "k"]) == {}


async def test_wrong_keys_and_pairs(cache: Both) -> None:
    await cache.set({"k": (1, None)})
    for wrong in (None, 1, b"k", ("n", "k"), (("n",), "k", 1), (("n",),), (("",), "k"), (("n",), 1)):
        with pytest.raises(InvalidInput):
            await cache.get(["k", wrong])
        with pytest.raises(InvalidInput):
            await cache.set({"k": (2, None), wrong: (2, None)})
    for call in (
        lambda: cache.get("k"),
        lambda: cache.get(None),
        lambda: cache.get({"k"}),
        lambda: cache.set([("k", 1)]),
    ):
        with pytest.raises(InvalidInput):
            await call()
    for pair in (1, (1,), (1, 2, 3), [1, None]):
        with pytest.raises(InvalidInput):
            await cache.set({"k": (2, None), "other": pair})
    for namespaces in ("n", ["n"], [("",)], 1):
        with pytest.raises(InvalidInput):
            await cache.clear(namespaces)
    assert await cache.get(["k", "other"]) == {"k": 1}


async def test_what_cannot_be_serialized_raises_and_writes_nothing(cache: Both) -> None:
    for wrong in (lambda: None, object(), asyncio.Lock()):
        with pytest.raises(Exception) as caught:
            await cache.set({"fine": (1, None), "wrong": (wrong, None), "too": (1, None)})
        assert not isinstance(caught.value, AssertionError)
        assert await cache.get(["fine", "wrong", "too"]) == {}


async def test_what_cannot_be_read_is_missing_and_said(
    cache: Both, repository: CacheRepository, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.set({"fine": (1, None)})
    damaged = [("msgpack", b"\xc1"), ("json", b"{"), ("unknown", b""), ("msgpack+aes", b"secret")]
    repository.set({((), encoding): Payload(encoding=encoding, data=data) for encoding, data in damaged})
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert await cache.get(["fine", *(encoding for encoding, _ in damaged)]) == {"fine": 1}
    assert len(caplog.messages) == len(damaged)
    for message, (encoding, _) in zip(caplog.messages, damaged, strict=True):
        assert repr(encoding) in message


async def test_another_serializer(repository: CacheRepository, awaits: bool) -> None:
    class Reversed(JsonPlusSerializer):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            encoding, data = super().dumps_typed(obj)
            return f"{encoding}+reversed", data[::-1]

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            return super().loads_typed((data[0].removesuffix("+reversed"), data[1][::-1]))

    class Untyped:
        def dumps(self, value: Any) -> bytes:
            return pickle.dumps(value)

        def loads(self, data: bytes) -> Any:
            return pickle.loads(data)

    for serde, encoding in ((Reversed(), "msgpack+reversed"), (Untyped(), "list"), (JsonPlusSerializer(), "msgpack")):
        cache = Both(RepositoryCache(repository, serde=serde), awaits)  # type: ignore[arg-type]
        await cache.set({"k": ([1, "text"], None)})
        assert await cache.get(["k"]) == {"k": [1, "text"]}
        assert repository.get([((), "k")])[((), "k")].payload.encoding == encoding


class Outage(MemoryCacheEntries):
    """A backend whose operations fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get(self, keys: Any) -> Any:
        raise self.error

    def set(self, entries: Any) -> Any:
        raise self.error

    def clear(self, namespaces: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("kind", [Unavailable, Throttled, QuotaExceeded])
async def test_outages(kind: Any, awaits: bool, caplog: pytest.LogCaptureFixture) -> None:
    repository = CacheRepository(Outage(kind("the server is away")))
    cache = Both(RepositoryCache(repository), awaits)
    for call in (lambda: cache.get(["k"]), lambda: cache.set({"k": (1, None)}), cache.clear):
        with pytest.raises(kind):
            await call()
    assert caplog.messages == []
    cache = Both(RepositoryCache(repository, on_error="miss"), awaits)
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert await cache.get(["k"]) == {}
        await cache.set({"k": (1, None)})
    assert len(caplog.messages) == 2
    assert all("the server is away" in message for message in caplog.messages)
    # Who clears wants it to be cleared.
    with pytest.raises(kind):
        await cache.clear()


async def test_only_outages_are_misses(awaits: bool) -> None:
    cache = Both(RepositoryCache(CacheRepository(Outage(AccessDenied("no"))), on_error="miss"), awaits)
    for call in (lambda: cache.get(["k"]), lambda: cache.set({"k": (1, None)})):
        with pytest.raises(AccessDenied):
            await call()
    with pytest.raises(InvalidInput):
        await cache.set({"k": (1, "60")})


def test_wrong_arguments(repository: CacheRepository) -> None:
    for wrong in (None, repository.backend, "memory:"):
        with pytest.raises(InvalidInput) as caught:
            RepositoryCache(wrong)  # type: ignore[arg-type]
        assert caught.value.field == "repository"
    for options in ({"serde": object()}, {"on_error": "ignore"}, {"on_error": None}):
        with pytest.raises(InvalidInput) as caught:
            RepositoryCache(repository, **options)
        assert caught.value.field in options


async def test_either_face_will_do(repository: CacheRepository) -> None:
    one: RepositoryCache[int] = RepositoryCache(repository)
    other: RepositoryCache[int] = RepositoryCache(AsyncCacheRepository(repository.backend))
    one.set({"k": (1, None)})
    assert other.get(["k"]) == await other.aget(["k"]) == {"k": 1}
    assert "MemoryCacheEntries" in repr(one)


async def test_closing() -> None:
    closed = []

    class Backend(MemoryCacheEntries):
        def close(self) -> None:
            closed.append("close")

        async def aclose(self) -> None:
            closed.append("aclose")

    with RepositoryCache[int](CacheRepository(Backend())) as cache:
        cache.set({"k": (1, None)})
    async with RepositoryCache[int](CacheRepository(Backend())) as cache:
        await cache.aset({"k": (1, None)})
    assert closed == ["close", "aclose"]
