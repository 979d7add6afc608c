"""Repair of the indexes of a thread, and of the copy of its newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...operation import Operation
from ..chunks import CHUNK, chunks
from ..keys import decode_text
from ..losses import report
from ..requests import Call
from ..scripts import script
from .keys import NamespaceKeys


def _adopt(
    keys: NamespaceKeys, kind: str, index: str, members: Sequence[str], record: Callable[[str], str]
) -> Operation[int]:
    count = 0
    for chunk in chunks(members):
        shared = [index, keys.expiry, keys.namespaces, keys.pending]
        there, lost = yield Call(
            script("checkpoints/adopt"), [*shared, *map(record, chunk)], [kind, keys.namespace, *chunk]
        )
        count += there
        report("checkpoints" if kind == "c" else "pending writes", index, lost)
    return count


def adopt_checkpoints(keys: NamespaceKeys, ids: Sequence[str]) -> Operation[int]:
    """Index the checkpoints that have a record, forget the others; return the count."""
    return (yield from _adopt(keys, "c", keys.checkpoints, ids, keys.checkpoint))


def adopt_writes(keys: NamespaceKeys, members: Sequence[str]) -> Operation[int]:
    """Index the writes that have a record, forget the others; return the count."""
    return (yield from _adopt(keys, "w", keys.writes, members, keys.write))


def rebuild_head(keys: NamespaceKeys, *, replace: bool = False) -> Operation[str | None]:
    """Rebuild the copy of the newest checkpoint if it is gone; return its id.

    It is ``None`` if there is none. The index may name checkpoints that expired or were removed by others: they are
    dropped on the way.

    Args:
        keys: of the namespace.
        replace: make it anew even if there is one, which may be all that is left of an evicted record.
    """
    while True:
        [ids] = yield Call(script("checkpoints/ids"), [keys.checkpoints], [str(CHUNK), "+"])
        if not ids:
            yield Call(script("checkpoints/mark_empty"), keys.derived, [keys.namespace])
            return None
        names = [decode_text(name, keys.checkpoints) for name in ids]
        newest = names[0]
        answer = yield Call(
            script("checkpoints/rebuild_head"),
            [keys.head, keys.checkpoints, keys.checkpoint(newest)],
            [newest, "1"] if replace else [newest],
        )
        if answer == ids[0]:
            return newest
        yield from adopt_checkpoints(keys, names)
