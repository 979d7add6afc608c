"""A lane of each namespace that says what the lists name of it.

The list of a thread's namespaces grows with every nested graph. Whoever puts into one namespace, or reads its newest
checkpoint, asks this lane instead, of which a few events are enough. An event is appended once the lists have what it
says. Threads that were stored by a former version have no such lanes until something is put: their list is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, field, frozen

from ..aws import AwsCall
from ..operation import Operation
from ..records.framing import Record, records
from ..records.local_cache import Recent
from ..records.piece_lanes import Seen
from .ids import Lane
from .lanes import Lanes
from .layout import ThreadPlace, actors_lane, run_lane
from .records import Listing, actor_record, listing_of, namespace_record, run_record

NEWEST: Final = 10
"""Events of a page. Each says what those before it said."""

RACE: Final = timedelta(hours=1)
"""Time in which several programs may append without having seen the events of each other."""


@frozen
class Listed:
    """The part of the lists that is about a namespace.

    Attributes:
        orders: the orders of its ids, each with the periods in which the lists got it.
        births: stamps that tell the thread from one that was deleted.
        latest: the time of the newest event, ``None`` if there is none.
        is_marked: whether each event of the index has a mark; those of former versions have none.
        sweeps: deletions of some of the values.
    """

    orders: Mapping[str, frozenset[int]] = field(factory=dict)
    births: frozenset[int] = frozenset()
    latest: datetime | None = None
    is_marked: bool = False
    sweeps: frozenset[str] = frozenset()

    @property
    def seen(self) -> Seen:
        """By what it is told that values are those that were there."""
        return Seen(self.births, self.sweeps)

    def birth(self, now: int) -> int:
        """Return the stamp that tells the thread from others of its id.

        It is ``now`` for a thread that is new.
        """
        return min(self.births, default=now)

    def is_in(self, period: int) -> bool:
        """Return whether the lists got something in a period.

        The actor of the thread is listed in it, too.
        """
        return any(period in periods for periods in self.orders.values())


@define
class ListedReader:
    """Reads the lane of a namespace from its newest end.

    It reads as far as the lane says something new.
    """

    lane: Lane
    is_read: bool = False
    _token: str | None = None
    _times: list[datetime] = field(factory=list)
    _found: list[Listing] = field(factory=list)
    _of_sweeps: dict[str, Listing] = field(factory=dict)

    def call(self, lanes: Lanes) -> AwsCall:
        """Return the call that reads on."""
        return lanes.listing(self.lane, NEWEST, self._token)

    def take(self, reply: Any) -> None:
        """Add a page."""
        for event in reply["events"]:
            self._times.append(event["eventTimestamp"])
            texts = [item.get("blob") for item in event["payload"]]
            found = [listing_of(record, self.lane) for record in records(texts, str(self.lane))[0]]
            self._found += found
            for one in found:
                if one.sweeps:
                    self._of_sweeps[event["eventId"]] = one
        self._token = reply.get("nextToken")
        is_long_ago = bool(self._times) and self._times[0] - self._times[-1] > RACE
        self.is_read = self._token is None or is_long_ago

    @property
    def superseded(self) -> list[str]:
        """The events of sweeps, which say nothing more once another one was appended."""
        births = [one.birth for one in self._found]
        return [event_id for event_id, one in self._of_sweeps.items() if one.birth == min(births)]

    def listed(self) -> Listed:
        """Return what was read."""
        orders: dict[str, set[int]] = {}
        for one in self._found:
            for order, period in one.orders.items():
                orders.setdefault(order, set()).add(period)
        return Listed(
            {order: frozenset(periods) for order, periods in orders.items()},
            frozenset(one.birth for one in self._found),
            self._times[0] if self._times else None,
            bool(self._found) and all(one.is_marked for one in self._found),
            frozenset(sweep for one in self._found for sweep in one.sweeps),
        )


def read_on(lanes: Lanes, reader: ListedReader) -> Operation[Listed]:
    """Read on as far as is needed, which mostly is not at all."""
    while not reader.is_read:
        reader.take((yield reader.call(lanes)))
    return reader.listed()


@frozen
class RegistryEntry:
    """An entry that a list must have before a checkpoint is put.

    Each period has its own, since events do not live for ever.
    """

    lane: Lane
    record: Record

    @property
    def key(self) -> tuple[str, ...]:
        """The key under which :class:`~..records.local_cache.Recent` remembers it."""
        return (self.lane.actor, self.lane.session, *map(str, self.record.head.values()))


def namespace_entry(place: ThreadPlace, namespace: str, order: str, period: int) -> RegistryEntry:
    """Return the entry of a namespace in the list of its thread.

    Its ids are of this order.
    """
    return RegistryEntry(place.namespaces, _of(period, namespace_record(place.thread_id, namespace, order)))


def actor_entry(place: ThreadPlace, period: int) -> RegistryEntry:
    """Return the entry of a thread's actor."""
    return RegistryEntry(actors_lane(place.thread_id), _of(period, actor_record(place.actor)))


def run_entry(place: ThreadPlace, run_id: str, period: int) -> RegistryEntry:
    """Return the entry of a thread in the list of a run."""
    return RegistryEntry(run_lane(run_id), _of(period, run_record(place.actor, place.thread_id)))


def _of(period: int, record: Record) -> Record:
    return Record({**record.head, "period": period})


def is_same(recent: Recent, place: ThreadPlace, namespace: str, listed: Listed) -> bool:
    """Return whether the namespace is the one that this process met.

    It is not when the thread was deleted, even if somebody put a thread of this id since.
    """
    return any(recent.knows(place.key, _birth_key(namespace, birth)) for birth in listed.births)


def learn(recent: Recent, place: ThreadPlace, namespace: str, listed: Listed) -> bool:
    """Remember what the lists name of a namespace.

    What was known of checkpoints is forgotten if values were deleted since.

    Returns:
        Whether what was known of the thread had to be forgotten: it was deleted since.
    """
    is_another = recent.knows(place.key, _birth_key(namespace)) and not is_same(recent, place, namespace, listed)
    if is_another:
        recent.forget(place.key)
    elif is_swept(recent, place, namespace, listed):
        recent.forget_channels(place.key)
    for sweep in listed.sweeps:
        recent.learn(place.key, _sweep_key(namespace, sweep))
    learn_birth(recent, place, namespace, *listed.births)
    for order, periods in listed.orders.items():
        for period in periods:
            recent.learn(place.key, namespace_entry(place, namespace, order, period).key)
            recent.learn(place.key, actor_entry(place, period).key)
    return is_another


def is_swept(recent: Recent, place: ThreadPlace, namespace: str, listed: Listed) -> bool:
    """Return whether values of a namespace were deleted since this process met it."""
    return not all(recent.knows(place.key, _sweep_key(namespace, sweep)) for sweep in listed.sweeps)


def _sweep_key(namespace: str, sweep: str) -> tuple[str, ...]:
    return ("sweep", namespace, sweep)


def learn_birth(recent: Recent, place: ThreadPlace, namespace: str, *births: int) -> None:
    """Remember by which stamps a namespace is known again."""
    for birth in births:
        key = _birth_key(namespace, birth)
        recent.learn(place.key, key)
        # Long keys are not remembered; that there is a birth may only be known along with one.
        if recent.knows(place.key, key):
            recent.learn(place.key, _birth_key(namespace))


def _birth_key(namespace: str, birth: int | None = None) -> tuple[str, ...]:
    """Return the key under which a birth is remembered.

    :class:`~..records.local_cache.Recent` has it; without a birth, the key says that it knows any.
    """
    return ("birth", namespace, "" if birth is None else str(birth))
