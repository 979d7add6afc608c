"""Backends of checkpoints and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import PendingWrite
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.testing.machine import machine_for


class ForgetsSpecialWrites(MemoryCheckpoints):
    """Wrong: the last special write does not win."""

    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: Any) -> Any:
        wrong = [PendingWrite(**dict(write) | {"idx": abs(write.idx)}) for write in writes]
        return super().put_writes(thread_id, namespace, checkpoint_id, wrong)


class PrunesTooMuch(MemoryCheckpoints):
    """Wrong: keeps one less."""

    def prune(self, thread_ids: Any, keep: int) -> Any:
        return super().prune(thread_ids, max(keep - 1, 0))


class CopiesNothing(MemoryCheckpoints):
    """Wrong: a copy is empty."""

    def copy_thread(self, source_id: str, target_id: str) -> Any:
        return super().copy_thread(source_id, source_id)


@pytest.mark.parametrize("wrong", [ForgetsSpecialWrites, PrunesTooMuch, CopiesNothing])
def test_the_machine_finds_wrong_backends(wrong: type[MemoryCheckpoints]) -> None:
    machine = machine_for(lambda: nullcontext(wrong()))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )
