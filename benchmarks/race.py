"""Contenders take turns, round by round, so that the machine's moods are spread over all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from attrs import define, field

from .calls import Stopwatch

LEAST_ROUNDS = 3


@define
class Turn:
    """One contender in one round; a context manager that yields its stopwatch. An error ends its part in the race."""

    race: Race
    round: int
    contender: str
    watch: Stopwatch = field(factory=Stopwatch)

    @property
    def counts(self) -> bool:
        """The first round only warms up."""
        return self.round > 0

    @property
    def thread_id(self) -> str:
        """A name for the thread of this turn."""
        return f"thread-{self.round}"

    def __enter__(self) -> Self:
        # Before, what others left behind would be collected within this one's time.
        gc.collect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            if self.counts:
                for operation, samples in self.watch.samples.items():
                    self.race.note(operation, self.contender, statistics.median(samples))
            return False
        if not isinstance(error, Exception):
            return False
        self.race.retire(self.contender, error)
        return True


@define
class Race:
    """Iterate over it for the turns of all contenders.

    Attributes:
        contenders: who takes turns. Every other round goes the other way round.
        rounds: how many count; one more comes first, to warm up.
        seconds: after which no new round begins, once there are three.
        note: takes the operation, the contender and the median of each round.
        retired: who failed.
        failed: is told who retired from the race, and why; whatever was noted of it is to be forgotten.
    """

    contenders: Sequence[str]
    rounds: int
    seconds: float
    note: Callable[[str, str, float], None]
    failed: Callable[[str, Exception], None]
    retired: set[str] = field(factory=set, init=False)

    def retire(self, contender: str, error: Exception) -> None:
        """Give it no further turns."""
        self.retired.add(contender)
        self.failed(contender, error)

    def __iter__(self) -> Iterator[Turn]:
        began = time.monotonic()
        gc.collect()
        gc.freeze()  # so that collections within a turn look at what the turn made
        try:
            for round_ in range(self.rounds + 1):
                if round_ > LEAST_ROUNDS and time.monotonic() - began > self.seconds:
                    return
                for contender in self._order(round_):
                    if contender not in self.retired:
                        yield Turn(self, round_, contender)
        finally:
            gc.unfreeze()

    def _order(self, round_: int) -> Iterable[str]:
        return self.contenders if round_ % 2 else reversed(self.contenders)
