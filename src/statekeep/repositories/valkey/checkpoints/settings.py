"""The settings that the operations on checkpoints share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import field, frozen

from ...records.known_values import KnownValues
from .keys import NamespaceKeys, namespace_keys
from .metadata.tags import MetadataKeys
from .recent_ids import EarlyWrites, LastPuts, RecentIds


@frozen
class CheckpointSettings:
    """The settings of a repository of checkpoints."""

    prefix: str
    ttl_ms: int
    """Milliseconds; 0 for ever."""
    refresh_on_read: bool
    cluster: bool
    recent_ids: RecentIds = field(eq=False, repr=False)
    known_values: KnownValues = field(eq=False, repr=False)
    early_writes: EarlyWrites = field(eq=False, repr=False, factory=EarlyWrites)
    last_puts: LastPuts = field(eq=False, repr=False, factory=LastPuts)
    metadata_keys: tuple[MetadataKeys, ...] = ()
    """Of the names in metadata that are indexed."""
    keys: Callable[[str, str], NamespaceKeys] = field(init=False, eq=False, repr=False)
    """Returns the keys of a thread's namespace."""

    metadata_written: tuple[str, ...] = field(init=False, eq=False, repr=False)
    """The keys of these that a put writes to."""

    @metadata_written.default
    def _metadata_written(self) -> tuple[str, ...]:
        return tuple(key for keys in self.metadata_keys for key in keys.written)

    @keys.default
    def _keys(self) -> Callable[[str, str], NamespaceKeys]:
        return partial(namespace_keys, self.prefix)
