"""Exact numbers of an emulator's calls and bytes, for assertions."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, overload

from attrs import field, frozen


@frozen
class Call:
    """One HTTP request, a retry is one of its own.

    Attributes:
        service: the service's name, ``"bedrock-agentcore"``.
        operation: API name, ``"CreateEvent"``.
        arguments: the parsed request; empty if it was refused before it was parsed.
        status: HTTP status of the answer; ``None`` if the connection was cut.
        error: the error's code, ``None`` if there was none.
        faults: the kinds of the injected faults that hit it.
        request_bytes: bytes of the request's body.
        response_bytes: bytes of the answer's body.
        began: seconds of ``time.monotonic`` when the request had arrived.
        ended: seconds of ``time.monotonic`` when the answer was ready.
    """

    service: str
    operation: str
    arguments: Mapping[str, Any] = field(repr=False)
    status: int | None
    error: str | None
    faults: tuple[str, ...]
    request_bytes: int
    response_bytes: int
    began: float = field(repr=False)
    ended: float = field(repr=False)


class Calls:
    """Calls in the order in which they ended."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def append(self, call: Call) -> None:
        """Add one that has ended."""
        self._calls.append(call)

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls))

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        return self._calls[index]

    def __repr__(self) -> str:
        return f"<Calls {dict(self.operations)}>"

    @property
    def operations(self) -> Counter[str]:
        """Calls of each operation."""
        return Counter(call.operation for call in self)

    @property
    def request_bytes(self) -> int:
        """Bytes of all request bodies."""
        return sum(call.request_bytes for call in self)

    @property
    def response_bytes(self) -> int:
        """Bytes of all bodies of answers."""
        return sum(call.response_bytes for call in self)

    @property
    def rounds(self) -> int:
        """Return how long a chain of calls the caller waited for.

        These are the most calls of which each began after the one before had ended.

        Calls side by side overlap only when they take a while, so make them :func:`~.faults.slow` to count rounds.
        """
        rounds, end = 0, float("-inf")
        for call in sorted(self, key=lambda call: call.ended):
            if call.began >= end:
                rounds, end = rounds + 1, call.ended
        return rounds


@frozen
class Totals:
    """Sums since the emulator started, or since they were reset.

    Attributes:
        calls: calls of each operation.
        errors: answers of each error code, injected or not.
        faults: injected faults of each kind, one that ended a call and others that hit it too.
        request_bytes: bytes of all request bodies.
        response_bytes: bytes of all bodies of answers.
    """

    calls: Counter[str] = field(factory=Counter)
    errors: Counter[str] = field(factory=Counter)
    faults: Counter[str] = field(factory=Counter)
    request_bytes: int = 0
    response_bytes: int = 0


class Recorder:
    """Counts calls, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Totals()
        self._records: list[tuple[float, Calls]] = []

    def add(self, call: Call) -> None:
        """Count a call that has ended."""
        with self._lock:
            totals = self._totals
            self._totals = Totals(
                totals.calls + Counter([call.operation]),
                totals.errors + Counter([call.error] if call.error else []),
                totals.faults + Counter(call.faults),
                totals.request_bytes + call.request_bytes,
                totals.response_bytes + call.response_bytes,
            )
            for since, record in self._records:
                # A client that did not wait for an answer leaves a call behind, which ends when it likes.
                if call.began >= since:
                    record.append(call)

    def totals(self) -> Totals:
        """Return a copy of the sums."""
        with self._lock:
            return self._totals

    def reset(self) -> None:
        """Set the sums to zero."""
        with self._lock:
            self._totals = Totals()

    @contextmanager
    def record(self) -> Iterator[Calls]:
        """Collect the calls that begin and end within a block."""
        calls = Calls()
        with self._lock:
            self._records.append((time.monotonic(), calls))
        try:
            yield calls
        finally:
            with self._lock:
                self._records = [other for other in self._records if other[1] is not calls]
