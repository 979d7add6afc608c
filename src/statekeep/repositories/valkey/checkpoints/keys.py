"""Key names of checkpoints and pending writes.

``docs/key-schema.md`` describes them for people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from ....domain.model import SHORT
from ..keys import decode_part, encode_part


@frozen(eq=False)
class NamespaceKeys:
    """The keys of one namespace of a thread.

    Equal to itself alone, so cheap in a dict.
    """

    prefix: str
    thread_id: str
    namespace: str
    encoded: str = field(init=False)
    head: str = field(init=False)
    values: str = field(init=False)
    checkpoints: str = field(init=False)
    writes: str = field(init=False)
    expiry: str = field(init=False)
    namespaces: str = field(init=False)
    pending: str = field(init=False)
    is_short: bool = field(init=False)
    """Whether these keys may be remembered."""
    derived: tuple[str, ...] = field(init=False)
    """The seven keys that most scripts take first."""
    shared: tuple[str, ...] = field(init=False)
    """Those of them that are not about pending writes alone."""

    def __attrs_post_init__(self) -> None:
        encoded = f"{{{encode_part(self.thread_id)}}}:{encode_part(self.namespace)}"
        for name, value in (
            ("encoded", encoded),
            ("head", f"{self.prefix}:head:{encoded}"),
            ("values", f"{self.prefix}:channel-values:{encoded}"),
            ("checkpoints", f"{self.prefix}:checkpoint-index:{encoded}"),
            ("writes", f"{self.prefix}:pending_write-index:{encoded}"),
            ("expiry", f"{self.prefix}:expiry-index:{encoded}"),
            ("namespaces", thread_key(self.prefix, self.thread_id)),
            ("pending", f"{self.prefix}:pending-values:{encoded}"),
        ):
            object.__setattr__(self, name, value)
        shared = (self.head, self.values, self.checkpoints, self.expiry, self.namespaces)
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "derived", (*shared[:3], self.writes, *shared[3:], self.pending))
        object.__setattr__(self, "is_short", len(self.thread_id) + len(self.namespace) <= SHORT)

    def checkpoint_pk(self, checkpoint_id: str) -> str:
        """Return the primary key of a checkpoint record: ``{T}:NS:CID``."""
        return f"{self.encoded}:{encode_part(checkpoint_id)}"

    def checkpoint(self, checkpoint_id: str) -> str:
        """Return the key of a checkpoint record."""
        return f"{self.prefix}:checkpoint:{self.encoded}:{encode_part(checkpoint_id)}"

    def write(self, member: str) -> str:
        """Return the key of a pending write by its index member, ``CID:TASK:IDX:CHANNEL``."""
        return f"{self.prefix}:pending_write:{self.encoded}:{member.rpartition(':')[0]}"


def namespace_keys(prefix: str, thread_id: str, namespace: str) -> NamespaceKeys:
    """Return the keys of a namespace, from memory if its thread is in use."""
    make = _namespace_keys if len(thread_id) + len(namespace) <= SHORT else NamespaceKeys
    return make(prefix, thread_id, namespace)


_namespace_keys = lru_cache(maxsize=1024)(NamespaceKeys)


def thread_key(prefix: str, thread_id: str) -> str:
    """Return the key of the index of a thread's namespaces."""
    return f"{prefix}:namespace-index:{{{encode_part(thread_id)}}}"


def run_key(prefix: str, run_id: str) -> str:
    """Return the key of the set of threads in which a run put checkpoints."""
    return f"{prefix}:run-index:{encode_part(run_id)}"


@lru_cache(maxsize=16)
def thread_index_keys(prefix: str) -> tuple[str, str, str]:
    """Return the indexes of threads by last put, name and end; in one slot."""
    start = f"{prefix}:thread-index:{{threads}}"
    return f"{start}:time", f"{start}:name", f"{start}:end"


_PLACE: Final = re.compile(
    r"(?!(?:thread|metadata)-index:)[a-z_-]+:\{(?P<thread_id>[^{}]*)\}(:(?P<namespace>[^:]*))?(:(?P<checkpoint_id>[^:]*))?"
    r"|run-index:(?P<run_id>[^:{}]*)$"
)


def place_of(name: str) -> Mapping[str, object]:
    """Return what a key is about, by its name behind the prefix.

    >>> place_of("checkpoint:{chat-1}::7")
    {'thread_id': 'chat-1', 'namespace': '', 'checkpoint_id': '7'}
    """
    found = _PLACE.match(name)
    return (
        {}
        if found is None
        else {part: decode_part(text) for part, text in found.groupdict().items() if text is not None}
    )
