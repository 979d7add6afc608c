"""What the state machines share: a backend, an oracle, and the comparison of what they answer."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from typing import Any, ClassVar, Protocol, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from ..domain import Channel, Payload

RepositoryT = TypeVar("RepositoryT")


@dataclasses.dataclass
class Clock:
    """A clock that stands until it is moved; ``now`` is in seconds since the epoch."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass(frozen=True)
class Expiry:
    """How the backend was made, so that the oracle expects the same.

    Args:
        clock: what the backend was given as its clock.
        ttl: seconds.
        refresh_on_read: whether ``get`` starts the time anew.
    """

    clock: Clock
    ttl: float
    refresh_on_read: bool = False


def canonical(value: Any) -> Any:
    """Return what is equal only for equal values of equal types; NaN equals itself, the order of keys is nothing.

    Example:
        >>> canonical(1) == canonical(1.0), canonical(float("nan")) == canonical(float("nan"))
        (False, True)
    """
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return kind, sorted(((canonical(key), canonical(item)) for key, item in value.items()), key=repr)
    if isinstance(value, (list, tuple)):
        return kind, [canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((canonical(item) for item in value), key=repr)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return kind, repr(value.astimezone(dt.UTC)), str(value.utcoffset())
    if isinstance(value, Channel):
        return kind, canonical(value.version), value.carry.name, canonical(value.payload)
    if isinstance(value, Payload):
        return kind, value.encoding, value.data
    return kind, repr(value)


def outcome(do: Callable[[], Any]) -> Any:
    """Return the result in its canonical form, or the type of the exception."""
    try:
        return canonical(do())
    except Exception as error:
        return type(error)


class Expiring(Protocol):
    """What every oracle can do."""

    def expire(self) -> None:
        """Forget whatever has expired."""
        ...


class ComparingMachine(RuleBasedStateMachine):
    """A state machine over a backend and an oracle, ``oracle``, which its subclasses make.

    Attributes:
        make_backend: opens an empty backend; in an event loop of its own if it is an async context manager.
        expiry: how the backend was made, if it has a clock that can be set.
        pace: how much longer than it says each wait is.
    """

    make_backend: ClassVar[Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]]
    expiry: ClassVar[Expiry | None] = None
    pace: ClassVar[int] = 1
    oracle: Any

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.expiry.clock if self.expiry else None

    def opened(
        self, blocking: Callable[[Any], RepositoryT], through: Callable[[Any, BlockingPortal], RepositoryT]
    ) -> RepositoryT:
        """Open a backend, and return a repository over it that is called as blocking ones are.

        Args:
            blocking: makes it of the backend.
            through: makes it of a backend that lives in an event loop, and of the portal to that loop.
        """
        backend = type(self).make_backend()
        if isinstance(backend, AbstractAsyncContextManager):
            portal = self.stack.enter_context(start_blocking_portal("asyncio"))
            return through(self.stack.enter_context(portal.wrap_async_context_manager(backend)), portal)
        return blocking(self.stack.enter_context(backend))

    def teardown(self) -> None:
        self.stack.close()

    def compare(self, actual: Callable[[], Any], expected: Callable[[], Any]) -> None:
        """Do both, and compare results or exception types."""
        self.oracle.expire()
        want = outcome(expected)
        got = outcome(actual)
        assert got == want

    # With a ttl of 10.05 no sum of these is one: what happens in the very moment of expiry is not compared.
    @precondition(lambda self: self.clock is not None)
    @rule(seconds=st.sampled_from([0.7, 3.1, 9.6, 11.3]))
    def wait(self, seconds: float) -> None:
        assume(self.clock is not None)
        if self.clock is not None:
            self.clock.now += seconds * self.pace
