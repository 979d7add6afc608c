"""AgentCore Memory's data plane, ``bedrock-agentcore``.

Events and memory records, in memory.
"""

from __future__ import annotations

import random
import string
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import field, frozen

from ....domain.errors import InvalidInput
from ..application import ACCOUNT, Handler
from ..client_tokens import ClientTokens
from ..clock import Clock
from ..errors import AwsError, invalid
from ..quotas import RateLimits
from .events import Event, EventLogs, payload_bytes
from .records import MemoryRecords, not_found
from .rules import ACCOUNT_RATES, CONVERSATIONAL_RATE, OTHER_RATE, SESSION_RATES, AgentCoreRules, IndexedType

MEMORY_ID: Final = "emulated-0123456789"
"""The memory that every emulator has from its start."""

RECORD_TEXT: Final = 16_000


@frozen
class Memory:
    """A memory resource: what the control plane's ``CreateMemory`` made.

    Attributes:
        id: its id, ``NAME-`` and ten letters or digits.
        event_expiry_days: days after which its events are gone.
        indexed_keys: record metadata that can be filtered by.
        strategies: namespace templates by strategy id, such as ``{"facts": "/users/{actorId}/"}``.
        created_at: when it was made.
        status: ``ACTIVE``, unless a test has it otherwise.
    """

    id: str
    event_expiry_days: int
    indexed_keys: Mapping[str, IndexedType]
    strategies: Mapping[str, str]
    events: EventLogs = field(repr=False)
    records: MemoryRecords = field(repr=False)
    created_at: datetime = field(repr=False)
    status: str = "ACTIVE"


class AgentCore:
    """The emulated service.

    Args:
        rules: how it behaves where that can be chosen.
        clock: its time.
        seed: of what is random: ids, the order of ties and of listings.
    """

    name = "bedrock-agentcore"

    def __init__(self, rules: AgentCoreRules | None = None, *, clock: Clock | None = None, seed: int = 0) -> None:
        self.rules = rules or AgentCoreRules()
        self.clock = clock or Clock()
        self._chance = random.Random(seed)
        self._lock = threading.RLock()
        self._limits = RateLimits(self.clock)
        self._tokens = ClientTokens(self.clock, self.rules.token_life if self.rules.honour_tokens else 0.0)
        self._memories: dict[str, Memory] = {}
        self.create_memory(memory_id=MEMORY_ID)
        handlers: dict[str, Handler] = {
            "CreateEvent": self._create_event,
            "GetEvent": self._get_event,
            "ListEvents": self._list_events,
            "DeleteEvent": self._delete_event,
            "ListSessions": self._list_sessions,
            "ListActors": self._list_actors,
            "BatchCreateMemoryRecords": self._batch_create,
            "BatchUpdateMemoryRecords": self._batch_update,
            "BatchDeleteMemoryRecords": self._batch_delete,
            "GetMemoryRecord": self._get_record,
            "DeleteMemoryRecord": self._delete_record,
            "ListMemoryRecords": self._list_records,
            "RetrieveMemoryRecords": self._retrieve_records,
            "IngestData": self._ingest,
        }
        self.operations = {name: self._guarded(name, handler) for name, handler in handlers.items()}

    def create_memory(
        self,
        name: str = "memory",
        *,
        memory_id: str | None = None,
        event_expiry_days: int = 90,
        indexed_keys: Mapping[str, IndexedType] | None = None,
        strategies: Mapping[str, str] | None = None,
    ) -> str:
        """Add a memory, as the control plane does, and return its id.

        Args:
            name: what the id begins with.
            memory_id: the whole id instead.
            event_expiry_days: days after which its events are gone, 3 to 3650.
            indexed_keys: types of the record metadata that can be filtered by, ``{"topic": "STRING"}``.
            strategies: namespace templates by strategy id. The texts of conversational and JSON payloads become
                memory records under these namespaces, word for word: an emulator has no model to extract with.

        Raises:
            InvalidInput: the memory is there already, or the days are out of range.
        """
        if not 3 <= event_expiry_days <= 3650:
            raise InvalidInput("event_expiry_days must be between 3 and 3650", field="event_expiry_days")
        with self._lock:
            if memory_id is None:
                letters = string.ascii_letters + string.digits
                memory_id = f"{name}-{''.join(self._chance.choices(letters, k=10))}"
            if memory_id in self._memories:
                raise InvalidInput(f"there is a memory {memory_id} already", field="memory_id")
            indexed = dict(indexed_keys or {})
            self._memories[memory_id] = Memory(
                memory_id,
                event_expiry_days,
                indexed,
                dict(strategies or {}),
                EventLogs(timedelta(days=event_expiry_days), self.rules, self.clock, self._chance),
                MemoryRecords(indexed, self.rules, self.clock, self._chance),
                self.clock.now(),
            )
            return memory_id

    def delete_memory(self, memory_id: str) -> None:
        """Remove a memory with all that is in it; it is no error if there is none."""
        with self._lock:
            self._memories.pop(memory_id, None)

    # -- what all operations share

    def _guarded(self, operation: str, handler: Handler) -> Handler:
        def guarded(request: dict[str, Any]) -> dict[str, Any]:
            with self._lock:
                if self.rules.quotas and not self._limits.take(self._rates(operation, request)):
                    raise AwsError("ThrottledException", "Rate exceeded", status=429)
                return handler(request)

        return guarded

    def _rates(self, operation: str, request: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
        yield (operation,), ACCOUNT_RATES.get(operation, OTHER_RATE)
        rate = SESSION_RATES.get(operation)
        if rate is not None and "sessionId" in request:
            if operation == "CreateEvent" and any("conversational" in item for item in request["payload"]):
                rate = CONVERSATIONAL_RATE
            memory_id = request["memoryId"].rpartition("/")[2]
            # The sorts of events have rates of their own, and buckets.
            yield (operation, memory_id, request["actorId"], request["sessionId"], str(rate)), rate

    def memory(self, memory_id: str) -> Memory | None:
        """Return a memory by its id; ``None`` if there is none."""
        with self._lock:
            return self._memories.get(memory_id)

    def _memory(self, request: Mapping[str, Any]) -> Memory:
        memory = self._memories.get(request["memoryId"].rpartition("/")[2])
        if memory is None:
            raise AwsError("ResourceNotFoundException", f"Memory not found: {request['memoryId']}", status=404)
        return memory

    # -- events

    def _create_event(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        token = (memory.id, "CreateEvent", request.pop("clientToken", None) or str(uuid.uuid4()))
        event = self._tokens.answer(token, request)
        if event is None:
            session_id, created = memory.events.create(request)
            event = _shown(created, memory.id, request["actorId"], session_id)
            self._tokens.done(token, request, event)
            if request.get("extractionMode") != "SKIP":
                self._extract(memory, request, session_id, request["payload"], request["eventTimestamp"])
        return {"event": event}

    def _get_event(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        event = memory.events.get(request["actorId"], request["sessionId"], request["eventId"])
        if event is None:
            raise AwsError("ResourceNotFoundException", f"Event not found: {request['eventId']}", status=404)
        return {"event": _shown(event, memory.id, request["actorId"], request["sessionId"])}

    def _delete_event(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        if memory.events.delete(request["actorId"], request["sessionId"], request["eventId"]) is None:
            raise AwsError("ResourceNotFoundException", f"Event not found: {request['eventId']}", status=404)
        return {"eventId": request["eventId"]}

    def _list_events(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        events, token = memory.events.list_events(request)
        shown = [_shown(event, memory.id, request["actorId"], request["sessionId"]) for event in events]
        if not request.get("includePayloads", True):
            for event in shown:
                del event["payload"]
        return _paged("events", shown, token)

    def _list_sessions(self, request: dict[str, Any]) -> dict[str, Any]:
        actor = request["actorId"]
        sessions, token = self._memory(request).events.sessions(request)
        found = [{"sessionId": name, "actorId": actor, "createdAt": created} for name, created in sessions]
        return _paged("sessionSummaries", found, token)

    def _list_actors(self, request: dict[str, Any]) -> dict[str, Any]:
        actors, token = self._memory(request).events.actors(request)
        return _paged("actorSummaries", [{"actorId": actor} for actor, _ in actors], token)

    # -- memory records

    def _batch_create(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        token = (memory.id, "BatchCreateMemoryRecords", request.pop("clientToken", None) or str(uuid.uuid4()))
        answer: dict[str, Any] | None = self._tokens.answer(token, request)
        if answer is None:
            expiry = request.get("recordExpirySpecification", {})
            answer = _sorted_out([memory.records.create({**one, "expiry": expiry}) for one in request["records"]])
            self._tokens.done(token, request, answer)
        return answer

    def _batch_update(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        expiry = request.get("recordExpirySpecification", {})
        return _sorted_out([memory.records.update({**one, "expiry": expiry}) for one in request["records"]])

    def _batch_delete(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        return _sorted_out([memory.records.delete(one["memoryRecordId"]) for one in request["records"]])

    def _get_record(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._memory(request).records.get(request["memoryRecordId"])
        if record is None:
            raise not_found(request["memoryRecordId"])
        return {"memoryRecord": record}

    def _delete_record(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._memory(request).records.delete(request["memoryRecordId"])["status"] == "FAILED":
            raise not_found(request["memoryRecordId"])
        return {"memoryRecordId": request["memoryRecordId"]}

    def _list_records(self, request: dict[str, Any]) -> dict[str, Any]:
        return _paged("memoryRecordSummaries", *self._memory(request).records.list_records(request))

    def _retrieve_records(self, request: dict[str, Any]) -> dict[str, Any]:
        return _paged("memoryRecordSummaries", *self._memory(request).records.retrieve(request))

    def _ingest(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._memory(request)
        token = (memory.id, "IngestData", request.pop("clientToken", None) or str(uuid.uuid4()))
        session_id: str | None = self._tokens.answer(token, request)
        if session_id is None:
            payload = request["source"]["inline"]["payload"]
            if payload_bytes(payload) > self.rules.ingest_bytes:
                raise invalid(
                    "FieldValidationFailed",
                    f"The size of the payload exceeds {self.rules.ingest_bytes} bytes",
                    "source.inline.payload",
                )
            session_id = request.get("sessionId") or str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
            self._tokens.done(token, request, session_id)
            self._extract(memory, request, session_id, payload, request["contentTimestamp"])
        return {"sessionId": session_id}

    def _extract(
        self, memory: Memory, request: Mapping[str, Any], session_id: str, payload: Any, timestamp: Any
    ) -> None:
        variables = request.get("extractionConfig", {}).get("namespaceVariables", {})
        for strategy, template in memory.strategies.items():
            names = {"actorId": request["actorId"], "sessionId": session_id, "memoryStrategyId": strategy}
            namespace = template
            for name, value in {**variables, **names}.items():
                namespace = namespace.replace(f"{{{name}}}", value)
            for text in _texts(payload):
                record = {
                    "content": {"text": text[:RECORD_TEXT]},
                    "namespaces": [namespace],
                    "timestamp": timestamp,
                    "memoryStrategyId": strategy,
                }
                memory.records.create(record, self.rules.extraction_lag)


def memory_arn(memory_id: str, region: str = "us-east-1") -> str:
    """Return the name of a memory that other accounts use.

    >>> memory_arn("notes-0123456789")
    'arn:aws:bedrock-agentcore:us-east-1:123456789012:memory/notes-0123456789'
    """
    return f"arn:aws:bedrock-agentcore:{region}:{ACCOUNT}:memory/{memory_id}"


def _shown(event: Event, memory_id: str, actor: str, session_id: str) -> dict[str, Any]:
    return {
        "memoryId": memory_id,
        "actorId": actor,
        "sessionId": session_id,
        "eventId": event.id,
        "eventTimestamp": event.at,
        "payload": event.payload,
        "branch": event.branch,
        **({"metadata": event.metadata} if event.metadata else {}),
    }


def _paged(name: str, results: list[dict[str, Any]], token: str | None) -> dict[str, Any]:
    return {name: results, **({"nextToken": token} if token else {})}


def _sorted_out(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "successfulRecords": [one for one in outcomes if one["status"] == "SUCCEEDED"],
        "failedRecords": [one for one in outcomes if one["status"] == "FAILED"],
    }


def _texts(payload: Any) -> Iterator[str]:
    for item in payload:
        if "conversational" in item:
            yield item["conversational"]["content"]["text"]
        elif "json" in item:
            yield str(item["json"]["content"])
