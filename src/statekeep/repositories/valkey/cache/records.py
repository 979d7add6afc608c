"""Records of cache entries: the HASHes that redis-om reads and writes too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from ....domain import CacheEntry, CorruptRecord, Payload
from ....domain.cache import CacheKey
from ....domain.model import LONGEST_ID
from ..codecs import belongs, decode_bytes, decode_time

READ_FIELDS: Final = ("item_key", "encoding", "value", "created_at", "expires_at", "pk")
"""The fields from which :func:`decode_entry` builds an entry."""

# Looked up once: Pydantic makes each look at a method of a model a slow one, and these are called in loops.
_entry, _payload = CacheEntry.trusted, Payload.trusted


@lru_cache(maxsize=64)
def _time(text: bytes) -> datetime:
    # Entries that were set together have the same times.
    return decode_time(text.decode())


def decode_entry(cache_key: CacheKey, record: str, row: Sequence[bytes | None]) -> CacheEntry | None:
    """Build an entry from its :data:`READ_FIELDS`; ``None`` if there is no record.

    Raises:
        CorruptRecord: a part is damaged or missing, or the record is that of another entry.
    """
    if row.count(None) == len(row):
        return None
    namespace, key = cache_key
    item_key, encoding, value, created_at, expires_at, pk = row
    try:
        if item_key is None or not encoding or value is None or created_at is None:
            raise ValueError("a field is missing")
        if len(encoding) > LONGEST_ID:
            raise ValueError("its encoding is too long")
        if item_key.decode() != key or not belongs(pk, record):
            raise ValueError("it is that of another entry")
        payload = _payload(encoding=encoding.decode(), data=decode_bytes(value, record))
        return _entry(
            namespace=namespace,
            key=key,
            payload=payload,
            created_at=_time(created_at),
            expires_at=_time(expires_at) if expires_at else None,
        )
    except ValueError as error:
        raise CorruptRecord(f"cache entry is damaged: {error}", key=record) from error
