"""The keys under a prefix, page by page, and what each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Literal

from attrs import frozen

from ...domain import CorruptRecord
from ...repositories.operation import Operation
from ...repositories.valkey.cache import backend as cache
from ...repositories.valkey.checkpoints import backend as checkpoints
from ...repositories.valkey.items import backend as items
from ...repositories.valkey.keys import escape_glob
from ...repositories.valkey.logs import backend as logs
from ...repositories.valkey.requests import Arg, Ask
from .servers import Server

COUNT: Final = 1000
"""Keys that a server looks at for one page."""

Kind = Literal[
    "checkpoints", "values", "pending writes", "items", "vectors", "cache entries", "logs", "indexes", "other keys"
]
"""Kinds of records. ``other keys`` are under the prefix, and none of Statekeep's."""

KINDS: Final[Sequence[Kind]] = (
    "checkpoints",
    "values",
    "pending writes",
    "items",
    "vectors",
    "cache entries",
    "logs",
    "indexes",
    "other keys",
)

_KINDS: Final[Mapping[str, Kind]] = {
    "checkpoint": "checkpoints",
    "head": "checkpoints",  # a copy of the newest
    "channel-values": "values",
    "pending_write": "pending writes",
    "pending-values": "pending writes",  # copies
    "item": "items",
    "item-vector": "vectors",
    "cache_entry": "cache entries",
    "log": "logs",
}
"""What the names behind the prefix stand for; all others of Statekeep are indexes."""

_BACKENDS: Final = (
    checkpoints.ValkeyCheckpoints,
    items.ValkeyItems,
    cache.ValkeyCacheEntries,
    logs.ValkeyLogs,
)

TYPES: Final[Mapping[str, bytes]] = MappingProxyType(
    {name: kind for backend in _BACKENDS for name, kind in backend.types.items()}
)
"""The server's type of a key, by the name behind the prefix."""

FORMER: Final = frozenset({"item-recency", "item-expiry"})
"""Indexes of earlier versions, which nobody reads any more."""

_PLACES: Final = MappingProxyType({name: backend.place_of for backend in _BACKENDS for name in backend.types})

_OF_REDIS_OM: Final = frozenset({"index:hash", "index:schema"})
"""What its Migrator keeps beside records, under the prefix of a model."""


@frozen
class Key:
    """A key under the prefix.

    Attributes:
        name: its name as it is stored.
        rest: what stands behind the prefix and its colon, as text; empty if that is no text.
    """

    name: bytes
    rest: str

    @property
    def label(self) -> str:
        """The name behind the prefix, up to the next colon."""
        return self.rest.partition(":")[0]

    @property
    def is_of_cache(self) -> bool:
        """Whether it is a cache entry, or an index of some."""
        return self.label.startswith("cache_")

    @property
    def is_of_redis_om(self) -> bool:
        """Whether redis-om keeps it beside the records."""
        return self.rest.partition(":")[2] in _OF_REDIS_OM

    @property
    def kind(self) -> Kind:
        """The kind of record."""
        if self.label not in TYPES and self.label not in FORMER:
            return "other keys"
        return "indexes" if self.is_of_redis_om else _KINDS.get(self.label, "indexes")

    @property
    def place(self) -> Mapping[str, object]:
        """The place that it is about, as users name it; empty if it is about all."""
        find = _PLACES.get(self.label)
        with suppress(CorruptRecord):
            return find(self.rest) if find is not None else {}
        return {}


def key_of(prefix: str, name: bytes) -> Key | None:
    """Return a key by its name; ``None`` if it is not under the prefix.

    >>> key = key_of("statekeep", b"statekeep:item:{users.ada}:theme")
    >>> key.kind, key.place
    ('items', {'namespace': ('users', 'ada'), 'key': 'theme'})
    """
    start = f"{prefix}:".encode()
    if not name.startswith(start):
        return None
    try:
        return Key(name, name[len(start) :].decode())
    except UnicodeDecodeError:
        return Key(name, "")


def page(prefix: str, server: Server, cursor: Arg, *, only_ours: bool = True) -> Operation[tuple[bytes, list[bytes]]]:
    """Read a page of key names: one round trip.

    Args:
        prefix: of our keys.
        server: whose keys they are.
        cursor: where to go on; ``"0"`` at the beginning.
        only_ours: leave out names that are not under the prefix.

    Returns:
        Where the next page begins, ``b"0"`` behind the last; and the names. Some may come twice.
    """
    match = ["MATCH", f"{escape_glob(prefix)}:*"] if only_ours else []
    following, names = yield Ask(["SCAN", cursor, *match, "COUNT", str(COUNT)], near=server.near)
    return following, names
