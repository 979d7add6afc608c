"""Calls to the service, and the errors that are none, or the caller's."""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC
from time import monotonic
from typing import Any, Final, Self

from attrs import define, field, frozen

from ...domain import Conflict, InvalidInput, QuotaExceeded, ThreadClosed, Unavailable
from ..aws import AwsCall, AwsCalls, NotFound
from ..operation import Operation
from ..process import fork
from .ids import Step, session_of

PAGE: Final = 1000
"""Steps of a page, the service's limit; a session has no more."""

STEPS: Final = 1000
"""Steps of a session, the service's limit."""

STEP_BYTES: Final = 50_000_000
"""Bytes of a step, the service's limit."""

FEW: Final = 100
"""A warning is logged once a session has no more steps than these left."""

ABREAST: Final = 32
"""Calls of one request, a bound of memory."""

LIFE: Final = 300.0
"""Seconds for which a step of this process is added to listings that do not show it yet."""

SESSIONS: Final = 1000
"""Sessions of which steps are remembered."""

logger = logging.getLogger("statekeep.bedrock_sessions")


@define
class _Met:
    """The knowledge that this process has of a session.

    Attributes:
        own: the steps that it put lately, and until when each is remembered.
        counts: steps by invocation, as far as they are known.
        is_warned: whether a warning was logged.
    """

    own: OrderedDict[Step, float] = field(factory=OrderedDict)
    counts: dict[str, int] = field(factory=dict)
    is_warned: bool = False


class Recollection:
    """The steps that this process put lately: a listing may lag behind.

    Safe to share by threads.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Met] = OrderedDict()
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        """Take a new lock: another thread may have held the old one at the fork."""
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # another process has put nothing yet

    def _met(self, session: str) -> _Met:
        met = self._sessions.setdefault(session, _Met())
        self._sessions.move_to_end(session)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return met

    def put(self, session: str, step: Step) -> None:
        """Remember a step that was put."""
        with self._lock:
            met = self._met(session)
            self._expire(met)
            met.own.pop(step, None)
            met.own[step] = monotonic() + LIFE
            met.counts[step.invocation] = met.counts.get(step.invocation, 0) + 1
            self._warn(session, met)

    def completed(self, session: str, invocation: str | None, listed: Sequence[Step]) -> list[Step]:
        """Return a listing with the steps that it lacks."""
        with self._lock:
            met = self._met(session)
            self._expire(met)
            lacking = {step for step in met.own if invocation in (None, step.invocation)}.difference(listed)
            found = [*listed, *lacking]
            if invocation is None:
                met.counts = {}
            met.counts |= Counter(step.invocation for step in found)
            self._warn(session, met)
            return found

    @staticmethod
    def _expire(met: _Met) -> None:
        """Forget the steps that are listed by now; the oldest are first."""
        now = monotonic()
        while met.own and next(iter(met.own.values())) <= now:
            met.own.popitem(last=False)

    def forget(self, session: str) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session, None)

    def _warn(self, session: str, met: _Met) -> None:
        left = STEPS - sum(met.counts.values())
        if left <= FEW and not met.is_warned:
            met.is_warned = True
            logger.warning("session %s has %d steps left of %d; continue_thread makes a new one", session, left, STEPS)


class NoSession(InvalidInput):
    """There is no such session."""


def no_session(thread_id: str, name: str = "thread_id") -> NoSession:
    """Make the error that says: there is no such session."""
    return NoSession(
        f"{name}: there is no session {thread_id} in this region and account; it was deleted, or its 30 days are over. "
        "create_thread() makes one",
        field=name,
    )


def closed(thread_id: str, status: str) -> ThreadClosed:
    """Make the error that says: the session takes no more steps."""
    why = "nobody wrote to it for an hour" if status == "EXPIRED" else "it was ended"
    return ThreadClosed(
        f"the session {thread_id} is {status}: {why}. It can be read, not written; continue_thread(thread_id) makes a "
        "new session that goes on from its newest checkpoints"
    )


@frozen
class Steps:
    """The steps of sessions.

    Attributes:
        recollection: what this process put lately.
    """

    recollection: Recollection = field(factory=Recollection)

    def put(self, thread_id: str, step: Step, texts: Sequence[str]) -> Operation[None]:
        """Store a step: one call, or three if it is the first of its invocation.

        Raises:
            InvalidInput: there is no such session.
            QuotaExceeded: the step is too large, or the session has no step left.
            ThreadClosed: the session is ended or expired.
        """
        size = sum(len(text) for text in texts)  # the texts are ASCII
        if size > STEP_BYTES:
            raise QuotaExceeded(
                f"this would be a step of {size:,} bytes; the service takes {STEP_BYTES:,}. Store less at a time, or "
                "keep large values elsewhere"
            )
        where = {"sessionIdentifier": thread_id, "invocationIdentifier": step.invocation}
        blocks = [{"text": text} for text in texts]
        call = AwsCall(
            "PutInvocationStep",
            where
            | {
                "invocationStepId": step.id,
                "invocationStepTime": step.at,
                "payload": {"contentBlocks": blocks},
            },
        )
        for is_new in (False, True):
            if is_new:
                yield from self._add_invocation(thread_id, step.invocation)
            try:
                yield call
            except NotFound:
                continue
            except Conflict as error:
                yield from self._explain(thread_id, step, texts, error)
            except QuotaExceeded as error:
                raise QuotaExceeded(
                    f"the session {thread_id} has no step left of its {STEPS:,}; continue_thread(thread_id) makes a "
                    f"new session that goes on from its newest checkpoints ({error})"
                ) from error
            self.recollection.put(session_of(thread_id), step)
            return
        yield from self.check_active(thread_id)
        raise Unavailable(f"the service does not find the invocation {step.invocation}, which it just made")

    def _add_invocation(self, thread_id: str, invocation: str) -> Operation[None]:
        try:
            yield AwsCall("CreateInvocation", {"sessionIdentifier": thread_id, "invocationId": invocation})
        except NotFound:
            raise no_session(thread_id) from None
        except Conflict:
            # Another process made it meanwhile, or the session is closed, which is found out next.
            pass

    def _explain(self, thread_id: str, step: Step, texts: Sequence[str], error: Conflict) -> Operation[None]:
        """Find out what a conflict means.

        It is no error if the very step is there: a request was sent again.
        """
        [found] = yield from self.read(thread_id, [step])
        if found is None:
            yield from self.check_active(thread_id)
            raise error
        if [block.get("text") for block in found] != list(texts):
            raise error  # another one has the same digits

    def session(self, thread_id: str, name: str = "thread_id") -> Operation[dict[str, Any]]:
        """Return what ``GetSession`` says.

        Raises:
            InvalidInput: there is no such session; ``field`` is ``name``.
        """
        session_of(thread_id, name)
        found = yield AwsCall("GetSession", {"sessionIdentifier": thread_id}, missing_ok=True)
        if found is None:
            raise no_session(thread_id, name)
        answer: dict[str, Any] = found
        return answer

    def check_active(self, thread_id: str, name: str = "thread_id") -> Operation[None]:
        """Check that a session takes steps.

        Raises:
            InvalidInput: there is no such session; ``field`` is ``name``.
            ThreadClosed: it is ended or expired.
        """
        status = str((yield from self.session(thread_id, name))["sessionStatus"])
        if status != "ACTIVE":
            raise closed(thread_id, status)

    def listing(self, thread_id: str, invocation: str | None = None, name: str = "thread_id") -> Operation[list[Step]]:
        """Return the steps of an invocation, or of all, in no order: one call.

        Raises:
            NoSession: there is no such session; ``field`` is ``name``.
        """
        session = session_of(thread_id)
        [found] = yield from self.listings([thread_id], invocation)
        if found is None:
            # The session, or the invocation in it.
            yield from self.session(thread_id, name)
            return self.recollection.completed(session, invocation, [])
        return found

    def listings(self, thread_ids: Sequence[str], invocation: str | None = None) -> Operation[list[list[Step] | None]]:
        """Return the steps of several sessions, side by side.

        ``None`` where session or invocation are not there.
        """
        found: list[list[Step] | None] = [[] for _ in thread_ids]
        where: dict[str, Any] = {"maxResults": PAGE}
        if invocation is not None:
            where["invocationIdentifier"] = invocation
        pending: list[tuple[int, dict[str, str]]] = [(number, {}) for number in range(len(thread_ids))]
        while pending:
            some, pending = pending[:ABREAST], pending[ABREAST:]
            calls = [
                AwsCall(
                    "ListInvocationSteps", {"sessionIdentifier": thread_ids[number], **where, **token}, missing_ok=True
                )
                for number, token in some
            ]
            for (number, _), reply in zip(some, (yield AwsCalls(calls)), strict=True):
                steps = found[number]
                if reply is None or steps is None:
                    found[number] = None
                    continue
                for one in reply["invocationStepSummaries"]:
                    at = one["invocationStepTime"].astimezone(UTC)
                    steps.append(Step(one["invocationStepId"], one["invocationId"], at))
                if reply.get("nextToken"):
                    pending.append((number, {"nextToken": reply["nextToken"]}))
        return [
            None if steps is None else self.recollection.completed(session_of(thread_id), invocation, steps)
            for thread_id, steps in zip(thread_ids, found, strict=True)
        ]

    def read(self, thread_id: str, steps: Iterable[Step]) -> Operation[list[list[Any] | None]]:
        """Read steps side by side, and return the content blocks of each.

        ``None`` for one that is not there.
        """
        calls = [
            AwsCall(
                "GetInvocationStep",
                {
                    "sessionIdentifier": thread_id,
                    "invocationIdentifier": step.invocation,
                    "invocationStepId": step.id,
                },
                missing_ok=True,
            )
            for step in steps
        ]
        found: list[list[Any] | None] = []
        for start in range(0, len(calls), ABREAST):
            replies = yield AwsCalls(calls[start : start + ABREAST])
            found += [reply and reply["invocationStep"]["payload"].get("contentBlocks", []) for reply in replies]
        return found
