"""Append and pop: values under keys that grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ....domain import Item
from ....domain.items import Namespace
from ...item_backend import Delete, Put
from ...operation import Operation
from ...validation import ms_of
from ..keys import decode_text
from ..requests import Call, Commands
from ..scripts import script
from .cluster import Entry, announce, reconcile, roll_back, unlist_above
from .keys import ItemKeys, clock_key
from .plan import SPARE, ItemSettings, Stored, plan_of, sequence_key
from .records import decode_item, last_put_us
from .vectors import erase_vectors
from .write import call, results_of

WINDOW: Final = 16
"""Values that others may be ahead of an append without a second attempt."""


def append(
    settings: ItemSettings, last: dict[Namespace, int], namespace: Namespace, puts: Sequence[Put]
) -> Operation[list[str]]:
    """Put values under the next keys of a namespace.

    Args:
        settings: of the repository.
        last: the number of the last key by namespace, as far as it is known here; a guess.
        namespace: where.
        puts: what.
    """
    keys = settings.keys(namespace)
    base = None if settings.is_split(namespace) else last.get(namespace)
    while True:
        if base is None:
            clock = keys.deletion if settings.is_split(namespace) else clock_key(settings.prefix)
            base = int((yield Call(script("items/begin"), [keys.sequence, keys.recency, clock], [])))
        number, reply = yield from _append(settings, keys, base, puts)
        if reply is None:
            base = number
            continue
        last[namespace] = number + len(puts)
        found = [sequence_key(number + position) for position in range(1, len(puts) + 1)]
        done = [
            Put(namespace, key, put.value, put.ttl, vectors=put.vectors) for key, put in zip(found, puts, strict=True)
        ]
        yield from results_of(settings, done, reply)
        return found


def _append(
    settings: ItemSettings, keys: ItemKeys, base: int, puts: Sequence[Put]
) -> Operation[tuple[int, Sequence[Any] | None]]:
    """Try once; return the number before the first value, and the replies.

    If others were too far ahead: the number of their last value, and ``None``.
    """
    announced = None
    if settings.is_split(keys.namespace):
        entries = [
            Entry(keys.namespace, sequence_key(base + position), ms_of(settings.life(put.ttl)))
            for position, put in enumerate(puts, 1)
        ]
        announced = yield from announce(settings, keys, entries)
    plan = plan_of(settings, puts, None if announced is None else announced.time)
    count = len(puts) + (0 if settings.is_split(keys.namespace) else WINDOW)
    documents = max(SPARE, *(len(put.vectors) for put in puts))
    reply = yield from plan.run(append=plan.declare(keys.namespace, base, count, documents))
    if reply[0] == b"append":
        if announced is not None:
            yield from roll_back(settings, keys, announced, sequence_key(int(reply[1])))
        return int(reply[1]), None
    if announced is not None:
        yield from reconcile(settings, keys, announced, [Stored(*stored) for stored in reply[2:]])
    return int(reply[1]), reply[2:]


def pop(settings: ItemSettings, namespace: Namespace) -> Operation[Item | None]:
    """Delete the last item and return it."""
    keys = settings.keys(namespace)
    while True:
        (last,) = yield Commands([["ZREVRANGE", keys.index, "0", str(WINDOW - 1)]])
        if not last:
            return None
        candidates = [decode_text(name, keys.index) for name in last]
        deletions = [Delete(namespace, key) for key in candidates]
        reply = yield from call(settings, deletions, 0 if settings.is_split(namespace) else None, pop=True)
        if reply[0] == b"pop":
            continue
        position, row, (_, left_over, updated) = int(reply[1]) - 1, reply[2], reply[3]
        key = candidates[position]
        if settings.is_split(namespace):
            yield from unlist_above(settings, keys, [(key, last_put_us(updated))])
        yield from erase_vectors(keys, key, left_over)
        return decode_item(keys, key, row)
