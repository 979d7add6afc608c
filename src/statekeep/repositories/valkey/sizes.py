"""Sizes of keys: those in the server's memory, or lengths if nobody may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeVar

from ...domain import AccessDenied, Unsupported
from ..operation import Operation
from .requests import Arg

ResultT = TypeVar("ResultT")

Basis = Literal["memory", "lengths"]
"""As of :class:`~statekeep.ThreadMeasure`."""

AT_ONCE: Final = 1000
"""Commands in one request, so that no reply is large and no server is held up."""

ALL: Final = "0"
"""Members of a record that are looked at: it has few."""

MANY: Final = "100000"
"""Members of an index or a hash of values that are looked at; of a larger one the size is estimated by these."""


def usage(key: str, samples: str = ALL) -> Sequence[Arg]:
    """Return the command that asks what a key takes in memory; nothing if it is gone."""
    return ("MEMORY USAGE", key, "SAMPLES", samples)


def by_memory_or_lengths(measure: Callable[[Basis], Operation[ResultT]]) -> Operation[ResultT]:
    """Measure by memory, or by lengths if the user may not, or the server cannot.

    Args:
        measure: does it; its first request shows whether it may.
    """
    try:
        return (yield from measure("memory"))
    except (AccessDenied, Unsupported):
        # If it was not this command that is forbidden, the other way is forbidden, too.
        return (yield from measure("lengths"))
