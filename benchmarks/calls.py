"""What a saver, a store or a cache is asked for: scripts, which a blocking and an awaiting driver run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen


@frozen
class Call:
    """One call of a method, by its blocking name.

    Attributes:
        operation: what it is measured as; ``None`` if it only prepares or tidies up.
        method: ``"get_tuple"`` stands for ``aget_tuple``, too.
        arguments: positional ones.
        options: keyword ones.
    """

    operation: str | None
    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(factory=dict)


Script = Generator[Call, Any, None]
"""Yields calls and is resumed with their results. So there is one script for blocking and for async subjects."""


class WrongAnswer(Exception):
    """What was measured did not do what it was asked for, so its time says nothing."""


def call(operation: str | None, method: str, *arguments: Any, **options: Any) -> Call:
    """Make a call."""
    return Call(operation, method, arguments, options)


def expect(holds: bool, what: str) -> None:
    """Check an answer.

    Raises:
        WrongAnswer: it does not hold.
    """
    if not holds:
        raise WrongAnswer(what)


class Meter(Protocol):
    """Is told when a call begins and when it has ended."""

    def start(self) -> None: ...
    def stop(self, ended: Call) -> None: ...


@define
class Stopwatch:
    """Notes how many microseconds each operation took."""

    samples: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    _began: int = 0

    def start(self) -> None:
        """Begin."""
        self._began = time.perf_counter_ns()

    def stop(self, ended: Call) -> None:
        """End."""
        elapsed = time.perf_counter_ns() - self._began
        if ended.operation is not None:
            self.samples[ended.operation].append(elapsed / 1000)


def drive(subject: Any, script: Script, meter: Meter) -> None:
    """Run a script, blocking. What a method returns lazily is read to its end."""
    answer: Any = None
    while True:
        try:
            asked = script.send(answer)
        except StopIteration:
            return
        method = getattr(subject, asked.method)
        meter.start()
        answer = method(*asked.arguments, **asked.options)
        if isinstance(answer, Iterator):
            answer = list(answer)
        meter.stop(asked)


async def adrive(subject: Any, script: Script, meter: Meter) -> None:
    """As :func:`drive`, with the awaitable methods of the same names behind an ``a``."""
    answer: Any = None
    while True:
        try:
            asked = script.send(answer)
        except StopIteration:
            return
        method = getattr(subject, f"a{asked.method}")
        meter.start()
        answer = method(*asked.arguments, **asked.options)
        if isinstance(answer, AsyncIterator):
            answer = [item async for item in answer]
        else:
            answer = await answer
        meter.stop(asked)
