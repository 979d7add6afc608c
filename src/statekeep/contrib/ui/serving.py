"""The application on a port of this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...domain.errors import InvalidInput, MissingDependency, Unavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("::1")
    (True, True, False, True)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(application: ASGIApp, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve an application until the process is interrupted.

    Args:
        application: of :func:`statekeep.contrib.ui.app`.
        host: the address to listen on.
        port: 0 for any that is free.
        ready: is called with the address of the page when a browser can open it.

    Raises:
        MissingDependency: uvicorn is not installed.
        InvalidInput: the host is none.
        Unavailable: the port is taken, or may not be used.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingDependency("uvicorn", "ui") from error
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidInput(f"there is no host {host!r}: {error.strerror}", field="host") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            raise Unavailable(f"cannot listen on {host}, port {port}: {error.strerror}") from error
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}/")
        # No log of requests: it would have the token.
        config = uvicorn.Config(
            application, access_log=False, log_level="warning", server_header=False, lifespan="off", ws="none"
        )
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
