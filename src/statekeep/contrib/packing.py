"""Bytes as values of items, which are JSON."""

from __future__ import annotations

import pybase64

from ..domain import CorruptRecord, Item
from ..domain.shown import shown


def packed(data: bytes | bytearray | memoryview) -> str:
    """Return a value that stands for bytes."""
    return pybase64.b64encode_as_string(data)


def unpacked(item: Item) -> bytes:
    """Return the bytes that the value of an item stands for.

    Raises:
        CorruptRecord: it stands for none.
    """
    try:
        return pybase64.b64decode(item.value, validate=True)
    except (TypeError, ValueError) as error:
        raise CorruptRecord(f"{shown(item.value)} stands for no bytes: {error}", key=item.key) from error
