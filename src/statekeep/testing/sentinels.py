"""Real Valkey servers that sentinels watch, for tests, on free ports of 127.0.0.1."""

from __future__ import annotations

from typing import Any, Self

from ..domain.errors import InvalidInput
from .servers import READY_TIMEOUT, ValkeyServer, settled

__all__ = ["ValkeySentinels"]


class _Sentinel(ValkeyServer):
    """A sentinel."""

    _arguments = ("--sentinel",)


class ValkeySentinels:
    """A primary, its replicas, and the sentinels that watch them, on 127.0.0.1.

    Args:
        replicas: of the primary.
        sentinels: so many; more than half of them agree to a failover.
        service: the name that the sentinels have for the primary.
        silence: milliseconds after which a server that does not answer counts as gone.
        password: of all servers; the sentinels know it.
        sentinel_password: of the sentinels.

    Attributes:
        nodes: port -> ``ValkeyServer``, the first primary first.
        sentinels: port -> ``ValkeyServer``.

    Example:
        >>> with ValkeySentinels() as watched:
        ...     watched.primary() in watched.nodes
        True
    """

    def __init__(
        self,
        replicas: int = 1,
        sentinels: int = 3,
        *,
        service: str = "main",
        silence: int = 1000,
        password: str | None = None,
        sentinel_password: str | None = None,
    ) -> None:
        if replicas < 1 or sentinels < 1:
            raise InvalidInput("a failover needs a replica and a sentinel", field="replicas")
        self.service = service
        common: dict[str, str | int] = {"repl_diskless_sync_delay": 0}
        if password is not None:
            common |= {"requirepass": password, "primaryauth": password}
        first = ValkeyServer(**common)
        others = [ValkeyServer(**common, replicaof=f"127.0.0.1 {first.port}") for _ in range(replicas)]
        self.nodes = {node.port: node for node in (first, *others)}
        # All of these begin with the same word, and a setting may have several lines.
        lines = [
            f"monitor {service} 127.0.0.1 {first.port} {sentinels // 2 + 1}",
            f"down-after-milliseconds {service} {silence}",
            f"failover-timeout {service} {10 * silence}",
            *([] if password is None else [f"auth-pass {service} {password}"]),
        ]
        watching: dict[str, str | int] = {"sentinel": "\nsentinel ".join(lines)}
        if sentinel_password is not None:
            watching["requirepass"] = sentinel_password
        self.sentinels = {one.port: one for one in (_Sentinel(**watching) for _ in range(sentinels))}

    @property
    def url(self) -> str:
        """The URL of the service, with the servers' password but without the sentinels'."""
        password = self.nodes[next(iter(self.nodes))].settings.get("requirepass")
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"valkey+sentinel://{f':{password}@' if password else ''}{hosts}/{self.service}"

    def start(self) -> Self:
        """Start all and wait until a failover can be made."""
        try:
            for one in (*self.nodes.values(), *self.sentinels.values()):
                one.start()
            settled(self._ready)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all and remove their directories."""
        for one in (*self.sentinels.values(), *self.nodes.values()):
            one.stop()

    def primary(self) -> int:
        """Return the port of the primary, as the first living sentinel has it."""
        return int(self._ask("GET-MASTER-ADDR-BY-NAME", self.service)[1])

    def failover(self) -> int:
        """Have a replica promoted; return its port when the sentinels name it.

        Its predecessor may take writes for a moment after that, which are lost.
        """
        before = self.primary()
        self._ask("FAILOVER", self.service)
        return self.wait_for_another(before)

    def wait_for_another(self, port: int, timeout: float = READY_TIMEOUT) -> int:
        """Wait until the sentinels name another primary; return its port.

        Args:
            port: of the primary before.
            timeout: seconds, after which ``Unavailable`` is raised.
        """
        settled(lambda: self.primary() != port, timeout)
        return self.primary()

    def _ask(self, *command: Any) -> Any:
        living = next(one for one in self.sentinels.values() if one._process is not None)
        with living.client() as client:
            return client.execute_command("SENTINEL", *command)

    def _ready(self) -> bool:
        for one in self.sentinels.values():
            with one.client() as client:
                [state] = client.sentinel_masters().values()
            others = (state["num-other-sentinels"], state["num-slaves"])
            if others != (len(self.sentinels) - 1, len(self.nodes) - 1) or not state["is_master"]:
                return False
        for port, node in self.nodes.items():
            with node.client() as client:
                info = client.info("replication")
            if info["role"] == "slave" and info["master_link_status"] != "up":
                return False
            if info["role"] == "master" and port == self.primary() and info["connected_slaves"] != len(self.nodes) - 1:
                return False
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
