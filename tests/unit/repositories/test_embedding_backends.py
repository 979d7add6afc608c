"""Backends whose services make vectors by themselves get texts in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from statekeep.domain import DeleteItem, InvalidInput, PutItem, SearchItem
from statekeep.repositories.item_backend import Action, ItemSearch, Put
from statekeep.repositories.items import ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import Operation


class Embedding(MemoryItems):
    """Notes what reaches it."""

    embeds: Literal[True] = True
    text_paths: Sequence[str] = ("title", "notes[*].text")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.puts: list[Put] = []
        self.searches: list[ItemSearch] = []

    def apply(self, actions: Sequence[Action]) -> Operation[list[Any]]:
        self.puts += [action for action in actions if isinstance(action, Put)]
        return super().apply(actions)

    def append(self, namespace: tuple[str, ...], puts: Sequence[Put]) -> Operation[list[str]]:
        self.puts += puts
        return super().append(namespace, puts)

    def search(self, query: ItemSearch) -> Operation[list[SearchItem]]:
        self.searches.append(query)
        return super().search(query)


VALUE = {"title": "tea", "notes": [{"text": "green"}, {"text": "tea"}], "other": "x"}


def test_a_put_carries_the_texts_at_the_paths() -> None:
    backend = Embedding()
    keep = ItemRepository(backend)
    keep.put(("n",), "default", VALUE)
    keep.put(("n",), "own", VALUE, index=["other"])
    keep.put(("n",), "none", VALUE, index=False)
    keep.put(("n",), "no texts", {"other": "x"})
    put = PutItem(namespace=("n",), key="batch", value=VALUE)
    keep.batch([put, DeleteItem(namespace=("n",), key="batch"), put.model_copy(update={"index": ["title"]})])
    keep.append(("n",), [VALUE, {"title": "milk"}])
    assert [list(one.texts) for one in backend.puts] == [
        ["tea", "green"], ["x"], [], [], ["tea", "green"], ["tea"], ["tea", "green"], ["milk"],
    ]  # fmt: skip
    assert all(not one.vectors for one in backend.puts)
    with pytest.raises(InvalidInput, match="index"):
        keep.put(("n",), "k", VALUE, index=["a["])


def test_a_search_carries_the_text() -> None:
    backend = Embedding()
    keep = ItemRepository(backend)
    for query in ("likes tea", "", None):
        keep.search(query=query)
    assert [(one.text, one.query) for one in backend.searches] == [("likes tea", None), ("", None), ("", None)]


def test_others_get_no_texts() -> None:
    backend = Embedding()
    backend.embeds = False  # type: ignore[assignment]
    keep = ItemRepository(backend)
    keep.put(("n",), "k", VALUE, index=["other"])
    keep.search(query="tea")
    assert (list(backend.puts[0].texts), backend.searches[0].text) == ([], "")
