"""Clients of Valkey GLIDE for a URL.

Their configuration, their beginning and their end.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from .....domain import StatekeepError
from .....version import VERSION
from ....process.workers import running_loop
from ..url import Target
from .driver import SLACK, Async, Sync, milliseconds


def _quiet(package: Any) -> None:
    # By default the native part prints warnings to standard output. A user's own setting stays.
    if package.Logger._instance is None:  # noqa: SLF001 - there is no other way to ask
        package.Logger.set_logger_config(package.LogLevel.OFF)


def _config(package: Any, target: Target) -> Any:
    if target.unix_socket is not None:
        addresses = [package.NodeAddress(unix_socket_path=target.unix_socket)]
    else:
        addresses = [package.NodeAddress(host, port) for host, port in target.addresses]
    credentials = None
    if target.password is not None:
        credentials = package.ServerCredentials(password=target.password, username=target.username)
    tls = None
    if target.tls:
        tls = package.TlsAdvancedConfiguration(
            use_insecure_tls=target.tls_insecure or None,
            root_pem_cacerts=_authorities(target),
            client_cert_pem=_read(target.tls_cert),
            client_key_pem=_read(target.tls_key),
        )
    common: dict[str, Any] = {
        "addresses": addresses,
        "use_tls": target.tls,
        "credentials": credentials,
        "request_timeout": milliseconds(target.attempt),
        "client_name": target.client_name,
        "client_info_tag": f"statekeep:{VERSION}",
        # Otherwise making the client connects: an asyncio client would block its event loop meanwhile.
        "lazy_connect": True,
        "reconnect_strategy": package.BackoffStrategy(num_of_retries=4, factor=50, exponent_base=2, jitter_percent=20),
    }
    connection_timeout = milliseconds(target.connect_timeout)
    if target.cluster:
        advanced = package.AdvancedGlideClusterClientConfiguration(
            connection_timeout=connection_timeout, tls_config=tls
        )
        return package.GlideClusterClientConfiguration(advanced_config=advanced, **common)
    advanced = package.AdvancedGlideClientConfiguration(connection_timeout=connection_timeout, tls_config=tls)
    return package.GlideClientConfiguration(advanced_config=advanced, database_id=target.database or None, **common)


def _authorities(target: Target) -> bytes | None:
    more = (target.tls_ca_data or "").encode()
    return b"\n".join(filter(None, (_read(target.tls_ca_certs), more))) or None


_files: dict[str, bytes] = {}


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    if path not in _files or running_loop() is None:  # an event loop must not wait for disks
        _files[path] = Path(path).read_bytes()
    return _files[path]


def read_files(target: Target) -> None:
    """Read what a client for an event loop needs of files. Call it in another thread."""
    for path in (target.tls_ca_certs, target.tls_cert, target.tls_key):
        _read(path)


def _patience(target: Target) -> float:
    return target.attempt + target.connect_timeout + SLACK


@cache
def _of_one_process(kind: Any) -> Any:
    """Return a class of clients that are left alone in a forked child.

    By itself glide makes each client anew there, in use or not, with threads of its own and before anything else runs.
    Here nobody uses them: a child opens its own one when it needs one.
    """

    class OfOneProcess(kind):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self._process = os.getpid()

        def _create_core_client(self) -> None:
            if os.getpid() == self._process:
                super()._create_core_client()

    return OfOneProcess


def open_sync(target: Target) -> Sync:
    """Return a driver over a new blocking client of the target."""
    import glide_sync

    _quiet(glide_sync)
    kind = glide_sync.GlideClusterClient if target.cluster else glide_sync.GlideClient
    client = _of_one_process(kind).create(_config(glide_sync, target))
    driver = Sync(client, _patience(target))
    weakref.finalize(driver, _end_sync, client, os.getpid()).atexit = False
    return driver


_opening = threading.Lock()


def open_async(target: Target) -> Async | None:
    """Return a driver over a new client of the target, for this event loop.

    ``None`` if the client came to belong to another event loop: it is closed then.
    """
    import glide
    from glide import glide_client as state

    loop = asyncio.get_running_loop()
    with _opening:
        _quiet(glide)
        kind = glide.GlideClusterClient if target.cluster else glide.GlideClient
        client = _at_once(kind.create(_config(glide, target)))
        if getattr(state, "_async_pipe_loop", loop) is not loop:
            _at_once(client.close())
            return None
    driver = Async(client, _patience(target))
    weakref.finalize(driver, _end_async, client, os.getpid()).atexit = False
    return driver


# These end a client when its driver is collected. They also hold the client until then, for its own finalizer frees
# it without noting that: should a coroutine be collected along with it that closes it in the end, as the one that
# waits for the end of an event loop does, it would be freed twice. A forked process must not touch its parent's.


def _end_sync(client: Any, process: int) -> None:
    if os.getpid() == process:
        client.close()


def _end_async(client: Any, process: int) -> None:
    if os.getpid() == process:
        _at_once(client.close())


def _at_once(coroutine: Any) -> Any:
    # With lazy_connect neither create() nor close() waits for anything, so a lock may be held meanwhile.
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise StatekeepError("this version of valkey-glide waits while it makes a client; use ?client=valkey-py")
