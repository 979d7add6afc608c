"""Operations without requests."""

from __future__ import annotations

import datetime as dt
import functools
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from ...domain.ids import time_of
from ...domain.shown import shown
from ...telemetry.records import Service
from ..operation import Operation
from ..process.copies import refuse
from ..validation import ttl_seconds

SelfT = TypeVar("SelfT")
P = ParamSpec("P")
ResultT = TypeVar("ResultT")


def at_once(
    body: Callable[Concatenate[SelfT, P], ResultT],
) -> Callable[Concatenate[SelfT, P], Operation[ResultT]]:
    """Make an operation of a method that yields no requests."""

    @functools.wraps(body)
    def operation(self: SelfT, /, *args: P.args, **kwargs: P.kwargs) -> Operation[ResultT]:
        yield from ()
        return body(self, *args, **kwargs)

    return operation


class AtOnce:
    """A backend whose operations yield no requests, and which has nothing to close.

    A copy has the same records, as a copy of a server's client has: it is this object.

    Args:
        ttl: seconds, with fractions, that a record lives; ``None`` for ever.
        clock: returns the time in seconds since the epoch.

    Raises:
        InvalidInput: ``ttl`` is no number of seconds greater than 0.
    """

    service: ClassVar = Service("memory")
    """This process, for observers."""

    def __init__(self, ttl: float | None, clock: Callable[[], float]) -> None:
        self.ttl = ttl_seconds(ttl)
        self._clock = clock
        self._lock = threading.Lock()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        refuse(
            f"{type(self).__name__} (memory:), whose records are in this process alone,",
            "use the URL of a server, or embedded:DIR",
        )

    def execute(self, request: Any) -> Any:
        raise TypeError(f"operations of {type(self).__name__} ask for nothing, got {shown(request)}")

    async def aexecute(self, request: Any) -> Any:
        self.execute(request)

    def ping(self) -> Operation[None]:
        """Ask for nothing."""
        yield from ()

    @at_once
    def now(self) -> dt.datetime:
        """Read the clock."""
        return self._now()

    def _now(self) -> dt.datetime:
        return time_of(round(self._clock() * 1e6) * 1000)

    def close(self) -> None:
        """Nothing to close; the records stay."""

    async def aclose(self) -> None:
        """Nothing to close; the records stay."""
