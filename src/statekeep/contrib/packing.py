"""Bytes as values of items."""

from __future__ import annotations

from typing import Final

from ..domain import CorruptRecord, Item, Payload
from ..domain.shown import shown

ENCODING: Final = "bytes"
"""The encoding of payloads whose bytes are somebody else's business."""


def packed(data: bytes | bytearray | memoryview) -> Payload:
    """Return a value that stands for bytes."""
    return Payload(encoding=ENCODING, data=bytes(data))


def unpacked(item: Item) -> bytes:
    """Return the bytes that the value of an item stands for.

    Raises:
        CorruptRecord: it stands for none.
    """
    if isinstance(item.value, Payload) and item.value.encoding == ENCODING:
        return item.value.data
    raise CorruptRecord(f"{shown(item.value)} stands for no bytes", key=item.key)
