"""Memory records of items: written before the event that counts, which names them.

A record is an item's only if the item's newest event names its id, and if it has the mark of that event's texts. So a
record that was written for an event which did not take effect, that lags behind, or that could not be deleted, is
nobody's: searches pass over it, and it ends by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, evolve, field

from ....domain import AccessDenied, InvalidInput, QuotaExceeded, StatekeepError, Throttled, Unavailable
from ....domain.shown import shown
from ...aws import AwsCall
from ...operation import Operation
from .layout import NamespaceLanes
from .memory_records import LONGEST_PATH, namespace_path
from .records import Version, time_at
from .settings import Settings, side_by_side

MOST: Final = 10
"""Records of one item at most."""

LONGEST: Final = 16_000
"""Characters of a record at most, in UTF-16."""

BATCH: Final = 100
"""Records of one call at most."""

SHORTEST_LIFE: Final = 31
"""Days that a record lives at least, by the service's rule."""

LAG: Final = 3_600_000
"""Milliseconds for which a record that was not found is taken for one that will be."""

MARKED: Final = "statekeep"
"""Metadata: the lane of the item, as the two hashes in its names."""

_DAY: Final = 86_400
_MISSING: Final = 404


def lane_name(version: Version) -> str:
    """Return the name of an item's lane, as records have it in their metadata."""
    lane = NamespaceLanes(version.namespace).item(version.key)
    return f"{lane.actor.rpartition(':')[2]}:{lane.session.rpartition('-')[2]}"


def record_texts(texts: Sequence[str]) -> list[str]:
    """Return the contents of an item's records: pieces of its texts, each once.

    Raises:
        InvalidInput: these are more than :data:`MOST`.
    """
    found: list[str] = []
    for text in texts:
        clean = text.encode("utf-8", "replace").decode()
        size = LONGEST if not clean or max(clean) < "\U00010000" else LONGEST // 2
        found += [clean[start : start + size] for start in range(0, len(clean), size)]
    found = list(dict.fromkeys(found))
    if len(found) > MOST:
        raise InvalidInput(
            f"the texts of an item become at most {MOST} memory records of {LONGEST} characters, these would be "
            f"{len(found)}; name shorter texts, or fewer, in index",
            field="index",
        )
    return found


@define
class RecordJob:
    """The records of one version that is about to be written.

    Attributes:
        previous: the newest version that is stored.
        version: the one to write.
        texts: what its records have to say; ``None``: those that there are stay.
        spare: ids of records that were made for versions which did not take effect.
        fresh: whether to leave the previous version's records as they are until this one has taken effect.
        created: the ids of records that were made for it.
    """

    previous: Version | None
    version: Version
    texts: Sequence[str] | None
    spare: Sequence[str] = ()
    fresh: bool = False
    created: list[str] = field(factory=list)

    @property
    def old(self) -> Sequence[str]:
        """The ids that the previous version has."""
        return self.previous.records if self.previous is not None else ()

    @property
    def updates(self) -> Sequence[str]:
        """The ids of records that are written over."""
        if self.texts is None:
            return self.old
        return () if self.fresh else self.old[: len(self.texts)]

    @property
    def superfluous(self) -> list[str]:
        """The ids of records that are no version's."""
        stale = self.previous.stale if self.previous is not None else ()
        return list(dict.fromkeys([*stale, *self.spare]))

    def replaced(self, version: Version) -> list[str]:
        """Return the ids of the previous version's records that a version has no more."""
        return [one for one in self.old if one not in version.records]

    def metadata(self) -> dict[str, Any]:
        """Return what says whose the records are."""
        version = self.version
        named = {MARKED: lane_name(version), "version": str(version.number), "mark": version.nonce}
        return {name: {"stringValue": text} for name, text in named.items()}


@define
class _Batch:
    """Records of one call, and what each is for."""

    operation: str
    days: int | None
    records: list[dict[str, Any]] = field(factory=list)
    owners: list[tuple[RecordJob, int]] = field(factory=list)

    def call(self, settings: Settings) -> AwsCall:
        arguments: dict[str, Any] = {"memoryId": settings.lanes.memory_id, "records": self.records}
        if self.days is not None:
            arguments["recordExpirySpecification"] = {"recordExpiryDurationDays": self.days}
        return AwsCall(self.operation, arguments)


def check_texts(namespace: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return the contents of an item's records.

    Raises:
        InvalidInput: there are too many, or the namespace is too long for records.
    """
    found = record_texts(texts)
    if found and len(namespace_path(tuple(namespace))) > LONGEST_PATH:
        raise InvalidInput(
            f"a namespace of items with an index has at most {LONGEST_PATH} characters; pass index=False to put",
            field="namespace",
        )
    return found


def write_records(settings: Settings, jobs: Sequence[RecordJob], beside: Sequence[AwsCall]) -> Operation[list[Version]]:
    """Write records, and return the versions that name them.

    Other calls are made in the same round.

    Raises:
        Throttled: the service refused a record for this reason. What was made is deleted again.
        QuotaExceeded: likewise.
        InvalidInput: likewise.
    """
    ids: dict[tuple[int, int], str] = {}
    numbers = {id(job): number for number, job in enumerate(jobs)}
    creating = [(job, slot) for job in jobs for slot in range(len(job.updates), len(job.texts or ()))]
    updating = [(job, slot) for job in jobs for slot in range(len(job.updates))]
    batches = [*_batches(settings, "BatchCreateMemoryRecords", creating)]
    batches += _batches(settings, "BatchUpdateMemoryRecords", updating)
    superfluous = [one for job in jobs for one in job.superfluous]
    deletions = deletion_calls(settings, superfluous)
    replies = yield from side_by_side([*beside, *deletions, *(batch.call(settings) for batch in batches)])
    replies = replies[len(beside) :]
    kept = missing_of(superfluous, replies[: len(deletions)])
    replies = replies[len(deletions) :]
    while batches:
        missing: list[tuple[RecordJob, int]] = []
        failures: list[Mapping[str, Any]] = []
        for batch, reply in zip(batches, replies, strict=True):
            for (job, slot), outcome in zip(batch.owners, _outcomes(batch, reply), strict=True):
                if outcome["status"] == "SUCCEEDED":
                    ids[numbers[id(job)], slot] = outcome["memoryRecordId"]
                    if batch.operation.startswith("BatchCreate"):
                        job.created.append(outcome["memoryRecordId"])
                elif batch.operation.startswith("BatchUpdate") and outcome.get("errorCode") == _MISSING:
                    # Somebody deleted it, or it is so new that it is not found yet.
                    missing.append((job, slot))
                else:
                    failures.append(outcome)
        if failures:
            yield from remove_records(settings, [one for job in jobs for one in job.created])
            raise failed(failures)
        batches = _batches(
            settings, "BatchCreateMemoryRecords", [(job, slot) for job, slot in missing if job.texts is not None]
        )
        replies = yield from side_by_side([batch.call(settings) for batch in batches])
    return [_named(job, number, ids, kept) for number, job in enumerate(jobs)]


def _named(job: RecordJob, number: int, ids: Mapping[tuple[int, int], str], kept: set[str]) -> Version:
    """Return the version of a job with the ids of its records."""
    version, previous = job.version, job.previous
    is_young = previous is not None and version.written - previous.written < LAG
    stale = [one for one in job.superfluous if one in kept and (is_young or one in job.spare)]
    if job.texts is None:
        return evolve(version, stale=tuple(stale))
    records = tuple(ids[number, slot] for slot in range(len(job.texts)))
    named = evolve(version, records=records, mark=version.nonce if records else "")
    return evolve(named, stale=(*stale, *job.replaced(named)))


def _batches(settings: Settings, operation: str, slots: Iterable[tuple[RecordJob, int]]) -> list[_Batch]:
    found: list[_Batch] = []
    filling: dict[int, _Batch] = {}
    for job, slot in slots:
        days = _days(settings, job.version)
        batch = filling.get(days)
        if batch is None or len(batch.records) == BATCH:
            batch = filling[days] = _Batch(operation, days)
            found.append(batch)
        record: dict[str, Any] = {"timestamp": time_at(job.version.updated)}
        if job.texts is not None:
            record |= {"content": {"text": job.texts[slot]}, "metadata": job.metadata()}
        if operation.startswith("BatchCreate"):
            record["namespaces"] = [namespace_path(job.version.namespace)]
            record["requestIdentifier"] = f"r{len(batch.records)}"
        else:
            record["memoryRecordId"] = job.updates[slot]
        batch.records.append(record)
        batch.owners.append((job, slot))
    return found


def _days(settings: Settings, version: Version) -> int:
    """Return how many days a record lives.

    They are a few more than its item can without being stored again.
    """
    days: float = settings.event_days
    if version.ttl is not None:
        days = min(days, (version.ttl + settings.renewal / 1000) / _DAY)
    return max(SHORTEST_LIFE, math.ceil(days) + 1)


def _outcomes(batch: _Batch, reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what became of each record, in the order of the request."""
    name = "requestIdentifier" if batch.operation.startswith("BatchCreate") else "memoryRecordId"
    by_name = {one.get(name): one for one in [*reply["successfulRecords"], *reply["failedRecords"]]}
    try:
        return [by_name[record[name]] for record in batch.records]
    except KeyError as error:
        raise StatekeepError(f"{batch.operation}: the reply does not say what became of the record {error}") from None


# -- deleting


def deletion_calls(settings: Settings, ids: Sequence[str]) -> list[AwsCall]:
    """Return the calls that delete records."""
    return [
        AwsCall(
            "BatchDeleteMemoryRecords",
            {
                "memoryId": settings.lanes.memory_id,
                "records": [{"memoryRecordId": one} for one in ids[start : start + BATCH]],
            },
        )
        for start in range(0, len(ids), BATCH)
    ]


def missing_of(ids: Sequence[str], replies: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the records that were not found.

    The replies are those to :func:`deletion_calls`.

    Raises:
        Throttled: the service refused to delete a record for this reason.
        StatekeepError: or for another.
    """
    failures = [one for reply in replies for one in reply["failedRecords"]]
    others = [one for one in failures if one.get("errorCode") != _MISSING]
    if others:
        raise failed(others)
    return {one["memoryRecordId"] for one in failures} & set(ids)


def remove_records(settings: Settings, ids: Sequence[str]) -> Operation[None]:
    """Delete records. What is gone already is no error."""
    some = list(dict.fromkeys(ids))
    missing_of(some, (yield from side_by_side(deletion_calls(settings, some))))


# -- errors

_CODES: Final[Mapping[int, type[StatekeepError]]] = {
    400: InvalidInput,
    402: QuotaExceeded,
    403: AccessDenied,
    409: Throttled,
    413: QuotaExceeded,
    429: Throttled,
}


def failed(failures: Sequence[Mapping[str, Any]]) -> StatekeepError:
    """Return the error that says why records failed: the first one's reason."""
    first = failures[0]
    code = first.get("errorCode")
    number = code if type(code) is int else 0
    kind = _CODES.get(number) or (Unavailable if number >= 500 else StatekeepError)
    message = (
        f"{len(failures)} memory records of an item were refused, with the code {shown(code, 20)}: "
        f"{first.get('errorMessage') or 'no reason is given'}"
    )
    return InvalidInput(message, field="index") if kind is InvalidInput else kind(message)
