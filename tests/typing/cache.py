"""The types of both faces of a cache. Read by mypy alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from statekeep import CacheNamespace, Payload
from statekeep.domain.cache import CacheEntry, CacheKey
from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository

Own = tuple[tuple[str], str]
"""A key that is more exact than any."""


def blocking(cache: CacheRepository, keys: list[CacheKey], own: list[Own], payload: Payload) -> None:
    assert_type(cache.get(keys), dict[CacheKey, CacheEntry])
    assert_type(cache.get(keys=own), dict[Own, CacheEntry])
    assert_type(cache.set({keys[0]: payload, keys[1]: (payload, 0.5)}), None)
    assert_type(cache.delete(keys), int)
    assert_type(cache.clear(), int)
    assert_type(cache.clear(namespaces=[("a", "b")]), int)
    assert_type(cache.reindex(), int)
    assert_type(cache.list(), Iterator[CacheEntry])
    assert_type(cache.list(namespace=("a",)), Iterator[CacheEntry])
    assert_type(cache.list_namespaces(), Iterator[CacheNamespace])
    assert_type(cache.restore(list(cache.list())), None)
    cache.restore(cache.list())  # type: ignore[arg-type]
    cache.list(("a",), 1)  # type: ignore[call-arg]
    assert_type(cache.close(), None)
    with cache as entered:
        assert_type(entered, CacheRepository)
    cache.get(key=keys)  # type: ignore[call-arg]
    cache.get()  # type: ignore[call-arg]
    cache.get(1)  # type: ignore[arg-type]
    cache.set({keys[0]: b""})  # type: ignore[dict-item]
    cache.clear(namespace=None)  # type: ignore[call-arg]
    cache.reindex(1)  # type: ignore[call-arg]


async def awaiting(cache: AsyncCacheRepository, keys: list[CacheKey], own: list[Own], payload: Payload) -> None:
    assert_type(await cache.get(keys), dict[CacheKey, CacheEntry])
    assert_type(await cache.get(keys=own), dict[Own, CacheEntry])
    assert_type(await cache.set({keys[0]: payload, keys[1]: (payload, 0.5)}), None)
    assert_type(await cache.delete(keys), int)
    assert_type(await cache.clear(), int)
    assert_type(cache.list(("a",)), AsyncIterator[CacheEntry])
    assert_type(cache.list_namespaces(), AsyncIterator[CacheNamespace])
    assert_type(await cache.restore(entries=[]), None)
    assert_type(await cache.clear(namespaces=[("a", "b")]), int)
    assert_type(await cache.reindex(), int)
    assert_type(await cache.close(), None)
    async with cache as entered:
        assert_type(entered, AsyncCacheRepository)
    await cache.get(key=keys)  # type: ignore[call-arg]
    await cache.get()  # type: ignore[call-arg]
    await cache.get(1)  # type: ignore[arg-type]
    await cache.set({keys[0]: b""})  # type: ignore[dict-item]
    await cache.clear(namespace=None)  # type: ignore[call-arg]
    await cache.reindex(1)  # type: ignore[call-arg]


class Blocking(CacheRepository):
    def reindex(self) -> int:
        return super().reindex()

    def delete(self, keys: object) -> int:
        return super().delete([])


class Awaiting(AsyncCacheRepository):
    async def clear(self, namespaces: object = None) -> int:
        return await super().clear()
