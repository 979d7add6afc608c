"""Codecs of values in records: text only, as redis-om writes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

import pybase64

from ...domain import CorruptRecord

encode_bytes: Final[Callable[[bytes], bytes]] = pybase64.b64encode
"""Encodes bytes for a record, as base64."""


def decode_bytes(text: bytes, key: str) -> bytes:
    """Undo :func:`encode_bytes`."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise CorruptRecord(f"not base64: {error}", key=key) from error


def encode_time(moment: dt.datetime) -> str:
    """Encode a time as redis-om does, or as ISO 8601 where a float would be inexact."""
    text = repr(moment.timestamp())
    if 1970 <= moment.year < 2200:
        return text
    try:
        exact = dt.datetime.fromtimestamp(float(text), dt.UTC) == moment
    except (ValueError, OverflowError):
        exact = False
    return text if exact else moment.isoformat()


def decode_time(text: str) -> dt.datetime:
    """Undo :func:`encode_time`.

    Raises:
        ValueError: ``text`` is no time.
    """
    try:
        seconds = float(text)
    except ValueError:
        moment = dt.datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"not a time: {text}") from error


def belongs(pk: bytes | None, key: str) -> bool:
    """Return whether a record's primary key fits the key it was read from.

    If not, the answer is about something else, whatever brought it here.
    """
    return pk is not None and pk.startswith(b"{") and key.endswith(f":{pk.decode(errors='replace')}")
