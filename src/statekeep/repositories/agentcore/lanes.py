"""Lanes: sessions of AgentCore Memory used as keys.

A lane is read whole or from its newest end, never by a filter: unfiltered reads see what was written, filtered ones
maybe later. Order is that of the events' own timestamps; events of one millisecond are unordered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from ...domain import Throttled
from ..aws import AwsCall, AwsCalls, Joins
from ..operation import Operation
from ..records.framing import PIECE, Record, pieces, records
from .ids import Lane

PAGE: Final = 100
"""Events of a page, the service's limit."""

ABREAST: Final = 32
"""Calls of one request, a bound of memory."""

DELETIONS: Final = 8
"""Deletions of one request: the service's quota is small."""

PATIENCE: Final = 20
"""Attempts at deletions that the service throttles."""


EVENT: Final = 9_900_000
"""Bytes of an event at most, less than the service's 10 MB."""

EVENT_ITEMS: Final = 100
"""Records of an event, the service's limit."""

ITEM: Final = 16
"""Bytes of an event around each record, about."""

MARK: Final = "statekeep"
"""The key of an event's metadata that says what the event is to those who read no payloads."""

Append = tuple[Lane, Record, datetime] | tuple[Lane, Record, datetime, str]
"""Where to append what, what orders the lane, to the millisecond, and maybe its mark."""


@frozen
class Lanes:
    """The lanes of one memory.

    Attributes:
        memory_id: the memory.
        piece: characters of an event at most, less than 10 MB.
    """

    memory_id: str
    piece: int = PIECE

    def appends(
        self, lane: Lane, record: Record, at: datetime, mark: str | None = None, *, is_shared: bool = False
    ) -> list[AwsCall]:
        """Return the calls that append a record.

        There is one, or more if it is larger than an event may be.

        They carry no client token of their own: boto3 adds one that its retries share. A token made of the content
        would outlive a deletion, and the service would then ignore what is put again.

        Args:
            lane: where to.
            record: what to append; the same again does no harm.
            at: what orders the lane, to the millisecond.
            mark: what those are told who read the lane without payloads.
            is_shared: whether an event may have several records of this lane. Then ``at`` is the latest of theirs, and
                none can be deleted without the others.
        """
        where = self._where(lane) | {"eventTimestamp": at.astimezone(UTC), "extractionMode": "SKIP"}
        if mark is not None:
            where["metadata"] = {MARK: {"stringValue": mark}}
        return [
            AwsCall(
                "CreateEvent",
                where | {"payload": [{"blob": text}]},
                joins=Joins(
                    (self.memory_id, lane), "payload", 1, len(text) + ITEM, EVENT_ITEMS, EVENT, "eventTimestamp"
                )
                if is_shared
                else None,
            )
            for text in pieces(record, self.piece)
        ]

    def append(
        self, appends: Sequence[Append], shared: Sequence[Append] = (), beside: Sequence[AwsCall] = ()
    ) -> Operation[list[Any]]:
        """Append records side by side; when it fails, some of them may be there.

        Args:
            appends: records with events of their own.
            shared: those whose events other records of their lanes may share.
            beside: calls to make side by side with them.

        Returns:
            The replies to the calls beside.
        """
        calls = [*beside, *(call for append in appends for call in self.appends(*append))]
        calls += [call for append in shared for call in self.appends(*append, is_shared=True)]
        answers: list[Any] = []
        for start in range(0, len(calls), ABREAST):
            some = calls[start : start + ABREAST]
            reply = yield _request(some)
            answers += reply if len(some) > 1 else [reply]
        return answers[: len(beside)]

    def read(self, lane: Lane, *, newest: int | None = None) -> Operation[list[Record]]:
        """Return the records of a lane, the newest first.

        Those of which a piece is missing are left out.

        Args:
            lane: what to read.
            newest: read so many events from the newest end; ``None`` for all.
        """
        [found] = yield from self.read_all([lane], newest=newest)
        return found

    def read_all(
        self, lanes: Sequence[Lane], *, newest: int | Sequence[int | None] | None = None
    ) -> Operation[list[list[Record]]]:
        """Read several lanes side by side: as many rounds as the longest has pages.

        Args:
            lanes: what to read.
            newest: read so many events from the newest end of all, or of each; ``None`` for all.
        """
        _, events = yield from self._events(lanes, newest, payloads=True)
        return _records(lanes, events)

    def read_beside(
        self, calls: Sequence[AwsCall], lanes: Sequence[Lane]
    ) -> Operation[tuple[list[Any], list[list[Record]]]]:
        """Make some calls, of which there are few, and read lanes side by side with them.

        Returns:
            The replies, and the records of each lane.
        """
        replies, events = yield from self._events(lanes, None, payloads=True, beside=calls)
        return replies, _records(lanes, events)

    def clear(self, lanes: Sequence[Lane]) -> Operation[int]:
        """Delete every event of some lanes, and return how many there were.

        What is gone already is no error.
        """
        _, events = yield from self._events(lanes, None, payloads=False)
        yield from self.delete([(lanes[number], event["eventId"]) for number, event in events])
        return len(events)

    def delete(self, events: Sequence[tuple[Lane, str]], beside: Sequence[AwsCall] = ()) -> Operation[list[Any]]:
        """Delete events by their ids. What is gone already is no error.

        The service lets an account delete 20 events a second, so a throttled deletion waits and goes on.

        Args:
            events: what to delete.
            beside: a few calls to make with the first deletions; they may be made more than once.

        Returns:
            The replies to the calls beside.
        """
        calls = [
            AwsCall("DeleteEvent", self._where(lane) | {"eventId": event_id}, missing_ok=True)
            for lane, event_id in events
        ]
        answers: list[Any] = []
        for start in range(0, max(len(calls), len(beside[:1])), DELETIONS):
            some = [*(beside if start == 0 else ()), *calls[start : start + DELETIONS]]
            for attempt in range(PATIENCE):
                try:
                    reply = yield _request(some)
                except Throttled:
                    # Each attempt has waited already, as boto3's retries do.
                    if attempt == PATIENCE - 1:
                        raise
                else:
                    if start == 0:
                        answers = (reply if len(some) > 1 else [reply])[: len(beside)]
                    break
        return answers

    def listing(self, lane: Lane, size: int, token: str | None = None, *, payloads: bool = True) -> AwsCall:
        """Return the call that reads a page of a lane.

        Args:
            lane: what to read.
            size: events at most; more than 100 are 100.
            token: where the page before ended.
            payloads: whether to read the events themselves.
        """
        request = {"maxResults": min(size, PAGE), "includePayloads": payloads}
        more = {"nextToken": token} if token else {}
        return AwsCall("ListEvents", self._where(lane) | request | more)

    def events(self, lanes: Sequence[Lane]) -> Operation[list[tuple[Lane, str, list[Any]]]]:
        """Return the events of some lanes with their ids, and the texts that they carry."""
        _, found = yield from self._events(lanes, None, payloads=True)
        return [
            (lanes[number], event["eventId"], [item.get("blob") for item in event["payload"]])
            for number, event in found
        ]

    def sessions(self, actor: str) -> Operation[list[Lane]]:
        """Return the lanes of an actor that have events, in no order."""
        request = {"actorId": actor, "filter": {"eventFilter": "HAS_EVENTS"}}
        summaries = yield from self._summaries("ListSessions", "sessionSummaries", request)
        return [Lane(actor, summary["sessionId"]) for summary in summaries]

    def actors(self) -> Operation[list[str]]:
        """Return all actors of the memory, in no order."""
        summaries = yield from self._summaries("ListActors", "actorSummaries", {})
        return [summary["actorId"] for summary in summaries]

    def _summaries(self, operation: str, member: str, request: dict[str, Any]) -> Operation[list[dict[str, Any]]]:
        found: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            whole = {"memoryId": self.memory_id, "maxResults": PAGE, **request, **more}
            reply = yield AwsCall(operation, whole)
            found += reply[member]
            if not reply.get("nextToken"):
                return found
            more = {"nextToken": reply["nextToken"]}

    def _events(
        self,
        lanes: Sequence[Lane],
        newest: int | Sequence[int | None] | None,
        *,
        payloads: bool,
        beside: Sequence[AwsCall] = (),
    ) -> Operation[tuple[list[Any], list[tuple[int, dict[str, Any]]]]]:
        """Return the replies to calls beside, and the events of lanes.

        Each event comes with the position of its lane, each lane's newest first.
        """
        answers: list[Any] = []
        found: list[tuple[int, dict[str, Any]]] = []
        limits = [newest] * len(lanes) if newest is None or isinstance(newest, int) else newest
        counts = [0] * len(lanes)
        pending: list[tuple[int, str | None]] = [(number, None) for number in range(len(lanes))]
        while pending or len(answers) < len(beside):
            calls = list(beside[len(answers) :])
            room = ABREAST - len(calls)
            now, pending = pending[:room], pending[room:]
            for number, token in now:
                limit = limits[number]
                size = PAGE if limit is None else min(PAGE, limit - counts[number])
                calls.append(self.listing(lanes[number], size, token, payloads=payloads))
            reply = yield _request(calls)
            replies = reply if len(calls) > 1 else [reply]
            answers += replies[: len(calls) - len(now)]
            for (number, _), reply in zip(now, replies[len(calls) - len(now) :], strict=True):
                found += [(number, event) for event in reply["events"]]
                counts[number] += len(reply["events"])
                # A page may be short, or empty, and have another one behind it.
                limit = limits[number]
                if reply.get("nextToken") and (limit is None or counts[number] < limit):
                    pending.append((number, reply["nextToken"]))
        return answers, found

    def _where(self, lane: Lane) -> dict[str, Any]:
        return {"memoryId": self.memory_id, "actorId": lane.actor, "sessionId": lane.session}


def _records(lanes: Sequence[Lane], events: Iterable[tuple[int, Mapping[str, Any]]]) -> list[list[Record]]:
    """Return the records of each lane from the events of all."""
    texts: list[list[Any]] = [[] for _ in lanes]
    for number, event in events:
        texts[number] += [item.get("blob") for item in event["payload"]]
    return [records(found, str(lane))[0] for lane, found in zip(lanes, texts, strict=True)]


def _request(calls: Sequence[AwsCall]) -> AwsCall | AwsCalls:
    return calls[0] if len(calls) == 1 else AwsCalls(calls)
