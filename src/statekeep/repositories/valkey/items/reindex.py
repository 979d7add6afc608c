"""Rebuilding of all that is derived from a namespace's records."""

from __future__ import annotations

from ....domain.items import Namespace
from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_part, decode_text, escape_glob, is_part
from ..requests import Arg, Call, Commands, Scan
from ..scripts import script
from .keys import ItemKeys
from .leases import SECONDS, Announcement, announce
from .plan import ItemSettings
from .read import adopt, sweep
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
    # On one server what is put next tells the index itself, and must not count as put after the lease.
    seconds = SECONDS if settings.is_split(namespace) else 0.0
    if found:
        # Before its own indexes, so that it is missing in none. Of when all of it ends nothing is known.
        yield from announce(settings, [Announcement(keys, [0])], seconds)
    for chunk in chunks(found):
        count += yield from adopt(settings, keys, chunk)
    for chunk in chunks((yield from _all(keys.index))):
        yield from sweep(settings, keys, chunk)
    newest = yield Call(script("read"), [keys.recency], ["ZREVRANGE", "0", "0", "WITHSCORES"])
    if newest:
        # The index says that nothing was put later, also if the server's clock was set back since.
        least = int(float(newest[1]))
        yield from announce(settings, [Announcement(keys, [0], least)], seconds)
    if keys.former:
        yield Commands([["UNLINK", key] for key in keys.former])
    if settings.index is not None:
        yield from _drop_vectors(keys, settings.index.collection_name)
    return count


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
