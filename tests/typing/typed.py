"""The types of typed items and threads. Read by mypy alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from statekeep import (
    ANY,
    AsyncTypedItems,
    AsyncTypedTasks,
    AsyncTypedThread,
    GetItem,
    PutItem,
    TypedCheckpoint,
    TypedItem,
    TypedItems,
    TypedSearchItem,
    TypedTasks,
    TypedThread,
)
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.items import AsyncItemRepository, ItemRepository


class Profile(BaseModel):
    name: str


@dataclass
class Point:
    x: int


class Movie(TypedDict):
    title: str


def kinds(items: ItemRepository, either: TypeAdapter[int | str]) -> None:
    assert_type(items.of(Profile, ("n",)), TypedItems[Profile])
    assert_type(items.of(Point, ("n",), migrate=lambda old: {"x": old}), TypedItems[Point])
    assert_type(items.of(Movie, ["n"]), TypedItems[Movie])
    assert_type(items.of(list[int], ("n",)), TypedItems[list[int]])
    assert_type(items.of(either, ("n",)), TypedItems[int | str])
    items.of(Profile)  # type: ignore[call-overload]
    items.of(Profile, ("n",), migrate=1)  # type: ignore[call-overload]
    items.of(Profile, 1)  # type: ignore[call-overload]


def blocking_items(people: TypedItems[Profile], ada: Profile, ask: GetItem) -> None:
    assert_type(people.get("k"), TypedItem[Profile] | None)
    stored = people.put("k", ada, ttl=0.5, expected=None, index=["name"])
    assert_type(stored, TypedItem[Profile])
    assert_type(stored.value, Profile)
    assert_type(people.put("k", ada, expected=stored).version, int)
    assert_type(people.update("k", lambda one: one, default=ada, attempts=3), TypedItem[Profile])
    assert_type(people.update("k", lambda one: one.model_copy()), TypedItem[Profile])
    assert_type(people.delete("k", expected=stored), bool)
    assert_type(people.list(prefix="", limit=1, after="a", reverse=True), Iterator[TypedItem[Profile]])
    assert_type(people.search(filter={"name": "a"}, query="q", limit=1), list[TypedSearchItem[Profile]])
    assert_type(people.append([ada], ttl=None), list[str])
    assert_type(people.pop(), TypedItem[Profile] | None)
    assert_type(people.prepare_put("k", ada, expected=ANY), PutItem)
    assert_type(people.batch([ask]), list[Any])
    people.put("k", "ada")  # type: ignore[arg-type]
    people.put("k", ada, expect=None)  # type: ignore[call-arg]
    people.append(["ada"])  # type: ignore[list-item]
    people.update("k", lambda one: "ada")  # type: ignore[arg-type, return-value]
    people.update("k", lambda one: one, default="ada")  # type: ignore[arg-type]
    people.get(("n",), "k")  # type: ignore[call-arg, arg-type]


async def awaiting_items(items: AsyncItemRepository, ada: Profile) -> None:
    people = items.of(Profile, ("n",))
    assert_type(people, AsyncTypedItems[Profile])
    assert_type(await people.get("k"), TypedItem[Profile] | None)
    assert_type(await people.put("k", ada), TypedItem[Profile])
    assert_type(await people.update("k", lambda one: one), TypedItem[Profile])
    assert_type(people.list(), AsyncIterator[TypedItem[Profile]])
    assert_type(await people.search(), list[TypedSearchItem[Profile]])
    assert_type(await people.pop(), TypedItem[Profile] | None)
    await people.put("k", "ada")  # type: ignore[arg-type]


def blocking_threads(checkpoints: CheckpointRepository, state: Profile) -> None:
    chat = checkpoints.of(Profile, "t", namespace="n")
    assert_type(chat, TypedThread[Profile])
    saved = chat.save(state, parent=None, metadata={"step": 1}, expected_head=None)
    assert_type(saved, TypedCheckpoint[Profile])
    assert_type(chat.save(state, parent=saved, expected_head=saved.checkpoint_id).state, Profile)
    assert_type(chat.load(), TypedCheckpoint[Profile] | None)
    assert_type(chat.load(saved), TypedCheckpoint[Profile] | None)
    assert_type(chat.history(limit=1, before="a", metadata={}), Iterator[TypedCheckpoint[Profile]])
    assert_type(chat.fork("u", checkpoint=saved), TypedCheckpoint[Profile])
    tasks = chat.tasks(list[int], saved)
    assert_type(tasks, TypedTasks[list[int]])
    assert_type(tasks.put("a", [1]), None)
    assert_type(tasks.get(), dict[str, list[int]])
    chat.save("state")  # type: ignore[arg-type]
    chat.save(state, parents=saved)  # type: ignore[call-arg]
    tasks.put("a", ["x"])  # type: ignore[list-item]


async def awaiting_threads(checkpoints: AsyncCheckpointRepository, state: Profile) -> None:
    chat = checkpoints.of(Profile, "t")
    assert_type(chat, AsyncTypedThread[Profile])
    saved = await chat.save(state)
    assert_type(saved, TypedCheckpoint[Profile])
    assert_type(await chat.load(), TypedCheckpoint[Profile] | None)
    assert_type(chat.history(), AsyncIterator[TypedCheckpoint[Profile]])
    assert_type(await chat.fork("u"), TypedCheckpoint[Profile])
    tasks = chat.tasks(int, saved)
    assert_type(tasks, AsyncTypedTasks[int])
    assert_type(await tasks.put("a", 1), None)
    assert_type(await tasks.get(), dict[str, int])
