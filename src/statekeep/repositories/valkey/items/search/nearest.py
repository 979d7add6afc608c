"""Search by meaning: with the search module, or by comparing all vectors.

Either way a vector is a candidate and no more: an item is found if its record is there, was not changed since the
vector was made, and fulfils the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from .....domain import Item, SearchItem, VectorIndex
from .....domain.filters import matches
from .....domain.items import Namespace
from ....item_backend import ItemSearch
from ....operation import Operation
from ...chunks import Row
from ...client.errors import IndexMissing
from ...keys import encode_part
from ...requests import Commands
from ..listing import PAGE, Ref, newest, refreshed
from ..plan import ItemSettings
from ..read import hmget
from ..records import STAMP, decode_item, last_put_us, search_item
from ..vectors import Document, document, erase_documents, is_zero
from . import index as search_index
from . import query as search_query
from .comparison import Comparison

if TYPE_CHECKING:
    from ....records.known_vectors import KnownVectors

ALIKE: Final = 1e-5
"""A cosine below this may be that of a vector of zeros, which is 0."""


@frozen
class Candidate:
    """A vector that is near the query.

    Attributes:
        ref: the item.
        ordinal: which of its vectors.
        score: how near.
        stamp: when the item was put that the vector was made of; ``None`` if that is not known yet.
    """

    ref: Ref
    ordinal: int
    score: float
    stamp: bytes | None = None

    @property
    def member(self) -> str:
        """Its member of the index of vectors."""
        return f"{encode_part(self.ref[1])}:{self.ordinal}"


@frozen
class Hits:
    """The candidates that turned out to be hits, and those that did not.

    Attributes:
        wanted: how many items will do.
        accepted: items with their rows and scores.
        refused: items that were looked at and do not fulfil the filter.
    """

    settings: ItemSettings
    index: VectorIndex
    search: ItemSearch
    wanted: int
    accepted: dict[Ref, tuple[Item, Row, float]] = field(factory=dict)
    refused: set[Ref] = field(factory=set)
    stale: set[tuple[Ref, int]] = field(factory=set)

    @property
    def is_enough(self) -> bool:
        return len(self.accepted) >= self.wanted

    def is_beyond(self, candidate: Candidate) -> bool:
        """Return whether neither this candidate nor those behind it are needed.

        Those whose stamp is not known are not in the order of time yet: of equal ones all have to be looked at.
        """
        if not self.is_enough:
            return False
        return candidate.stamp is not None or candidate.score < min(score for _, _, score in self.accepted.values())

    def check(self, candidates: Sequence[Candidate]) -> Operation[None]:
        """Look at candidates, the nearest first, until there are enough."""
        at = 0
        outdated: list[Candidate] = []
        while at < len(candidates) and not self.is_beyond(candidates[at]):
            size = max(PAGE, 2 * (self.wanted - len(self.accepted))) if self.search.filter else self.wanted
            chunk: list[Candidate] = []
            while at < len(candidates) and len(chunk) < min(size, 500):
                if not self._is_decided(candidates[at]):
                    chunk.append(candidates[at])
                elif self._is_outdated(candidates[at]):
                    outdated.append(candidates[at])
                at += 1
            yield from self._check(chunk)
        yield from self._erase(outdated)

    def _is_decided(self, candidate: Candidate) -> bool:
        ref = candidate.ref
        return ref in self.accepted or ref in self.refused or (ref, candidate.ordinal) in self.stale

    def _is_outdated(self, candidate: Candidate) -> bool:
        """Return whether another value of its item was accepted."""
        known = self.accepted.get(candidate.ref)
        return known is not None and candidate.stamp is not None and candidate.stamp != known[1][STAMP]

    def _check(self, candidates: Sequence[Candidate]) -> Operation[None]:
        if not candidates:
            return
        records = {candidate.ref: None for candidate in candidates}
        unstamped = [candidate for candidate in candidates if candidate.stamp is None]
        commands = [hmget(self.settings.keys(namespace).record(key)) for namespace, key in records]
        commands += [["HGET", self._document(candidate), "updated_at"] for candidate in unstamped]
        replies = yield Commands(commands)
        rows: dict[Ref, Row] = dict(zip(records, replies, strict=False))
        stamps = {
            (candidate.ref, candidate.ordinal): stamp
            for candidate, stamp in zip(unstamped, replies[len(records) :], strict=True)
        }
        outdated: list[Candidate] = []
        for candidate in candidates:
            ref, row = candidate.ref, rows[candidate.ref]
            if self._is_decided(candidate):
                outdated += [candidate] if self._is_outdated(candidate) else []
                continue
            stamp = stamps.get((ref, candidate.ordinal), candidate.stamp)
            if stamp is None or stamp != row[STAMP]:
                self.stale.add((ref, candidate.ordinal))
                outdated.append(candidate)
                continue
            item = decode_item(self.settings.keys(ref[0]), ref[1], row)
            if item is None or not matches(item.value, self.search.filter):
                self.refused.add(ref)
            elif not self.is_beyond(candidate):
                self.accepted[ref] = (item, row, candidate.score)
        yield from self._erase(outdated)

    def _erase(self, outdated: Sequence[Candidate]) -> Operation[None]:
        documents: dict[Namespace, list[Document]] = {}
        for candidate in outdated:
            namespace, key = candidate.ref
            documents.setdefault(namespace, []).append(Document(key, self.index.collection_name, candidate.member))
        for namespace, left_over in documents.items():
            yield from erase_documents(self.settings.keys(namespace), left_over)

    def _document(self, candidate: Candidate) -> str:
        return self.settings.keys(candidate.ref[0]).vector(self.index.collection_name, candidate.member)


def search(
    settings: ItemSettings, index: VectorIndex, there: search_index.Index, known: KnownVectors, search: ItemSearch
) -> Operation[tuple[list[SearchItem], search_index.Index]]:
    """Find items at or below a namespace, the nearest first.

    Those without vectors follow.

    Args:
        settings: of the repository.
        index: its options.
        there: what the server offered when it was last asked.
        known: the vectors that this process keeps.
        search: what for.

    Returns:
        The items, and what the server offers now.
    """
    query = search.query or b""
    hits = Hits(settings, index, search, search.offset + search.limit)
    is_done = False
    if there.name is not None:
        try:
            if not there.is_ready:
                there = yield from search_index.all_ready(there, settings.cluster)
            if there.is_ready:
                is_done = yield from _with_module(hits, query, there)
        except IndexMissing:
            # Dropped, or flushed with the data: make it again, and do without it meanwhile.
            there = yield from search_index.setup(settings.prefix, index, settings.cluster)
    if not is_done:
        # Not all that are nearer were seen.
        hits.accepted.clear()
        hits.stale.clear()
        yield from _compared(hits, query, known)
    ranked = sorted(hits.accepted.values(), key=_rank)
    rest: list[tuple[Item, Row]] = []
    if not hits.is_enough:
        missing = hits.wanted - len(ranked)
        rest = yield from newest(settings, search.prefix, search.filter, missing, 0, hits.accepted)
    results: list[tuple[Item, Row, float | None]] = [*ranked, *((item, row, None) for item, row in rest)]
    return (yield from _finished(settings, search, results[search.offset : hits.wanted])), there


def newest_first(settings: ItemSettings, search: ItemSearch) -> Operation[list[SearchItem]]:
    """Find items at or below a namespace without a query, the last put first."""
    accepted = yield from newest(settings, search.prefix, search.filter, search.limit, search.offset)
    return (yield from _finished(settings, search, [(item, row, None) for item, row in accepted]))


def _rank(hit: tuple[Item, Row, float]) -> tuple[float, float]:
    item, _, score = hit
    return -score, -item.updated_at.timestamp()


def _finished(
    settings: ItemSettings, search: ItemSearch, results: Sequence[tuple[Item, Row, float | None]]
) -> Operation[list[SearchItem]]:
    if not settings.refreshes(search.refresh):
        return [search_item(item, score) for item, _, score in results]
    scores: dict[Ref, float | None] = {(item.namespace, item.key): score for item, _, score in results}
    items = yield from refreshed(settings, [(item, row) for item, row, _ in results])
    return [search_item(item, scores[item.namespace, item.key]) for item in items]


# -- with the module


def _with_module(hits: Hits, query: bytes, there: search_index.Index) -> Operation[bool]:
    """Ask for more neighbours until items suffice.

    Returns:
        Whether the nearest were found, or all there are.
    """
    settings, index, search = hits.settings, hits.index, hits.search
    if there.zero is not None and is_zero(query):
        return False
    tags = search_query.pushed_down(search.filter)
    # One more, to see whether the last of them has equals.
    count = min(max(PAGE, 2 * hits.wanted) if search.filter else hits.wanted + 1, there.most)
    zeros: list[Candidate] | None = None
    while True:
        command = search_query.search_command(
            settings.prefix, index, query, search.prefix, tags, count, cluster=settings.cluster, family=there.family
        )
        found = search_query.candidates((yield there.family.ask(command, search_index.near(search.prefix))))
        if not found.is_whole:
            return False
        candidates = []
        for key, distance in found.candidates:
            candidates += _candidate(hits, key, search_query.score(index.distance_metric, distance))
        last = candidates[-1] if candidates else None
        is_last = len(found.candidates) < count
        if is_last and there.family.counts:
            # A graph may not lead to all of its vectors, and some have no distance.
            total, _ = yield from _tagged(hits, there, there.name, tags, 0)
            if total > len(found.candidates):
                return False
        if there.zero is not None and zeros is None and (is_last or last is None or last.score < ALIKE):
            total, names = yield from _tagged(hits, there, there.zero, tags, there.most)
            if total > len(names):
                return False
            zeros = [candidate for key in names for candidate in _candidate(hits, key, 0.0)]
        yield from hits.check(sorted([*candidates, *(zeros or ())], key=lambda candidate: -candidate.score))
        if is_last or (last is not None and hits.is_beyond(last)):
            return True
        if count >= there.most:
            return False
        count = min(4 * count, there.most)


def _candidate(hits: Hits, key: str, score: float) -> list[Candidate]:
    """Return the candidate of a key, or none: tags may say too much."""
    vector = search_query.parse_key(hits.settings.prefix, hits.index.collection_name, key, hits.settings.unit.labels)
    if vector.namespace[: len(hits.search.prefix)] != hits.search.prefix:
        return []
    return [Candidate((vector.namespace, vector.key), vector.ordinal, score)]


def _tagged(
    hits: Hits, there: search_index.Index, name: str | None, tags: Sequence[str], most: int
) -> Operation[tuple[int, list[str]]]:
    assert name is not None
    which = search_query.conditions(hits.search.prefix, tags)
    command = search_query.tagged_command(name, which, most, there.family)
    return search_query.tagged((yield there.family.ask(command, search_index.near(hits.search.prefix))))


# -- without


def _compared(hits: Hits, query: bytes, known: KnownVectors) -> Operation[None]:
    comparison = Comparison(hits.settings, hits.index, known, query)
    yield from comparison.load(hits.search.prefix)
    for found in comparison.nearest(max(PAGE, 2 * hits.wanted)):
        candidates = []
        for keys, scored in found:
            its = document(keys, hits.index.collection_name, scored.member)
            candidates.append(Candidate((keys.namespace, its.key), its.ordinal, scored.score, scored.stamp))
        yield from hits.check(
            sorted(candidates, key=lambda candidate: (-candidate.score, -last_put_us(candidate.stamp)))
        )
        for (keys, scored), candidate in zip(found, candidates, strict=True):
            if (candidate.ref, candidate.ordinal) in hits.stale:
                comparison.drop(keys, scored)
        if hits.is_enough:
            return
