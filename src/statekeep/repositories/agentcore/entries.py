"""Entries of the lists of namespaces, actors and runs.

With them goes what this process knows of them.
"""

from __future__ import annotations

from attrs import frozen

from ..records.framing import Record
from ..records.local_cache import Recent
from .ids import Lane
from .layout import ThreadPlace, actors_lane, run_lane
from .listed import Listed
from .records import actor_record, namespace_record, run_record


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

    Returns:
        Whether what was known of the thread had to be forgotten: it was deleted since.
    """
    is_another = recent.knows(place.key, _birth_key(namespace)) and not is_same(recent, place, namespace, listed)
    if is_another:
        recent.forget(place.key)
    learn_birth(recent, place, namespace, *listed.births)
    for order, periods in listed.orders.items():
        for period in periods:
            recent.learn(place.key, namespace_entry(place, namespace, order, period).key)
            recent.learn(place.key, actor_entry(place, period).key)
    return is_another


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
