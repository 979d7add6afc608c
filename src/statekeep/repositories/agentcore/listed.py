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
from ..records.framing import records
from .ids import Lane
from .lanes import Lanes
from .records import Listing, listing_of

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
    """

    orders: Mapping[str, frozenset[int]] = field(factory=dict)
    births: frozenset[int] = frozenset()
    latest: datetime | None = None

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

    def call(self, lanes: Lanes) -> AwsCall:
        """Return the call that reads on."""
        return lanes.listing(self.lane, NEWEST, self._token)

    def take(self, reply: Any) -> None:
        """Add a page."""
        for event in reply["events"]:
            self._times.append(event["eventTimestamp"])
            texts = [item.get("blob") for item in event["payload"]]
            self._found += [listing_of(record, self.lane) for record in records(texts, str(self.lane))[0]]
        self._token = reply.get("nextToken")
        is_long_ago = bool(self._times) and self._times[0] - self._times[-1] > RACE
        self.is_read = self._token is None or is_long_ago

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
        )


def read_on(lanes: Lanes, reader: ListedReader) -> Operation[Listed]:
    """Read on as far as is needed, which mostly is not at all."""
    while not reader.is_read:
        reader.take((yield reader.call(lanes)))
    return reader.listed()
