"""Checks of AWS services: credentials, region, memory, permissions, throttling."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from ...domain import AccessDenied, StatekeepError, Throttled, Unavailable
from ...repositories.agentcore.backend import AgentCoreCheckpoints
from ...repositories.agentcore.items.backend import AgentCoreItems
from ...repositories.aws import AwsCall, AwsClient
from ...repositories.aws.errors import AGENTCORE_CONTROL, IAM_PREFIXES
from ...repositories.bedrock_sessions.backend import BedrockSessionCheckpoints
from ...repositories.operation import Operation
from . import general
from .elsewhere import Elsewhere
from .finding import Finding, guarded, ok

SLOW: Final = 0.5
"""Seconds from which on a round trip is slow."""

CLOCKS: Final = 30.0
"""Seconds that this machine's clock may be wrong by. AWS refuses requests that are minutes off."""

ACTOR: Final = "statekeep-doctor"
"""Actor and session that nobody puts anything under, but for an event that is deleted at once."""

_DAY: Final = 86_400

_EVENT: Final = "0000000000000#00000000"
_RECORD: Final = f"mem-{'0' * 36}"
_SESSION: Final = str(uuid.UUID(int=0))


@define
class Tried:
    """The outcome of calls.

    Attributes:
        allowed: actions that the credentials permit.
        refused: those that they do not, with the service's words.
        retries: attempts that failed before an answer came.
    """

    allowed: list[str] = field(factory=list)
    refused: dict[str, str] = field(factory=dict)
    retries: int = 0

    def call(self, call: AwsCall) -> Operation[Any]:
        """Make a call, and note whether it is permitted; ``None`` if it is not."""
        try:
            reply = yield call
        except AccessDenied as error:
            self.refused[call.operation] = str(error)
            return None
        except (Unavailable, Throttled):
            raise
        except StatekeepError:
            # There is no such thing, or it is none that can be had: asked by who may ask.
            reply = None
        self.allowed.append(call.operation)
        metadata = reply.get("ResponseMetadata", {}) if isinstance(reply, dict) else {}
        self.retries += metadata.get("RetryAttempts", 0)
        return reply

    def findings(self, service: str) -> list[Finding]:
        """Return what is to be said of permissions and of throttling.

        Args:
            service: boto3's name of it.
        """
        rights = ok("rights", f"The credentials permit {', '.join(self.allowed)}.")
        if self.refused:
            prefix = IAM_PREFIXES.get(service, service)
            actions = ", ".join(f"{prefix}:{name}" for name in self.refused)
            rights = Finding(
                name="rights",
                state="problem",
                found=f"The credentials do not permit {', '.join(self.refused)}.",
                advice=f"Allow {actions} in an IAM policy, on the resource that the URL names.",
            )
        if not self.retries:
            return [rights, ok("throttling", "No call had to be repeated.")]
        slow = Finding(
            name="throttling",
            state="warning",
            found=f"{self.retries} calls of the doctor had to be repeated: the service throttles, or fails.",
            advice="Let fewer programs write at a time, or raise the quota in Service Quotas.",
        )
        return [rights, slow]


def _region(client: AwsClient) -> Finding:
    endpoint = client.client.meta.endpoint_url
    return ok("region", f"The region is {client.region}, the endpoint {endpoint}.")


def _untried(actions: Sequence[str]) -> Finding:
    return Finding(
        name="writing",
        state="unknown",
        found=f"Whether the credentials permit {', '.join(actions)} was not tried, as it would write something.",
        advice="Run the doctor with --write (write=True) to try it; what it writes, it deletes.",
    )


# -- AgentCore


def agentcore(
    checkpoints: AgentCoreCheckpoints, items: AgentCoreItems | None, *, write: bool
) -> Operation[list[Finding]]:
    """Check everything of a memory: 13 calls or so.

    Args:
        checkpoints: the backend.
        items: that of items, over the same client.
        write: create an event, and delete it.
    """
    client = checkpoints._client  # noqa: SLF001 - backends do not show it
    try:
        findings = yield from general.reach(checkpoints, SLOW)
    except StatekeepError as error:
        return [general.unreachable(error)]
    findings.append(_region(client))
    findings += yield from guarded("clock", general.clock(checkpoints, CLOCKS))
    findings += yield from guarded("memory", _memory(client, checkpoints, items), _OF_CONTROL)
    tried = Tried()
    findings += yield from guarded("rights", _tried_in_memory(tried, checkpoints.memory_id, items, write))
    findings += tried.findings(client.service)
    if not write:
        findings.append(_untried(["CreateEvent", *(["BatchCreateMemoryRecords"] if _embeds(items) else [])]))
    ttl = items.ttl if items is not None else None
    findings.append(general.lives(None, items is not None and items.refresh_on_read, ttl))
    return findings


_OF_CONTROL: Final = "Allow bedrock-agentcore:GetMemory to see it; Statekeep itself does not need that."


def _embeds(items: AgentCoreItems | None) -> bool:
    return items is not None and items.embeds


def _memory(
    client: AwsClient, checkpoints: AgentCoreCheckpoints, items: AgentCoreItems | None
) -> Operation[list[Finding]]:
    """Ask the control plane about the memory: one call, with a client of its own."""
    control = client.sibling(AGENTCORE_CONTROL)
    if control is None:
        return [
            Finding(
                name="memory",
                state="unknown",
                found="How long the memory keeps events was not asked: the connection has a client of yours.",
                advice="Open the connection by a URL, or look at the memory's eventExpiryDuration in the console.",
            )
        ]
    memory_id = checkpoints.memory_id.rpartition("/")[2]
    try:
        reply = yield Elsewhere(control, AwsCall("GetMemory", {"memoryId": memory_id}))
    finally:
        control.close()
    return [described(reply["memory"], checkpoints, items)]


def described(memory: Mapping[str, Any], checkpoints: AgentCoreCheckpoints, items: AgentCoreItems | None) -> Finding:
    """Compare a memory with what a connection assumes of it.

    Args:
        memory: as ``GetMemory`` describes it.
        checkpoints: the backend.
        items: that of items.
    """
    status, days = memory.get("status"), int(memory["eventExpiryDuration"])
    if status != "ACTIVE":
        return Finding(
            name="memory",
            state="problem",
            found=f"The memory is {status}.",
            advice="Wait until it is ACTIVE, or look into the console why it is not.",
        )
    renewal = checkpoints._settings.renewal / 1_000_000_000  # noqa: SLF001 - told nowhere else
    if renewal > days * _DAY / 2:
        return Finding(
            name="memory",
            state="problem",
            found=f"The memory deletes events after {days} days, and renewal is {renewal / _DAY:g} days.",
            advice="Make renewal at most half of the memory's eventExpiryDuration.",
        )
    assumed = items._settings.event_days if items is not None else days  # noqa: SLF001 - told nowhere else
    if assumed > days:
        return Finding(
            name="memory",
            state="warning",
            found=f"The memory deletes events after {days} days, and event_expiry_days is {assumed}.",
            advice=f"Pass event_expiry_days={days} to the connection.",
        )
    return ok("memory", f"The memory is ACTIVE, and deletes events after {days} days: what nobody uses is gone then.")


def _tried_in_memory(
    tried: Tried, memory_id: str, items: AgentCoreItems | None, write: bool
) -> Operation[list[Finding]]:
    memory = {"memoryId": memory_id}
    session = {**memory, "actorId": ACTOR, "sessionId": ACTOR}
    yield from tried.call(AwsCall("ListActors", {**memory, "maxResults": 1}))
    yield from tried.call(AwsCall("ListSessions", {**memory, "actorId": ACTOR, "maxResults": 1}))
    yield from tried.call(AwsCall("ListEvents", {**session, "maxResults": 1}))
    if write:
        event = {**session, "eventTimestamp": dt.datetime.now(dt.UTC), "payload": [{"blob": "statekeep doctor"}]}
        reply = yield from tried.call(AwsCall("CreateEvent", {**event, "extractionMode": "SKIP"}))
        made = reply["event"]["eventId"] if reply else _EVENT
        yield from tried.call(AwsCall("DeleteEvent", {**session, "eventId": made}, missing_ok=True))
    else:
        yield from tried.call(AwsCall("DeleteEvent", {**session, "eventId": _EVENT}, missing_ok=True))
    if _embeds(items):
        record = {**memory, "memoryRecordId": _RECORD}
        records = {**memory, "records": [{"memoryRecordId": _RECORD, "timestamp": dt.datetime.now(dt.UTC)}]}
        place = {**memory, "namespace": f"/{ACTOR}/"}
        yield from tried.call(AwsCall("ListMemoryRecords", {**place, "maxResults": 1}))
        yield from tried.call(AwsCall("RetrieveMemoryRecords", {**place, "searchCriteria": {"searchQuery": "doctor"}}))
        yield from tried.call(AwsCall("GetMemoryRecord", record, missing_ok=True))
        yield from tried.call(AwsCall("DeleteMemoryRecord", record, missing_ok=True))
        yield from tried.call(AwsCall("BatchUpdateMemoryRecords", records))
        gone = {**memory, "records": [{"memoryRecordId": _RECORD}]}
        yield from tried.call(AwsCall("BatchDeleteMemoryRecords", gone))
    return []


# -- sessions of Bedrock


def bedrock_sessions(checkpoints: BedrockSessionCheckpoints, *, write: bool) -> Operation[list[Finding]]:
    """Check everything of Bedrock's sessions: 15 calls or so.

    Args:
        checkpoints: the backend.
        write: create a session, end it, and delete it.
    """
    client = checkpoints.client
    try:
        findings = yield from general.reach(checkpoints, SLOW)
    except StatekeepError as error:
        return [general.unreachable(error)]
    findings.append(_region(client))
    findings += yield from guarded("clock", general.clock(checkpoints, CLOCKS))
    tried = Tried()
    findings += yield from guarded("rights", _tried_in_sessions(tried, write))
    findings += tried.findings(client.service)
    if not write:
        findings.append(_untried(["CreateSession"]))
    findings.append(ok("ttl", "A session takes writes until an hour after the last one, and is gone after 30 days."))
    return findings


def _tried_in_sessions(tried: Tried, write: bool) -> Operation[list[Finding]]:
    yield from tried.call(AwsCall("ListSessions", {"maxResults": 1}))
    name = _SESSION
    if write:
        reply = yield from tried.call(AwsCall("CreateSession", {}))
        name = reply["sessionId"] if reply else name
    session = {"sessionIdentifier": name}
    step = {**session, "invocationIdentifier": _SESSION, "invocationStepId": _SESSION}
    content = {"contentBlocks": [{"text": "statekeep doctor"}]}
    written = {**step, "invocationStepTime": dt.datetime.now(dt.UTC), "payload": content}
    yield from tried.call(AwsCall("GetSession", session))
    yield from tried.call(AwsCall("UpdateSession", {**session, "sessionMetadata": {"by": ACTOR}}))
    yield from tried.call(AwsCall("CreateInvocation", session))
    yield from tried.call(AwsCall("ListInvocations", {**session, "maxResults": 1}))
    yield from tried.call(AwsCall("PutInvocationStep", written))
    yield from tried.call(AwsCall("GetInvocationStep", step))
    yield from tried.call(AwsCall("ListInvocationSteps", {**session, "maxResults": 1}))
    yield from tried.call(AwsCall("EndSession", session))
    yield from tried.call(AwsCall("DeleteSession", session))
    return []
