"""The index of a namespace: its keys, the latest put first.

It is read only as far as is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, field

from ....domain.items import Namespace
from ...aws import AwsCall
from ...operation import Operation
from ...records.framing import records
from ..ids import Lane
from ..lanes import PAGE
from .layout import NamespaceLanes
from .records import IndexEntry, entry_of, index_record, time_at
from .settings import Settings, side_by_side

_EPOCH: Final = time_at(0)


@define
class IndexReader:
    """Reads the index of a namespace from its newest end.

    The index may name items that are not there. An item's latest entry is not older than the item.

    Attributes:
        namespace: the namespace.
        entries: what was read, with the events' ids; a key may be there more than once.
        bound: microseconds; no entry that is unread has a greater stamp. -1 if all is read.
    """

    namespace: Namespace
    entries: list[tuple[IndexEntry, str]] = field(factory=list)
    bound: int = 1 << 62
    taken: int = 0
    _token: str | None = None
    _size: int = 0

    @property
    def lane(self) -> Lane:
        return NamespaceLanes(self.namespace).index

    @property
    def is_read(self) -> bool:
        return self._token is None

    def call(self, settings: Settings, size: int = 0) -> AwsCall:
        """Return the call that reads on; each page is larger than the one before."""
        self._size = min(size or 2 * self._size, PAGE)
        return settings.lanes.listing(self.lane, self._size, self._token)

    def take(self, reply: Any) -> None:
        """Add a page."""
        for event in reply["events"]:
            for record in records([item.get("blob") for item in event["payload"]], str(self.lane))[0]:
                self.entries.append((entry_of(record, self.lane), event["eventId"]))
            self.bound = _last_microsecond(event["eventTimestamp"])
        self._token = reply.get("nextToken")
        if self._token is None:
            self.bound = -1

    def fresh(self) -> list[IndexEntry]:
        """Return the entries that were read since this was called before."""
        found = [entry for entry, _ in self.entries[self.taken :]]
        self.taken = len(self.entries)
        return found

    def names(self) -> list[str]:
        """Return the keys that were read, each once, the latest put first."""
        return list(dict.fromkeys(entry.key for entry, _ in self.entries))


def _last_microsecond(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1) * 1000 + 999


def index_calls(settings: Settings, namespace: Namespace, entry: IndexEntry) -> list[AwsCall]:
    """Return the calls by which the index names a key.

    Those of puts that wait for each other go out as one event, as late as the latest of them.
    """
    lane, record = NamespaceLanes(namespace).index, index_record(entry)
    return settings.lanes.appends(lane, record, time_at(entry.stamp), is_shared=True)


def advance(settings: Settings, readers: Sequence[IndexReader]) -> Operation[None]:
    """Read a page more of each index."""
    unread = [reader for reader in readers if not reader.is_read]
    replies = yield from side_by_side([reader.call(settings) for reader in unread])
    for reader, reply in zip(unread, replies, strict=True):
        reader.take(reply)


def drain(settings: Settings, readers: Sequence[IndexReader]) -> Operation[None]:
    """Read indexes to their ends."""
    while any(not reader.is_read for reader in readers):
        yield from advance(settings, readers)
