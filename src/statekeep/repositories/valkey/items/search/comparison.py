"""Comparison of all vectors at or below a namespace with a query.

A process keeps the vectors that it read, in a matrix for each namespace. What was put since stands in the namespace's
list of changes, which ``put`` writes in the same step; what was deleted, or ended, is found out when its record is
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import define, field

from .....domain import CorruptRecord, VectorIndex
from .....domain.items import Namespace
from .....domain.shown import shown
from ....operation import Operation
from ...chunks import chunks
from ...keys import decode_text, is_part, namespace_of_ordered
from ...requests import Arg, Commands, Reply
from ..keys import ItemKeys
from ..listing import FEW
from ..namespaces import NAMES, at_or_below, names
from ..plan import ItemSettings
from ..vectors import Document, document, erase_documents

if TYPE_CHECKING:
    from ....records.known_vectors import KnownVectors, Matrix, Scored

MEMBERS: Final = 1000
"""Vectors of a namespace listed in one step."""

NAMESPACES: Final = 100
"""Namespaces whose vectors are looked at in one step."""

TAIL: Final = 8
"""Changes of a namespace that are read at first; mostly there are none."""

SLACK: Final = 100
"""Vectors of a matrix that may be gone on the server; if they are more, and a fifth of it, it is read again."""

MOST_DIGITS: Final = 16
"""Digits of the number of a change at most."""

Vector = tuple[ItemKeys, Document, bytes, bytes]
"""A vector as it was read: where it is, which it is, its numbers, its stamp."""


@define
class Comparison:
    """The vectors of a search.

    There are matrices of those that are kept, and the others, which were compared already.
    """

    settings: ItemSettings
    index: VectorIndex
    known: KnownVectors
    query: bytes
    kept: dict[ItemKeys, Matrix] = field(factory=dict)
    others: list[tuple[ItemKeys, Scored]] = field(factory=list)
    _size: int = 0
    """Bytes of those that are kept, about."""

    def nearest(self, count: int) -> Iterator[list[tuple[ItemKeys, Scored]]]:
        """Yield vectors, the nearest first.

        There are about ``count``, and then more, until all were yielded.
        """
        from ....records.known_vectors import nearest

        spaces = list(self.kept)
        others = sorted(self.others, key=lambda other: other[1].score)
        for found in nearest(list(self.kept.values()), self.query, max(1, count)):
            some = [(spaces[scored.matrix], scored) for scored in found]
            least = min((scored.score for scored in found), default=None)
            while least is not None and others and others[-1][1].score >= least:
                some.append(others.pop())
            yield some
        yield others

    def drop(self, keys: ItemKeys, scored: Scored) -> None:
        """Forget a vector that turned out to be of a value that is gone."""
        if keys in self.kept:
            self.kept[keys].drop_value(scored.member, scored.stamp)

    def load(self, prefix: Namespace) -> Operation[None]:
        """Read the vectors at or below a namespace, as far as they are not known."""
        own = self.settings.keys(prefix)
        guess = self.settings.below.guess(own)
        index, (low, high) = self.settings.namespace_index[0], at_or_below(prefix)
        listing: list[Arg] = ["ZRANGEBYLEX", index, low, high, "LIMIT", "0", str(NAMES)]
        listed, *replies = yield Commands([listing, *self._counts_and_changes(guess)])
        spaces = [self.settings.keys(namespace_of_ordered(decode_text(name, index))) for name in listed]
        if set(spaces) <= set(guess):
            there = set(spaces)
            told = zip(guess, replies[::2], replies[1::2], strict=True)
            yield from self._follow_or_read([(keys, *rest) for keys, *rest in told if keys in there])
        else:
            yield from self._load(spaces)
        is_last = len(spaces) < NAMES
        if is_last:
            self.settings.below.note(own, spaces if len(spaces) <= FEW else [])
        while not is_last:
            page = yield from names(self.settings, prefix, spaces[-1].namespace)
            spaces, is_last = [self.settings.keys(namespace) for namespace in page.namespaces], page.is_last
            yield from self._load(spaces)

    def _counts_and_changes(self, spaces: Sequence[ItemKeys]) -> list[list[Arg]]:
        """Return commands that say how many vectors each has, and its last changes."""
        collection = self.index.collection_name
        commands: list[list[Arg]] = []
        for keys in spaces:
            commands.append(["ZCARD", keys.vectors(collection)])
            commands.append(["LRANGE", keys.changes(collection), str(-TAIL), "-1"])
        return commands

    def _load(self, spaces: Sequence[ItemKeys]) -> Operation[None]:
        for chunk in chunks(spaces, NAMESPACES):
            replies: Reply = yield Commands(self._counts_and_changes(chunk))
            yield from self._follow_or_read(list(zip(chunk, replies[::2], replies[1::2], strict=True)))

    def _follow_or_read(self, told: Sequence[tuple[ItemKeys, int, Sequence[bytes]]]) -> Operation[None]:
        """Bring the vectors of some namespaces up to date.

        Args:
            told: each with how many vectors it has, and its last changes.
        """
        collection = self.index.collection_name
        news: dict[ItemKeys, Sequence[bytes]] = {}
        behind: list[ItemKeys] = []
        fresh: dict[ItemKeys, tuple[int, Sequence[bytes]]] = {}
        for keys, count, entries in told:
            matrix = self.known.get(keys.vectors(collection))
            if matrix is None or len(matrix) > count + max(SLACK, count // 4):
                fresh[keys] = count, entries
                continue
            self.kept[keys] = matrix
            self._size += matrix.size
            since = _since(entries, matrix.reached)
            if since is None:
                behind.append(keys)
                fresh[keys] = count, entries
            else:
                news[keys] = since
        if behind:
            replies: Reply = yield Commands([["LRANGE", keys.changes(collection), "0", "-1"] for keys in behind])
            for keys, entries in zip(behind, replies, strict=True):
                since = _since(entries, self.kept[keys].reached)
                if since is not None:
                    news[keys] = since
                    del fresh[keys]
        yield from self._follow({keys: entries for keys, entries in news.items() if entries})
        for keys in fresh:
            if (matrix := self.kept.pop(keys, None)) is not None:
                self._size -= matrix.size
        yield from self._read_all({keys: found for keys, found in fresh.items() if found[0]})

    def _follow(self, news: Mapping[ItemKeys, Sequence[bytes]]) -> Operation[None]:
        """Read the vectors of items that were put since."""
        collection = self.index.collection_name
        changes = {
            (keys, name): number
            for keys, entries in news.items()
            for number, name in (_change(keys.changes(collection), entry) for entry in entries)
        }
        for chunk in chunks(list(changes)):
            listed: Reply = yield Commands(
                [["ZRANGEBYLEX", keys.vectors(collection), f"[{name}:", f"({name};"] for keys, name in chunk]
            )
            documents = [
                (keys, decode_text(member, keys.vectors(collection)))
                for (keys, _), members in zip(chunk, listed, strict=True)
                for member in members
            ]
            there: set[tuple[ItemKeys, str]] = set()
            for some in chunks(documents):
                for keys, its, vector, stamp in (yield from self._read(some)):
                    there.add((keys, its.member))
                    self.kept[keys].put(its.member, stamp, vector, changes[keys, its.member.rpartition(":")[0]])
            for keys, name in chunk:
                for member in self.kept[keys].members_of(name):
                    if (keys, member) not in there:
                        self.kept[keys].drop(member, changes[keys, name])
        for keys, entries in news.items():
            self.kept[keys].reach(_change(keys.changes(collection), entries[-1])[0], entries[-1])
            self.known.keep(keys.vectors(collection), self.kept[keys])

    def _read_all(self, fresh: Mapping[ItemKeys, tuple[int, Sequence[bytes]]]) -> Operation[None]:
        """Read all vectors of some namespaces, a bounded number at a time.

        Those of a namespace are kept if it has changes, so that later ones will be seen.

        Args:
            fresh: how many vectors each has, and its last changes.
        """
        from ....records.known_vectors import Matrix, size_of

        collection, dims = self.index.collection_name, self.index.dims
        matrices: dict[ItemKeys, Matrix] = {}
        for keys, (count, _) in fresh.items():
            if self.known.has_room(self._size + size_of(count, dims)):
                self._size += size_of(count, dims)
                matrices[keys] = Matrix(dims, self.index.distance_metric)
        starts: dict[ItemKeys, Arg] = dict.fromkeys(fresh, "-")
        while starts:
            listed: Reply = yield Commands(
                [
                    ["ZRANGEBYLEX", keys.vectors(collection), start, "+", "LIMIT", "0", str(MEMBERS)]
                    for keys, start in starts.items()
                ]
            )
            documents = [
                (keys, decode_text(member, keys.vectors(collection)))
                for keys, members in zip(starts, listed, strict=True)
                for member in members
            ]
            for chunk in chunks(documents):
                self._take((yield from self._read(chunk)), matrices)
            starts = {
                keys: b"(" + members[-1]
                for keys, members in zip(starts, listed, strict=True)
                if len(members) == MEMBERS
            }
        for keys, matrix in matrices.items():
            self.kept[keys] = matrix
            _, entries = fresh[keys]
            if entries:
                matrix.reach(_change(keys.changes(collection), entries[-1])[0], entries[-1])
                self.known.keep(keys.vectors(collection), matrix)

    def _take(self, vectors: Sequence[Vector], matrices: Mapping[ItemKeys, Matrix]) -> None:
        """Put vectors into the matrices of their namespaces.

        Where there is none, they are compared.
        """
        from ....records.known_vectors import Scored
        from ....records.vectors import scores

        others: list[Vector] = []
        for found in vectors:
            keys, its, vector, stamp = found
            if keys in matrices:
                matrices[keys].put(its.member, stamp, vector, 0)
            else:
                others.append(found)
        values = scores(self.index.distance_metric, self.query, [vector for _, _, vector, _ in others]).tolist()
        for (keys, its, _, stamp), score in zip(others, values, strict=True):
            self.others.append((keys, Scored(0, its.member, stamp, score)))

    def _read(self, documents: Sequence[tuple[ItemKeys, str]]) -> Operation[list[Vector]]:
        """Read vectors; those that are gone leave the index.

        Raises:
            CorruptRecord: one is of another length, or has other than finite numbers.
        """
        from ....records.vectors import are_finite

        collection = self.index.collection_name
        rows: Reply = yield Commands(
            [["HMGET", keys.vector(collection, member), "vector", "updated_at"] for keys, member in documents]
        )
        there: list[Vector] = []
        gone: dict[ItemKeys, list[Document]] = {}
        for (keys, member), (vector, stamp) in zip(documents, rows, strict=True):
            its = document(keys, collection, member)
            if vector is None or stamp is None:
                gone.setdefault(keys, []).append(its)
            elif len(vector) != len(self.query):
                raise CorruptRecord(
                    f"the vector has {len(vector) // 4} numbers, not {self.index.dims}",
                    key=keys.vector(collection, member),
                )
            else:
                there.append((keys, its, vector, stamp))
        for keys, left_over in gone.items():
            yield from erase_documents(keys, left_over)
        for (keys, its, _, _), is_finite in zip(there, are_finite([vector for _, _, vector, _ in there]), strict=True):
            if not is_finite:
                raise CorruptRecord(
                    "the vector has numbers that are not finite", key=keys.vector(collection, its.member)
                )
        return there


def _since(entries: Sequence[bytes], reached: bytes) -> Sequence[bytes] | None:
    """Return the changes behind one, ``None`` if that is not among them."""
    for at in range(len(entries) - 1, -1, -1):
        if entries[at] == reached:
            return entries[at + 1 :]
    return None


def _change(key: str, entry: bytes) -> tuple[int, str]:
    """Read an entry of a list of changes, ``NUMBER NAME``.

    Raises:
        CorruptRecord: it is none.
    """
    number, space, name = decode_text(entry, key).partition(" ")
    is_number = number.isascii() and number.isdecimal() and len(number) <= MOST_DIGITS
    if not is_number or not space or not is_part(name):
        raise CorruptRecord(f"this is no change: {shown(entry)}", key=key)
    return int(number), name
