"""A state machine for backends of cache entries.

It does the same to a backend and to an oracle.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryCacheEntries
    >>> machine = cache_machine_for(lambda: nullcontext(MemoryCacheEntries()))
    >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from ...domain import DEFAULT, CacheEntry, Payload
from ...repositories.cache import AsyncCacheRepository, CacheBackend, CacheRepository
from .. import strategies as some
from ..comparison import Call, ComparingMachine, Expiry
from ..differences import NONE, Differences
from ..faces import blocking
from ..oracles.cache import CacheOracle, Labels, Place

__all__ = ["cache_machine_for"]

MakeCacheBackend = Callable[[], AbstractContextManager[CacheBackend] | AbstractAsyncContextManager[CacheBackend]]
"""Opens an empty backend; in an event loop of its own if it is an async context manager."""

_places = st.lists(some.cache_keys(), max_size=4)


class CacheMachine(ComparingMachine):
    """The machine; :func:`cache_machine_for` makes one for a backend."""

    kind = "cache"

    def __init__(self) -> None:
        super().__init__()
        self.repository: CacheRepository
        self.repository, _ = self.opened(
            CacheRepository, lambda backend, portal, _: blocking(AsyncCacheRepository(backend), portal)
        )
        self.met: set[Place] = set()
        self.oracle: CacheOracle = CacheOracle(self.expiry.ttl, self.expiry.clock) if self.expiry else CacheOracle()

    def ends(self, moment: dt.datetime | None) -> Any:
        """Return when an entry ends.

        If only the backend knows what time it is, return whether.
        """
        return moment is not None if self.clock is None else moment

    def read(self, places: Collection[Place]) -> dict[Place, Any]:
        found = self.repository.get(list(places))
        return {place: (entry.payload, self.ends(entry.expires_at)) for place, entry in found.items()}

    def expected(self, oracle: CacheOracle, places: Collection[Place]) -> dict[Place, Any]:
        found = oracle.get(list(places))
        return {place: (stored.payload, self.ends(stored.ends)) for place, stored in found.items()}

    @rule(entries=some.cache_writes())
    def set(self, entries: dict[Place, tuple[Payload, Any]]) -> None:
        self.met |= entries.keys()
        self.compare(lambda: self.repository.set(entries), lambda: self.oracle.set(entries))

    @rule(place=some.cache_keys(), payload=some.payloads(), ttl=st.sampled_from([0, -1]))
    def set_for_no_time(self, place: Place, payload: Payload, ttl: int) -> None:
        self.compare(
            lambda: self.repository.set({place: (payload, ttl)}), lambda: self.oracle.set({place: (payload, ttl)})
        )

    @precondition(lambda self: self.clock is not None)
    @rule(place=some.cache_keys(), payload=some.payloads(), ttl=st.sampled_from(some.TTLS))
    def set_in_time(self, place: Place, payload: Payload, ttl: Any) -> None:
        """Set again, shortly before an entry ends.

        The last TTL counts, be it longer or shorter.
        """
        self.set({place: (payload, DEFAULT)})
        self.wait(9.6)
        self.set({place: (payload, ttl)})
        self.wait(3.1)

    @rule(places=_places)
    def get(self, places: list[Place]) -> None:
        self.compare(lambda: self.read(places), lambda: self.expected(self.oracle, places))

    @rule(places=_places)
    def delete(self, places: list[Place]) -> None:
        self.compare(lambda: self.repository.delete(places), lambda: self.oracle.delete(places))

    @rule(namespaces=st.none() | st.lists(some.cache_namespaces(), max_size=2))
    def clear(self, namespaces: list[Labels] | None) -> None:
        self.compare(lambda: self.repository.clear(namespaces), lambda: self.oracle.clear(namespaces))

    @precondition(lambda self: self.can("reindex"))
    @rule()
    def reindex(self) -> None:
        self.compare(self.repository.reindex, self.oracle.reindex)

    @precondition(lambda self: self.has("list"))
    @rule(namespace=st.none() | some.cache_namespaces())
    def list_entries(self, namespace: Labels | None) -> None:
        def in_order(entries: list[tuple[Place, Payload, Any]]) -> list[Any]:
            if self.clock is not None:
                return entries
            # Without a clock of ours nobody knows which of two ends first.
            return [[place[0] for place, _, _ in entries], sorted(entries, key=lambda one: one[0])]

        self.compare(
            lambda: in_order(
                [
                    ((one.namespace, one.key), one.payload, self.ends(one.expires_at))
                    for one in self.repository.list(namespace)
                ]
            ),
            lambda: in_order([(place, one.payload, self.ends(one.ends)) for place, one in self.oracle.list(namespace)]),
        )

    @precondition(lambda self: self.has("list_namespaces"))
    @rule()
    def list_namespaces(self) -> None:
        self.oracle.expire()
        found = list(self.repository.list_namespaces())
        expected = self.oracle.namespaces()
        assert [(one.namespace, one.entries) for one in found] == [
            (name, count) for name, (count, _) in expected.items()
        ]
        assert all(one.bytes >= expected[one.namespace][1] for one in found)

    @precondition(lambda self: self.has("restore"))
    @rule(entries=st.lists(some.cache_entries(), max_size=4), life=st.sampled_from([None, -3600.0, 1.05, 3600.0]))
    def restore(self, entries: list[CacheEntry], life: float | None) -> None:
        """Store entries that end at any time, or ended an hour ago, or end soon."""
        now = self.oracle.now() if self.clock is not None else dt.datetime.now(dt.UTC)
        if life is not None:
            # Where the clock is a real one, nothing may end before the example does.
            ends = now + dt.timedelta(seconds=life if self.clock is not None or life < 0 else life + 3600)
            entries = [entry.model_copy(update={"expires_at": ends}) for entry in entries]
        kept = {
            (entry.namespace, entry.key): (
                entry.payload,
                None if entry.expires_at is None else _whole(entry.expires_at),
            )
            for entry in entries
        }
        self.met |= kept.keys()
        self.compare(lambda: self.repository.restore(entries), lambda: self.oracle.restore(kept, now))

    @rule(
        place=some.cache_keys(),
        payloads=st.lists(some.payloads(), min_size=1, max_size=2),
        deletes=st.booleans(),
        clears=st.booleans(),
    )
    def at_once(self, place: Place, payloads: list[Payload], deletes: bool, clears: bool) -> None:
        """Set, read and delete one entry in several threads."""
        calls = [self._set_call(place, payload) for payload in payloads]
        if deletes:
            calls.append(Call(lambda: self.repository.delete([place]), lambda oracle, _: oracle.delete([place])))
        calls.append(Call(lambda: self.read([place]), lambda oracle, _: self.expected(oracle, [place])))
        self.side_by_side(calls[:3], lambda: self.read([place]), lambda oracle: self.expected(oracle, [place]))
        if clears:
            self.repository.clear([place[0]])
            self.oracle.clear([place[0]])
        else:
            self.repository.delete([place])
            self.oracle.delete([place])

    def _set_call(self, place: Place, payload: Payload) -> Call:
        return Call(
            lambda: self.repository.set({place: (payload, None)}),
            lambda oracle, _: oracle.set({place: (payload, None)}),
        )

    @invariant()
    def all_is_there(self) -> None:
        places = sorted(self.met)
        self.compare(lambda: self.read(places), lambda: self.expected(self.oracle, places))


def _whole(moment: dt.datetime) -> dt.datetime:
    """Round a time up to the millisecond."""
    return moment + dt.timedelta(microseconds=-moment.microsecond % 1000)


def cache_machine_for(
    make_backend: MakeCacheBackend,
    *,
    name: str = "",
    expiry: Expiry | None = None,
    restart: Callable[[], None] | None = None,
    differences: Differences = NONE,
) -> type[CacheMachine]:
    """Return a machine over a backend, for ``run_state_machine_as_test``.

    Args:
        make_backend: opens an empty backend; called for each example.
        name: what the backend is called in summaries; the name of its class if there is none.
        expiry: how the backend was made, if it has a clock that can be set.
        restart: for backends whose records survive a restart of what keeps them: ends it and starts it again. It is
            called between any two steps.
        differences: what the backend does otherwise than the contract has it.
    """
    return CacheMachine.over(make_backend, name=name, expiry=expiry, restart=restart, differences=differences)
