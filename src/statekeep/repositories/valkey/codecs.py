"""Codecs of values in records: text only, as redis-om writes it.

Payloads of items and logs are an exception.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, Final

import pybase64

from ...domain import CorruptRecord, Payload
from ...domain.json_values import dumps, loads

encode_bytes: Final[Callable[[bytes], bytes]] = pybase64.b64encode
"""Encodes bytes for a record, as base64."""


def decode_bytes(text: bytes, key: str) -> bytes:
    """Undo :func:`encode_bytes`."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise CorruptRecord(f"not base64: {error}", key=key) from error


_ENCODING: Final = re.compile(rb"@([1-9][0-9]{0,5}):")


def encode_value(value: Any) -> str | bytes:
    """Encode a JSON value as its text, and a payload as bytes.

    No JSON begins as these do.

    >>> encode_value({"n": 1}), encode_value(Payload(encoding="raw", data=b"x"))
    ('{"n":1}', b'@3:rawx')
    """
    if isinstance(value, Payload):
        encoding = value.encoding.encode()
        return b"@%d:%b%b" % (len(encoding), encoding, value.data)
    return dumps(value)


def decode_value(data: bytes, start: int = 0, parse: Callable[[str], Any] = loads) -> Any:
    """Undo :func:`encode_value`.

    Args:
        data: has the value from ``start`` on.
        start: where it begins.
        parse: makes the value of a JSON text.

    Raises:
        ValueError: it is damaged.
        RecursionError: it is JSON that is nested too deep.
    """
    if data[start : start + 1] != b"@":
        return parse(data[start:].decode())
    found = _ENCODING.match(data, start)
    if found is None:
        raise ValueError("no length of an encoding")
    middle = found.end() + int(found[1])
    if middle > len(data):
        raise ValueError("it is cut off")
    return Payload(encoding=data[found.end() : middle].decode(), data=data[middle:])


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
