"""Stand-ins for the reading scripts of checkpoints; see ``valkey/piecewise.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from ...operation import Operation
from ..piecewise import Args, Keys, Piecewise, as_text, hmget_all, is_before, server_ms
from ..requests import Arg, Commands, Reply
from .records import READ_FIELDS, WRITE_FIELDS

ATTEMPTS: Final = 5
"""Further reads of checkpoints whose values are missing, but were there just now."""

WITH_LINES: Final = 500
"""The bound of ``lines_of`` in the scripts."""


def _members(writes: str, encoded_id: str) -> list[Arg]:
    """Return the command that lists the pending writes of a checkpoint."""
    return ["ZRANGEBYLEX", writes, f"[{encoded_id}:", f"({encoded_id};"]


def _fields(channels: bytes | None) -> list[bytes]:
    """Return the fields of the values hash that a record's ``channels`` name."""
    return [token for token in (channels or b"").split() if token[:1] not in (b"!", b"?")]


def _lines(pending: str, expiry: str, members: Sequence[bytes]) -> Operation[tuple[bytes, Sequence[bytes]]]:
    """Read pending writes: lines for those that have one, else their members."""
    few = members[:WITH_LINES]
    if not few:
        return b"", []
    entries, ends = yield Commands([["HMGET", pending, *few], ["ZMSCORE", expiry, *(b"w" + name for name in few)]])
    now = (yield from server_ms(expiry)) if any(ends) else 0
    there = [
        (name, entry)
        for name, entry, end in zip(few, entries, ends, strict=True)
        if not entry or not is_before(end, now)
    ]
    lines = b"".join(name + entry for name, entry in there if entry)
    return lines, [name for name, entry in there if not entry] + list(members[WITH_LINES:])


def _records_at(keys: Keys, ids: Sequence[str]) -> Operation[list[Reply]]:
    """Read checkpoints of a namespace, with values and pending writes.

    Args:
        keys: values, writes, expiry, pending, a record for each checkpoint.
        ids: of the checkpoints, encoded; empty for what the record itself says.
    """
    values, writes, expiry, pending, *records = keys
    rows = yield hmget_all(records, READ_FIELDS)
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
        before, rows = rows, (yield hmget_all(records, READ_FIELDS))
        if rows == before:
            break
        attempt += 1
    lines, bare = yield from _lines(pending, expiry, list(chain.from_iterable(replies)))
    return [rows, stored, lines, bare]


def _get(keys: Keys, args: Args) -> Operation[Reply]:
    values, checkpoints, writes, expiry, pending, record = keys
    [row], *others = yield from _records_at([values, writes, expiry, pending, record], [as_text(args[0])])
    if row[0] is None:
        there, count = yield Commands([["EXISTS", record], ["ZCARD", checkpoints]])
        if not there:
            return count
    return [row, *others]


def _records(keys: Keys, args: Args) -> Operation[Reply]:
    reply = []
    while args:
        count = int(args[0])
        reply.append((yield from _records_at(keys[: count + 4], [as_text(name) for name in args[1 : count + 1]])))
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
    rows = yield hmget_all(records, WRITE_FIELDS)
    stored = (yield Commands([["HMGET", values, *args]]))[0] if args else []
    return [list(chain.from_iterable(rows)), stored]


def _some_fields(keys: Keys, args: Args) -> Operation[Reply]:
    return list(chain.from_iterable((yield hmget_all(keys, args))))


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
    channels, ids = [as_text(name).encode() for name in args[1 : count + 1]], args[count + 1 :]
    rows = yield hmget_all(records, ("checkpoint_id", "parent_id", "channels"))
    listed = yield Commands([_members(writes, as_text(name)) for name in ids])
    there = yield Commands([["EXISTS", record] for record in records])
    reply: list[Reply] = []
    for (own_id, parent_id, text), members, exists in zip(rows, listed, there, strict=True):
        if not exists and own_id is None and text is None:
            reply.append(0)
            continue
        stored: dict[bytes, bytes] = {}
        name = b""
        for token in _fields(text):
            if token[:1] == b"=":  # a piece of the one before
                stored[name] += b" " + token
            else:
                name = token.partition(b":")[0]
                stored[name] = token
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
    entries = [f"c{as_text(checkpoint_id)}".encode(), *(b"v" + name for name in _fields(channels))]
    entries += [f"w{as_text(name)}".encode() for name in members]
    now = yield from server_ms(expiry)
    ends = now + int(ttl)
    # Keys that others need come first: none ends before those that need it.
    yield Commands([["ZADD", expiry, "XX", "GT", *(arg for entry in entries for arg in (str(ends).encode(), entry))]])
    yield Commands([["PEXPIRE", key, ttl, "GT"] for key in shared])
    yield Commands([["PEXPIRE", key, ttl, "GT"] for key in [*([head] if newest == own_id else []), *keys[8:], record]])
    if not run_id:
        return b""
    (run_ends,) = yield Commands([["ZSCORE", expiry, b"r" + run_id]])
    if not is_before(run_ends, ends):
        return b""
    yield Commands([["ZADD", expiry, str(now + int(ttl) * 5 // 4 + 1), b"r" + run_id]])
    return run_id


PIECEWISE: Final[Mapping[str, Piecewise]] = {
    "get": _get,
    "records": _records,
    "page": _page,
    "ids": _ids,
    "writes": _writes,
    "fields": _some_fields,
    "lineage": _lineage,
    "steps": _steps,
    "refresh": _refresh,
}
"""The stand-ins by name of the script."""
