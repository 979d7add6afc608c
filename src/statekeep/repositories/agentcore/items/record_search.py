"""Searching items by meaning.

Memory records find candidates, and the lanes of these say what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from ....domain import InvalidInput, SearchItem
from ....domain.filters import matches
from ....domain.items import Namespace
from ...aws import AwsCall
from ...item_backend import ItemSearch
from ...operation import Operation
from ..ids import OURS, Lane
from ..lanes import ABREAST, PAGE
from .layout import NamespaceLanes
from .listing import newest, read_live, touched
from .memory_records import LONGEST_PATH, MemoryRecord, list_records, namespace_path, record_of
from .record_writes import MARKED
from .records import Version
from .settings import Settings, side_by_side
from .versions import read_latest

SPARE: Final = 5
"""Records that are asked for beyond what is wanted: some may be of items that are gone."""

MOST: Final = 100
"""Records that the service finds at most."""

LONGEST_QUERY: Final = 10_000
"""Characters of a query at most."""

_LANE: Final = re.compile(r"([0-9a-f]{40}):([0-9a-f]{40})", re.ASCII)


@frozen
class _Found:
    """One result: an item of ours, or a record that the service extracted."""

    score: float
    version: Version | None
    record: MemoryRecord


@define
class _Ranked:
    """The records that the service found, as far as their lanes were read.

    Attributes:
        records: those not yet looked at, the best first.
        found: what they stand for.
        seen: lanes that were read and count.
    """

    query: ItemSearch
    path: str
    records: list[MemoryRecord] = field(factory=list)
    found: list[_Found] = field(factory=list)
    seen: set[Lane] = field(factory=set)
    _looked: set[str] = field(factory=set)

    def take(self, records: Iterable[MemoryRecord]) -> None:
        """Add records that were not looked at before."""
        known = {*self._looked, *(one.id for one in self.records)}
        self.records += [one for one in records if one.id not in known]

    def look(self, settings: Settings, count: int) -> Operation[None]:
        """Look at some records more, which are about so many items."""
        some: list[tuple[MemoryRecord, Lane | None]] = []
        lanes: dict[Lane, None] = {}
        while self.records and len(some) < count:
            record = self.records.pop(0)
            self._looked.add(record.id)
            lane = _lane(record)
            if lane in self.seen:
                continue  # a better record of this item was found
            some.append((record, lane))
            if lane is not None:
                lanes[lane] = None
        stored = dict(zip(lanes, (yield from read_live(settings, list(lanes))), strict=True))
        for record, lane in some:
            if lane is None:
                if record.is_within(self.path) and self._holds(record.value()):
                    self.found.append(_Found(record.score or 0.0, None, record))
            elif lane not in self.seen and (version := stored[lane]) is not None and self._is_ours(record, version):
                self.seen.add(lane)
                self.found.append(_Found(record.score or 0.0, version, record))

    def _is_ours(self, record: MemoryRecord, version: Version) -> bool:
        """Return whether a record has the content of this very version, which is wanted."""
        prefix = self.query.prefix
        return (
            record.id in version.records
            and _mark(record) == version.mark
            and version.namespace[: len(prefix)] == prefix
            and self._holds(version.parsed())
        )

    def _holds(self, value: Any) -> bool:
        return self.query.filter is None or matches(value, self.query.filter)


def _lane(record: MemoryRecord) -> Lane | None:
    """Return the lane of the item whose record this says to be."""
    named = _LANE.fullmatch(str(record.metadata.get(MARKED, {}).get("stringValue", "")))
    return None if named is None else Lane(f"{OURS}items:{named[1]}", f"{OURS}item-{named[2]}")


def search(settings: Settings, query: ItemSearch) -> Operation[list[SearchItem]]:
    """Find items at or below a namespace, and what was extracted there.

    The nearest come first, and behind them, newest first, the items that no record stands for.

    Raises:
        InvalidInput: the query is too long.
    """
    if len(query.text) > LONGEST_QUERY:
        raise InvalidInput(f"query must have at most {LONGEST_QUERY} characters, got {len(query.text)}", field="query")
    wanted = query.offset + query.limit
    ranked = yield from _ranked(settings, query, wanted)
    ours: list[Version] = []
    if len(ranked) < wanted:
        but = {(one.version.namespace, one.version.key) for one in ranked if one.version is not None}
        ours = yield from newest(settings, query, wanted - len(ranked), but)
    chosen: list[tuple[float | None, Version | None, MemoryRecord | None]] = [
        *((one.score, one.version, one.record) for one in ranked),
        *((None, version, None) for version in ours),
    ]
    return (yield from _shown(settings, chosen[query.offset : wanted], query))


def _ranked(settings: Settings, query: ItemSearch, wanted: int) -> Operation[list[_Found]]:
    path = namespace_path(query.prefix)
    if len(path) > LONGEST_PATH:
        return []  # no record can be there
    state = _Ranked(query, path)
    asked = 0
    while len(state.found) < min(wanted, MOST):
        if not state.records:
            if asked == MOST:
                break
            before, asked = asked, min(MOST, max(wanted + SPARE, 2 * asked))
            records = yield from _retrieve(settings, query.text, path, asked)
            state.take(records)
            if not state.records or (before and len(records) <= before):
                break
            if len(records) < asked:
                asked = MOST
        lacking = ABREAST if query.filter else min(ABREAST, wanted - len(state.found))
        yield from state.look(settings, lacking)
    return state.found


def _retrieve(settings: Settings, text: str, path: str, count: int) -> Operation[list[MemoryRecord]]:
    """Ask for the records that are nearest to a text."""
    places: list[dict[str, str]] = [{"namespacePath": path}]
    if not settings.is_hierarchical:
        # A template of namespaces may end with a slash or not.
        places = [{"namespace": name} for name in dict.fromkeys((path, path.rstrip("/") or "/"))]
    arguments = {
        "memoryId": settings.lanes.memory_id,
        "searchCriteria": {"searchQuery": text.encode("utf-8", "replace").decode(), "topK": count},
        "maxResults": min(count, PAGE),
    }
    found: list[MemoryRecord] = []
    while places:
        replies = yield from side_by_side([AwsCall("RetrieveMemoryRecords", arguments | place) for place in places])
        found += [record_of(summary) for reply in replies for summary in reply["memoryRecordSummaries"]]
        places = [
            {**place, "nextToken": reply["nextToken"]}
            for place, reply in zip(places, replies, strict=True)
            if reply.get("nextToken")
        ]
    return sorted(found, key=lambda one: (-(one.score or 0.0), one.id))[:count]


def _shown(
    settings: Settings,
    chosen: Sequence[tuple[float | None, Version | None, MemoryRecord | None]],
    query: ItemSearch,
) -> Operation[list[SearchItem]]:
    stored = yield from touched(settings, [version for _, version, _ in chosen if version is not None], query.refresh)
    left = iter(stored)
    items: list[SearchItem] = []
    for score, version, record in chosen:
        if version is None:
            assert record is not None
            items.append(_extracted(record, query.prefix))
        elif (now := next(left)) is not None:
            items.append(SearchItem.trusted(**now.fields(), score=score))
    return items


def _extracted(record: MemoryRecord, prefix: Namespace) -> SearchItem:
    """Return the item that stands for a record which is not ours."""
    return SearchItem.trusted(
        namespace=record.namespace_below(prefix),
        key=record.id,
        value=record.value(),
        created_at=record.created_at,
        updated_at=record.timestamp,
        version=1,
        expires_at=None,
        score=record.score,
    )


def count_unlisted(settings: Settings, namespace: Namespace, key: str) -> Operation[int]:
    """Return how many of an item's memory records the service does not list yet.

    Raises:
        InvalidInput: there is no such item, or it has no records.
    """
    [latest], _ = yield from read_latest(settings, [NamespaceLanes(namespace).item(key)])
    version = latest.version
    if version is None or not version.is_live(settings.now()):
        raise InvalidInput("there is no item under this key", field="key")
    if not version.records:
        raise InvalidInput(
            "the item was put without texts to be found by; pass index= to the store or to put", field="key"
        )
    left, cursor = set(version.records), None
    while True:
        page = yield from list_records(settings, namespace_path(namespace), cursor)
        left -= {one.id for one in page.items if _mark(one) == version.mark}
        cursor = page.cursor
        if not left or cursor is None:
            return len(left)


def _mark(record: MemoryRecord) -> str | None:
    mark: str | None = record.metadata.get("mark", {}).get("stringValue")
    return mark
