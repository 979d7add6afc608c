"""Records of indexes and lists, and of values in lanes of their own, and back.

Those of checkpoints and pending writes are in :mod:`..records.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ...domain import tagged_json
from ..records.checkpoints import Head, decoded, stamp_of
from ..records.framing import Record
from .ids import Lane

INDEXED: int = 4_096
"""Characters of metadata in the index at most; longer ones are looked up in the checkpoint."""


@frozen
class IndexEntry:
    """An entry of the index.

    It is written first: a checkpoint exists only if its own lane has it.
    """

    namespace: str
    checkpoint_id: str
    order: str
    stamp: int
    run_id: str | None
    metadata: str | None = field(repr=False)
    values: Sequence[str]

    def may_match(self, fits: Callable[[Mapping[str, Any]], bool]) -> bool:
        return self.metadata is None or fits(tagged_json.loads(self.metadata))


# -- to records


def orphan_record(stamp: int) -> Record:
    """Return the record that says: the checkpoint has no parent any more."""
    return Record({"type": "orphan", "stamp": stamp})


def index_record(head: Head, run_id: str | None, order: str) -> Record:
    """Return the record by which an index names a checkpoint."""
    return Record(
        {
            "type": "index",
            "stamp": head.stamp,
            "order": order,
            "namespace": head.namespace,
            "checkpoint_id": head.checkpoint_id,
            "run_id": run_id,
            "metadata": head.metadata if len(head.metadata) <= INDEXED else None,
            "values": sorted(head.values),
        }
    )


def namespace_record(thread_id: str, namespace: str, order: str) -> Record:
    """Return the record that says: the thread has a namespace with ids of this order."""
    return Record({"type": "namespace", "thread_id": thread_id, "namespace": namespace, "order": order})


def update_record(thread_id: str, stamp: int) -> Record:
    """Return the record that says when a thread was updated.

    It is needed once the checkpoint that said so is gone.
    """
    return Record({"type": "update", "thread_id": thread_id, "stamp": stamp})


def actor_record(actor: str) -> Record:
    """Return the record that says: this actor has the thread."""
    return Record({"type": "actor", "actor": actor})


def run_record(actor: str, thread_id: str) -> Record:
    """Return the record that says: the run put a checkpoint there."""
    return Record({"type": "run", "actor": actor, "thread_id": thread_id})


# -- and back


def index_entry(record: Record, lane: Lane) -> IndexEntry:
    """Return the entry of an index record."""
    return decoded(
        record,
        str(lane),
        lambda head: IndexEntry(
            head["namespace"],
            head["checkpoint_id"],
            head["order"],
            stamp_of(head),
            head["run_id"],
            head["metadata"],
            head["values"],
        ),
    )


@frozen
class Known:
    """The list of a thread's namespaces.

    Attributes:
        thread_id: the thread; ``None`` if there is no list.
        orders: the orders of ids in each namespace.
        stamp: when a checkpoint was put that may be gone; -1 for never.
    """

    thread_id: str | None
    orders: Mapping[str, frozenset[str]]
    stamp: int


def known(records: Iterable[Record], lane: Lane) -> Known:
    """Read the list of a thread's namespaces."""
    thread_id, stamp = None, -1
    orders: dict[str, set[str]] = {}
    for record in records:
        thread_id = decoded(record, str(lane), lambda head: str(head["thread_id"]))
        if record.head["type"] == "namespace":
            namespace, order = decoded(record, str(lane), lambda head: (head["namespace"], head["order"]))
            orders.setdefault(namespace, set()).add(order)
        else:
            stamp = max(stamp, decoded(record, str(lane), stamp_of))
    return Known(thread_id, {name: frozenset(found) for name, found in orders.items()}, stamp)
