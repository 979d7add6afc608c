"""Elements of logs: a position and a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from ....domain import CorruptRecord, LogEntry
from ....domain.logs import LARGEST_POSITION
from ..codecs import decode_value, encode_value

_POSITION: Final = re.compile(rb"([1-9][0-9]{0,15}) ")


def encode_entry(entry: LogEntry) -> bytes:
    """Return the element of a log for a value at its position."""
    value = encode_value(entry.value)
    return b"%d %b" % (entry.position, value if isinstance(value, bytes) else value.encode())


def decode_entries(reply: Sequence[Any], key: str) -> list[LogEntry]:
    """Decode the elements of a log.

    Args:
        reply: the key that was read, and its elements in their order.
        key: of the log.

    Raises:
        CorruptRecord: one of them is damaged, or not Statekeep's, or the answer is about another log.
    """
    log, elements = reply
    if log != key.encode():
        raise CorruptRecord("the answer is about another log, whatever brought it here", key=key)
    entries = [_decode(element, key) for element in elements]
    for one, next_one in pairwise(entries):
        if one.position >= next_one.position:
            raise CorruptRecord(f"position {next_one.position} comes after {one.position}", key=key)
    return entries


def _decode(element: bytes, key: str) -> LogEntry:
    found = _POSITION.match(element)
    position = int(found[1]) if found else 0
    if found is None or position > LARGEST_POSITION:
        raise CorruptRecord("an element of the log does not begin with a position and a space", key=key)
    try:
        value = decode_value(element, found.end())
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(f"the value at position {position} is damaged: {error}", key=key) from error
    return LogEntry.trusted(position=position, value=value)
