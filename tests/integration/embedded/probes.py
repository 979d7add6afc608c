"""Looking at embedded servers from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import valkey

from statekeep.repositories.valkey.embedded import EmbeddedServer


@contextmanager
def connect(server: EmbeddedServer) -> Iterator[valkey.Valkey]:
    with valkey.Valkey.from_url(server.url, socket_timeout=5.0) as client:
        yield client


def pid_of(server: EmbeddedServer) -> int:
    with connect(server) as client:
        info: Any = client.info("server")
        return int(info["process_id"])


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, whose parent has not asked for its status, does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def answers(server: EmbeddedServer) -> bool:
    try:
        with connect(server) as client:
            return bool(client.ping())
    except valkey.ConnectionError:
        return False
