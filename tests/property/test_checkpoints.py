"""Backends of checkpoints and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import anyio
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import Checkpoint, PendingWrite
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.testing.comparison import Clock, Expiry
from statekeep.testing.machine import CheckpointMachine, machine_for
from tests.backends import BACKENDS, RUNS

TTL = 10.05


def expiring(*, refresh_on_read: bool) -> tuple[Callable[[], AbstractContextManager[CheckpointBackend]], Expiry]:
    clock = Clock()

    def make() -> AbstractContextManager[CheckpointBackend]:
        return nullcontext(MemoryCheckpoints(ttl=TTL, refresh_on_read=refresh_on_read, clock=clock))

    return make, Expiry(clock, TTL, refresh_on_read)


def check(machine: type[CheckpointMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings())


@pytest.mark.parametrize(("name", "face"), RUNS)
def test_backend_and_oracle_agree(name: str, face: str, request: pytest.FixtureRequest) -> None:
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with BACKENDS[name].open(request, f"t-{uuid.uuid4().hex[:12]}") as backend:
        keep = CheckpointRepository(backend)
        keep.put(Checkpoint(thread_id="t"))
        anyio.run(AsyncCheckpointRepository(backend).get, "t")
        keep.delete_thread("t")
    open_backend: Callable[..., Any] = BACKENDS[name].open if face == "blocking" else BACKENDS[name].aopen
    check(machine_for(lambda: open_backend(request, f"t-{uuid.uuid4().hex[:12]}")))


@pytest.mark.parametrize("refresh_on_read", [False, True])
def test_expiry_and_oracle_agree(*, refresh_on_read: bool) -> None:
    make, expiry = expiring(refresh_on_read=refresh_on_read)
    check(machine_for(make, expiry=expiry))


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
