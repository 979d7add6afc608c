"""The types of both faces of items. Read by mypy alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from statekeep import GetItem, Item, ListItems, NamespaceMatch, Payload, SearchItem, SearchStatus
from statekeep.domain.items import Namespace
from statekeep.repositories.items import AsyncItemRepository, ItemRepository


def blocking(items: ItemRepository, ask: GetItem, match: NamespaceMatch) -> None:
    assert_type(items.get(("n",), "k"), Item | None)
    assert_type(items.get(namespace=["n"], key="k", refresh=True), Item | None)
    assert_type(items.put(("n",), "k", {"a": [1, None]}, ttl=0.5, expected=None, index=["a"]), Item)
    assert_type(items.delete(("n",), "k", expected=1), bool)
    assert_type(items.delete(("n",), "k", expected=items.put(("n",), "k", 1, expected=items.search()[0])), bool)
    assert_type(items.delete(("n",), "k", expected=items.of(int, ("n",)).put("k", 1)), bool)
    items.delete(("n",), "k", expected="1")  # type: ignore[arg-type]
    assert_type(items.batch([ask]), list[Any])
    assert_type(items.append(("n",), [1, "a"], ttl=None, index=False), list[str])
    assert_type(items.pop(("n",)), Item | None)
    assert_type(items.list(("n",), prefix="", limit=1, after="a", reverse=True, refresh=None), Iterator[Item])
    assert_type(items.list(("n",), order="updated", offset=1, filter={"a": 1}), Iterator[Item])
    assert_type(items.keys(("n",), prefix="", limit=1, after="a", reverse=True), Iterator[str])
    assert_type(items.batch([ask, ListItems(namespace=("n",))]), list[Any])
    assert_type(items.put(("n",), "k", Payload(encoding="raw", data=b"")), Item)
    items.list(("n",), order="time")  # type: ignore[arg-type]
    items.keys(("n",), refresh=True)  # type: ignore[call-arg]
    assert_type(items.search(("n",), filter={"a": 1}, query="q", limit=1, offset=1, refresh=True), list[SearchItem])
    assert_type(items.search(), list[SearchItem])
    assert_type(items.list_namespaces(prefix=("n",), suffix=(), matches=[match], max_depth=2), list[Namespace])
    assert_type(items.list_namespaces(limit=1, offset=2), list[Namespace])
    assert_type(items.clear(("n",)), int)
    assert_type(items.clear(("n",), below=True), int)
    assert_type(items.setup(), SearchStatus)
    assert_type(items.reindex(("n",)), int)
    assert_type(items.close(), None)
    with items as entered:
        assert_type(entered, ItemRepository)
    items.get(("n",), "k", refreshed=True)  # type: ignore[call-arg]
    items.get(("n",), "k", True)  # type: ignore[call-arg]
    items.get(1, "k")  # type: ignore[arg-type]
    items.put(("n",), "k", 1, expect=None)  # type: ignore[call-arg]
    items.delete(("n",))  # type: ignore[call-arg]
    items.batch(ask)  # type: ignore[arg-type]
    items.append(("n",), [], expected=1)  # type: ignore[call-arg]
    items.pop()  # type: ignore[call-arg]
    items.list(("n",), before="a")  # type: ignore[call-arg]
    items.search(prefix=("n",))  # type: ignore[call-arg]
    items.list_namespaces(("n",))  # type: ignore[call-arg]
    items.clear(prefix=("n",))  # type: ignore[call-arg]
    items.clear(("n",), True)  # type: ignore[call-arg]
    items.setup(1)  # type: ignore[call-arg]
    items.reindex()  # type: ignore[call-arg]


async def awaiting(items: AsyncItemRepository, ask: GetItem, match: NamespaceMatch) -> None:
    assert_type(await items.get(("n",), "k"), Item | None)
    assert_type(await items.get(namespace=["n"], key="k", refresh=True), Item | None)
    assert_type(await items.put(("n",), "k", {"a": [1, None]}, ttl=0.5, expected=None, index=["a"]), Item)
    assert_type(await items.delete(("n",), "k", expected=1), bool)
    assert_type(await items.batch([ask]), list[Any])
    assert_type(await items.append(("n",), [1, "a"], ttl=None, index=False), list[str])
    assert_type(await items.pop(("n",)), Item | None)
    assert_type(items.list(("n",), prefix="", limit=1, after="a", reverse=True, refresh=None), AsyncIterator[Item])
    assert_type(items.list(("n",), order="updated", offset=1, filter={"a": 1}), AsyncIterator[Item])
    assert_type(items.keys(("n",), prefix="", limit=1, after="a", reverse=True), AsyncIterator[str])
    assert_type(await items.batch([ask, ListItems(namespace=("n",))]), list[Any])
    assert_type(await items.search(("n",), filter={"a": 1}, query="q", limit=1, offset=1), list[SearchItem])
    assert_type(await items.search(refresh=True), list[SearchItem])
    assert_type(await items.list_namespaces(prefix=("n",), suffix=(), matches=[match], max_depth=2), list[Namespace])
    assert_type(await items.list_namespaces(limit=1, offset=2), list[Namespace])
    assert_type(await items.clear(("n",)), int)
    assert_type(await items.setup(), SearchStatus)
    assert_type(await items.reindex(("n",)), int)
    assert_type(await items.close(), None)
    async with items as entered:
        assert_type(entered, AsyncItemRepository)
    await items.get(("n",), "k", refreshed=True)  # type: ignore[call-arg]
    await items.get(("n",), "k", True)  # type: ignore[call-arg]
    await items.get(1, "k")  # type: ignore[arg-type]
    await items.put(("n",), "k", 1, expect=None)  # type: ignore[call-arg]
    await items.delete(("n",))  # type: ignore[call-arg]
    await items.batch(ask)  # type: ignore[arg-type]
    await items.append(("n",), [], expected=1)  # type: ignore[call-arg]
    await items.pop()  # type: ignore[call-arg]
    items.list(("n",), before="a")  # type: ignore[call-arg]
    await items.search(prefix=("n",))  # type: ignore[call-arg]
    await items.list_namespaces(("n",))  # type: ignore[call-arg]
    await items.clear(prefix=("n",))  # type: ignore[call-arg]
    await items.setup(1)  # type: ignore[call-arg]
    await items.reindex()  # type: ignore[call-arg]
