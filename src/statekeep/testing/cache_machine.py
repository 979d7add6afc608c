"""A state machine that does the same to a backend of cache entries and to an oracle, and compares what both answer.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryCacheEntries
    >>> machine = cache_machine_for(lambda: nullcontext(MemoryCacheEntries()))
    >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import product
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from ..domain import DEFAULT, Payload
from ..repositories.cache import AsyncCacheRepository, CacheBackend, CacheRepository
from .cache_oracle import CacheOracle, Labels, Place
from .comparison import ComparingMachine, Expiry
from .faces import blocking

MakeCacheBackend = Callable[[], AbstractContextManager[CacheBackend] | AbstractAsyncContextManager[CacheBackend]]
"""Opens an empty backend; in an event loop of its own if it is an async context manager."""

NAMESPACES: Final[tuple[Labels, ...]] = ((), ("a",), ("a", "b"), ("a.b",), ("index",), ("{a}*", "|:/%"))
KEYS: Final = ("", "k", "b:k", "hash", "{a}*|", "\x00")
PLACES: Final[tuple[Place, ...]] = tuple(product(NAMESPACES, KEYS))

_places = st.lists(st.sampled_from(PLACES), max_size=4)
# Seconds: none is a sum of what `wait` waits for, and no example over a server whose clock runs takes as long.
_ttls = st.sampled_from([DEFAULT, DEFAULT, None, 333.333, 2003.0301])
_payloads = st.builds(Payload, encoding=st.sampled_from(["raw", "json;é"]), data=st.binary(max_size=5))


class CacheMachine(ComparingMachine):
    """The machine; :func:`cache_machine_for` says what it acts on."""

    def __init__(self) -> None:
        super().__init__()
        self.repository: CacheRepository = self.opened(
            CacheRepository, lambda backend, portal: blocking(AsyncCacheRepository(backend), portal)
        )
        self.oracle: CacheOracle = CacheOracle(self.expiry.ttl, self.expiry.clock) if self.expiry else CacheOracle()

    def read(self, places: list[Place]) -> dict[Place, Payload]:
        return {place: entry.payload for place, entry in self.repository.get(places).items()}

    @rule(entries=st.dictionaries(st.sampled_from(PLACES), st.tuples(_payloads, _ttls), max_size=4))
    def set(self, entries: dict[Place, tuple[Payload, Any]]) -> None:
        self.compare(lambda: self.repository.set(entries), lambda: self.oracle.set(entries))

    @rule(place=st.sampled_from(PLACES), payload=_payloads, ttl=st.sampled_from([0, -1]))
    def set_for_no_time(self, place: Place, payload: Payload, ttl: int) -> None:
        self.compare(
            lambda: self.repository.set({place: (payload, ttl)}), lambda: self.oracle.set({place: (payload, ttl)})
        )

    @rule(places=_places)
    def get(self, places: list[Place]) -> None:
        self.compare(lambda: self.read(places), lambda: self.oracle.get(places))

    @rule(places=_places)
    def delete(self, places: list[Place]) -> None:
        self.compare(lambda: self.repository.delete(places), lambda: self.oracle.delete(places))

    @rule(namespaces=st.none() | st.lists(st.sampled_from(NAMESPACES), max_size=2))
    def clear(self, namespaces: list[Labels] | None) -> None:
        self.compare(lambda: self.repository.clear(namespaces), lambda: self.oracle.clear(namespaces))

    @rule()
    def reindex(self) -> None:
        self.compare(self.repository.reindex, self.oracle.reindex)

    @invariant()
    def everything_is_as_expected(self) -> None:
        self.compare(lambda: self.read(list(PLACES)), lambda: self.oracle.get(PLACES))


def cache_machine_for(make_backend: MakeCacheBackend, *, expiry: Expiry | None = None) -> type[CacheMachine]:
    """Return a machine over a backend, for ``run_state_machine_as_test``.

    Args:
        make_backend: opens an empty backend; called for each example.
        expiry: how the backend was made, if it has a clock that can be set.
    """
    return type(
        "CacheMachineOverBackend", (CacheMachine,), {"make_backend": staticmethod(make_backend), "expiry": expiry}
    )
