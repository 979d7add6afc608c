"""Records of vectors, and the removal of those that former values left."""

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
"""Digits of a number of vectors at most; one of more is damage."""


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
        """The number of the vector among those of its item."""
        return int(self.member.rpartition(":")[2])


def is_zero(vector: bytes) -> bool:
    r"""Return whether all numbers of a vector are 0, or minus 0.

    >>> is_zero(bytes(8)), is_zero(b"\0\0\0\x80"), is_zero(b"\0\x80\0\0")
    (True, True, False)
    """
    return not vector.translate(None, b"\0\x80") and not any(vector[at::4].strip(b"\0") for at in range(3))


def vectors_of(keys: ItemKeys, key: str, text: bytes | None) -> list[Document]:
    """Return the records of vectors that an item's ``vectors`` names.

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
    """Return the record of a vector by its member of its collection's index.

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
    """Remove the vectors of a former value, unless the present one has them."""
    try:
        documents = vectors_of(keys, key, text)
    except CorruptRecord:
        # The damaged record is gone or replaced. Its vectors are of no value that is there: searches remove them.
        return
    yield from erase_documents(keys, documents)


def erase_documents(keys: ItemKeys, documents: Sequence[Document]) -> Operation[None]:
    """Remove vectors of a namespace, unless they are of their items' present values."""
    for chunk in chunks(documents):
        names = [
            name
            for its in chunk
            for name in (keys.record(its.key), keys.vector(its.collection, its.member), keys.vectors(its.collection))
        ]
        yield Call(script("items/erase_vectors"), names, [its.member for its in chunk])
