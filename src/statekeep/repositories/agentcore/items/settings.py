"""Settings that all operations on the items of one memory share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from ...aws import AwsCall, AwsCalls
from ...operation import Operation
from ...records.local_cache import Recent
from ..lanes import ABREAST, Lanes

INLINE: Final = 65_536
"""Characters up to which a value is stored within its version."""

GRACE: Final = 3_600_000
"""Milliseconds for which compaction takes an event of an index for that of a put that is under way."""

TOKEN_LIFE: Final = 86_400_000
"""Milliseconds for which the service may remember a client token; a deletion stays for so long."""


@define
class Tokens:
    """Whether the memory honours client tokens; ``None`` as long as nobody asked."""

    honoured: bool | None = None


@frozen
class Settings:
    """Settings of a backend, and what it learnt.

    Attributes:
        lanes: of the memory.
        ttl: seconds that items live; ``None`` for ever.
        refresh_on_read: whether reading starts the TTL anew.
        renewal: milliseconds after which what is read is stored again.
        event_days: days that events live.
        is_hierarchical: whether memory records below a namespace are found in a search of it.
        recent: the labels that are known to be listed.
        tokens: whether client tokens are honoured.
        clock: returns the nanoseconds since 1970.
    """

    lanes: Lanes
    ttl: float | None
    refresh_on_read: bool
    renewal: int
    event_days: int
    is_hierarchical: bool = True
    recent: Recent = field(factory=Recent)
    tokens: Tokens = field(factory=Tokens)
    clock: Callable[[], int] = time.time_ns

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        return self.clock() // 1_000_000

    def end(self, ttl: float | None) -> int | None:
        """Return when an item ends that lives ``ttl`` seconds from now.

        It is in milliseconds since 1970, never too early, and less than 1 ms late.
        """
        return None if ttl is None else -(-(self.clock() + round(ttl * 1e9)) // 1_000_000)


def side_by_side(calls: Sequence[AwsCall]) -> Operation[list[Any]]:
    """Make calls, some at a time, and return their replies."""
    replies: list[Any] = []
    for start in range(0, len(calls), ABREAST):
        some = calls[start : start + ABREAST]
        if len(some) == 1:
            replies.append((yield some[0]))
        else:
            replies += yield AwsCalls(some)
    return replies
