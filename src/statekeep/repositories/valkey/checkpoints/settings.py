"""The settings that the operations on checkpoints share."""

from __future__ import annotations

from attrs import field, frozen

from .keys import NamespaceKeys, namespace_keys
from .recent_ids import RecentIds


@frozen
class CheckpointSettings:
    """The settings of a repository of checkpoints."""

    prefix: str
    ttl_ms: int
    """Milliseconds; 0 for ever."""
    refresh_on_read: bool
    cluster: bool
    recent_ids: RecentIds = field(eq=False, repr=False)

    def keys(self, thread_id: str, namespace: str) -> NamespaceKeys:
        """Return the keys of a namespace."""
        return namespace_keys(self.prefix, thread_id, namespace)
