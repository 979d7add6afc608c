"""Key names of cache entries. ``docs/key-schema.md`` describes them for people.

Entries are spread over a fixed number of shards, by namespace and key. ``{S}``, the number of the shard, is a literal
hash tag. So the entries of one namespace are spread over a cluster, and yet each is in one slot with the index that
knows it: both are written, and both are deleted, by one script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from ....domain import CorruptRecord
from ....domain.cache import CacheKey
from ....domain.items import Namespace
from ....domain.model import SHORT
from ..keys import SHARDS, decode_namespace, decode_part, encode_namespace, encode_part, shard_of


@frozen(cache_hash=True)
class IndexKeys:
    """The keys of the part of a namespace that lies in one shard.

    Attributes:
        name: the namespace as text, ``N1.N2``.
        index: when each of its entries ends, by key.
        namespaces: when the last entry of each namespace ends that has some in this shard.
    """

    prefix: str
    shard: str
    name: str
    index: str = field(init=False)
    namespaces: str = field(init=False)

    @index.default
    def _index(self) -> str:
        return f"{self.prefix}:cache_entry-index:{{{self.shard}}}:{self.name}"

    @namespaces.default
    def _namespaces(self) -> str:
        return namespaces_key(self.prefix, self.shard)

    def pk(self, key: str) -> str:
        """Return the primary key of an entry: ``{S}:N1.N2:K``."""
        return f"{{{self.shard}}}:{self.name}:{encode_part(key)}"

    def record(self, key: str) -> str:
        """Return the key of an entry's record."""
        return self.record_of(self.pk(key))

    def record_of(self, pk: str) -> str:
        """Return the key of the record with a primary key."""
        return f"{self.prefix}:cache_entry:{pk}"


def index_keys(prefix: str, shard: str, name: str) -> IndexKeys:
    """Return the keys of a part of a namespace, from memory if it is in use."""
    return (_index_keys if len(name) <= SHORT else IndexKeys)(prefix, shard, name)


_index_keys = lru_cache(maxsize=4096)(IndexKeys)
_name = lru_cache(maxsize=4096)(encode_namespace)


def keys_of(prefix: str, entry: CacheKey) -> IndexKeys:
    """Return the keys of the part of a namespace that holds an entry."""
    namespace, key = entry
    name = (_name if sum(map(len, namespace)) <= SHORT else encode_namespace)(namespace)
    return index_keys(prefix, shard_of(f"{name}:{encode_part(key)}"), name)


def parts_of(prefix: str, namespace: Namespace) -> list[IndexKeys]:
    """Return the keys of all parts of a namespace."""
    name = encode_namespace(namespace)
    return [index_keys(prefix, shard, name) for shard in SHARDS]


def namespaces_key(prefix: str, shard: str) -> str:
    """Return the key of the index of namespaces that have entries in a shard."""
    return f"{prefix}:cache_namespace-index:{{{shard}}}"


def entry_of(prefix: str, record: str) -> CacheKey | None:
    """Undo :meth:`IndexKeys.record`; ``None`` for a key that it does not make."""
    _, _, rest = record.removeprefix(f"{prefix}:cache_entry:").partition(":")
    name, _, key = rest.partition(":")
    try:
        entry = decode_namespace(name), decode_part(key)
    except CorruptRecord:
        return None
    return entry if keys_of(prefix, entry).record(entry[1]) == record else None


_PLACE: Final = re.compile(r"cache_entry(-index)?:\{[^{}]*\}:(?P<namespace>[^:]*)(:(?P<key>[^:]*))?")


def place_of(name: str) -> Mapping[str, object]:
    """Return what a key is about, by its name behind the prefix.

    >>> place_of("cache_entry:{00}:users.ada:theme")
    {'namespace': ('users', 'ada'), 'key': 'theme'}
    """
    found = _PLACE.match(name)
    if found is None:
        return {}
    place: dict[str, object] = {"namespace": decode_namespace(found["namespace"])}
    return place if found["key"] is None else {**place, "key": decode_part(found["key"])}
