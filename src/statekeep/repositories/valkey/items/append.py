"""Append and pop: values under keys that grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ....domain import Item
from ....domain.items import Namespace
from ...item_backend import Delete, Put
from ...operation import Operation
from ..keys import decode_text
from ..requests import Call, Commands
from ..scripts import script
from .keys import ItemKeys
from .leases import Lease
from .plan import SPARE, ItemSettings, plan_of, sequence_key
from .records import decode_item
from .vectors import erase_vectors
from .write import call, leased, results_of

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
    base = last.get(namespace)
    leases = yield from leased(settings, puts)
    while True:
        if base is None:
            clock = [] if settings.is_split(namespace) else [*settings.index_keys[3:], settings.namespace_index[0]]
            floor = str(leases[namespace].floor) if namespace in leases else "0"
            args = [floor, settings.unit.text]
            base = int((yield Call(script("items/begin"), [keys.sequence, keys.state, *clock], args)))
        number, reply = yield from _append(settings, keys, base, puts, leases)
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
    settings: ItemSettings, keys: ItemKeys, base: int, puts: Sequence[Put], leases: Mapping[Namespace, Lease]
) -> Operation[tuple[int, Sequence[Any] | None]]:
    """Try once; return the number before the first value, and the replies.

    If others were too far ahead: the number of their last value, and ``None``.
    """
    plan = plan_of(settings, puts)
    documents = max(SPARE, *(len(put.vectors) for put in puts))
    more = plan.declare(keys.namespace, base, len(puts) + WINDOW, documents)
    reply = yield from plan.run(leases, append=more)
    return int(reply[1]), None if reply[0] == b"append" else reply[2:]


def pop(settings: ItemSettings, namespace: Namespace) -> Operation[Item | None]:
    """Delete the last item and return it."""
    keys = settings.keys(namespace)
    while True:
        (last,) = yield Commands([["ZREVRANGE", keys.index, "0", str(WINDOW - 1)]])
        if not last:
            return None
        candidates = [decode_text(name, keys.index) for name in last]
        deletions = [Delete(namespace, key) for key in candidates]
        reply = yield from call(settings, deletions, pop=True)
        if reply[0] == b"pop":
            continue
        position, row, (_, left_over) = int(reply[1]) - 1, reply[2], reply[3]
        key = candidates[position]
        yield from erase_vectors(keys, key, left_over)
        return decode_item(keys, key, row)
