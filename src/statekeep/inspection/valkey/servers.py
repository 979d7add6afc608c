"""The servers that keep the records: one alone, or the primaries of a cluster."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from itertools import count
from typing import Final

from attrs import field, frozen

from ...domain import AccessDenied, StatekeepError, Unsupported
from ...repositories.operation import Operation
from ...repositories.valkey.requests import Ask, Reply

SLOTS: Final = 16_384
"""Slots of a cluster."""

_MOST_TEXTS: Final = 1_000_000


@frozen
class Server:
    """A server that takes writes.

    Attributes:
        name: its address in a cluster; empty if it is alone.
        near: a text whose slot it has, by which a request finds it.
        slots: how many it has.
        replicas: how many it has, as the cluster says; ``None`` if it is alone.
    """

    name: str = ""
    near: str = field(default="", repr=False)
    slots: int = SLOTS
    replicas: int | None = None


def servers(cluster: bool) -> Operation[list[Server]]:
    """Return the servers; one round trip for a cluster, none for one server.

    Args:
        cluster: whether there may be several.
    """
    if not cluster:
        return [Server()]
    return primaries((yield Ask(["CLUSTER", "SLOTS"])))


def primaries(slots: Reply) -> list[Server]:
    """Return the primaries of a cluster, in the order of their slots.

    Args:
        slots: the reply to ``CLUSTER SLOTS``.

    Raises:
        StatekeepError: it is no such reply.

    Example:
        >>> [server] = primaries([[0, 16383, [b"10.0.0.1", 6379, b"e7d1"], [b"10.0.0.2", 6379, b"07c3"]]])
        >>> server
        Server(name='10.0.0.1:6379', slots=16384, replicas=1)
    """
    ranges: dict[bytes, list[tuple[int, int]]] = {}
    names: dict[bytes, str] = {}
    replicas: dict[bytes, set[bytes]] = {}
    try:
        for first, last, primary, *others in slots:
            host, port, node = primary[:3]
            ranges.setdefault(node, []).append((int(first), int(last)))
            names[node] = f"{(host or node).decode(errors='replace')}:{port}"
            replicas.setdefault(node, set()).update(other[2] for other in others)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise StatekeepError("the answer to CLUSTER SLOTS is not understood") from error
    return [
        Server(
            names[node],
            text_of_slot(found),
            sum(last - first + 1 for first, last in found),
            len(replicas[node]),
        )
        for node, found in sorted(ranges.items(), key=lambda pair: min(pair[1]))
    ]


def slot_of(text: str) -> int:
    """Return the slot of a text without a hash tag.

    >>> slot_of("123456789")
    12739
    """
    return crc_hqx(text.encode(), 0) % SLOTS


def text_of_slot(ranges: Sequence[tuple[int, int]]) -> str:
    """Return a text whose slot is in one of these ranges.

    Args:
        ranges: the first and the last slot of each.

    >>> 0 <= slot_of(text_of_slot([(0, 5)])) <= 5
    True
    """
    for number in count():
        text = str(number)
        slot = slot_of(text)
        if any(first <= slot <= last for first, last in ranges):
            return text
        if number > _MOST_TEXTS:
            raise StatekeepError("no text is in these slots of the cluster")
    raise AssertionError("count() has no end")


def is_silent(error: StatekeepError) -> bool:
    """Return whether an error means that the service does not say."""
    # What a managed service answers to a command that it does not offer is often an error of no particular kind.
    return isinstance(error, AccessDenied | Unsupported) or type(error) is StatekeepError
