"""Backends of checkpoints and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import InvalidInput, PendingWrite, PrunePolicy
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.repositories.operation import Page
from statekeep.testing.differences import Differences
from statekeep.testing.machines.checkpoints import CheckpointMachine, machine_for
from statekeep.testing.tally import uncounted
from tests.small_pages import small_pages


class ForgetsSpecialWrites(MemoryCheckpoints):
    """Wrong: the last special write does not win."""

    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: Any) -> Any:
        wrong = [PendingWrite(**dict(write) | {"idx": abs(write.idx)}) for write in writes]
        return super().put_writes(thread_id, namespace, checkpoint_id, wrong)


class PrunesTooMuch(MemoryCheckpoints):
    """Wrong: keeps one less."""

    def prune(self, thread_ids: Any, policy: PrunePolicy, namespace: str | None = None) -> Any:
        return super().prune(thread_ids, policy.model_copy(update={"keep": max(policy.keep - 1, 0)}), namespace)


class PutsAnyway(MemoryCheckpoints):
    """Wrong: whatever is the newest checkpoint."""

    def put(self, checkpoint: Any, supply: Any, expected_head: Any = None) -> Any:
        return super().put(checkpoint, supply)


class DeletesTheWrites(MemoryCheckpoints):
    """Wrong: a checkpoint that is not there loses its pending writes, too."""

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Any:
        found = yield from super().delete(thread_id, namespace, checkpoint_id)
        self._namespace(thread_id, namespace).delete([checkpoint_id])
        return found


class CopiesNothing(MemoryCheckpoints):
    """Wrong: a copy is empty."""

    def copy_thread(self, source_id: str, target_id: str) -> Any:
        return super().copy_thread(source_id, source_id)


class LeavesTheWrites(MemoryCheckpoints):
    """Wrong: what is pending ends as before."""

    def expire(self, thread_id: str, ttl: float | None) -> Any:
        writes = [(space, dict(space.writes)) for space in getattr(self._live(thread_id), "namespaces", {}).values()]
        found = yield from super().expire(thread_id, ttl)
        for space, before in writes:
            space.writes.update(before)
        return found


class CountsTheRootOnly(MemoryCheckpoints):
    """Wrong: of the other namespaces nothing is measured."""

    def measure(self, thread_ids: Any) -> Any:
        found = yield from super().measure(thread_ids)
        return {name: one.model_copy(update={"namespaces": 1}) for name, one in found.items()}


class ForgetsTheOthers(MemoryCheckpoints):
    """Wrong: the second page is of all checkpoints, whatever was asked for."""

    def list(self, query: Any, cursor: Any) -> Any:
        return super().list(query if cursor is None else query.model_copy(update={"metadata": None}), cursor)


class ListsFromTheTop(MemoryCheckpoints):
    """Wrong: each page begins behind what the one before began behind, and one later."""

    def list(self, query: Any, cursor: Any) -> Any:
        page = yield from super().list(query, cursor)
        return page if cursor is None or len(page.items) < 2 else Page(page.items[1:], page.cursor)


def fails(machine: type[CheckpointMachine]) -> None:
    with uncounted(), small_pages(), pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )


WRONG = [
    ForgetsSpecialWrites,
    PrunesTooMuch,
    PutsAnyway,
    DeletesTheWrites,
    CopiesNothing,
    CountsTheRootOnly,
    ForgetsTheOthers,
    LeavesTheWrites,
    ListsFromTheTop,
]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_machine_finds_wrong_backends(wrong: type[MemoryCheckpoints]) -> None:
    fails(machine_for(lambda: nullcontext(wrong()), name=f"wrong: {wrong.__name__}"))


def test_what_is_declared_must_be_so() -> None:
    declared = Differences(unsupported={"prune"})
    fails(machine_for(lambda: nullcontext(MemoryCheckpoints()), name="wrong: declared", differences=declared))


def test_only_what_may_be_missing_is_declared() -> None:
    with pytest.raises(InvalidInput) as caught:
        Differences(unsupported={"prune", "put"})
    assert caught.value.field == "unsupported"
