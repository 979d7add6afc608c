"""Events of AgentCore Memory: logs by memory, actor and session, newest first."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field, frozen

from ..clock import Clock
from ..errors import AwsError, invalid
from ..tokens import last_key, page, page_token
from .rules import AgentCoreRules

MAIN = "main"


@frozen
class Event:
    """One event, as it was created."""

    id: str
    at: datetime
    arrived: datetime
    expires: datetime
    payload: Sequence[Mapping[str, Any]] = field(repr=False)
    bytes: int
    branch: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, str]]


@define
class Session:
    """One actor's session: its events by id, which is by their own time."""

    created: datetime
    emptied: datetime | None = None
    ids: list[str] = field(factory=list)
    events: dict[str, Event] = field(factory=dict)
    branches: dict[str, str | None] = field(factory=lambda: {MAIN: None})
    latest: datetime | None = None
    first_expiry: datetime | None = None

    def add(self, event: Event) -> None:
        insort(self.ids, event.id)
        self.events[event.id] = event
        self.emptied = None
        self.latest = event.arrived
        self.first_expiry = min(self.first_expiry or event.expires, event.expires)

    def remove(self, event_id: str, now: datetime) -> Event | None:
        event = self.events.pop(event_id, None)
        if event is not None:
            del self.ids[bisect_left(self.ids, event_id)]
            if not self.events:
                self.emptied = now
        return event

    def expire(self, now: datetime) -> None:
        if self.first_expiry is None or self.first_expiry > now:
            return
        for event in sorted(self.events.values(), key=lambda event: event.expires):
            if event.expires <= now:
                self.remove(event.id, event.expires)
        self.first_expiry = min((event.expires for event in self.events.values()), default=None)


def payload_bytes(payload: Any) -> int:
    """Return how large a payload is, as JSON in UTF-8."""
    return len(json.dumps(payload, ensure_ascii=False, separators=(",", ":"), default=str).encode())


class EventLogs:
    """The events of one memory.

    The caller sees to it that one thread uses it at a time.
    """

    def __init__(self, life: timedelta, rules: AgentCoreRules, clock: Clock, chance: random.Random) -> None:
        self._life = life
        self._rules = rules
        self._clock = clock
        self._chance = chance
        # Listings are in no order that a client may rely on.
        self._salt = str(chance.getrandbits(64))
        self._actors: dict[str, dict[str, Session]] = {}

    def create(self, request: Mapping[str, Any]) -> tuple[str, Event]:
        """Add an event, and return its session's id and the event."""
        rules, now = self._rules, self._clock.now()
        session_id = request.get("sessionId") or str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        size = self._checked_size(request["payload"])
        session = self._session(request["actorId"], session_id)
        branch = self._branch(request, session_id, session)
        if session is not None and session.latest is not None:
            if now - session.latest < timedelta(seconds=rules.conflict_window):
                raise AwsError(
                    "RetryableConflictException", "Another event of the session is being created", status=409
                )
        if session is None:
            session = self._actors.setdefault(request["actorId"], {}).setdefault(session_id, Session(now))
        at = request["eventTimestamp"]
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        born = at if rules.expire_from == "timestamp" else now
        event = Event(
            id=self._event_id(session, at),
            at=at,
            arrived=now,
            expires=born + self._life,
            payload=request["payload"],
            bytes=size,
            branch=branch,
            metadata=request.get("metadata", {}),
        )
        session.branches.setdefault(branch["name"], branch.get("rootEventId"))
        session.add(event)
        return session_id, event

    def get(self, actor: str, session_id: str, event_id: str) -> Event | None:
        """Return an event, or ``None``."""
        session = self._session(actor, session_id)
        return session.events.get(event_id) if session else None

    def delete(self, actor: str, session_id: str, event_id: str) -> Event | None:
        """Remove an event and return it, or ``None`` if there is none."""
        session = self._session(actor, session_id)
        return session.remove(event_id, self._clock.now()) if session else None

    def list_events(self, request: Mapping[str, Any]) -> tuple[list[Event], str | None]:
        """Return a page of events, newest first, and the next page's token."""
        actor, session_id, chosen = request["actorId"], request["sessionId"], request.get("filter", {})
        about = (request["memoryId"], actor, session_id, chosen)
        last = last_key(request.get("nextToken"), about)
        session = self._session(actor, session_id)
        if session is None:
            return [], None
        end = len(session.ids) if last is None else bisect_left(session.ids, last)
        limit = self._rules.page(request.get("maxResults"))
        # The limit is on what is scanned; the filter comes afterwards.
        scanned = [session.events[name] for name in reversed(session.ids[max(end - limit, 0) : end])]
        scanned = scanned[: self._fitting(scanned)]
        rest = end - len(scanned)
        more = rest > 0 or (self._rules.trailing_token and len(scanned) == limit)
        token = page_token(scanned[-1].id, about) if more else None
        if chosen:
            scanned = [event for event in scanned if self._matches(event, session, chosen)]
        return scanned, token

    def sessions(self, request: Mapping[str, Any]) -> tuple[list[tuple[str, datetime]], str | None]:
        """Return a page of (session id, time of creation), and the next page's token."""
        actor = request["actorId"]
        must_have_events = request.get("filter", {}).get("eventFilter") == "HAS_EVENTS"
        found = (
            (session_id, session.created)
            for session_id, session in self._sessions(actor).items()
            if self._is_listed(session) and (session.events or not must_have_events)
        )
        return self._page(request, (request["memoryId"], actor, must_have_events), found)

    def actors(self, request: Mapping[str, Any]) -> tuple[list[tuple[str, datetime]], str | None]:
        """Return a page of actors, and the next page's token.

        Each is (actor id, time of the first session).
        """
        found = []
        for actor in list(self._actors):
            listed = [session.created for session in self._sessions(actor).values() if self._is_listed(session)]
            if listed:
                found.append((actor, min(listed)))
        return self._page(request, (request["memoryId"],), found)

    def _page(
        self, request: Mapping[str, Any], about: Iterable[Any], found: Iterable[tuple[str, datetime]]
    ) -> tuple[list[tuple[str, datetime]], str | None]:
        last = last_key(request.get("nextToken"), about)
        keyed = sorted((hashlib.sha256((self._salt + one[0]).encode()).hexdigest(), one) for one in found)
        behind = [pair for pair in keyed if last is None or pair[0] > last]
        return page(behind, self._rules.page(request.get("maxResults")), about)

    def _is_listed(self, session: Session) -> bool:
        return session.created + timedelta(seconds=self._rules.session_lag) <= self._clock.now()

    def _session(self, actor: str, session_id: str) -> Session | None:
        """Return a session, if it lives; what has expired is removed first."""
        session = self._actors.get(actor, {}).get(session_id)
        if session is None:
            return None
        now = self._clock.now()
        session.expire(now)
        if session.emptied is not None:
            if session.emptied + timedelta(seconds=self._rules.empty_session_life) <= now:
                del self._actors[actor][session_id]
                return None
        return session

    def _sessions(self, actor: str) -> dict[str, Session]:
        """Return an actor's living sessions."""
        named = {session_id: self._session(actor, session_id) for session_id in list(self._actors.get(actor, ()))}
        return {session_id: session for session_id, session in named.items() if session is not None}

    def _checked_size(self, payload: Sequence[Mapping[str, Any]]) -> int:
        for number, item in enumerate(payload, 1):
            if "json" in item and payload_bytes(item["json"]["content"]) > self._rules.json_bytes:
                raise invalid(
                    "FieldValidationFailed",
                    f"The size of a json payload exceeds {self._rules.json_bytes} bytes",
                    f"payload.{number}.member.json",
                )
        size = payload_bytes(payload)
        if size > self._rules.event_bytes:
            raise invalid(
                "FieldValidationFailed",
                f"The size of the event, {size} bytes, exceeds {self._rules.event_bytes} bytes",
                "payload",
            )
        return size

    def _event_id(self, session: Session, at: datetime) -> str:
        millis = round((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
        if millis < 0:
            raise invalid("FieldValidationFailed", "eventTimestamp is before 1970", "eventTimestamp")
        while True:
            name = f"{millis:019d}#{self._chance.getrandbits(32):08x}"
            if name not in session.events:
                return name

    def _branch(self, request: Mapping[str, Any], session_id: str, session: Session | None) -> dict[str, str]:
        branch: dict[str, str] = dict(request.get("branch") or {"name": MAIN})
        name, root = branch["name"], branch.get("rootEventId")
        known = session.branches if session is not None else {MAIN: None}
        if name in known:
            if root is not None and known[name] != root:
                raise invalid("ResourceConflict", f"Branch {name} has another root event", "branch.rootEventId")
            return {"name": name, **({"rootEventId": known[name]} if known[name] else {})}  # type: ignore[dict-item]
        if root is None:
            raise invalid("FieldValidationFailed", f"Branch {name} needs a root event", "branch.rootEventId")
        if session is None or root not in session.events:
            others = (
                other for sessions in self._actors.values() for key, other in sessions.items() if key != session_id
            )
            if any(root in other.events for other in others):
                raise invalid("EventInOtherSession", f"Event {root} is in another session", "branch.rootEventId")
            raise AwsError("ResourceNotFoundException", f"Event not found: {root}", status=404)
        return {"name": name, "rootEventId": root}

    def _fitting(self, events: Sequence[Event]) -> int:
        if self._rules.page_bytes is None:
            return len(events)
        total = 0
        for number, event in enumerate(events):
            total += event.bytes
            if total > self._rules.page_bytes:
                return max(number, 1)
        return len(events)

    def _matches(self, event: Event, session: Session, chosen: Mapping[str, Any]) -> bool:
        if event.arrived + timedelta(seconds=self._rules.filter_lag) > self._clock.now():
            return False
        if "branch" in chosen and not self._on_branch(event, session, chosen["branch"]):
            return False
        return all(_holds(event.metadata, expression) for expression in chosen.get("eventMetadata", ()))

    def _on_branch(self, event: Event, session: Session, chosen: Mapping[str, Any]) -> bool:
        name, until = chosen["name"], None
        while True:
            if event.branch["name"] == name and (until is None or event.id <= until):
                return True
            root = session.branches.get(name)
            if not chosen.get("includeParentBranches") or root is None or root not in session.events:
                return False
            name, until = session.events[root].branch["name"], root


def _holds(metadata: Mapping[str, Mapping[str, str]], expression: Mapping[str, Any]) -> bool:
    value = metadata.get(expression["left"]["metadataKey"])
    if expression["operator"] == "EXISTS":
        return value is not None
    if expression["operator"] == "NOT_EXISTS":
        return value is None
    if "right" not in expression:
        raise invalid("FieldValidationFailed", "EQUALS_TO needs a right side", "filter.eventMetadata")
    return value is not None and value == expression["right"]["metadataValue"]
