"""Memory records of AgentCore Memory, one by one: get, list and delete.

They are eventually consistent: a new one may not be found by its id for some seconds, and is listed after a minute or
two. Nothing that has to be exact rests on them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from ....domain import CorruptRecord, InvalidInput
from ....domain.items import Namespace
from ....domain.shown import shown
from ...aws import AwsCall
from ...operation import Operation, Page
from ...records.names import digest
from ..ids import OURS
from ..lanes import PAGE
from .layout import TOKENS
from .settings import Settings

LONGEST_PATH: Final = 1024
"""Characters of a namespace of memory records at most."""

_LABEL: Final = re.compile(r"[a-zA-Z0-9_-]+(?::[a-zA-Z0-9_-]+)*", re.ASCII)
_PATH: Final = re.compile(r"[a-zA-Z0-9/*][a-zA-Z0-9_/*-]*(?::[a-zA-Z0-9_/*-]+)*", re.ASCII)
_ID: Final = re.compile(r"mem-[a-zA-Z0-9_-]{36,46}", re.ASCII)


@frozen
class MemoryRecord:
    """A memory record, as the service shows it.

    Attributes:
        id: ``mem-`` and more; only the service makes them.
        text: the content.
        namespaces: paths such as ``/users/ada/``; one, or none.
        strategy_id: the strategy that extracted it, if one did.
        created_at: when it was first made.
        timestamp: the time that whoever wrote it gave it.
        metadata: by name, each value as boto3 returns it: ``{"stringValue": "x"}``.
        score: how near it is to the query; ``None`` if it was not searched for.
    """

    id: str
    text: str = field(repr=False)
    namespaces: Sequence[str]
    strategy_id: str
    created_at: dt.datetime
    timestamp: dt.datetime
    metadata: Mapping[str, Mapping[str, Any]] = field(repr=False)
    score: float | None = None

    def value(self) -> dict[str, Any]:
        """Return what an item has as its value that is this record."""
        return {
            "content": self.text,
            "memory_strategy_id": self.strategy_id,
            "namespaces": list(self.namespaces),
        }

    def namespace(self) -> Namespace:
        """Return the labels of its path; ``()`` if it has none.

        >>> from datetime import UTC, datetime
        >>> now = datetime.now(UTC)
        >>> MemoryRecord("mem-1", "tuna", ["/users/ada/"], "facts", now, now, {}).namespace()
        ('users', 'ada')
        """
        return tuple(label for path in self.namespaces[:1] for label in path.split("/") if label)

    def namespace_below(self, prefix: Namespace) -> Namespace:
        """Return its namespace, beginning with the labels of one that it is within.

        What is asked for may be texts that the service does not take.
        """
        return (*prefix, *self.namespace()[len(prefix) :])

    def is_within(self, path: str) -> bool:
        """Return whether it is at or below a path, whatever slashes they end with.

        >>> from datetime import UTC, datetime
        >>> now = datetime.now(UTC)
        >>> record = MemoryRecord("mem-1", "tuna", ["/users/ada"], "facts", now, now, {})
        >>> record.is_within("/users/ada/"), record.is_within("/users/a/"), record.is_within("/")
        (True, False, True)
        """
        within = f"{path.rstrip('/')}/"
        return any(f"{one.rstrip('/')}/".startswith(within) for one in self.namespaces)


def is_record_id(text: str) -> bool:
    """Return whether a text looks like the id of a memory record.

    >>> is_record_id("mem-00000000-0000-4000-8000-000000000000"), is_record_id("mem-1")
    (True, False)
    """
    return _ID.fullmatch(text) is not None


def namespace_path(namespace: Namespace) -> str:
    """Return the path under which the records of a namespace are.

    Labels that the service does not take, with slashes or other signs, become ``statekeep-label-`` and a hash; so do
    those that begin like ours.

    >>> namespace_path(("users", "ada")), namespace_path(())
    ('/users/ada/', '/')
    >>> namespace_path(("Ada Lovelace",))
    '/statekeep-label-a1f74eda4429bac47a1ed9ff266a54ed3698bd81/'
    """
    return "/" + "".join(f"{_label(label)}/" for label in namespace)


def _label(label: str) -> str:
    if _LABEL.fullmatch(label) and not label.startswith(OURS):
        return label
    return f"{OURS}label-{digest(label)}"


def get_record(settings: Settings, record_id: str) -> Operation[MemoryRecord | None]:
    """Read a record by its id: one call; ``None`` if there is none, or none yet.

    Raises:
        InvalidInput: this is no id of a record, or there is no such memory.
    """
    call = AwsCall("GetMemoryRecord", _by_id(settings, record_id), missing_ok=True)
    reply = yield call
    if reply is None:
        yield from _check_memory(settings)
        return None
    return record_of(reply["memoryRecord"])


def list_records(settings: Settings, path: str, cursor: str | None) -> Operation[Page[MemoryRecord]]:
    """Return a page of the records at or below a path, in no order: one call.

    Raises:
        InvalidInput: the path is none, or there is no such memory.
    """
    arguments = {"memoryId": settings.lanes.memory_id, "namespacePath": checked_path(path), "maxResults": PAGE}
    reply = yield AwsCall("ListMemoryRecords", arguments if cursor is None else arguments | {"nextToken": cursor})
    found = [record_of(summary) for summary in reply["memoryRecordSummaries"]]
    return Page(found, reply.get("nextToken") or None)


def delete_record(settings: Settings, record_id: str) -> Operation[bool]:
    """Delete a record by its id: one call. Return whether there was one.

    Raises:
        InvalidInput: this is no id of a record, or there is no such memory.
    """
    reply = yield AwsCall("DeleteMemoryRecord", _by_id(settings, record_id), missing_ok=True)
    if reply is None:
        yield from _check_memory(settings)
    return reply is not None


def _by_id(settings: Settings, record_id: str) -> dict[str, Any]:
    if not isinstance(record_id, str) or not is_record_id(record_id):
        raise InvalidInput(
            f"record_id must be the id of a memory record, mem-..., of 40 to 50 characters, got {shown(record_id, 80)}",
            field="record_id",
        )
    return {"memoryId": settings.lanes.memory_id, "memoryRecordId": record_id}


def _check_memory(settings: Settings) -> Operation[None]:
    """Raise if the memory is missing, and not a record alone.

    The service's answer about a record is the same for both; that to ListEvents is not.
    """
    yield settings.lanes.listing(TOKENS, 1, payloads=False)


def checked_path(path: str) -> str:
    """Return a path that the service takes.

    Raises:
        InvalidInput: it does not.
    """
    if not isinstance(path, str) or len(path) > LONGEST_PATH or not _PATH.fullmatch(path):
        raise InvalidInput(
            f"namespace_path must be a path such as /users/ada/, of at most {LONGEST_PATH} letters, digits and -_/*:, "
            f"got {shown(path, 80)}",
            field="namespace_path",
        )
    return path


def record_of(shape: Mapping[str, Any]) -> MemoryRecord:
    """Return the record that a reply shows.

    Raises:
        CorruptRecord: it lacks what the service says that each has.
    """
    try:
        return MemoryRecord(
            id=shape["memoryRecordId"],
            text=shape["content"]["text"],
            namespaces=list(shape["namespaces"]),
            strategy_id=shape["memoryStrategyId"],
            created_at=shape["createdAt"],
            timestamp=shape.get("timestamp") or shape["createdAt"],
            metadata=shape.get("metadata") or {},
            score=shape.get("score"),
        )
    except (KeyError, TypeError) as error:
        raise CorruptRecord(
            f"a memory record of the service lacks {error}", key=str(shape.get("memoryRecordId"))
        ) from error
