"""A PostgreSQL server for the length of a run, where its programs are installed."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PLACES = "/usr/lib/postgresql/*/bin"
READY_TIMEOUT = 60.0  # seconds
USER = "bench"

# Ends the server and removes its directory when the pipe on its standard input closes, as it does however the program
# behind it ends.
_KEEPER = '"$@" & server=$!; read -r ended; kill -INT "$server"; wait "$server"; rm -rf -- "$0"'


class NoPostgres(Exception):
    """PostgreSQL is not installed, or does not start."""


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    for directory in sorted(glob.glob(PLACES), reverse=True):
        if found := shutil.which(name, path=directory):
            return found
    raise NoPostgres(f"{name} is neither on the PATH nor in {PLACES}")


def _servant() -> dict[str, Any]:
    """As whom to run: PostgreSQL refuses to serve root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NoPostgres("there is no user but root to run it as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """A server in a temporary directory, on a free port of 127.0.0.1, with the settings that it comes with.

    Raises:
        NoPostgres: it is not there, or does not start; the message says why.
    """

    def __init__(self) -> None:
        self._postgres, self._initdb = _program("postgres"), _program("initdb")
        self.port = _free_port()

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        """What psycopg connects to; ``port`` is that of a proxy."""
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}"

    @property
    def version(self) -> str:
        """Such as ``"15.14"``."""
        printed = subprocess.run([self._postgres, "--version"], capture_output=True, text=True, check=True).stdout
        return printed.removeprefix("postgres (PostgreSQL)").split()[0]

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="statekeep-bench-postgres-"))
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        return self

    def _start(self) -> None:
        servant = _servant()
        if servant:
            os.chown(self._directory, servant["user"], servant["group"])
        data = self._directory / "data"
        options = ["--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [self._initdb, *options, "-D", str(data)],
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            **servant,
        )
        if made.returncode:
            raise NoPostgres(f"initdb failed: {made.stderr.strip()[-500:]}")
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 50}
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        log = self._directory / "log"
        with log.open("wb") as output:
            self._keeper = subprocess.Popen(
                [
                    "/bin/sh",
                    "-c",
                    _KEEPER,
                    str(self._directory),
                    self._postgres,
                    "-D",
                    str(data),
                    "-p",
                    str(self.port),
                    *arguments,
                ],
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                process_group=0,
                **servant,
            )
        deadline = time.monotonic() + READY_TIMEOUT
        while "ready to accept connections" not in log.read_text("utf-8", "replace"):
            if self._keeper.poll() is not None or time.monotonic() > deadline:
                said = log.read_text("utf-8", "replace").strip()[-500:]
                self._stop()
                raise NoPostgres(f"it did not start: {said}")
            time.sleep(0.05)

    def _stop(self) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._directory, ignore_errors=True)
