"""Records of indexes and lists, and of values in lanes of their own, and back.

Those of checkpoints and pending writes are in :mod:`..records.checkpoints`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from ...domain import CorruptRecord, tagged_json
from ...domain.shown import shown
from ..records.checkpoints import Head, decoded, stamp_of
from ..records.framing import Record
from ..validation import count, text, texts
from .ids import Lane

INDEXED: int = 4_096
"""Characters of metadata in the index at most; longer ones are looked up in the checkpoint."""


_MARK: Final = re.compile(r"[a-zA-Z0-9._:/=+@-]{1,256}", re.ASCII)
"""Values of metadata that the service takes."""


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
        if self.metadata is None:
            return True
        try:
            return fits(tagged_json.loads(self.metadata))
        except (ValueError, AttributeError, RecursionError):
            return True  # the checkpoint's own record says what there is


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


def index_mark(head: Head, order: str) -> str:
    """Return what the event of an index record says without its payload.

    It is enough to find the newest checkpoint, unless the service takes no such id: then it is ``"-"``.
    """
    mark = f"{order}/{head.stamp}/{head.checkpoint_id}"
    return mark if _MARK.fullmatch(mark) else "-"


def namespace_record(thread_id: str, namespace: str, order: str) -> Record:
    """Return the record that says: the thread has a namespace with ids of this order."""
    return Record({"type": "namespace", "thread_id": thread_id, "namespace": namespace, "order": order})


def listing_record(
    namespace: str, orders: Mapping[str, int], birth: int, *, is_marked: bool, sweeps: Iterable[str] = ()
) -> Record:
    """Return the record that says what the lists name of a namespace.

    They name it with ids of these orders, each in a period.

    Args:
        namespace: of the checkpoints.
        orders: the last period of each order.
        birth: the stamp of the first such record, by which threads of one id are told apart.
        is_marked: whether each event of the index has a mark.
        sweeps: deletions of some of the values.
    """
    more = {"sweeps": listed} if (listed := sorted(sweeps)) else {}
    head = {"type": "listed", "namespace": namespace, "orders": dict(sorted(orders.items())), "birth": birth}
    return Record({**head, "marked": is_marked, **more})


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
            text("namespace", head["namespace"], empty=True),
            text("checkpoint_id", head["checkpoint_id"]),
            text("order", head["order"]),
            stamp_of(head),
            None if head["run_id"] is None else text("run_id", head["run_id"]),
            None if head["metadata"] is None else text("metadata", head["metadata"], is_id=False),
            texts("values", head["values"]),
        ),
    )


def marked_entry(mark: str, namespace: str) -> IndexEntry | None:
    """Return the entry of an index by its mark, without what only the record says.

    ``None`` if the mark does not name the checkpoint.
    """
    parts = mark.split("/", 2)
    if len(parts) < 3 or not parts[1].isdecimal():
        return None
    return IndexEntry(namespace, parts[2], parts[0], int(parts[1]), None, None, ())


def actor_of(record: Record, lane: Lane) -> str:
    """Return the actor that an entry of a registry names."""
    return decoded(record, str(lane), lambda head: text("actor", head["actor"]))


def thread_of(record: Record, lane: Lane) -> str:
    """Return the thread that an entry of a run names."""
    return decoded(record, str(lane), lambda head: text("thread_id", head["thread_id"]))


def _order(head: Mapping[str, Any]) -> tuple[str, str]:
    return text("namespace", head["namespace"], empty=True), text("order", head["order"])


@frozen
class Listing:
    """A record of :func:`listing_record`.

    Attributes:
        orders: the last period in which the lists got each order of ids.
        birth: the stamp of the first such record.
        is_marked: whether each event of the index has a mark.
        sweeps: deletions of some of the values.
    """

    orders: Mapping[str, int]
    birth: int
    is_marked: bool
    sweeps: Sequence[str]


def listing_of(record: Record, lane: Lane) -> Listing:
    """Read what the lists name of a namespace."""
    return decoded(record, str(lane), _listing)


def _listing(head: Mapping[str, Any]) -> Listing:
    orders = head["orders"]
    if not isinstance(orders, dict):
        raise ValueError("orders is no object")
    periods = {text("order", order): count("period", period) for order, period in orders.items()}
    sweeps = texts("sweeps", head.get("sweeps", []))
    return Listing(periods, count("birth", head["birth"]), head.get("marked") is True, sweeps)


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
        thread_id = decoded(record, str(lane), lambda head: text("thread_id", head["thread_id"]))
        kind = record.head.get("type")
        if kind == "namespace":
            namespace, order = decoded(record, str(lane), _order)
            orders.setdefault(namespace, set()).add(order)
        elif kind != "update":
            raise CorruptRecord(f"a record of a list is of type {shown(kind, 40)}", key=str(lane))
        else:
            stamp = max(stamp, decoded(record, str(lane), stamp_of))
    return Known(thread_id, {name: frozenset(found) for name, found in orders.items()}, stamp)
