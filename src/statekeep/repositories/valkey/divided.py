"""What reading scripts do, command by command.

While a slot of a cluster is on its way to another node, the server refuses a script if one of its keys is not there: not
there any more, or there never was such a key. A single command is sent on to the node that has its key, or would have it.
So these take more round trips, and what they read is not of one moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from pydantic_core import from_json

from ..operation import Operation, named
from .item_records import READ_FIELDS as FIELDS
from .item_vectors import MOST_DIGITS
from .records import READ_FIELDS, WRITE_FIELDS
from .requests import Arg, Ask, Call, Commands, Reply, Request, script

Keys = Sequence[str]
Args = Sequence[Arg]

ATTEMPTS: Final = 5
"""How often checkpoints are read again if values are missing that they had a moment ago."""

WITH_LINES: Final = 500
"""As ``lines_of`` of the scripts."""

APPLY: Final = ("items", "apply")

GRACE: Final = 60_000
"""As in the scripts of items."""


class Divided(Exception):
    """The keys of a call may be on two nodes. What its script does can be done command by command."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.script.name)
        self.call = call


def divisible(request: Request) -> Call | None:
    """Return a request that :func:`command_by_command` can answer; ``None`` if it is none."""
    if not isinstance(request, Call) or _place(request) not in HOW:
        return None
    return request if _place(request) != APPLY or _is_reading(request.args) else None


def command_by_command(call: Call) -> Operation[Reply]:
    """Answer a call as its script would. Errors are left to name the operation that this is a part of."""
    return named("", HOW[_place(call)](call.keys, call.args))


def _place(call: Call) -> tuple[str, str]:
    return call.script.folder, call.script.name


def _is_reading(args: Args) -> bool:
    return all(action["kind"] in ("get", "refresh") for action in from_json(args[0])["actions"])


def _text(arg: Arg) -> str:
    return arg if isinstance(arg, str) else arg.decode()


def _members(writes: str, encoded_id: str) -> list[Arg]:
    """The command that lists the pending writes of a checkpoint."""
    return ["ZRANGEBYLEX", writes, f"[{encoded_id}:", f"({encoded_id};"]


def _rows(records: Keys, fields: Iterable[Arg]) -> Commands:
    return Commands([["HMGET", record, *fields] for record in records])


def _fields(channels: bytes | None) -> list[bytes]:
    """The fields of the values hash that the ``channels`` of a record name."""
    return [token for token in (channels or b"").split() if token[:1] not in (b"!", b"?")]


def _is_before(score: bytes | None, now: float) -> bool:
    return score is not None and float(score) < now


def _now(near: str) -> Operation[int]:
    """The time of the server that has a key, in milliseconds."""
    seconds, us = yield Ask(["TIME"], near)
    return int(seconds) * 1000 + int(us) // 1000


# -- checkpoints


def _lines(pending: str, expiry: str, members: Sequence[bytes]) -> Operation[tuple[bytes, Sequence[bytes]]]:
    """Pending writes by their index members: lines for those that have one, the others by their members."""
    few = members[:WITH_LINES]
    if not few:
        return b"", []
    entries, ends = yield Commands([["HMGET", pending, *few], ["ZMSCORE", expiry, *(b"w" + name for name in few)]])
    now = (yield from _now(expiry)) if any(ends) else 0
    there = [
        (name, entry)
        for name, entry, end in zip(few, entries, ends, strict=True)
        if not entry or not _is_before(end, now)
    ]
    lines = b"".join(name + entry for name, entry in there if entry)
    return lines, [name for name, entry in there if not entry] + list(members[WITH_LINES:])


def _records_at(keys: Keys, ids: Sequence[str]) -> Operation[list[Reply]]:
    """Checkpoints of a namespace, with values and pending writes.

    Args:
        keys: values, writes, expiry, pending, a record for each checkpoint.
        ids: of the checkpoints, encoded; empty for what the record itself says.
    """
    values, writes, expiry, pending, *records = keys
    rows = yield _rows(records, READ_FIELDS)
    attempt = 1
    while True:
        fields = list(dict.fromkeys(chain.from_iterable(_fields(row[6]) for row in rows)))
        names = [
            name or (row[7] or b"").decode(errors="replace").rpartition(":")[2]
            for name, row in zip(ids, rows, strict=True)
        ]
        commands = [_members(writes, name) for name in names]
        if fields:
            commands.append(["HMGET", values, *fields])
        replies = yield Commands(commands)
        stored = replies.pop() if fields else []
        if None not in stored or attempt == ATTEMPTS:
            break
        # Somebody may have deleted them with their checkpoints.
        before, rows = rows, (yield _rows(records, READ_FIELDS))
        if rows == before:
            break
        attempt += 1
    lines, bare = yield from _lines(pending, expiry, list(chain.from_iterable(replies)))
    return [rows, stored, lines, bare]


def _get(keys: Keys, args: Args) -> Operation[Reply]:
    values, checkpoints, writes, expiry, pending, record = keys
    [row], *others = yield from _records_at([values, writes, expiry, pending, record], [_text(args[0])])
    if row[0] is None:
        there, count = yield Commands([["EXISTS", record], ["ZCARD", checkpoints]])
        if not there:
            return count
    return [row, *others]


def _records(keys: Keys, args: Args) -> Operation[Reply]:
    reply = []
    while args:
        count = int(args[0])
        reply.append((yield from _records_at(keys[: count + 4], [_text(name) for name in args[1 : count + 1]])))
        keys, args = keys[count + 4 :], args[count + 1 :]
    return reply


def _page(keys: Keys, args: Args) -> Operation[Reply]:
    # The records that are expected are read by those who ask.
    count, top, *expected = args
    commands: list[list[Arg]] = [["ZREVRANGEBYLEX", keys[0], top, "-", "LIMIT", "0", count]]
    commands += [["ZRANGE", key, "0", "-1"] for key in keys[5 + len(expected) :]]
    ids, *namespaces = yield Commands(commands)
    return [ids, *(namespaces or [[]]), []]


def _ids(keys: Keys, args: Args) -> Operation[Reply]:
    count, *tops = args
    return (
        yield Commands(
            [["ZREVRANGEBYLEX", key, top, "-", "LIMIT", "0", count] for key, top in zip(keys, tops, strict=True)]
        )
    )


def _writes(keys: Keys, args: Args) -> Operation[Reply]:
    values, *records = keys
    rows = yield _rows(records, WRITE_FIELDS)
    stored = (yield Commands([["HMGET", values, *args]]))[0] if args else []
    return [list(chain.from_iterable(rows)), stored]


def _some_fields(keys: Keys, args: Args) -> Operation[Reply]:
    return list(chain.from_iterable((yield _rows(keys, args))))


def _lineage(keys: Keys, args: Args) -> Operation[Reply]:
    checkpoints, record = keys
    row, there, count = yield Commands(
        [["HMGET", record, "checkpoint_id", "parent_id"], ["EXISTS", record], ["ZCARD", checkpoints]]
    )
    if not there:
        return count
    (smaller,) = yield Commands([["ZREVRANGEBYLEX", checkpoints, b"(" + (row[0] or b""), "-", "LIMIT", "0", args[0]]])
    return [row, smaller]


def _steps(keys: Keys, args: Args) -> Operation[Reply]:
    writes, _, *records = keys
    count = int(args[0])
    channels, ids = [_text(name).encode() for name in args[1 : count + 1]], args[count + 1 :]
    rows = yield _rows(records, ("checkpoint_id", "parent_id", "channels"))
    listed = yield Commands([_members(writes, _text(name)) for name in ids])
    there = yield Commands([["EXISTS", record] for record in records])
    reply: list[Reply] = []
    for (own_id, parent_id, text), members, exists in zip(rows, listed, there, strict=True):
        if not exists and own_id is None and text is None:
            reply.append(0)
            continue
        stored = {token.partition(b":")[0]: token for token in _fields(text)}
        wanted = [member for member in members if member.rpartition(b":")[2] in channels]
        is_whole = text is not None and text[-1:] in (b"", b" ")
        reply += [own_id or b"", parent_id or b"", int(is_whole)]
        reply += [stored.get(name, b"") for name in channels]
        reply += [len(wanted), *wanted]
    return reply


def _refresh(keys: Keys, args: Args) -> Operation[Reply]:
    head, *shared = keys[:7]
    expiry, record = keys[4], keys[7]
    checkpoint_id, ttl, *members = args
    row, newest = yield Commands(
        [["HMGET", record, "checkpoint_id", "channels", "run_id"], ["HGET", head, "checkpoint_id"]]
    )
    own_id, channels, run_id = row
    if own_id is None:
        return b""
    entries = [f"c{_text(checkpoint_id)}".encode(), *(b"v" + name for name in _fields(channels))]
    entries += [f"w{_text(name)}".encode() for name in members]
    now = yield from _now(expiry)
    ends = now + int(ttl)
    # What others need to live as long comes first: none ends before what it is for.
    yield Commands([["ZADD", expiry, "XX", "GT", *(arg for entry in entries for arg in (str(ends).encode(), entry))]])
    yield Commands([["PEXPIRE", key, ttl, "GT"] for key in shared])
    yield Commands([["PEXPIRE", key, ttl, "GT"] for key in [*([head] if newest == own_id else []), *keys[8:], record]])
    if not run_id:
        return b""
    (run_ends,) = yield Commands([["ZSCORE", expiry, b"r" + run_id]])
    if not _is_before(run_ends, ends):
        return b""
    yield Commands([["ZADD", expiry, str(now + int(ttl) * 5 // 4 + 1), b"r" + run_id]])
    return run_id


# -- items


def _recent(keys: Keys, args: Args) -> Operation[Reply]:
    # A script with one key goes where its key is. The command alone would be answered by each driver in another form.
    command = ["ZREVRANGEBYSCORE", args[0], "-inf", "WITHSCORES", "LIMIT", "0", args[1]]
    return (yield Call(script("checkpoints/read"), keys[:1], command))


def _put_off(recency: str, expiry: str, members: Iterable[tuple[Arg, int]]) -> Operation[None]:
    """Put off the end of items in the indexes of a namespace, to so many milliseconds from now."""
    now = yield from _now(expiry)
    for member, life in members:
        # What has to know the end comes before what lives until then.
        yield Commands([["ZADD", expiry, "XX", "GT", str(now + life), member]])
        yield Commands([["PEXPIRE", key, str(life), "GT"] for key in (recency, expiry)])


def _put_off_above(keys: Keys, args: Args) -> Operation[Reply]:
    recency, expiry, *names = keys
    name, *members = args
    lives = [int(life) + GRACE for life in members[1::2]]
    yield from _put_off(recency, expiry, zip(members[::2], lives, strict=True))
    if names:
        now = yield from _now(expiry)
        yield Commands([["ZADD", names[2], "XX", "GT", str(now + max(lives)), name]])
    return 1


def _apply(keys: Keys, args: Args) -> Operation[Reply]:
    plan = from_json(args[0])
    reply: list[Reply] = [b"done"]
    for action in plan["actions"]:
        (row,) = yield _rows([keys[action["record"] - 1]], FIELDS)
        waits = (yield from _refresh_item(keys, args, plan, action, row)) if action["kind"] == "refresh" else 0
        reply.append([row, waits])
    return reply


def _refresh_item(
    keys: Keys, args: Args, plan: Mapping[str, Any], action: Mapping[str, Any], row: list[bytes | None]
) -> Operation[int]:
    """As ``refresh`` of ``apply.lua``; a cluster's plan has no other link than the namespace itself."""
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
    yield from _put_off(recency, expiry, [(member, ms)])
    ends = (yield from _now(expiry)) + ms
    if "names" in plan:
        yield Commands([["ZADD", keys[plan["names"] + 1], "XX", "GT", str(ends), args[space["name"] - 1]]])
    yield Commands([["PEXPIRE", key, str(ms), "GT"] for key in shared])
    documents = keys[first + 1 : first + 1 + (min(int(count), action.get("documents", 0)) if is_ours else 0)]
    yield Commands([["PEXPIREAT", key, str(ends), "GT"] for key in documents])
    expires_at = repr(ends / 1000)
    if (yield Call(script("items/renew"), [keys[first]], [expires_at, str(ends)])):
        row[5] = expires_at.encode()
    return 0


def _later(keys: Keys, args: Args) -> Operation[Reply]:
    """Leave it to a later reader to tidy up an index."""
    yield from ()
    return 1


HOW: Final[dict[tuple[str, str], Callable[[Keys, Args], Operation[Reply]]]] = {
    ("checkpoints", "get"): _get,
    ("checkpoints", "records"): _records,
    ("checkpoints", "page"): _page,
    ("checkpoints", "ids"): _ids,
    ("checkpoints", "writes"): _writes,
    ("checkpoints", "fields"): _some_fields,
    ("checkpoints", "lineage"): _lineage,
    ("checkpoints", "steps"): _steps,
    ("checkpoints", "refresh"): _refresh,
    APPLY: _apply,
    ("items", "put_off"): _put_off_above,
    ("items", "recent"): _recent,
    ("items", "sweep"): _later,
    ("items", "unlist"): _later,
    ("items", "forget"): _later,
}
"""By folder and name of the script."""
