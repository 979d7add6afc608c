"""Key names of logs. ``docs/key-schema.md`` describes them for people.

Logs are spread over a fixed number of shards, by their names. ``{S}``, the number of the shard, is a literal hash tag:
a log is in one slot with the index that knows it, so one script writes both, also in a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from ....domain.items import Namespace
from ....domain.model import SHORT
from ..keys import decode_namespace, encode_namespace, ordered, shard_of


@frozen(eq=False)
class LogKeys:
    """The keys of one log.

    Attributes:
        member: its name in the indexes.
        values: the list.
        life: its TTL, if it has one.
        indexes: of the names of logs in its shard, and of the ends of those that end.
        clock: the last position that was given in its shard.
        call: the beginning of keys of answers to calls.
    """

    prefix: str
    name: Namespace
    shard: str = field(init=False)
    member: str = field(init=False)
    values: str = field(init=False)
    life: str = field(init=False)
    indexes: tuple[str, str] = field(init=False)
    clock: str = field(init=False)
    call: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        encoded = encode_namespace(self.name)
        shard = shard_of(encoded)
        for name, value in (
            ("shard", shard),
            ("member", ordered(self.name)),
            ("values", f"{self.prefix}:log:{{{shard}}}:{encoded}"),
            ("life", f"{self.prefix}:log-life:{{{shard}}}:{encoded}"),
            ("indexes", index_keys(self.prefix, shard)),
            ("clock", f"{self.prefix}:log-clock:{{{shard}}}"),
            ("call", f"{self.prefix}:log-call:{{{shard}}}:"),
        ):
            object.__setattr__(self, name, value)


def log_keys(prefix: str, name: Namespace) -> LogKeys:
    """Return the keys of a log, from memory if it is in use."""
    return (_log_keys if sum(map(len, name)) <= SHORT else LogKeys)(prefix, name)


_log_keys = lru_cache(maxsize=4096)(LogKeys)


def index_keys(prefix: str, shard: str) -> tuple[str, str]:
    """Return the keys of the indexes of a shard: of names, and of ends."""
    index = f"{prefix}:log-index:{{{shard}}}"
    return f"{index}:name", f"{index}:end"


_PLACE: Final = re.compile(r"log(-life)?:\{[^{}]*\}:(?P<log>[^:]*)$")


def place_of(name: str) -> Mapping[str, object]:
    """Return what a key is about, by its name behind the prefix.

    >>> place_of("log:{00}:chat.ada")
    {'log': ('chat', 'ada')}
    """
    found = _PLACE.match(name)
    return {"log": decode_namespace(found["log"])} if found else {}
