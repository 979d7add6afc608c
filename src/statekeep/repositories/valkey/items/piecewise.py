"""Stand-ins for the reading scripts of items; see ``valkey/piecewise.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json

from ...operation import Operation
from ..chunks import chunks
from ..piecewise import Args, Keys, Piecewise, as_text, hmget_all, is_before, server_ms
from ..requests import Call, Commands, Reply
from ..scripts import script
from .namespaces import KEPT
from .records import READ_FIELDS, is_there
from .vectors import MOST_DIGITS


def _below(keys: Keys, args: Args) -> Operation[Reply]:
    names, times, *_ = keys
    low, high, _, most, *_ = args
    (listed,) = yield Commands([["ZRANGEBYLEX", names, low, high]])
    found: list[tuple[float, bytes, bytes]] = []
    for chunk in chunks(listed):
        scores = yield Call(script("read"), [times], ["ZMSCORE", *chunk], is_whole=True)
        found += [(float(score or "inf"), member, score or b"inf") for member, score in zip(chunk, scores, strict=True)]
    found.sort(key=lambda entry: -entry[0])
    return [[word for _, member, score in found[: int(most)] for word in (member, score)], 0]


def _live(keys: Keys, args: Args) -> Operation[Reply]:
    _, expiry, index, *_ = keys
    is_reverse, one, other, size = args
    command = "ZREVRANGEBYLEX" if is_reverse else "ZRANGEBYLEX"
    (listed,) = yield Commands([[command, index, one, other, "LIMIT", "0", size]])
    found: list[bytes] = []
    for chunk in chunks(listed):
        now = yield from server_ms(expiry)
        ends = yield Call(script("read"), [expiry], ["ZMSCORE", *chunk], is_whole=True)
        found += [key for key, end in zip(chunk, ends, strict=True) if not is_before(end, now)]
    return [len(listed), listed[-1] if listed else b"", *found]


def _by_time(keys: Keys, args: Args) -> Operation[Reply]:
    recency, _, index, *_ = keys
    is_reverse, after, up_to, size, prefix = map(as_text, args)
    command = "ZREVRANGE" if is_reverse else "ZRANGE"
    flat = yield Call(script("read"), [recency], [command, "0", "-1", "WITHSCORES"], is_whole=True)
    (count,) = yield Commands([["ZCARD", index]])
    times = [float(time) for time in flat[1::2]]
    found: list[bytes] = []
    reached = b""
    for key, text, time in zip(flat[::2], flat[1::2], times, strict=True):
        behind = not after or (time < float(after) if is_reverse else time > float(after))
        is_within = behind and not (up_to and (time < float(up_to) if is_reverse else time > float(up_to)))
        if not is_within or not key.startswith(prefix.encode()):
            continue
        if len(found) >= int(size) and text != reached:
            return [int(count > len(times)), _latest(flat, times), reached, found]
        found.append(key)
        reached = text
    return [int(count > len(times)), _latest(flat, times), b"", found]


def _latest(flat: Sequence[bytes], times: Sequence[float]) -> bytes:
    return flat[2 * times.index(max(times)) + 1] if times else b""


def _names(keys: Keys, args: Args) -> Operation[Reply]:
    low, high, most, _ = args
    now = yield from server_ms(keys[0])
    (listed,) = yield Commands([["ZRANGEBYLEX", keys[0], low, high, "LIMIT", "0", most]])
    return [now, *listed]


def _count(keys: Keys, args: Args) -> Operation[Reply]:
    (left,) = yield Commands([["ZCARD", keys[2]]])
    return [0, left]


def _apply(keys: Keys, args: Args) -> Operation[Reply] | None:
    if isinstance(args[0], str):
        return None  # a single put or deletion, which has no plan
    plan = from_json(args[0])
    is_reading = all(action["kind"] in ("get", "refresh", "list") for action in plan["actions"])
    return _read(keys, args, plan) if is_reading else None


def _read(keys: Keys, args: Args, plan: Mapping[str, Any]) -> Operation[Reply]:
    reply: list[Reply] = [b"done"]
    for number, action in enumerate(plan["actions"], 1):
        if action["kind"] == "list":
            space = plan["spaces"][action["space"] - 1]
            pairs, lacking = yield from _list(keys, args, space, action)
            if lacking:
                return [b"list", number, lacking]
            reply.append(pairs)
            continue
        (row,) = yield hmget_all([keys[action["record"] - 1]], READ_FIELDS)
        waits = (yield from _refresh_item(keys, args, plan, action, row)) if action["kind"] == "refresh" else 0
        if waits > 1:
            return [b"announce", action["space"], 0, waits]
        reply.append([row, waits])
    return reply


def _list(
    keys: Keys, args: Args, space: Mapping[str, Any], action: Mapping[str, Any]
) -> Operation[tuple[list[Reply], list[bytes]]]:
    """Return keys and rows of a listing, or the keys whose records are not declared."""
    first, count, is_reverse = space["first"] - 1, action["count"], action.get("reverse", False)
    recency, _, index = keys[first : first + 3]
    if "prefix" in action:
        order = ["1" if is_reverse else "", "", "", str(1 << 53), action["prefix"]]
        names = (yield from _by_time([recency, "", index], order))[3]
    else:
        at = action["bounds"] - 1
        command = "ZREVRANGEBYLEX" if is_reverse else "ZRANGEBYLEX"
        (names,) = yield Commands([[command, index, args[at], args[at + 1]]])
    pairs: list[Reply] = []
    lacking: list[bytes] = []
    for name in names:
        if len(pairs) // 2 + len(lacking) >= count:
            break
        record = space["records"].get(name.decode(errors="replace"))
        if record is None:
            lacking.append(name)
            continue
        (row,) = yield hmget_all([keys[record - 1]], READ_FIELDS)
        if is_there(row):
            pairs += [name, row]
    return pairs, lacking


def _refresh_item(
    keys: Keys, args: Args, plan: Mapping[str, Any], action: Mapping[str, Any], row: list[bytes | None]
) -> Operation[int]:
    """Do ``refresh`` of ``apply.lua``.

    Returns 1 if vectors have to be named first, and milliseconds if an item that lives so long has to be announced.
    """
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
    at = space["first"] - 1
    recency, expiry, index, state, sequence, *vectors = keys[at : at + (5 if collection is None else 7)]
    ms = math.ceil(life * 1000)
    ends = (yield from server_ms(expiry)) + ms
    if "names" in plan:
        # This is the namespace without labels, in the slot of the index of namespaces.
        at = plan["names"] - 1
        yield Commands([["ZADD", keys[at + 2], "XX", "GT", str(ends), args[space["name"] - 1]]])
    else:
        (most,) = yield Commands([["HGET", state, "most"]])
        if not any(_covers(told, ends) for told in (most, *space.get("announced", [])[1:2])):
            return ms
    # The index that has to know the end comes before the keys that live until then.
    yield Commands([["ZADD", expiry, "XX", "GT", str(ends), action["key"]]])
    yield Commands([["PEXPIRE", key, str(ms), "GT"] for key in (recency, expiry, index, sequence, *vectors)])
    yield Commands([["PEXPIRE", state, str(ms + KEPT), "GT"]])
    documents = keys[first + 1 : first + 1 + (min(int(count), action.get("documents", 0)) if is_ours else 0)]
    yield Commands([["PEXPIREAT", key, str(ends), "GT"] for key in documents])
    expires_at = repr(ends / 1000)
    if (yield Call(script("items/renew"), [keys[first]], [expires_at, str(ends)], is_whole=True)):
        row[5] = expires_at.encode()
    return 0


def _covers(most: bytes | int | None, ends: int) -> bool:
    try:
        told = float(-1 if most is None else most)
    except ValueError:
        return False
    return told == 0 or told >= ends


def _later(keys: Keys, args: Args) -> Operation[Reply]:
    """Leave it to a later reader to tidy up an index: it lost nothing here."""
    yield from ()
    return []


PIECEWISE: Final[Mapping[str, Piecewise]] = {
    "apply": _apply,
    "below": _below,
    "names": _names,
    "count": _count,
    "live": _live,
    "by_time": _by_time,
    "sweep": _later,
    "forget": _later,
    "adopt": _later,
}
"""The stand-ins by name of the script."""
