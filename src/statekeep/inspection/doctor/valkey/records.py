"""A sample of keys: are they ours, and do records and indexes know each other?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from ....domain import CorruptRecord
from ....domain.shown import shown
from ....repositories.operation import Operation
from ....repositories.valkey.keys import decode_namespace, decode_part, encode_part, ordered
from ....repositories.valkey.requests import Arg, Commands, Reply
from ...valkey.keyspace import FORMER, TYPES, Key, key_of, page
from ...valkey.servers import Server
from ..finding import Finding, ok

MOST: Final = 500
"""Keys in the sample."""

PAGES: Final = 10
"""Pages of about a thousand keys that are looked through on all servers together."""

MEMBERS: Final = 10
"""Entries of an index in the sample that are looked up."""

RECORDS: Final = frozenset({"checkpoint", "pending_write", "item", "cache_entry", "log"})
"""The names behind the prefix of what is no index, no copy and no part."""

CLOCKS: Final = 60.0
"""Seconds that the server's clock may be apart from this machine's, where ends are compared."""


@frozen
class _Link:
    """A record, and the entry of an index that should know it.

    Attributes:
        record: its key.
        index: the index's key.
        member: the entry.
        ends: the index that says when the entry ends, and the entry there.
    """

    record: str
    index: str
    member: str
    ends: tuple[str, str]


def sample(prefix: str, servers: Sequence[Server]) -> Operation[list[Key]]:
    """Read some keys: a round trip for each thousand of a server's, ten at most.

    Args:
        prefix: of our keys.
        servers: where they are.
    """
    found: dict[bytes, Key] = {}
    cursors: dict[str, Arg] = {server.near: "0" for server in servers}
    for number in range(PAGES):
        if not cursors or len(found) >= MOST:
            break
        server = list(servers)[number % len(servers)]
        if server.near not in cursors:
            continue
        following, names = yield from page(prefix, server, cursors[server.near])
        for name in names[: MOST // len(servers) + 1]:
            key = key_of(prefix, name)
            if key is not None:
                found[name] = key
        if following == b"0":
            del cursors[server.near]
        else:
            cursors[server.near] = following
    return list(found.values())


def checked(prefix: str, servers: Sequence[Server]) -> Operation[list[Finding]]:
    """Look at a sample: about ten round trips, and two if something is odd.

    Args:
        prefix: of our keys.
        servers: where they are.
    """
    keys = yield from sample(prefix, servers)
    if not keys:
        return [
            ok("keys", f"No key begins with {prefix}: in a sample of the database."),
        ]
    replies: list[Reply] = yield Commands(
        [command for key in keys for command in (("TYPE", key.name), ("PTTL", key.name))]
    )
    types, ends = replies[::2], replies[1::2]
    findings = [_foreign(prefix, list(zip(keys, types, strict=True)))]
    if any(key.label in FORMER for key in keys):
        findings.append(
            Finding(
                name="former indexes",
                state="warning",
                found="There are indexes of items of an earlier version of Statekeep, which nobody reads.",
                advice="Run statekeep reindex for the namespaces of items, when all programs are updated.",
            )
        )
    if findings[0].state != "problem":  # keys of another type cannot be looked into
        findings.append((yield from _records_in_indexes(prefix, keys)))
        findings.append((yield from _indexes_of_records(prefix, keys)))
    records = [end for key, end in zip(keys, ends, strict=True) if key.label in RECORDS]
    findings += _lives(records)
    return findings


def _foreign(prefix: str, keys: Sequence[tuple[Key, bytes]]) -> Finding:
    unknown = [key for key, _ in keys if key.kind == "other keys"]
    wrong = [
        (key, kind)
        for key, kind in keys
        if key.label in TYPES and not key.is_of_redis_om and kind not in (TYPES[key.label], b"none")
    ]
    if wrong:
        key, kind = wrong[0]
        return Finding(
            name="keys",
            state="problem",
            found=f"{len(wrong)} of {len(keys)} keys of a sample hold another type of value than Statekeep puts "
            f"there, such as {_name(key)}, a {kind.decode(errors='replace')}.",
            advice="Find out which program writes there, and give it, or Statekeep, another prefix.",
        )
    if unknown:
        return Finding(
            name="keys",
            state="warning",
            found=f"{len(unknown)} of {len(keys)} keys of a sample begin with {prefix}: and are none of Statekeep's, "
            f"such as {_name(unknown[0])}.",
            advice="Give the other program, or Statekeep, another prefix.",
        )
    return ok("keys", f"All {len(keys)} keys of a sample are Statekeep's, and of the type that they should be.")


def _name(key: Key) -> str:
    return shown(key.name.decode(errors="backslashreplace"))


def _lives(ends: Sequence[int]) -> list[Finding]:
    if not ends:
        return []
    lasting = sum(end == -1 for end in ends)
    return [ok("lives", f"{lasting} of {len(ends)} records of a sample have no end.")]


# -- records without an index


def _links(prefix: str, keys: Sequence[Key]) -> Iterator[_Link]:
    for key in keys:
        try:
            link = _link(prefix, key)
        except CorruptRecord:
            continue  # the name is none that Statekeep makes
        if link is not None:
            yield link


def _link(prefix: str, key: Key) -> _Link | None:
    if key.is_of_redis_om:
        return None
    home, _, last = key.rest.partition(":")[2].rpartition(":")
    record = f"{prefix}:{key.rest}"
    match key.label:
        case "checkpoint":
            return _checkpoint(prefix, home, decode_part(last))
        case "item":
            return _item(prefix, home, decode_part(last))
        case "cache_entry":
            return _cache_entry(prefix, home, decode_part(last))
        case "log":
            ends = (f"{prefix}:log-index:{home}:end", ordered(decode_namespace(last)))
            return _Link(record, f"{prefix}:log-index:{home}:name", ends[1], ends)
    return None


def _checkpoint(prefix: str, home: str, member: str) -> _Link:
    record = f"{prefix}:checkpoint:{home}:{encode_part(member)}"
    return _Link(record, f"{prefix}:checkpoint-index:{home}", member, (f"{prefix}:expiry-index:{home}", f"c{member}"))


def _item(prefix: str, home: str, member: str) -> _Link:
    record = f"{prefix}:item:{home}:{encode_part(member)}"
    return _Link(record, f"{prefix}:item-index:{home}", member, (f"{prefix}:item-ends:{home}", member))


def _cache_entry(prefix: str, home: str, member: str) -> _Link:
    index = f"{prefix}:cache_entry-index:{home}"
    return _Link(f"{prefix}:cache_entry:{home}:{encode_part(member)}", index, member, (index, member))


_MAKERS: Final = {"checkpoint-index": _checkpoint, "item-index": _item, "cache_entry-index": _cache_entry}


def _records_in_indexes(prefix: str, keys: Sequence[Key]) -> Operation[Finding]:
    links = list(_links(prefix, keys))
    lacking = yield from _unknown(links)
    # Once more: what was deleted or ended meanwhile is in no index, and no record.
    lacking = yield from _unknown(lacking)
    if lacking:
        return Finding(
            name="records",
            state="warning",
            found=f"{len(lacking)} of {len(links)} records of a sample are in no index, so that listings leave them "
            f"out, such as {shown(lacking[0].record)}.",
            advice="Run statekeep reindex for their threads and namespaces.",
        )
    return ok("records", f"The indexes know all {len(links)} records of a sample.")


def _unknown(links: Sequence[_Link]) -> Operation[list[_Link]]:
    if not links:
        return []
    replies: list[Reply] = yield Commands(
        [command for link in links for command in (("ZSCORE", link.index, link.member), ("EXISTS", link.record))]
    )
    pairs = zip(links, replies[::2], replies[1::2], strict=True)
    return [link for link, score, is_there in pairs if score is None and is_there]


# -- indexes without records


def _indexes_of_records(prefix: str, keys: Sequence[Key]) -> Operation[Finding]:
    indexes = [key for key in keys if key.label in _MAKERS]
    if not indexes:
        return ok("indexes", "The sample has no index that names records.")
    replies: list[Reply] = yield Commands([("ZRANGE", key.name, "0", str(MEMBERS - 1)) for key in indexes])
    links = [
        _MAKERS[key.label](prefix, key.rest.partition(":")[2], member.decode(errors="replace"))
        for key, members in zip(indexes, replies, strict=True)
        for member in members
    ]
    lacking = yield from _gone(links)
    lacking = yield from _gone(lacking)
    if lacking:
        labels = Counter(link.index.removeprefix(f"{prefix}:").partition(":")[0] for link in lacking)
        kinds = ", ".join(f"{count} of {label}" for label, count in labels.most_common())
        return Finding(
            name="indexes",
            state="warning",
            found=f"{len(lacking)} of {len(links)} entries of indexes in a sample have no record, and did not end "
            f"({kinds}), such as {shown(lacking[0].record)}: it was evicted, or another program deleted it.",
            advice="Set maxmemory-policy to noeviction, and run statekeep reindex for their threads and namespaces.",
        )
    return ok("indexes", f"All {len(links)} entries of indexes in a sample have their records, or have ended.")


def _gone(links: Sequence[_Link]) -> Operation[list[_Link]]:
    """Return those whose record is gone without having ended."""
    if not links:
        return []
    commands: list[Sequence[Arg]] = []
    for link in links:
        commands += [("EXISTS", link.record), ("ZSCORE", link.index, link.member), ("ZSCORE", *link.ends)]
    replies: list[Reply] = yield Commands(commands)
    latest = (time.time() + CLOCKS) * 1000
    return [
        link
        for link, is_there, score, end in zip(links, replies[::3], replies[1::3], replies[2::3], strict=True)
        if not is_there and score is not None and (end is None or float(end) > latest)
    ]
