"""The tree of namespaces.

Each names the labels directly below it, so that a subtree is found without reading the others. Labels stay when the
items below are gone: another process may be about to put one there. They end as all events do, and each period of
`renewal` has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from ....domain.ids import new_moment
from ....domain.items import Namespace
from ...aws import AwsCall, Joins
from ...operation import Operation
from ...records.framing import Record, records
from ..ids import Lane
from ..lanes import PAGE
from .index import IndexReader
from .layout import NamespaceLanes
from .records import label_of, label_record, time_at
from .settings import Settings, side_by_side


@frozen
class Branch:
    """A label below a namespace, that its list must have."""

    parent: Namespace
    label: str
    period: int

    @property
    def mark(self) -> Lane:
        """The lane that says whether the label is listed."""
        return NamespaceLanes(self.parent).child(self.label)

    @property
    def record(self) -> Record:
        return label_record(self.label, self.period)

    def is_listed(self, settings: Settings) -> bool:
        """Return whether this process knows that the label is listed."""
        return settings.recent.knows(*self._key())

    def learn(self, settings: Settings) -> None:
        """Remember that the label is listed."""
        settings.recent.learn(*self._key())

    def _key(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (NamespaceLanes(self.parent).actor,), (self.mark.session, str(self.period))


def branches(settings: Settings, namespaces: Iterable[Namespace]) -> list[Branch]:
    """Return what the tree must have of some namespaces.

    What is known to be there is left out.
    """
    period = settings.now() // settings.renewal
    found = {
        Branch(namespace[:depth], namespace[depth], period): None
        for namespace in namespaces
        for depth in range(len(namespace))
    }
    return [branch for branch in found if not branch.is_listed(settings)]


def looks(settings: Settings, wanted: Sequence[Branch]) -> list[AwsCall]:
    """Return the calls that ask whether labels are listed.

    Those of puts that wait for each other go out as one.
    """
    joins = [Joins((settings.lanes.memory_id, branch.mark)) for branch in wanted]
    return [
        evolve(settings.lanes.listing(branch.mark, 1), joins=one) for branch, one in zip(wanted, joins, strict=True)
    ]


def lacking(settings: Settings, wanted: Sequence[Branch], replies: Sequence[Any]) -> list[Branch]:
    """Return those that are not listed, by the replies to :func:`looks`."""
    missing = []
    for branch, reply in zip(wanted, replies, strict=True):
        if any(label_of(record, branch.mark)[1] >= branch.period for record in _records(reply, branch.mark)):
            branch.learn(settings)
        else:
            missing.append(branch)
    return missing


def listing_calls(settings: Settings, missing: Sequence[Branch]) -> list[AwsCall]:
    """Return the calls that list labels; they go before those of :func:`mark_calls`."""
    return _appends(settings, missing, [NamespaceLanes(branch.parent).children for branch in missing])


def mark_calls(settings: Settings, listed: Sequence[Branch]) -> list[AwsCall]:
    """Return the calls that say that labels are listed."""
    return _appends(settings, listed, [branch.mark for branch in listed])


def _appends(settings: Settings, some: Sequence[Branch], lanes: Sequence[Lane]) -> list[AwsCall]:
    at = time_at(new_moment())
    return [
        call
        for branch, lane in zip(some, lanes, strict=True)
        for call in settings.lanes.appends(lane, branch.record, at, is_shared=True)
    ]


def read_tree(settings: Settings, prefix: Namespace, *, below: bool, size: int) -> Operation[list[IndexReader]]:
    """Read a namespace and those below it: a round for each level.

    Args:
        settings: of the backend.
        prefix: the namespace.
        below: whether those below it are read.
        size: events of each index that are read.

    Returns:
        The indexes, each with its first page.
    """
    readers: list[IndexReader] = []
    level = [prefix]
    while level:
        some = [IndexReader(namespace) for namespace in level]
        calls = [reader.call(settings, size) for reader in some]
        lists = [NamespaceLanes(namespace).children for namespace in level] if below else []
        replies = yield from side_by_side([*calls, *(settings.lanes.listing(lane, PAGE) for lane in lists)])
        for reader, reply in zip(some, replies, strict=False):
            reader.take(reply)
        readers += some
        children = yield from _labels(settings, dict(zip(lists, level, strict=False)), replies[len(some) :])
        level = [(*parent, label) for parent, found in children.items() for label in sorted(found)]
    return readers


def _labels(
    settings: Settings, lists: Mapping[Lane, Namespace], replies: Sequence[Any]
) -> Operation[dict[Namespace, set[str]]]:
    found: dict[Namespace, set[str]] = {}
    pages = list(zip(lists, replies, strict=True))
    while pages:
        for lane, reply in pages:
            found.setdefault(lists[lane], set()).update(label_of(one, lane)[0] for one in _records(reply, lane))
        more = [(lane, reply["nextToken"]) for lane, reply in pages if reply.get("nextToken")]
        calls = [settings.lanes.listing(lane, PAGE, token) for lane, token in more]
        pages = list(zip([lane for lane, _ in more], (yield from side_by_side(calls)), strict=True))
    return found


def _records(reply: Any, lane: Lane) -> list[Record]:
    return records([item.get("blob") for event in reply["events"] for item in event["payload"]], str(lane))[0]
