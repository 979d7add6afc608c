"""The entries that lists must have before a checkpoint is put.

They name its namespace, its thread's actor, and its run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

from attrs import frozen

from ...domain.ids import time_of
from ..operation import Operation
from ..records.checkpoints import Head
from ..records.framing import Record
from ..records.ordering import order_and_time
from ..records.piece_lanes import Seen
from .get import Settings
from .ids import Lane
from .lanes import Append
from .layout import ThreadPlace
from .listed import Listed, ListedReader, RegistryEntry, actor_entry, learn, namespace_entry, read_on, run_entry
from .records import known, listing_record

UNKNOWN = 0
"""The period of what the list of namespaces has had for some time: one that is long over."""


@frozen
class Registration:
    """The entries of a checkpoint that the lists lack.

    Attributes:
        entries: to append before the checkpoint.
        notes: to append then, in the namespace's own lane: the entries are there.
        keys: what this process knows then.
        birth: the stamp by which it knows the namespace then, if the note says it.
        is_remembered: whether the namespace was met lately, and so nothing was read of it.
        seen: what is told of the namespace's values otherwise.
    """

    entries: Sequence[RegistryEntry]
    notes: Sequence[Append]
    keys: Sequence[tuple[str, ...]]
    birth: int | None
    is_remembered: bool
    seen: Seen


def is_remembered(settings: Settings, place: ThreadPlace, head: Head) -> bool:
    """Return whether the lists had a checkpoint's namespace lately.

    They had all that they must have of it when it was met.
    """
    order, _ = order_and_time(head.checkpoint_id, head.stamp)
    entry = namespace_entry(place, head.namespace, order, head.stamp // settings.renewal)
    return settings.recent.knows(place.key, entry.key)


def look(
    settings: Settings, place: ThreadPlace, head: Head, run_id: str | None, beside: Sequence[Lane] = ()
) -> Operation[tuple[Registration, list[list[Record]]]]:
    """Find out what the lists lack of a checkpoint.

    One round of reading, or none if all was met lately; one more for a namespace that a former version stored.

    Args:
        settings: of the backend.
        place: the thread.
        head: the checkpoint.
        run_id: its run.
        beside: other lanes to read in the same round.

    Returns:
        What the lists lack, and the records of the other lanes.
    """
    namespace, stamp = head.namespace, head.stamp
    order, _ = order_and_time(head.checkpoint_id, stamp)
    period = stamp // settings.renewal
    of_namespace, of_actor = namespace_entry(place, namespace, order, period), actor_entry(place, period)
    needed = [of_namespace, of_actor, *([run_entry(place, run_id, period)] if run_id is not None else [])]
    unknown = [entry for entry in needed if not settings.recent.knows(place.key, entry.key)]
    # That of the root says whether the actor is listed.
    asked = {namespace: of_namespace in unknown, "": of_actor in unknown or (not namespace and of_namespace in unknown)}
    readers = {name: ListedReader(place.listed(name)) for name, is_asked in asked.items() if is_asked}
    calls = [reader.call(settings.lanes) for reader in readers.values()]
    if namespace in readers:
        # Is there anything yet? A conversation may be in the root's index, so it is not read itself.
        calls.append(settings.lanes.listing(place.index(namespace), 1, payloads=False))
    runs = [entry for entry in unknown if entry not in (of_namespace, of_actor)]
    replies, found = yield from settings.lanes.read_beside(calls, [*beside, *(entry.lane for entry in runs)])
    several: dict[str, Listed] = {}
    for (name, reader), reply in zip(readers.items(), replies, strict=False):
        reader.take(reply)
        several[name] = yield from read_on(settings.lanes, reader)
        if learn(settings.recent, place, name, several[name]):
            return (yield from look(settings, place, head, run_id, beside))
    entries = [entry for entry, records in zip(runs, found[len(beside) :], strict=True) if entry.record not in records]
    if of_actor in unknown and not any(listed.is_in(period) for listed in several.values()):
        entries.append(of_actor)
    notes: list[Append] = []
    birth = None
    listed = several.get(namespace)
    if listed is not None and period not in listed.orders.get(order, ()):
        is_in_list = False
        if listed.latest is None:
            orders: Collection[str] = ()
            if replies[-1]["events"] or replies[-1].get("nextToken"):
                records = yield from settings.lanes.read(place.namespaces)
                is_in_list = of_namespace.record in records
                orders = known(records, place.namespaces).orders.get(namespace, ())
            listed = Listed({order: frozenset([UNKNOWN]) for order in orders}, is_marked=not orders)
        if not is_in_list:
            entries.append(of_namespace)
        notes.append(note(place, namespace, listed, {order: period}, stamp))
        birth = listed.birth(stamp)
    keys = [entry.key for entry in unknown]
    seen = Seen() if listed is None else listed.seen
    if birth is not None:
        seen = Seen(seen.births | {birth}, seen.sweeps)
    return Registration(entries, notes, keys, birth, namespace not in readers, seen), found[: len(beside)]


def note(
    place: ThreadPlace,
    namespace: str,
    listed: Listed,
    orders: Mapping[str, int],
    stamp: int,
    sweeps: Iterable[str] | None = None,
) -> Append:
    """Return the record that says what the lists name of a namespace.

    Args:
        place: the thread.
        namespace: of the checkpoints.
        listed: what was said before, which is said again.
        orders: the periods in which the lists got the orders of its ids lately.
        stamp: the time.
        sweeps: deletions of some of the values; ``None`` for those that were said before.
    """
    former = {order: max(periods) for order, periods in listed.orders.items()}
    record = listing_record(
        namespace,
        {**former, **orders},
        listed.birth(stamp),
        is_marked=listed.is_marked,
        sweeps=listed.sweeps if sweeps is None else sweeps,
    )
    moment = time_of(stamp)
    if listed.latest is not None:
        # Clocks differ, and what is said last has to come first.
        moment = max(moment, listed.latest + timedelta(milliseconds=1))
    return place.listed(namespace), record, moment
