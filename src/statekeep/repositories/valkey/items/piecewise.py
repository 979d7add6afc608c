"""Stand-ins for the reading scripts of items; see ``valkey/piecewise.py``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import from_json

from ...operation import Operation
from ..piecewise import Args, Keys, Piecewise, hmget_all, server_ms
from ..requests import Arg, Call, Commands, Reply
from ..scripts import script
from .records import READ_FIELDS
from .vectors import MOST_DIGITS

GRACE: Final = 60_000
"""Milliseconds, as in the scripts of items."""


def _recent(keys: Keys, args: Args) -> Operation[Reply]:
    # A script with one key goes where its key is. The command alone would be answered by each driver in another form.
    command = ["ZREVRANGEBYSCORE", args[0], "-inf", "WITHSCORES", "LIMIT", "0", args[1]]
    return (yield Call(script("read"), keys[:1], command, is_whole=True))


def _extend_expiry(recency: str, expiry: str, members: Iterable[tuple[Arg, int]]) -> Operation[None]:
    """Extend the life of items in the indexes of a namespace.

    They live to so many milliseconds from now.
    """
    now = yield from server_ms(expiry)
    for member, life in members:
        # The index that has to know the end comes before the keys that live until then.
        yield Commands([["ZADD", expiry, "XX", "GT", str(now + life), member]])
        yield Commands([["PEXPIRE", key, str(life), "GT"] for key in (recency, expiry)])


def _extend_expiry_above(keys: Keys, args: Args) -> Operation[Reply]:
    recency, expiry, *names = keys
    name, *members = args
    lives = [int(life) + GRACE for life in members[1::2]]
    yield from _extend_expiry(recency, expiry, zip(members[::2], lives, strict=True))
    if names:
        now = yield from server_ms(expiry)
        yield Commands([["ZADD", names[2], "XX", "GT", str(now + max(lives)), name]])
    return 1


def _apply(keys: Keys, args: Args) -> Operation[Reply] | None:
    plan = from_json(args[0])
    is_reading = all(action["kind"] in ("get", "refresh") for action in plan["actions"])
    return _read(keys, args, plan) if is_reading else None


def _read(keys: Keys, args: Args, plan: Mapping[str, Any]) -> Operation[Reply]:
    reply: list[Reply] = [b"done"]
    for action in plan["actions"]:
        (row,) = yield hmget_all([keys[action["record"] - 1]], READ_FIELDS)
        waits = (yield from _refresh_item(keys, args, plan, action, row)) if action["kind"] == "refresh" else 0
        reply.append([row, waits])
    return reply


def _refresh_item(
    keys: Keys, args: Args, plan: Mapping[str, Any], action: Mapping[str, Any], row: list[bytes | None]
) -> Operation[int]:
    """Do ``refresh`` of ``apply.lua``; a cluster's plan links the namespace alone."""
    try:
        life = float(row[6] or 0)
    except ValueError:
        return 0
    if not 0 < life <= 10_000_000_000:
        return 0
    first, collection = action["record"] - 1, plan.get("collection")
    name, _, count = (row[7] or b"").decode(errors="replace").rpartition(":")
    is_ours = name == collection and count.isdecimal() and len(count) <= MOST_DIGITS
    if row[7] and not plan.get("despite") and not (is_ours and int(count) <= action.get("documents", 0)):
        return 1
    space = plan["spaces"][action["space"] - 1]
    link = space["chain"][0] - 1
    recency, expiry, *shared = keys[link : link + (3 if collection is None else 4)]
    shared.append(keys[space["sequence"] - 1])
    ms = math.ceil(life * 1000)
    member = keys[first].partition("}")[2]
    yield from _extend_expiry(recency, expiry, [(member, ms)])
    ends = (yield from server_ms(expiry)) + ms
    if "names" in plan:
        yield Commands([["ZADD", keys[plan["names"] + 1], "XX", "GT", str(ends), args[space["name"] - 1]]])
    yield Commands([["PEXPIRE", key, str(ms), "GT"] for key in shared])
    documents = keys[first + 1 : first + 1 + (min(int(count), action.get("documents", 0)) if is_ours else 0)]
    yield Commands([["PEXPIREAT", key, str(ends), "GT"] for key in documents])
    expires_at = repr(ends / 1000)
    if (yield Call(script("items/renew"), [keys[first]], [expires_at, str(ends)], is_whole=True)):
        row[5] = expires_at.encode()
    return 0


def _later(keys: Keys, args: Args) -> Operation[Reply]:
    """Leave it to a later reader to tidy up an index."""
    yield from ()
    return 1


PIECEWISE: Final[Mapping[str, Piecewise]] = {
    "apply": _apply,
    "extend_expiry": _extend_expiry_above,
    "recent": _recent,
    "sweep": _later,
    "unlist": _later,
    "forget": _later,
}
"""The stand-ins by name of the script."""
