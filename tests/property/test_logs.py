"""Backends of logs and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import ANY
from statekeep.repositories.memory import MemoryLogs
from statekeep.testing.machines.logs import log_machine_for
from statekeep.testing.tally import uncounted


class GivesPositionsAgain(MemoryLogs):
    """Wrong: the position of a value that was popped is given to the next one."""

    def pop(self, log: Any, n: int, first: bool) -> Any:
        popped = yield from super().pop(log, n, first)
        if popped and not first:
            self._position = popped[0].position - 1
        return popped


class ForgetsToCompare(MemoryLogs):
    """Wrong: whatever is there is replaced."""

    def replace(self, log: Any, values: Any, expected: Any, ttl: Any) -> Any:
        return super().replace(log, values, ANY, ttl)


class ListsNeighbours(MemoryLogs):
    """Wrong: a listing has logs whose first label only begins with that of the prefix."""

    def list(self, prefix: Any, limit: Any, cursor: Any) -> Any:
        return super().list(prefix[:-1], limit, cursor)


WRONG = [GivesPositionsAgain, ForgetsToCompare, ListsNeighbours]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_machine_finds_wrong_backends(wrong: type[MemoryLogs]) -> None:
    machine = log_machine_for(lambda: nullcontext(wrong(clock=lambda: 1.0)), name=f"wrong: {wrong.__name__}")
    with uncounted(), pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )
