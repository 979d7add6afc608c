"""Reading and writing logs: one script call each, of any number of values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from ....domain import ANY, DEFAULT, CorruptRecord, LogEntry, LogMeasure
from ....domain.items import Namespace
from ....domain.logs import LARGEST_POSITION, LogValue
from ....domain.model import Ttl
from ...logs import ExpectedPosition, LogRange, conflict
from ...operation import Operation
from ...validation import ms_of
from ..calls import new_call, once
from ..codecs import encode_value
from ..requests import Arg, Call, Commands, Reply
from ..scripts import script
from ..sizes import MANY, Basis, by_memory_or_lengths, usage
from .keys import LogKeys, log_keys
from .records import decode_entries, encode_entry

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

SAMPLE: Final = 100
"""Values whose lengths tell that of all, where memory may not be asked for."""

MOST: Final = 2**40
"""More values than a list can have. Lua writes greater numbers in a way that the server does not take."""


@frozen
class LogSettings:
    """The settings that the operations on logs share."""

    prefix: str
    ttl: float | None
    refresh_on_read: bool
    cluster: bool
    kept: int
    """Milliseconds in which a call is done that must not be done twice. The answer is kept for as many more."""

    def keys(self, log: Namespace) -> LogKeys:
        """Return the keys of a log."""
        return log_keys(self.prefix, log)


def _write(settings: LogSettings, name: str, keys: LogKeys, args: Sequence[Arg]) -> Operation[Sequence[Reply]]:
    """Run a script of which each call must be done once."""
    kept_under = f"{keys.call}{new_call()}"
    all_keys = [keys.values, keys.life, *keys.indexes, keys.clock, kept_under]

    def call(until: int) -> tuple[Call, str]:
        return Call(script(f"logs/{name}"), all_keys, [str(until), str(settings.kept), keys.member, *args]), kept_under

    return once(call, settings.kept)


def store(
    settings: LogSettings,
    log: Namespace,
    values: Sequence[LogValue],
    ttl: Ttl,
    *,
    replaces: bool = False,
    expected: ExpectedPosition = ANY,
) -> Operation[int]:
    """Store values behind all others, or in their place; return the new count."""
    keys = settings.keys(log)
    life = ms_of(settings.ttl if ttl is DEFAULT else ttl)
    wanted = "" if expected is ANY else str(expected or 0)
    args = [str(life), "1" if replaces else "0", wanted, *map(encode_value, values)]
    state, *rest = yield from _write(settings, "append", keys, args)
    if state == b"conflict":
        raise conflict(log, expected, int(rest[0]))
    if state == b"damaged":
        raise CorruptRecord("the last element of the log does not begin with a position and a space", key=keys.values)
    return int(rest[0])


def read(settings: LogSettings, query: LogRange) -> Operation[list[LogEntry]]:
    """Read values in one round trip."""
    keys = settings.keys(query.log)
    refreshes = settings.refresh_on_read if query.refresh is None else query.refresh
    names = [keys.values, keys.life, keys.indexes[1]] if refreshes else [keys.values]
    limit = "" if query.limit is None else str(min(query.limit, MOST))
    after = str(min(query.after, LARGEST_POSITION))
    reply = yield Call(script("logs/read"), names, [after, limit, "1" if query.is_last else "0", keys.member])
    return decode_entries(reply, keys.values)


def pop(settings: LogSettings, log: Namespace, n: int, first: bool) -> Operation[list[LogEntry]]:
    """Remove values at one end and return them."""
    keys = settings.keys(log)
    _, *reply = yield from _write(settings, "pop", keys, ["LPOP" if first else "RPOP", str(min(n, MOST))])
    return decode_entries(reply, keys.values)


def trim(settings: LogSettings, log: Namespace, keep: int) -> Operation[int]:
    """Remove all values but the last ones; return how many."""
    _, removed = yield from _write(settings, "trim", settings.keys(log), [str(min(keep, MOST))])
    return int(removed)


def restore(
    settings: LogSettings, log: Namespace, entries: Sequence[LogEntry], after: int, expires_at: dt.datetime | None
) -> Operation[None]:
    """Store values with their positions in the place of all behind one."""
    keys = settings.keys(log)
    ends = "" if expires_at is None else str((expires_at - EPOCH) // dt.timedelta(milliseconds=1))
    elements = [encode_entry(entry) for entry in entries]
    args: list[Arg] = [ends, str(after), str(entries[-1].position), *elements]
    (state,) = yield from _write(settings, "restore", keys, args)
    if state == b"damaged":
        raise CorruptRecord("an element of the log does not begin with a position and a space", key=keys.values)


def measure(settings: LogSettings, log: Namespace) -> Operation[LogMeasure]:
    """Count the values and their bytes."""
    return by_memory_or_lengths(lambda basis: _measure(settings.keys(log).values, basis))


def _measure(key: str, basis: Basis) -> Operation[LogMeasure]:
    if basis == "memory":
        count, size = yield Commands([["LLEN", key], usage(key, MANY)])
        return LogMeasure(count=count, bytes=size or 0, basis=basis)
    count, sample = yield Commands([["LLEN", key], ["LRANGE", key, "0", str(SAMPLE - 1)]])
    lengths = sum(len(element) for element in sample)
    return LogMeasure(count=count, bytes=lengths * count // len(sample) if sample else 0, basis=basis)


def count(settings: LogSettings, log: Namespace) -> Operation[int]:
    """Return the number of values."""
    (found,) = yield Commands([["LLEN", settings.keys(log).values]])
    return int(found)
