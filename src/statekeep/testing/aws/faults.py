"""Faults on purpose: throttling, conflicts, errors, cut connections, slow replies.

Each fault says which calls it is for. Calls are counted for each fault on its own, only those of its operations:
the first ``skip`` are left alone, then every ``every``-th is chosen with the probability ``rate``, ``times`` at most.

>>> throttle("CreateEvent", rate=0.1)
Fault(kind='refused', operations=frozenset({'CreateEvent'}), rate=0.1, every=1, skip=0, times=None, status=429, ...)
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from typing import Literal

from attrs import evolve, field, frozen

from ...domain.errors import InvalidInput

Kind = Literal["refused", "cut before", "cut after", "slow"]


def _positive(name: str, value: float, least: float, most: float = float("inf")) -> None:
    if not least <= value <= most:
        raise InvalidInput(f"{name} must be between {least:g} and {most:g}, got {value!r}", field=name)


@frozen
class Fault:
    """One way to fail, and for which calls. The functions of this module make them."""

    kind: Kind
    operations: frozenset[str] | None = field(default=None)
    rate: float = field(default=1.0, kw_only=True)
    every: int = field(default=1, kw_only=True)
    skip: int = field(default=0, kw_only=True)
    times: int | None = field(default=None, kw_only=True)
    status: int = field(default=0, kw_only=True)
    code: str | None = field(default=None, kw_only=True)
    message: str = field(default="", kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _positive("rate", self.rate, 0.0, 1.0)
        _positive("every", self.every, 1)
        _positive("skip", self.skip, 0)
        _positive("seconds", self.seconds, 0.0)
        if self.times is not None:
            _positive("times", self.times, 0)


def _fault(
    kind: Kind,
    operations: tuple[str, ...],
    *,
    rate: float = 1.0,
    every: int = 1,
    skip: int = 0,
    times: int | None = None,
) -> Fault:
    chosen = frozenset(operations) if operations else None
    return Fault(kind, chosen, rate=rate, every=every, skip=skip, times=times)


def throttle(*operations: str, rate: float = 1.0, every: int = 1, skip: int = 0, times: int | None = None) -> Fault:
    """Answer 429, as the service does when a quota is exceeded. Nothing is done.

    Args:
        operations: API names, ``"CreateEvent"``; none for all.
        rate: probability, 0.0 to 1.0.
        every: choose every n-th call.
        skip: so many calls are left alone first.
        times: so many calls are chosen at most; ``None`` for no limit.

    Raises:
        InvalidInput: a number is out of its range.
    """
    fault = _fault("refused", operations, rate=rate, every=every, skip=skip, times=times)
    return evolve(fault, status=429, message="Rate exceeded")


def conflict(*operations: str, rate: float = 1.0, every: int = 1, skip: int = 0, times: int | None = None) -> Fault:
    """Answer 409, for the operations that have such an error.

    Nothing is done. See :func:`throttle`.
    """
    fault = _fault("refused", operations, rate=rate, every=every, skip=skip, times=times)
    return evolve(fault, status=409, message="The request conflicts with another request; try again")


def server_error(*operations: str, rate: float = 1.0, every: int = 1, skip: int = 0, times: int | None = None) -> Fault:
    """Answer 500. Nothing is done. See :func:`throttle`."""
    fault = _fault("refused", operations, rate=rate, every=every, skip=skip, times=times)
    return evolve(fault, status=500, message="Internal server error")


def refuse(
    code: str,
    *operations: str,
    message: str = "",
    status: int = 403,
    rate: float = 1.0,
    every: int = 1,
    skip: int = 0,
    times: int | None = None,
) -> Fault:
    """Answer an error of any code, such as ``ExpiredTokenException``. Nothing is done.

    Args:
        code: what the client sees as the error's code.
        operations: API names; none for all.
        message: what the client is told.
        status: HTTP status.
        rate: probability, 0.0 to 1.0.
        every: choose every n-th call.
        skip: so many calls are left alone first.
        times: so many calls are chosen at most; ``None`` for no limit.
    """
    fault = _fault("refused", operations, rate=rate, every=every, skip=skip, times=times)
    return evolve(fault, status=status, code=code, message=message or code)


def cut_before(*operations: str, rate: float = 1.0, every: int = 1, skip: int = 0, times: int | None = None) -> Fault:
    """Close the connection instead of doing anything. See :func:`throttle`."""
    return _fault("cut before", operations, rate=rate, every=every, skip=skip, times=times)


def cut_after(*operations: str, rate: float = 1.0, every: int = 1, skip: int = 0, times: int | None = None) -> Fault:
    """Do what is asked, then close the connection without an answer.

    See :func:`throttle`.
    """
    return _fault("cut after", operations, rate=rate, every=every, skip=skip, times=times)


def slow(
    seconds: float, *operations: str, rate: float = 1.0, every: int = 1, skip: int = 0, times: int | None = None
) -> Fault:
    """Do what is asked, and answer so many seconds later. See :func:`throttle`."""
    return evolve(_fault("slow", operations, rate=rate, every=every, skip=skip, times=times), seconds=seconds)


class _Chosen:
    """A fault and the calls that it was asked about."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._seen = 0
        self._hits = 0

    def hits(self, operation: str, chance: random.Random) -> bool:
        fault = self.fault
        if fault.operations is not None and operation not in fault.operations:
            return False
        self._seen += 1
        behind = self._seen - fault.skip
        if behind <= 0 or behind % fault.every or (fault.times is not None and self._hits >= fault.times):
            return False
        if fault.rate < 1 and chance.random() >= fault.rate:
            return False
        self._hits += 1
        return True


class Faults:
    """The faults that are in force. Its methods may be called from any thread."""

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random(seed)
        self._chosen = [_Chosen(fault) for fault in faults]

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put these in force instead, with their counts at zero."""
        with self._lock:
            self._chosen = [_Chosen(fault) for fault in faults]

    def current(self) -> list[Fault]:
        """Return those in force."""
        with self._lock:
            return [chosen.fault for chosen in self._chosen]

    def choose(self, operation: str, applies: Callable[[Fault], bool]) -> list[Fault]:
        """Return the faults that hit a call, in their order.

        Those that do not apply to it are not counted.
        """
        with self._lock:
            return [
                chosen.fault
                for chosen in self._chosen
                if applies(chosen.fault) and chosen.hits(operation, self._chance)
            ]
