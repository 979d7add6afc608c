"""Rebuilding of all that is derived from a namespace's records."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ....domain import CorruptRecord
from ....domain.items import Namespace
from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_part, decode_text, escape_glob, is_part, ordered
from ..requests import Arg, Call, Commands, Scan
from ..scripts import script
from .keys import ItemKeys, namespace_index_keys
from .listing import sweep
from .plan import ItemSettings
from .records import decoded_us
from .vectors import document, erase_documents


def reindex(settings: ItemSettings, namespace: Namespace) -> Operation[int]:
    """Index all records of a namespace, and return how many it has.

    Entries without a record are dropped.
    """
    keys = settings.keys(namespace)
    start = keys.record("")
    listed = yield Scan(f"{escape_glob(start)}*")
    # Keys of others, in other encodings, are none of ours.
    ends = {name.decode(errors="replace").removeprefix(start) for name in listed}
    found = sorted(decode_part(end) for end in ends if is_part(end))
    count = 0
    for chunk in chunks(found):
        count += yield from _adopt(settings, keys, chunk)
    for chunk in chunks((yield from _all(keys.index))):
        yield from sweep(settings, keys, chunk)
    if settings.index is not None:
        yield from _drop_vectors(keys, settings.index.collection_name)
    return count


@frozen
class _Entry:
    """An item, as indexes know it."""

    key: str
    time: int
    end: int


def _adopt(settings: ItemSettings, keys: ItemKeys, found: Sequence[str]) -> Operation[int]:
    replies = yield Commands(
        [
            command
            for key in found
            for command in (["HGET", keys.record(key), "updated_at"], ["PEXPIRETIME", keys.record(key)])
        ]
    )
    entries = [
        _Entry(key, _time(keys, key, stamp), max(0, end))
        for key, stamp, end in zip(found, replies[::2], replies[1::2], strict=True)
        if end != -2
    ]
    # The outermost first, so that no item is missing in an index above.
    for link in reversed(keys.chain):
        above = namespace_index_keys(settings.prefix) if link.namespace == () else []
        own = [keys.index, *(keys.record(entry.key) for entry in entries)] if link is keys else []
        args = [
            str(arg)
            for entry in entries
            for arg in (entry.key, link.member(keys.namespace, entry.key), entry.time, entry.end)
        ]
        yield Call(
            script("items/adopt"),
            [link.recency, link.expiry, *above, *own],
            [ordered(keys.namespace), str(len(above)), "1" if own else "0", *args],
        )
    return len(entries)


def _time(keys: ItemKeys, key: str, stamp: bytes | None) -> int:
    try:
        return decoded_us(stamp or b"?")
    except ValueError as error:
        raise CorruptRecord(f"updated_at is damaged: {error}", key=keys.record(key)) from error


def _all(index: str) -> Operation[list[str]]:
    """Read all members of an index, a bounded number at a time."""
    found: list[str] = []
    start: Arg = "-"
    while True:
        (members,) = yield Commands([["ZRANGEBYLEX", index, start, "+", "LIMIT", "0", "1000"]])
        found += [decode_text(member, index) for member in members]
        if len(members) < 1000:
            return found
        start = b"(" + members[-1]


def _drop_vectors(keys: ItemKeys, collection: str) -> Operation[None]:
    """Remove vectors of items that are gone or were changed since."""
    members = yield from _all(keys.vectors(collection))
    yield from erase_documents(keys, [document(keys, collection, member) for member in members])
