"""A slot of a cluster on its way to another node, step by step, as ``valkey-cli --cluster reshard`` does it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from statekeep.testing.servers import ValkeyCluster


class SlotMigration:
    """Begin to move the slot of a hash tag to another primary; call that off in the end, unless it was finished.

    Args:
        cluster: that the slot is in.
        tag: what is in the braces of its keys.
    """

    def __init__(self, cluster: ValkeyCluster, tag: str) -> None:
        source = cluster.primary_of(f"{{{tag}}}")
        target = next(port for port in cluster.ports if port != source and cluster.role(port) == "master")
        self._source = cluster.nodes[source].client()
        self._target = cluster.nodes[target].client()
        self._ports = source, target
        self._ids = [self._source.execute_command("CLUSTER MYID"), self._target.execute_command("CLUSTER MYID")]
        self._slot = self._source.execute_command("CLUSTER KEYSLOT", f"{{{tag}}}")
        self._is_over = False

    def __enter__(self) -> Self:
        source, target = self._ids
        self._target.execute_command("CLUSTER SETSLOT", self._slot, "IMPORTING", source)
        self._source.execute_command("CLUSTER SETSLOT", self._slot, "MIGRATING", target)
        return self

    def keys(self) -> list[bytes]:
        """The keys of the slot that are still at the source."""
        return sorted(self._source.execute_command("CLUSTER GETKEYSINSLOT", self._slot, 10_000))

    def move(self, *keys: bytes) -> None:
        """Move some keys."""
        _move(self._source, self._ports[1], keys)

    def finish(self) -> None:
        """Move what is left; from then on the slot belongs to the other node."""
        self.move(*self.keys())
        for node in (self._target, self._source):
            node.execute_command("CLUSTER SETSLOT", self._slot, "NODE", self._ids[1])
        self._is_over = True

    def call_off(self) -> None:
        """Move everything back."""
        self._source.execute_command("CLUSTER SETSLOT", self._slot, "STABLE")  # before, it takes no keys
        _move(self._target, self._ports[0], self._target.execute_command("CLUSTER GETKEYSINSLOT", self._slot, 10_000))
        self._target.execute_command("CLUSTER SETSLOT", self._slot, "STABLE")
        self._is_over = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_over:
            self.call_off()
        self._source.close()
        self._target.close()


def _move(source: Any, port: int, keys: Any) -> None:
    if keys:
        source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 10_000, "KEYS", *keys)
