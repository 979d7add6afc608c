"""The index of a namespace, read from its newest end and only as far as is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from attrs import define, field, frozen

from ..aws import AwsCall, AwsCalls
from ..operation import Operation
from ..records.framing import records
from ..records.ordering import TEXT
from .ids import Lane
from .lanes import ABREAST, MARK, PAGE, Lanes
from .layout import ThreadPlace
from .listed import Listed, ListedReader, read_on
from .records import IndexEntry, index_entry, known, marked_entry

OURS: Final = "statekeep/1 "


@frozen
class Indexed:
    """A checkpoint that an index names.

    It may do so more than once: each put adds an event.

    Attributes:
        entries: what the events say, the newest first.
        events: their ids.
    """

    entries: Sequence[IndexEntry]
    events: Sequence[str]

    @property
    def namespace(self) -> str:
        return self.entries[0].namespace

    @property
    def checkpoint_id(self) -> str:
        return self.entries[0].checkpoint_id

    @property
    def stamp(self) -> int:
        return self.entries[0].stamp


@define
class IndexReader:
    """Reads the index of a namespace, from its newest end.

    Ids that hold a time are in order, but for those of one millisecond; with ids of several orders, or without a time,
    nothing is known before the index was read to its end.
    """

    namespace: str
    lane: Lane
    is_ordered: bool = True
    is_read: bool = False
    latest_stamp: int = -1
    _order: str | None = None
    _token: str | None = None
    _last: datetime | None = None
    _found: dict[str, list[tuple[datetime, IndexEntry, str]]] = field(factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether no event of ours was read so far."""
        return self._last is None

    def call(self, lanes: Lanes, size: int, *, payloads: bool = True) -> AwsCall:
        """Return the call that reads on."""
        return lanes.listing(self.lane, size, self._token, payloads=payloads)

    def take(self, reply: Any, before: str | None) -> None:
        """Add a page."""
        for event in reply["events"]:
            # The root's index may have a conversation between its events.
            texts = [text for item in event["payload"] if _is_ours(text := item.get("blob"))]
            for record in records(texts, f"{self.lane.actor} {self.lane.session}")[0]:
                self._add(index_entry(record, self.lane), event, before)
        self._turn(reply)

    def take_marks(self, reply: Any) -> bool:
        """Add a page that was read without payloads, if its marks name all checkpoints.

        Returns:
            Whether it was added. If not, it has to be read with payloads.
        """
        entries = []
        for event in reply["events"]:
            mark = event.get("metadata", {}).get(MARK, {}).get("stringValue")
            if mark is not None:
                entry = marked_entry(mark, self.namespace)
                if entry is None:
                    return False
                entries.append((entry, event))
        for entry, event in entries:
            self._add(entry, event, None)
        self._turn(reply)
        return True

    def _add(self, entry: IndexEntry, event: Any, before: str | None) -> None:
        self.latest_stamp = max(self.latest_stamp, entry.stamp)
        if entry.order == TEXT or self._order not in (None, entry.order):
            self.is_ordered = False
        self._order = entry.order
        if before is None or entry.checkpoint_id < before:
            self._found.setdefault(entry.checkpoint_id, []).append((event["eventTimestamp"], entry, event["eventId"]))
        self._last = event["eventTimestamp"]

    def _turn(self, reply: Any) -> None:
        self._token = reply.get("nextToken")
        self.is_read = self._token is None

    def orders_are(self, orders: frozenset[str]) -> None:
        """Say of which orders the ids are."""
        if len(orders | ({self._order} if self._order else set())) > 1 or TEXT in orders:
            self.is_ordered = False

    def confirmed(self) -> list[str]:
        """Return the ids that are known to be the greatest left, in descending order."""
        if self.is_read:
            return sorted(self._found, reverse=True)
        if not self.is_ordered or self._last is None:
            return []
        last = self._last
        return sorted((id_ for id_, found in self._found.items() if found[0][0] > last), reverse=True)

    def pop(self, checkpoint_id: str) -> Indexed:
        """Take a checkpoint out."""
        found = sorted(self._found.pop(checkpoint_id), key=lambda one: one[1].stamp, reverse=True)
        return Indexed([entry for _, entry, _ in found], [event_id for _, _, event_id in found])


def _is_ours(text: Any) -> bool:
    return isinstance(text, str) and text.startswith(OURS)


def open_reader(
    lanes: Lanes, place: ThreadPlace, namespace: str, size: int, before: str | None = None
) -> Operation[tuple[IndexReader, Listed]]:
    """Read the first page of an index, and what the lists name of the namespace.

    They are read side by side: one round. There is another one only if a former version stored the namespace, and it
    has more than a page.
    """
    reader, own = IndexReader(namespace, place.index(namespace)), ListedReader(place.listed(namespace))
    replies = yield AwsCalls([own.call(lanes), reader.call(lanes, size)])
    own.take(replies[0])
    reader.take(replies[1], before)
    listed = own.listed()
    if not reader.is_read:
        listed = yield from read_on(lanes, own)
        orders = frozenset(listed.orders)
        if listed.latest is None:
            known_ = known((yield from lanes.read(place.namespaces)), place.namespaces)
            orders = known_.orders.get(namespace, frozenset())
        reader.orders_are(orders)
    return reader, listed


def skip_others(lanes: Lanes, reader: IndexReader) -> Operation[IndexReader]:
    """Read an index behind the events of others, without payloads.

    It is read until it has confirmed a checkpoint. Each event of ours must have a mark.

    Returns:
        The reader to go on with.
    """
    while not reader.is_read and not reader.confirmed():
        if not reader.take_marks((yield reader.call(lanes, PAGE, payloads=False))):
            break
    if reader.is_read and reader.is_empty:
        # The marks were not shown, though they are there.
        return IndexReader(reader.namespace, reader.lane)
    return reader


def advance(
    lanes: Lanes, readers: Sequence[IndexReader], count: int, size: int, before: str | None = None
) -> Operation[None]:
    """Read on until each index has confirmed so many checkpoints.

    An index that was read to its end has no more.
    """
    while behind := [reader for reader in readers if not reader.is_read and len(reader.confirmed()) < count]:
        for start in range(0, len(behind), ABREAST):
            some = behind[start : start + ABREAST]
            replies = yield AwsCalls([reader.call(lanes, size) for reader in some])
            for reader, reply in zip(some, replies, strict=True):
                reader.take(reply, before)


def drain(lanes: Lanes, readers: Sequence[IndexReader]) -> Operation[dict[str, list[Indexed]]]:
    """Read indexes to their ends.

    All of each namespace's checkpoints are in descending order.
    """
    yield from advance(lanes, readers, 1 << 62, PAGE)
    return {reader.namespace: [reader.pop(id_) for id_ in reader.confirmed()] for reader in readers}
