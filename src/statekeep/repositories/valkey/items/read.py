"""Reads of items' records."""

from __future__ import annotations

from collections.abc import Sequence

from ...operation import Operation
from ..chunks import Row, chunks
from ..requests import Arg, Call, Commands
from ..scripts import script
from .plan import ItemSettings
from .records import READ_FIELDS


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
    the client; but for one record a command is as good.
    """
    if not skipped and not records:
        return [], []
    if settings.cluster or len(skipped) + len(records) == 1:
        commands = [["EXISTS", record] for record in skipped] + [hmget(record) for record in records]
        replies = yield Commands(commands)
        return [bool(reply) for reply in replies[: len(skipped)]], replies[len(skipped) :]
    flat = yield Call(script("items/rows"), [*skipped, *records], [str(len(skipped))])
    rows = list(chunks(flat[len(skipped) :], len(READ_FIELDS)))
    return [bool(reply) for reply in flat[: len(skipped)]], rows
