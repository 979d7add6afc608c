"""Calls that are done once, although a client that lost an answer repeats them.

The script leaves its answer under a key of this very call, and returns it when it is called again. A call says until
when it may be done at all, and for how much longer the answer is kept; a script that comes later, from the queue of a
server that was halted, does nothing and says ``late``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...domain import StatekeepError, Unavailable
from ..operation import Operation
from ..validation import ms_of
from .client.factory import DEADLINE, Client
from .requests import Call, Commands, size_of_reply

MOST_KEPT: Final = 65_536
"""Bytes of an answer that the server keeps although it has come. To have it forget more takes a round trip."""


def kept_ms(client: Client) -> int:
    """Return for how many milliseconds a client's calls may be done.

    Their answers are kept for as long after that.
    """
    deadline: float = getattr(client, "deadline", DEADLINE)
    return ms_of(2 * deadline + 60)


def new_call() -> str:
    """Return a name for a call that no other has."""
    return secrets.token_hex(12)


def once(make: Callable[[int], tuple[Call, str]], kept: int) -> Operation[Sequence[Any]]:
    """Do a call that must not be done twice.

    It is made again if the server's clock is another than ours.

    Args:
        make: makes the call, of the time until which it may be done, in milliseconds since 1970, and the key of its
            answer; the empty text if none is kept, or it cannot be long.
        kept: milliseconds in which it may be done, and for which its answer is kept after that.

    Raises:
        Unavailable: so much time has passed that nobody knows whether it was done.
    """
    began, until = time.monotonic(), int(time.time() * 1000) + kept
    while True:
        call, kept_under = make(until)
        reply: Sequence[Any] = yield call
        if reply[0] != b"late":
            if kept_under and reply[0] == b"done" and size_of_reply(reply) > MOST_KEPT:
                yield from _forget(kept_under)
            return reply
        now = int(reply[1])
        # Had it been done, the answer would still be there.
        if time.monotonic() - began > kept / 1000 and now >= until + kept:
            raise Unavailable("the server did not answer for so long that nobody knows whether this was done")
        until = now + kept


def _forget(kept_under: str) -> Operation[None]:
    """Free the memory of an answer that has come. That there was one stays noted."""
    try:
        yield Commands([["SET", kept_under, "", "XX", "KEEPTTL"]])
    except StatekeepError:
        # What was asked for is done, and its answer is here. Without this the server keeps it for some minutes.
        return
