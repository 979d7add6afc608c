"""Memory records of AgentCore Memory, its long-term memory.

They are eventually consistent, and searched by similarity.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, evolve, field, frozen

from ..clock import Clock
from ..errors import AwsError, invalid
from ..tokens import last_key, page
from .rules import AgentCoreRules, IndexedType
from .similarity import similarities

NO_STRATEGY: Final = "default"
TOP: Final = 10


@frozen
class Version:
    """A record's content from some time on."""

    text: str = field(repr=False)
    namespaces: Sequence[str]
    timestamp: datetime
    strategy: str
    metadata: Mapping[str, Mapping[str, Any]]
    days: int | None
    expires: datetime | None


@define
class Record:
    """A memory record: its states by their times; ``None`` for removed."""

    id: str
    created: datetime
    history: list[tuple[datetime, Version | None]] = field(factory=list)

    def at(self, moment: datetime) -> Version | None:
        """Return its state at some time."""
        for since, version in reversed(self.history):
            if since <= moment:
                return version if version is None or version.expires is None or version.expires > moment else None
        return None


class MemoryRecords:
    """The records of one memory.

    The caller sees to it that one thread uses them at a time.
    """

    def __init__(
        self,
        indexed: Mapping[str, IndexedType],
        rules: AgentCoreRules,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._indexed = indexed
        self._rules = rules
        self._clock = clock
        self._chance = chance
        self._salt = str(chance.getrandbits(64))
        self._records: dict[str, Record] = {}

    def create(self, request: Mapping[str, Any], delay: float = 0.0) -> dict[str, Any]:
        """Add a record, ``delay`` seconds from now, and return how that went."""
        now = self._clock.now() + timedelta(seconds=delay)
        record = Record(f"mem-{uuid.UUID(int=self._chance.getrandbits(128), version=4)}", now)
        if (code := self._error(request)) is not None:
            return _failed(record.id, code, request.get("requestIdentifier"))
        days = request.get("expiry", {}).get("recordExpiryDurationDays")
        version = Version(
            text=request["content"]["text"],
            namespaces=request["namespaces"],
            timestamp=request["timestamp"],
            strategy=request.get("memoryStrategyId", NO_STRATEGY),
            metadata=request.get("metadata", {}),
            days=days,
            expires=_expires(now, days),
        )
        record.history.append((now, version))
        self._records[record.id] = record
        return _succeeded(record.id, request.get("requestIdentifier"))

    def update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Change the given members of a record, and return how that went."""
        now = self._clock.now()
        found = self._by_id(request["memoryRecordId"])
        if found is None:
            return _failed(request["memoryRecordId"])
        if (code := self._error(request)) is not None:
            return _failed(request["memoryRecordId"], code)
        record, version = found
        expiry = request.get("expiry", {})
        days = None if expiry.get("action") == "REMOVE" else expiry.get("recordExpiryDurationDays", version.days)
        changed = evolve(
            version,
            text=request["content"]["text"] if "content" in request else version.text,
            namespaces=request.get("namespaces", version.namespaces),
            timestamp=request["timestamp"],
            strategy=request.get("memoryStrategyId", version.strategy),
            metadata=request.get("metadata", version.metadata),
            days=days,
            expires=_expires(now, days),
        )
        record.history.append((now, changed))
        return _succeeded(record.id)

    def delete(self, record_id: str) -> dict[str, Any]:
        """Remove a record, and return how that went."""
        found = self._by_id(record_id)
        if found is None:
            return _failed(record_id)
        found[0].history.append((self._clock.now(), None))
        return _succeeded(record_id)

    def get(self, record_id: str) -> dict[str, Any] | None:
        """Return a record as the service shows it, or ``None``."""
        found = self._by_id(record_id)
        if found is None:
            return None
        record, version = found
        return {**_summary(record, version), **({"expiresAt": version.expires} if version.expires else {})}

    def list_records(self, request: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page of records, and the next page's token."""
        about = _about(request)
        last = last_key(request.get("nextToken"), about)
        keyed = sorted(
            (hashlib.sha256((self._salt + record.id).encode()).hexdigest(), _summary(record, version))
            for record, version in self._seen(request, request)
        )
        behind = [pair for pair in keyed if last is None or pair[0] > last]
        return page(behind, self._rules.page(request.get("maxResults")), about)

    def retrieve(self, request: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page of the records that are most alike a text.

        With it comes the next page's token.
        """
        about = _about(request)
        last = last_key(request.get("nextToken"), about)
        criteria = request["searchCriteria"]
        seen = list(self._seen(request, criteria))
        scores = similarities(criteria["searchQuery"], [version.text for _, version in seen])
        ranked = sorted(
            (f"{2 - score:.15f}#{record.id}", {**_summary(record, version), "score": score})
            for score, (record, version) in zip(scores, seen, strict=True)
        )[: criteria.get("topK", TOP)]
        behind = [pair for pair in ranked if last is None or pair[0] > last]
        return page(behind, self._rules.page(request.get("maxResults")), about)

    def _error(self, request: Mapping[str, Any]) -> int | None:
        text = request.get("content", {}).get("text", "")
        return next((code for part, code in self._rules.record_errors.items() if part in text), None)

    def _by_id(self, record_id: str) -> tuple[Record, Version] | None:
        record = self._records.get(record_id)
        now = self._clock.now()
        if record is None or record.created + timedelta(seconds=self._rules.record_id_lag) > now:
            return None
        version = record.at(now)
        return None if version is None else (record, version)

    def _seen(self, request: Mapping[str, Any], criteria: Mapping[str, Any]) -> Iterator[tuple[Record, Version]]:
        exact, path = request.get("namespace"), request.get("namespacePath")
        if (exact is None) == (path is None):
            raise invalid("FieldValidationFailed", "Either namespace or namespacePath is required", "namespace")
        filters = criteria.get("metadataFilters", ())
        for expression in filters:
            self._check(expression)
        now = self._clock.now()
        for record in self._records.values():
            version = record.at(now - timedelta(seconds=self._rules.record_lag))
            # An expiry is no change, so nobody waits for it.
            if version is None or (version.expires is not None and version.expires <= now):
                continue
            if not any(_is_in(namespace, exact, path, self._rules.exact_paths) for namespace in version.namespaces):
                continue
            if criteria.get("memoryStrategyId", version.strategy) != version.strategy:
                continue
            if all(_holds(version.metadata, expression) for expression in filters):
                yield record, version

    def _check(self, expression: Mapping[str, Any]) -> None:
        key, operator = expression["left"]["metadataKey"], expression["operator"]
        if key not in self._indexed:
            raise invalid("FieldValidationFailed", f"{key} is not an indexed key of the memory", "metadataFilters")
        if ("right" in expression) == (operator in ("EXISTS", "NOT_EXISTS")):
            raise invalid("FieldValidationFailed", f"{operator} has a wrong right side", "metadataFilters")
        if "right" in expression:
            [kind] = expression["right"]["metadataValue"]
            if kind not in _OPERANDS[operator]:
                raise invalid("FieldValidationFailed", f"{operator} cannot compare a {kind}", "metadataFilters")


_OPERANDS: Final[Mapping[str, frozenset[str]]] = {
    "EQUALS_TO": frozenset({"stringValue", "stringListValue", "numberValue", "dateTimeValue"}),
    "CONTAINS": frozenset({"stringValue"}),
    "BEFORE": frozenset({"dateTimeValue"}),
    "AFTER": frozenset({"dateTimeValue"}),
    "GREATER_THAN": frozenset({"numberValue"}),
    "GREATER_THAN_OR_EQUALS": frozenset({"numberValue"}),
    "LESS_THAN": frozenset({"numberValue"}),
    "LESS_THAN_OR_EQUALS": frozenset({"numberValue"}),
}


def _holds(metadata: Mapping[str, Mapping[str, Any]], expression: Mapping[str, Any]) -> bool:
    value = metadata.get(expression["left"]["metadataKey"])
    operator = expression["operator"]
    if operator in ("EXISTS", "NOT_EXISTS"):
        return bool((value is not None) == (operator == "EXISTS"))
    if value is None:
        return False
    [(kind, operand)] = expression["right"]["metadataValue"].items()
    [(have, actual)] = value.items()
    if operator == "CONTAINS":
        return bool(have in ("stringListValue", "stringValue") and operand in actual)
    if have != kind:
        return False
    match operator:
        case "EQUALS_TO":
            return bool(actual == operand)
        case "BEFORE" | "LESS_THAN":
            return bool(actual < operand)
        case "AFTER" | "GREATER_THAN":
            return bool(actual > operand)
        case "LESS_THAN_OR_EQUALS":
            return bool(actual <= operand)
        case "GREATER_THAN_OR_EQUALS":
            return bool(actual >= operand)
        case _:
            raise NotImplementedError(operator)


def _is_in(namespace: str, exact: str | None, path: str | None, slash_counts: bool) -> bool:
    if exact is not None:
        return namespace == exact
    assert path is not None
    within = path.rstrip("/") + "/"
    if slash_counts:
        return namespace == path or (namespace.startswith(within) and namespace != within)
    return f"{namespace.rstrip('/')}/".startswith(within)


def _about(request: Mapping[str, Any]) -> list[Any]:
    return [(name, value) for name, value in sorted(request.items()) if name not in ("nextToken", "maxResults")]


def _expires(since: datetime, days: int | None) -> datetime | None:
    return None if days is None else since + timedelta(days=days)


def _summary(record: Record, version: Version) -> dict[str, Any]:
    return {
        "memoryRecordId": record.id,
        "content": {"text": version.text},
        "memoryStrategyId": version.strategy,
        "namespaces": version.namespaces,
        "createdAt": record.created,
        "timestamp": version.timestamp,
        **({"metadata": version.metadata} if version.metadata else {}),
    }


def _succeeded(record_id: str, identifier: str | None = None) -> dict[str, Any]:
    return {
        "memoryRecordId": record_id,
        "status": "SUCCEEDED",
        **({"requestIdentifier": identifier} if identifier else {}),
    }


def _failed(record_id: str, code: int = 404, identifier: str | None = None) -> dict[str, Any]:
    return {
        "memoryRecordId": record_id,
        "status": "FAILED",
        "errorCode": code,
        "errorMessage": f"Memory record not found: {record_id}" if code == 404 else "The record is refused",
        **({"requestIdentifier": identifier} if identifier else {}),
    }


def not_found(record_id: str) -> AwsError:
    """Return the error of the operations on one record."""
    return AwsError("ResourceNotFoundException", f"Memory record not found: {record_id}", status=404)
