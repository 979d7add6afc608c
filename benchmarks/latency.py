"""A network between client and server: a TCP proxy on loopback that passes everything on a little later."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


def _pass_on(source: socket.socket, target: socket.socket, delay: float) -> None:
    # One request or reply at a time, as blocking clients have it.
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 20):
            time.sleep(delay)
            target.sendall(data)
            while data := _more(source):
                target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _more(source: socket.socket) -> bytes:
    """What is there already: the rest of something large, which has waited long enough."""
    try:
        return source.recv(1 << 20, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


@contextlib.contextmanager
def delayed(port: int, round_trip: float) -> Iterator[int]:
    """Yield a port of 127.0.0.1 behind which ``port`` answers ``round_trip`` seconds later than it would."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for side in (near, far):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(*ends, round_trip / 2), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
