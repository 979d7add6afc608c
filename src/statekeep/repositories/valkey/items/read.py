"""Reads of items' records, and indexes that are mended by them."""

from __future__ import annotations

from collections.abc import Sequence

from ....domain import CorruptRecord
from ...operation import Operation
from ..chunks import CHUNK, Row, chunks
from ..keys import decode_text
from ..losses import report
from ..requests import Arg, Call, Commands
from ..scripts import script
from .keys import ItemKeys
from .plan import ItemSettings
from .records import READ_FIELDS, decoded_us


def hmget(key: str, fields: Sequence[str] = READ_FIELDS) -> list[Arg]:
    """Return the command that reads fields of a record."""
    return ["HMGET", key, *fields]


def read_rows(settings: ItemSettings, records: Sequence[str]) -> Operation[list[Row]]:
    """Read records of any namespaces, in one round trip for each 500."""
    rows: list[Row] = []
    for chunk in chunks(records):
        rows += (yield from look(settings, (), chunk))[1]
    return rows


def look(
    settings: ItemSettings, skipped: Sequence[str], records: Sequence[str]
) -> Operation[tuple[Sequence[bool], Sequence[Row]]]:
    """Ask which of some records exist, and read others: one round trip.

    In a cluster they are in many slots, so it is a pipeline. On one server a script reads them, which takes far less of
    the client; but for one record a command is as good, and the unit can be compared with commands at the same time.
    """
    if not skipped and not records:
        return [], []
    if settings.cluster or len(skipped) + len(records) == 1 or not settings.unit.is_certain:
        commands = [["EXISTS", record] for record in skipped] + [hmget(record) for record in records]
        replies = yield Commands(commands)
        return [bool(reply) for reply in replies[: len(skipped)]], replies[len(skipped) :]
    flat = yield Call(script("items/rows"), [*skipped, *records], [str(len(skipped))])
    rows = list(chunks(flat[len(skipped) :], len(READ_FIELDS)))
    return [bool(reply) for reply in flat[: len(skipped)]], rows


# -- indexes


def sweep(settings: ItemSettings, keys: ItemKeys, gone: Sequence[str]) -> Operation[None]:
    """Drop keys whose records are gone from the indexes of their namespace."""
    for chunk in chunks(gone):
        lost = yield Call(script("items/sweep"), [*settings.indexes(keys), *map(keys.record, chunk)], chunk)
        report("items", keys.index, lost)


def adopt(settings: ItemSettings, keys: ItemKeys, found: Sequence[str]) -> Operation[int]:
    """Enter items into the indexes of their namespace; return how many there are.

    An earlier version put them, or the server evicted an index.
    """
    stamps = yield Commands([["HGET", keys.record(key), "updated_at"] for key in found])
    there = [(key, stamp) for key, stamp in zip(found, stamps, strict=True) if stamp is not None]
    args: list[Arg] = [arg for key, stamp in there for arg in (key, stamp, str(_time(keys, key, stamp)))]
    for chunk in chunks(args, 3 * CHUNK):
        own = [keys.recency, keys.expiry, keys.index, keys.state]
        names = [keys.record(str(key)) for key in chunk[::3]]
        yield Call(script("items/adopt"), [*own, *names], chunk)
    return len(there)


def _time(keys: ItemKeys, key: str, stamp: bytes) -> int:
    try:
        return decoded_us(stamp)
    except ValueError as error:
        raise CorruptRecord(f"updated_at is damaged: {error}", key=keys.record(key)) from error


def complete(settings: ItemSettings, keys: ItemKeys) -> Operation[None]:
    """Enter all items of a namespace into the order of time, which lacks some of them."""
    start: Arg = "-"
    while True:
        (listed,) = yield Commands([["ZRANGEBYLEX", keys.index, start, "+", "LIMIT", "0", str(CHUNK)]])
        if not listed:
            return
        found = [decode_text(name, keys.index) for name in listed]
        count = yield from adopt(settings, keys, found)
        if count < len(found):
            yield from sweep(settings, keys, found)
        start = b"(" + listed[-1]
