"""Stand-ins for reading scripts, command by command.

While a slot of a cluster is on its way to another node, the server refuses a script if one of its keys is not there:
not there any more, or there never was such a key. A single command is sent on to the node that has its key, or would
have it. So these take more round trips, and what they read is not of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..operation import Operation
from .requests import Arg, Ask, Commands, Reply

Keys = Sequence[str]
Args = Sequence[Arg]

Piecewise = Callable[[Keys, Args], Operation[Reply] | None]
"""The stand-in for a script: answers keys and arguments, or ``None`` if it cannot."""


def as_text(arg: Arg) -> str:
    """Return an argument as text."""
    return arg if isinstance(arg, str) else arg.decode()


def hmget_all(records: Keys, fields: Iterable[Arg]) -> Commands:
    """Read fields of many records."""
    return Commands([["HMGET", record, *fields] for record in records])


def is_before(score: bytes | None, now: float) -> bool:
    """Return whether a score of an index is a time in the past."""
    return score is not None and float(score) < now


def server_us(near: str = "") -> Operation[int]:
    """Return the time of the server that has a key, or of any, in microseconds."""
    seconds, us = yield Ask(["TIME"], near)
    return int(seconds) * 1_000_000 + int(us)


def server_ms(near: str) -> Operation[int]:
    """As :func:`server_us`, in milliseconds."""
    return (yield from server_us(near)) // 1000
