"""Guesses of what the server has; a right one saves a round trip.

``list`` guesses the newest ids, and ``put`` the pending writes that this process put before their checkpoint. That
nobody else has put since this process did spares ``put`` the search for what it refers to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import lru_cache

from attrs import frozen

from ....domain import Channel, ValueSource
from ....domain.model import SHORT
from ...records.pieces import Value
from .keys import NamespaceKeys
from .records import PIECE, VALUELESS, encode_value, manifest_of, token

NAMESPACES = 1024
"""The number of namespaces that are remembered."""


class RecentIds:
    """Ids of the newest checkpoints of the namespaces in use, in descending order.

    Only a guess: others put and delete, too. The server compares it with its index, so a wrong one costs a round trip
    and nothing else. Threads that share it may lose each other's news. Nothing is remembered of long ids.

    Args:
        size: how many ids of a namespace are remembered.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known = lru_cache(maxsize=NAMESPACES)(_nothing_yet)

    def __reduce__(self) -> tuple[type[RecentIds], tuple[int]]:
        return type(self), (self._size,)  # what is not known costs a round trip

    def put(self, keys: NamespaceKeys, checkpoint_id: str) -> None:
        """Note that a checkpoint was put."""
        if not keys.is_short:
            return
        known = self._known(keys)
        if len(checkpoint_id) > SHORT:
            known.clear()
        elif not known or checkpoint_id > known[0]:
            known.insert(0, checkpoint_id)
            del known[self._size :]
        elif checkpoint_id not in known:
            known[:] = sorted([*known, checkpoint_id], reverse=True)[: self._size]

    def listed(self, keys: NamespaceKeys, ids: Sequence[str], *, whole: bool) -> None:
        """Note the newest ids; ``whole`` says that there are no others."""
        if not keys.is_short:
            return
        known = self._known(keys)
        if any(len(checkpoint_id) > SHORT for checkpoint_id in ids):
            known.clear()
        elif whole or known[: len(ids)] != ids:
            known[:] = ids

    def before(self, keys: NamespaceKeys, bound: str | None, count: int) -> Sequence[str]:
        """Return up to ``count`` of the newest ids below ``bound``."""
        if not keys.is_short:
            return ()
        return [known_id for known_id in self._known(keys) if bound is None or known_id < bound][:count]


def _nothing_yet(keys: NamespaceKeys) -> list[str]:
    return []


CHECKPOINTS = 1024
"""The number of checkpoints of which writes are remembered."""

WRITES = 100
"""The number of writes of a checkpoint that are remembered; of more, none is."""


class EarlyWrites:
    """The keys of their records. Only a guess: the server compares it with its index.

    Attributes:
        known: by namespace and checkpoint.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[NamespaceKeys, str], tuple[str, ...]] = {}

    def note(self, keys: NamespaceKeys, checkpoint_id: str, records: Sequence[str]) -> None:
        """Note that writes were put whose checkpoint is not stored."""
        known = self.known.pop((keys, checkpoint_id), ())
        if keys.is_short and max(map(len, [checkpoint_id, *records])) <= 4 * SHORT:
            if len(self.known) >= CHECKPOINTS:
                self.known.clear()
            if len(known) + len(records) <= WRITES:
                self.known[keys, checkpoint_id] = (*known, *records)

    def take(self, keys: NamespaceKeys, checkpoint_id: str) -> tuple[str, ...]:
        """Return the records that were noted, and forget them."""
        return self.known.pop((keys, checkpoint_id), ())


@frozen(eq=False)
class LastPut:
    """The newest checkpoint of a namespace, as this process put it.

    Attributes:
        checkpoint_id: its id.
        generation: what was stored as such.
        length: how many fields the hash of values had then.
        listed: the token of each channel with a value, as the record lists it: its field, and the pieces behind.
        pieces: the fields of all of these pieces.
        absent: fields of other channels under which the server had no value.
    """

    checkpoint_id: str
    generation: int
    length: int
    listed: Mapping[str, str]
    pieces: Set[str]
    absent: Set[str] = frozenset()


class LastPuts:
    """The newest checkpoints that this process put.

    Only a guess: the server compares it with what is there.

    Attributes:
        known: by namespace.
    """

    def __init__(self) -> None:
        self.known: dict[NamespaceKeys, LastPut] = {}

    def __reduce__(self) -> tuple[type[LastPuts], tuple[()]]:
        return type(self), ()

    def note(self, keys: NamespaceKeys, put: LastPut) -> None:
        """Note a put."""
        if keys.is_short and len(put.checkpoint_id) <= SHORT:
            if keys not in self.known and len(self.known) >= NAMESPACES:
                self.known.clear()
            self.known[keys] = put


MOST_WORDS = 2000
"""Words that a script takes in one command."""


@frozen
class Following:
    """The channels of a checkpoint that follows the one put last.

    Attributes:
        channels: the record's list.
        looked_for: fields under which no value may be stored.
        words: fields of new values and pieces, each followed by its bytes.
        listed: see :class:`LastPut`.
        pieces: see :class:`LastPut`.
        absent: see :class:`LastPut`.
    """

    channels: str
    looked_for: list[str]
    words: list[str | bytes]
    listed: Mapping[str, str]
    pieces: Set[str]
    absent: Set[str]


def encode_following(
    last: LastPut, channels: Mapping[str, Channel], in_pieces: Mapping[str, Value], *, as_it_is: bool
) -> Following | None:
    """Encode channels for ``put_next.lua``.

    Returns ``None`` if the last put does not tell where all values are.

    Args:
        last: the put of the parent, and the last one in its namespace.
        channels: by name.
        in_pieces: the values of those that are not sent whole.
        as_it_is: do not look for values of ``replayed`` channels.
    """
    texts: list[str] = []
    looked_for: list[str] = []
    absent: set[str] = set()
    words: list[str | bytes] = []
    listed: dict[str, str] = {}
    pieces: set[str] = set()
    known = last.listed
    for name, channel in channels.items():
        text = field = token(name, channel.version)
        payload, carry = channel.payload, channel.carry
        if payload is not None:
            looked_for.append(field)
            value = in_pieces.get(name)
            if value is None:
                words += (field, encode_value(payload))
            else:
                names = [PIECE + piece.name for piece in value.pieces]
                new = {PIECE + piece: data for piece, data in value.new.items()}
                if not {piece for piece in names if piece not in new} <= last.pieces:
                    return None
                joined = " ".join(names)
                words += (field, manifest_of(joined, payload.encoding))
                for pair in new.items():
                    words += pair
                text = f"{field} {joined}"
                pieces.update(names)
            listed[field] = text
        elif carry is ValueSource.EMPTY:
            text = "!" + field
        elif as_it_is and carry is ValueSource.REPLAYED:
            text = "?" + field
        elif field in known:
            text = listed[field] = known[field]
            if PIECE in text:
                pieces.update(text.split(" ")[1:])
        elif carry is ValueSource.STORED:
            return None
        else:
            if field not in last.absent:
                looked_for.append(field)
            absent.add(field)
            text = ("?" if carry is ValueSource.REPLAYED else "!") + field
        texts.append(text)
    if len(looked_for) + len(words) > MOST_WORDS:
        return None
    texts.append("")
    return Following(" ".join(texts), looked_for, words, listed, pieces, absent)


def last_put(checkpoint_id: str, generation: int, length: int, channels: str) -> LastPut:
    """Return what a put stored, by the record's list of channels."""
    listed: dict[str, str] = {}
    pieces: set[str] = set()
    field = ""
    for text in channels.split():
        if text[0] == PIECE:
            pieces.add(text)
            listed[field] += " " + text
        elif text[0] not in VALUELESS:
            field = text.partition("@")[0]
            listed[field] = text
    return LastPut(checkpoint_id, generation, length, listed, pieces)
