"""One history, two backends.

Whatever a state machine did to the one is done to the other, with equal results.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryCacheEntries
    >>> from statekeep.testing.machines.cache import cache_machine_for
    >>> machine = cache_machine_for(lambda: nullcontext(MemoryCacheEntries()), name="memory twice")
    >>> pair = paired(machine, lambda: nullcontext(MemoryCacheEntries()))
    >>> run_state_machine_as_test(pair, settings=settings(max_examples=2))
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

from attrs import define, field, frozen

from ..domain import (
    CacheEntry,
    CacheNamespace,
    GetItem,
    Item,
    ItemsMeasure,
    Log,
    LogEntry,
    LogMeasure,
    SavedCheckpoint,
    SearchItem,
    Thread,
    ThreadMeasure,
)
from ..domain.items import CheckItem, DeleteItem, ListItems, Namespace, PutItem
from ..repositories.logs import LogRepository
from .comparison import Answer, ComparingMachine, canonical

__all__ = ["paired"]

MachineT = TypeVar("MachineT", bound=ComparingMachine)


@frozen
class _Step:
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    answer: Answer


@define
class _Replay:
    """Names and times that differ in the other backend.

    These are keys that ``append`` of items made, threads, when items that are expected were created, and the places of
    values in logs.
    """

    keys: dict[str, str] = field(factory=dict)
    threads: dict[str, Thread] = field(factory=dict)
    births: dict[tuple[Namespace, str, datetime], datetime] = field(factory=dict)
    positions: dict[tuple[Any, int], int] = field(factory=dict)

    def named(self, step: _Step) -> dict[str, Any]:
        """Return the keyword arguments of a call as they are for the other backend."""
        return {
            name: self.positions.get((step.args[:1], value), value)
            if name in ("after", "expected") and isinstance(value, int)
            else self.translated(value)
            for name, value in step.kwargs.items()
        }

    def translated(self, value: Any) -> Any:
        """Return an argument as it is for the other backend."""
        if isinstance(value, str):
            return self.keys.get(value, value)
        if isinstance(value, Thread):
            return self.threads.get(value.thread_id, value)
        if isinstance(value, Item):
            born = self.births.get((value.namespace, value.key, value.created_at), value.created_at)
            return value.model_copy(update={"key": self.keys.get(value.key, value.key), "created_at": born})
        if isinstance(value, (GetItem, PutItem, DeleteItem, CheckItem)):
            changes = {"key": self.keys.get(value.key, value.key)}
            if not isinstance(value, GetItem):
                changes["expected"] = self.translated(value.expected)
            return value.model_copy(update=changes)
        if isinstance(value, ListItems):
            return value.model_copy(update={"after": value.after and self.keys.get(value.after, value.after)})
        return [self.translated(item) for item in value] if isinstance(value, list) else value

    def learn(self, step: _Step, result: Any) -> None:
        if step.name == "append" and isinstance(result, list):
            self.keys.update(zip(step.answer.result, result, strict=True))
        if step.name == "list_threads":
            self.threads.update((thread.thread_id, thread) for thread in result)
        theirs = {(item.namespace, item.key): item.created_at for item in _items(result)}
        for item in _items(step.answer.result):
            born = theirs.get((item.namespace, self.keys.get(item.key, item.key)))
            if born is not None:
                self.births[item.namespace, item.key, item.created_at] = born
        for one, other in zip(_entries(step.answer.result), _entries(result), strict=False):
            place = (step.args[:1], one.position)
            assert self.positions.setdefault(place, other.position) == other.position, f"the value at {place} moved"


def _items(result: Any) -> list[Item]:
    if isinstance(result, list):
        return [item for part in result for item in _items(part)]
    return [result] if isinstance(result, Item) else []


def _entries(result: Any) -> list[LogEntry]:
    return [entry for entry in (result if isinstance(result, list) else []) if isinstance(entry, LogEntry)]


def _form(value: Any, keys: Mapping[str, str]) -> Any:
    """Return the part of an answer that must be equal.

    It has no times, and keys by their names in the first backend.
    """
    if isinstance(value, SavedCheckpoint):
        return canonical({name: getattr(value, name) for name in SavedCheckpoint.model_fields})
    if isinstance(value, Thread):
        return value.thread_id
    if isinstance(value, Item):
        score = None if not isinstance(value, SearchItem) or value.score is None else round(value.score, 4)
        key = keys.get(value.key, value.key)
        return (value.namespace, key, canonical(value.value), value.version, value.expires_at is None, score)
    if isinstance(value, LogEntry):
        return canonical(value.value)
    if isinstance(value, Log):
        return (value.name, value.count, value.expires_at is None)
    if isinstance(value, CacheEntry):
        return (value.namespace, value.key, canonical(value.payload), value.expires_at is None)
    if isinstance(value, CacheNamespace):
        return (value.namespace, value.entries)
    if isinstance(value, ItemsMeasure):
        return value.items
    if isinstance(value, LogMeasure):
        return value.count
    if isinstance(value, ThreadMeasure):
        return (value.checkpoints, value.pending_writes, value.namespaces, value.expires_at is None)
    if isinstance(value, dict):
        return sorted((repr(name), _form(item, keys)) for name, item in value.items())
    if isinstance(value, list):
        return [_form(item, keys) for item in value]
    return canonical(value)


def _formed(step: _Step, answer: Answer, keys: Mapping[str, str]) -> Any:
    if answer.error is not None:
        return type(answer.error)
    if step.name == "setup":
        return None  # it says how a backend searches, and each does in its own way
    if step.name == "append" and isinstance(answer.result, list):
        return len(answer.result)
    if step.name == "keys":
        return [keys.get(key, key) for key in answer.result]
    found = _form(answer.result, keys)
    if step.name == "search" and step.kwargs.get("query") is not None:
        # What scores the same but for rounding may come in any order, and so any of it may be cut off.
        return sorted(found, key=repr) if step.kwargs["limit"] >= len(found) + 1 else len(found)
    return found


def paired(machine: type[MachineT], make_other: Callable[[], AbstractContextManager[Any]]) -> type[MachineT]:
    """Return a machine that repeats each example on another backend.

    It does so at the example's end.

    Args:
        machine: over the first backend, without ``expiry``.
        make_other: opens an empty backend, for blocking code.
    """

    class Pair(machine):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            self.steps: list[_Step] = []
            super().__init__()

        def _noted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            noted = super()._noted(name, method)

            def call(*args: Any, **kwargs: Any) -> Any:
                is_listing = False

                def whole() -> Any:
                    nonlocal is_listing
                    result = noted(*args, **kwargs)
                    is_listing = isinstance(result, Iterator)
                    return _whole(result)

                answer = Answer.of(whole)
                self.steps.append(_Step(name, args, kwargs, answer))
                result = answer.again()
                return iter(result) if is_listing else result

            return call

        def has(self, name: str) -> bool:
            # Positions in a log are a backend's own: to the other one, those of the first mean nothing.
            is_of_positions = name == "restore" and isinstance(self.repository, LogRepository)
            return super().has(name) and not is_of_positions

        def side_by_side(self, calls: Any, after: Any, expected_after: Any) -> list[Answer]:
            """Make the calls one after the other.

            Which one would be first is nobody's to say, and not to repeat.
            """
            self.oracle.expire()
            answers = []
            for one in calls:
                answers.append(Answer.of(one.act))
                assert one.formed(answers[-1]) == one.expected(self.oracle, answers[-1])
            return answers

        def teardown(self) -> None:
            try:
                if sys.exception() is None:
                    self.replay()
            finally:
                super().teardown()

        def replay(self) -> None:
            """Do the same to the other backend, and compare."""
            replay = _Replay()
            with make_other() as backend:
                other = type(self.repository)(backend)
                for step in self.steps:
                    args = [replay.translated(value) for value in step.args]
                    kwargs = replay.named(step)
                    method = getattr(other, step.name)
                    answer = Answer.of(lambda call=method, a=args, k=kwargs: _whole(call(*a, **k)))  # type: ignore[misc]
                    if answer.error is None and step.answer.error is None:
                        replay.learn(step, answer.result)
                    names = {theirs: ours for ours, theirs in replay.keys.items()}
                    assert _formed(step, answer, names) == _formed(step, step.answer, {}), step.name

    return Pair


def _whole(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) else result
