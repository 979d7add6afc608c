"""Reading the lanes of items: the newest version of each counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, evolve, field

from ....domain import CorruptRecord
from ...aws import AwsCall
from ...operation import Operation
from ...records.framing import records
from ..ids import Lane
from ..lanes import PAGE
from .layout import NamespaceLanes
from .records import Version, content_of, time_at, version_of
from .settings import Settings, side_by_side

NEWEST: Final = 2
"""Events of a page when the newest is wanted: those of one millisecond are in no order."""

_EPOCH: Final = time_at(0)


@define
class Latest:
    """The newest end of an item's lane, as far as it was read.

    Attributes:
        lane: the lane.
        version: the newest; ``None`` if the lane has no events.
        event_id: of the newest event; ``""`` without one.
        at: milliseconds since 1970 of the newest event, -1 without one.
        events: the ids of all that were read.
        values: the names of large values of versions that were read and are not the newest.
        token: where the older events are; ``None`` if there are no more.
    """

    lane: Lane
    version: Version | None = None
    event_id: str = ""
    at: int = -1
    events: list[str] = field(factory=list)
    values: list[str] = field(factory=list)
    token: str | None = None
    is_settled: bool = False

    def call(self, settings: Settings, size: int) -> AwsCall:
        """Return the call that reads on."""
        return settings.lanes.listing(self.lane, size, self.token)

    def take(self, reply: Any) -> None:
        """Add a page."""
        for event in reply["events"]:
            whole, _ = records([item.get("blob") for item in event["payload"]], str(self.lane))
            if len(whole) != 1:
                raise CorruptRecord("an event of an item is not one record", key=str(self.lane))
            at, version = _milliseconds(event["eventTimestamp"]), version_of(whole[0], self.lane)
            self.events.append(event["eventId"])
            if self.version is None or (at, version.updated, version.nonce) > (self.at, *_order(self.version)):
                self._outdo()
                self.version, self.event_id, self.at = version, event["eventId"], at
            else:
                # Events come newest first, so all others of its millisecond are here.
                self.is_settled = self.is_settled or at < self.at
                self._note(version)
        self.token = reply.get("nextToken")
        self.is_settled = self.is_settled or self.token is None

    def _outdo(self) -> None:
        if self.version is not None:
            self._note(self.version)

    def _note(self, version: Version) -> None:
        if version.value is not None:
            self.values.append(version.value)


def _order(version: Version) -> tuple[int, str]:
    return version.updated, version.nonce


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def read_latest(
    settings: Settings, lanes: Sequence[Lane], beside: Sequence[AwsCall] = ()
) -> Operation[tuple[list[Latest], list[Any]]]:
    """Read the newest version in each of some lanes: one round.

    Args:
        settings: of the backend.
        lanes: of items.
        beside: other calls of the same round.

    Returns:
        What is in the lanes, and the replies to the other calls.
    """
    found = [Latest(lane) for lane in lanes]
    replies = yield from side_by_side([*(one.call(settings, NEWEST) for one in found), *beside])
    for one, reply in zip(found, replies, strict=False):
        one.take(reply)
    others = replies[len(found) :]
    while more := [one for one in found if not one.is_settled]:
        for one, reply in zip(more, (yield from side_by_side([one.call(settings, PAGE) for one in more])), strict=True):
            one.take(reply)
    return found, others


def read_older(settings: Settings, found: Sequence[Latest]) -> Operation[None]:
    """Read the lanes on to their ends."""
    while more := [one for one in found if one.token is not None]:
        for one, reply in zip(more, (yield from side_by_side([one.call(settings, PAGE) for one in more])), strict=True):
            one.take(reply)


def with_values(settings: Settings, found: Sequence[Latest]) -> Operation[list[Latest]]:
    """Read the large values of the newest versions.

    Values go with the versions that have them, so a lane whose value is gone is read again.

    Raises:
        CorruptRecord: a version is there, and its value is not.
    """
    whole = list(found)
    while True:
        lacking = [number for number, one in enumerate(whole) if _lacks_value(one.version)]
        if not lacking:
            return whole
        lanes = []
        for number in lacking:
            version = whole[number].version
            assert version is not None
            assert version.value is not None
            lanes.append(NamespaceLanes(version.namespace).value(version.value))
        gone = []
        for number, lane, stored in zip(lacking, lanes, (yield from settings.lanes.read_all(lanes)), strict=True):
            one = whole[number]
            if stored:
                assert one.version is not None
                one.version = evolve(one.version, content=content_of(stored[0], lane))
            else:
                gone.append(number)
        again, _ = yield from read_latest(settings, [whole[number].lane for number in gone])
        for number, one in zip(gone, again, strict=True):
            if one.event_id == whole[number].event_id:
                raise CorruptRecord(
                    "the value of an item is gone: did it expire before the item was read?", key=str(one.lane)
                )
            whole[number] = one


def _lacks_value(version: Version | None) -> bool:
    return version is not None and version.value is not None and version.content is None
