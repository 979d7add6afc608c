"""Records of vectors: which there are, and which are left over from values that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from ....domain import CorruptRecord
from ....domain.shown import shown
from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_part, encode_part
from ..requests import Call
from ..scripts import script
from .keys import ItemKeys

MOST_DIGITS: Final = 6
"""Of a number of vectors; one of more digits is damage."""


@frozen
class Document:
    """The record of a vector.

    Attributes:
        key: of its item.
        collection: that it is in.
        member: what stands for it in the index of the collection.
    """

    key: str
    collection: str
    member: str

    @property
    def ordinal(self) -> int:
        """Which of the vectors of its item it is."""
        return int(self.member.rpartition(":")[2])


def vectors_of(keys: ItemKeys, key: str, text: bytes | None) -> list[Document]:
    """The records of vectors that an item's record names in ``vectors``.

    Raises:
        CorruptRecord: it names none.
    """
    found = []
    for token in (text or b"").split():
        collection, _, count = token.decode(errors="replace").rpartition(":")
        if not collection or not count.isdecimal() or len(count) > MOST_DIGITS:
            raise CorruptRecord(f"vectors is damaged: {shown(token)}", key=keys.record(key))
        found += [
            Document(key, decode_part(collection), f"{encode_part(key)}:{ordinal}") for ordinal in range(int(count))
        ]
    return found


def document(keys: ItemKeys, collection: str, member: str) -> Document:
    """The record of the vector that a member of its collection's index stands for.

    Raises:
        CorruptRecord: it stands for none.
    """
    key, _, ordinal = member.rpartition(":")
    try:
        if not ordinal.isascii() or not ordinal.isdecimal() or len(ordinal) > MOST_DIGITS:
            raise CorruptRecord(f"this stands for no vector: {shown(member)}")
        return Document(decode_part(key), collection, member)
    except CorruptRecord as error:
        error.key = keys.vectors(collection)
        raise


def erase_vectors(keys: ItemKeys, key: str, text: bytes | None) -> Operation[None]:
    """Remove vectors that a former value left, unless they are those of the present one."""
    try:
        documents = vectors_of(keys, key, text)
    except CorruptRecord:
        # The damaged record is gone or replaced. Its vectors are of no value that is there: searches remove them.
        return
    yield from erase_documents(keys, documents)


def erase_documents(keys: ItemKeys, documents: Sequence[Document]) -> Operation[None]:
    """Remove vectors of a namespace, unless they are those of the present values of their items."""
    for chunk in chunks(documents):
        names = [
            name
            for its in chunk
            for name in (keys.record(its.key), keys.vector(its.collection, its.member), keys.vectors(its.collection))
        ]
        yield Call(script("items/erase_vectors"), names, [its.member for its in chunk])
