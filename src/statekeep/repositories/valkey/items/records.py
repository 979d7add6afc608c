"""Records of items: the HASHes that redis-om reads and writes too."""

from __future__ import annotations

import datetime as dt
from typing import Final

from ....domain import CorruptRecord, Item, SearchItem
from ...records.json_text import stored_value
from ...validation import LONGEST_TTL
from ..chunks import Row
from ..codecs import belongs, decode_time, decode_value
from .keys import ItemKeys

READ_FIELDS: Final = ("item_key", "value", "created_at", "updated_at", "version", "expires_at", "ttl", "vectors", "pk")
"""The fields that are read of a record, in the order of ``FIELDS`` in ``common.lua``."""

VALUE: Final = READ_FIELDS.index("value")
STAMP: Final = READ_FIELDS.index("updated_at")
TTL: Final = READ_FIELDS.index("ttl")
VECTORS: Final = READ_FIELDS.index("vectors")

# Looked up once: Pydantic makes each look at a method of a model a slow one, and this is called in loops.
_item = Item.trusted


def is_there(row: Row) -> bool:
    """Return whether a row was read from a record at all."""
    return row.count(None) != len(row)


def decode_item(keys: ItemKeys, key: str, row: Row) -> Item | None:
    """Build an item from the :data:`READ_FIELDS` of its record.

    ``None`` if there is none.

    Raises:
        CorruptRecord: a part is damaged or missing, or the record is that of another key.
    """
    if not is_there(row):
        return None
    item_key, value, created_at, updated_at, version, expires_at, *_, pk = row
    try:
        if item_key is None or value is None or created_at is None or updated_at is None or version is None:
            raise ValueError("a field is missing")
        if item_key.decode() != key or not belongs(pk, keys.record(key)):
            raise ValueError("it is that of another item")
        if not version.isdigit() or (number := int(version)) < 1:
            raise ValueError("version is no positive integer")
        created = decode_time(created_at.decode())
        return _item(
            namespace=keys.namespace,
            key=key,
            value=decode_value(value, parse=stored_value),
            created_at=created,
            updated_at=created if updated_at == created_at else decode_time(updated_at.decode()),
            version=number,
            expires_at=decode_time(expires_at.decode()) if expires_at else None,
        )
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(f"item is damaged: {error}", key=keys.record(key)) from error


def search_item(item: Item, score: float | None) -> SearchItem:
    """Make an item a result of a search."""
    return SearchItem.trusted(**item.__dict__, score=score)


def moment_of(text: bytes | None) -> dt.datetime | None:
    """Decode a record's time; ``None`` for what is no time."""
    try:
        return decode_time((text or b"").decode())
    except ValueError:
        return None


def decoded_us(text: bytes) -> int:
    """Decode a record's time as microseconds since 1970; 0 for none."""
    return round(decode_time(text.decode()).timestamp() * 1_000_000) if text else 0


def last_put_us(updated_at: bytes | None) -> int:
    """Decode a time as :func:`decoded_us` does; 0 for what is no time."""
    try:
        return decoded_us(updated_at or b"")
    except ValueError:
        return 0


def seconds_of(keys: ItemKeys, key: str, ttl: bytes) -> float:
    """Decode the TTL of a record, in seconds.

    Raises:
        CorruptRecord: it is no number.
    """
    try:
        seconds = float(ttl)
        if not 0 < seconds <= LONGEST_TTL:
            raise ValueError(f"{seconds} is out of range")
    except ValueError as error:
        raise CorruptRecord(f"ttl is damaged: {error}", key=keys.record(key)) from error
    return seconds
