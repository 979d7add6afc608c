"""Bedrock's sessions, in memory.

They are the part of ``bedrock-agent-runtime`` that keeps conversations.
"""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from attrs import define, field, frozen

from ..application import ACCOUNT, Handler
from ..clock import Clock
from ..errors import AwsError
from ..tokens import last_key, page, page_token
from .rules import SessionRules

Status = Literal["ACTIVE", "EXPIRED", "ENDED"]


@frozen
class Step:
    """One step of an invocation, as it was put."""

    id: str
    invocation_id: str
    at: datetime
    listed_from: datetime
    payload: Mapping[str, Any] = field(repr=False)


@define
class Session:
    """A session with its invocations (times of creation by id) and steps (by id)."""

    id: str
    created: datetime
    updated: datetime
    metadata: Mapping[str, str]
    tags: dict[str, str]
    key_arn: str | None
    is_ended: bool = False
    invocations: dict[str, datetime] = field(factory=dict)
    steps: dict[str, Step] = field(factory=dict)


class BedrockSessions:
    """The emulated service.

    Args:
        rules: how it behaves where that can be chosen.
        clock: its time.
        seed: of what is random: ids and the order of listings.
        region: of the ARNs.
    """

    name = "bedrock-agent-runtime"

    def __init__(
        self,
        rules: SessionRules | None = None,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        region: str = "us-east-1",
    ) -> None:
        self.rules = rules or SessionRules()
        self.clock = clock or Clock()
        self._region = region
        self._chance = random.Random(seed)
        # Listings are in no order that a client may rely on.
        self._salt = str(self._chance.getrandbits(64))
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        handlers: dict[str, Handler] = {
            "CreateSession": self._create_session,
            "GetSession": self._get_session,
            "UpdateSession": self._update_session,
            "EndSession": self._end_session,
            "DeleteSession": self._delete_session,
            "ListSessions": self._list_sessions,
            "CreateInvocation": self._create_invocation,
            "ListInvocations": self._list_invocations,
            "PutInvocationStep": self._put_step,
            "GetInvocationStep": self._get_step,
            "ListInvocationSteps": self._list_steps,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
        }
        self.operations = {name: self._locked(handler) for name, handler in handlers.items()}

    def delete_sessions(self) -> None:
        """Delete all sessions, as if their 30 days were over."""
        with self._lock:
            self._sessions.clear()

    # -- what operations share

    def _locked(self, handler: Handler) -> Handler:
        def locked(request: dict[str, Any]) -> dict[str, Any]:
            with self._lock:
                return handler(request)

        return locked

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def _session(self, identifier: str) -> Session:
        """Return a session by its id or ARN; what has outlived its life is removed first."""
        session = self._sessions.get(identifier.rpartition("/")[2])
        if session is not None and session.created + timedelta(seconds=self.rules.life) <= self.clock.now():
            del self._sessions[session.id]
            session = None
        if session is None or identifier not in (session.id, self._arn(session)):
            raise _not_found(f"Session {identifier} is not found")
        return session

    def _arn(self, session: Session) -> str:
        return session_arn(session.id, self._region)

    def _status(self, session: Session) -> Status:
        if session.is_ended:
            return "ENDED"
        return "EXPIRED" if session.updated + timedelta(seconds=self.rules.idle) <= self.clock.now() else "ACTIVE"

    def _active(self, identifier: str) -> Session:
        session = self._session(identifier)
        status = self._status(session)
        if status != "ACTIVE":
            raise _conflict(f"Session {session.id} has the status {status}; it takes no changes")
        return session

    def _shown(self, session: Session) -> dict[str, Any]:
        return {
            "sessionId": session.id,
            "sessionArn": self._arn(session),
            "sessionStatus": self._status(session),
            "createdAt": session.created,
            "lastUpdatedAt": session.updated,
        }

    def _page(
        self, name: str, request: Mapping[str, Any], about: Iterable[Any], found: Iterable[tuple[str, dict[str, Any]]]
    ) -> dict[str, Any]:
        """Return a page of what is found, by id, in an order that says nothing."""
        last = last_key(request.get("nextToken"), about)
        limit = self.rules.page(request.get("maxResults"))
        keyed = sorted(
            ((hashlib.sha256((self._salt + key).encode()).hexdigest(), shown) for key, shown in found),
            key=lambda pair: pair[0],
        )
        keyed = [pair for pair in keyed if last is None or pair[0] > last]
        results, token = page(keyed, limit, about)
        if token is None and self.rules.trailing_token and len(results) == limit:
            token = page_token(keyed[-1][0], about)
        return {name: results, **({"nextToken": token} if token else {})}

    # -- sessions

    def _create_session(self, request: dict[str, Any]) -> dict[str, Any]:
        now = self.clock.now()
        session = Session(
            id=self._new_id(),
            created=now,
            updated=now,
            metadata=request.get("sessionMetadata", {}),
            tags=dict(request.get("tags", {})),
            key_arn=request.get("encryptionKeyArn"),
        )
        self._sessions[session.id] = session
        shown = self._shown(session)
        del shown["lastUpdatedAt"]
        return shown

    def _get_session(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["sessionIdentifier"])
        return {
            **self._shown(session),
            "sessionMetadata": session.metadata,
            "encryptionKeyArn": session.key_arn,
        }

    def _update_session(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._active(request["sessionIdentifier"])
        if "sessionMetadata" in request:
            session.metadata = request["sessionMetadata"]
        session.updated = self.clock.now()
        return self._shown(session)

    def _end_session(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._active(request["sessionIdentifier"])
        session.is_ended = True
        session.updated = self.clock.now()
        return {"sessionId": session.id, "sessionArn": self._arn(session), "sessionStatus": "ENDED"}

    def _delete_session(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["sessionIdentifier"])
        if self._status(session) == "ACTIVE":
            raise _conflict(f"Session {session.id} is active; end it before you delete it")
        del self._sessions[session.id]
        return {}

    def _list_sessions(self, request: dict[str, Any]) -> dict[str, Any]:
        living = self.clock.now() - timedelta(seconds=self.rules.life)
        found = [(session.id, self._shown(session)) for session in self._sessions.values() if session.created > living]
        return self._page("sessionSummaries", request, ("sessions",), found)

    # -- invocations

    def _create_invocation(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._active(request["sessionIdentifier"])
        invocation_id = request.get("invocationId") or self._new_id()
        if invocation_id in session.invocations:
            raise _conflict(f"Invocation {invocation_id} exists already")
        session.updated = session.invocations[invocation_id] = self.clock.now()
        return _invocation(session, invocation_id)

    def _list_invocations(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["sessionIdentifier"])
        found = [(name, _invocation(session, name)) for name in session.invocations]
        return self._page("invocationSummaries", request, (session.id, "invocations"), found)

    # -- steps

    def _put_step(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._active(request["sessionIdentifier"])
        invocation_id = request["invocationIdentifier"]
        if invocation_id not in session.invocations:
            raise _not_found(f"Invocation {invocation_id} is not found")
        step_id = request.get("invocationStepId") or self._new_id()
        if step_id in session.steps:
            raise _conflict(f"Invocation step {step_id} exists already")
        size = _payload_bytes(request["payload"])
        if size > self.rules.step_bytes:
            raise AwsError(
                "ValidationException", f"The payload has {size} bytes, more than {self.rules.step_bytes}", status=400
            )
        if len(session.steps) >= self.rules.steps:
            raise AwsError(
                "ServiceQuotaExceededException",
                f"A session has at most {self.rules.steps} invocation steps",
                status=400,
            )
        now, at = self.clock.now(), request["invocationStepTime"]
        session.steps[step_id] = Step(
            id=step_id,
            invocation_id=invocation_id,
            at=at.replace(microsecond=at.microsecond // 1000 * 1000),
            listed_from=now + timedelta(seconds=self.rules.list_lag),
            payload=request["payload"],
        )
        session.updated = now
        return {"invocationStepId": step_id}

    def _get_step(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["sessionIdentifier"])
        step = session.steps.get(request["invocationStepId"])
        if step is None or step.invocation_id != request["invocationIdentifier"]:
            raise _not_found(f"Invocation step {request['invocationStepId']} is not found")
        return {"invocationStep": {**_summary(session, step), "payload": step.payload}}

    def _list_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["sessionIdentifier"])
        invocation_id = request.get("invocationIdentifier")
        if invocation_id is not None and invocation_id not in session.invocations:
            raise _not_found(f"Invocation {invocation_id} is not found")
        now = self.clock.now()
        found = [
            (step.id, _summary(session, step))
            for step in session.steps.values()
            if invocation_id in (None, step.invocation_id) and step.listed_from <= now
        ]
        return self._page("invocationStepSummaries", request, (session.id, invocation_id), found)

    # -- tags

    def _tag(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["resourceArn"])
        tags = {**session.tags, **request["tags"]}
        if len(tags) > self.rules.tags:
            raise AwsError("ServiceQuotaExceededException", f"A session has at most {self.rules.tags} tags", status=400)
        session.tags = tags
        return {}

    def _untag(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._session(request["resourceArn"])
        for key in request["tagKeys"]:
            session.tags.pop(key, None)
        return {}

    def _list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"tags": self._session(request["resourceArn"]).tags}


def session_arn(session_id: str, region: str = "us-east-1") -> str:
    """Return the ARN of a session.

    >>> session_arn("01234567-89ab-4cde-8f01-23456789abcd")
    'arn:aws:bedrock:us-east-1:123456789012:session/01234567-89ab-4cde-8f01-23456789abcd'
    """
    return f"arn:aws:bedrock:{region}:{ACCOUNT}:session/{session_id}"


def _not_found(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message, status=404)


def _conflict(message: str) -> AwsError:
    return AwsError("ConflictException", message, status=409)


def _invocation(session: Session, invocation_id: str) -> dict[str, Any]:
    return {
        "sessionId": session.id,
        "invocationId": invocation_id,
        "createdAt": session.invocations[invocation_id],
    }


def _summary(session: Session, step: Step) -> dict[str, Any]:
    return {
        "sessionId": session.id,
        "invocationId": step.invocation_id,
        "invocationStepId": step.id,
        "invocationStepTime": step.at,
    }


def _payload_bytes(payload: Mapping[str, Any]) -> int:
    total = 0
    for block in payload["contentBlocks"]:
        if "text" in block:
            total += len(block["text"].encode())
        else:
            total += len(block["image"]["source"].get("bytes", b""))
    return total
