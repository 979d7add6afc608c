"""ministack, an emulator of AWS that shares no code with ours."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = os.environ.get("STATEKEEP_MINISTACK", "")
"""The program ministack; ``make second-opinion`` installs it apart, since it needs a botocore of its own."""


@contextmanager
def ministack(services: str, folder: Path) -> Iterator[str]:
    """Run ministack with some services, and yield its URL; ``folder`` gets its log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": services}
    with Path(folder, "log").open("wb") as log:
        server = subprocess.Popen(
            [PROGRAM], env=os.environ | settings, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 120
        while not _is_up(f"{url}/_ministack/health"):
            assert server.poll() is None, Path(folder, "log").read_text()
            assert time.monotonic() < until, "ministack does not answer"
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _is_up(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True
