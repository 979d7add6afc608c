"""Valkey GLIDE as a driver: two packages, glide_sync (blocking) and glide."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from ....domain import StatekeepError
from ..requests import Arg, Ask, Call, Commands, Reply, Request, Scan, Script
from .driver import as_resp2, version
from .errors import CommandError, cause_of, meaning_of
from .url import Target

Address = tuple[str, int]

# The client refuses more than 1000 requests at a time, it does not queue them. What was cancelled or timed out here
# is still under way in there, hence the distance.
MOST: Final = 256

SCAN_COUNT: Final = "1000"

# A caller waits somewhat longer than the client itself, so that the client's own error comes first.
SLACK: Final = 1.0

REOPEN_AFTER: Final = 1.0
"""Seconds between two trials with another client at least, whatever the timeout."""

# A node that is chosen at random is asked for its address. It may be the one that gives no answers.
TRIES: Final = 5
TRY: Final = 0.25


def _scan(cursor: Arg, pattern: str) -> list[Arg]:
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", "HASH"]


def _batch(package: Any, cluster: bool, commands: Sequence[Sequence[Arg]]) -> Any:
    batch = package.ClusterBatch(is_atomic=False) if cluster else package.Batch(is_atomic=False)
    for command in commands:
        batch.custom_command(list(command))
    return batch


# A batch of one command takes a shorter way through the client than the command alone. It also comes back at once when
# a cluster refuses it, and not when the client's own attempts have used up the time.
def _script_batch(package: Any, cluster: bool, *command: Arg, keys: Sequence[str], args: Sequence[Arg]) -> Any:
    return _batch(package, cluster, [[*command, str(len(keys)), *keys, *args]])


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, Exception) and "noscript" in str(reply).lower()


def _route(package: Any, cluster: bool, near: str) -> dict[str, Any]:
    return {"route": package.SlotKeyRoute(package.SlotType.PRIMARY, near)} if cluster else {}


def _reply(reply: Any) -> Reply:
    if isinstance(reply, Exception):
        raise reply
    return as_resp2(reply)


def _replies(commands: Sequence[Sequence[Arg]], replies: Sequence[Any]) -> list[Reply]:
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, Exception):
            raise CommandError(reply, command) from reply
    return [as_resp2(reply) for reply in replies]


def _where(config: Any) -> str:
    return ",".join(
        getattr(address, "unix_socket_path", None) or f"{address.host}:{address.port}" for address in config.addresses
    )


def _who(package: Any) -> tuple[Any, Any]:
    """Return the question for the address of a node, and how to ask it."""
    options = package.ClusterBatchOptions(timeout=_milliseconds(TRY), route=package.RandomNode())
    return _batch(package, True, [["CLUSTER", "SLOTS"], ["CLUSTER", "MYID"]]), options


def _probe(package: Any, cluster: bool, request: Request, seconds: float) -> tuple[Any, Any]:
    """Return a question to each node that has to answer ``request``, and how to ask it."""
    keys: Sequence[Arg] = []
    match request:
        case Call(_, names, _):
            keys = names
        case Commands(commands):
            keys = [key for command in commands for key in command[1:2]]
        case Ask(_, near):
            keys = [near]
        case Scan(_):
            pass
    options = (package.ClusterBatchOptions if cluster else package.BatchOptions)(timeout=_milliseconds(seconds))
    return _batch(package, cluster, [["EXISTS", key] for key in keys or [""]]), options


def _are_answers(replies: Sequence[Any]) -> bool:
    # A refusal is an answer, too.
    return not any(isinstance(reply, Exception) and _is_failure(reply) for reply in replies)


def _is_failure(error: Exception) -> bool:
    meaning = meaning_of(error)
    return meaning is None or meaning.retry


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _address(slots: Reply, me: Reply) -> Address | None:
    """Return the address of a node, as clients of the cluster know it, from the slots of all and its id."""
    for _, _, *nodes in slots:
        for host, port, node, *_ in nodes:
            # It leaves out a name that it does not know, or says "?".
            if node == me and host and host != b"?":
                return host.decode(), port
    return None


def _limit(config: Any) -> int:
    return max(1, min(MOST, (getattr(config, "inflight_requests_limit", None) or 1000) // 2))


class Sync:
    """A ``glide_sync.GlideClient`` or ``GlideClusterClient``."""

    def __init__(self, client: Any) -> None:
        import glide_sync

        self._client = client
        self._package: Any = glide_sync
        self.cluster = isinstance(client, glide_sync.GlideClusterClient)
        config = client._config
        self.limit = _limit(config)
        self.server = _where(config)

    def perform(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                return self._call(script, keys, args)
            case Commands(commands):
                if not commands:
                    return []
                batch = _batch(self._package, self.cluster, commands)
                return _replies(commands, self._client.exec(batch, raise_on_error=False))
            case Scan(pattern):
                return self._scan_cluster(pattern) if self.cluster else self._scan(pattern)
            case Ask(command, near):
                route = _route(self._package, self.cluster, near)
                return as_resp2(self._client.custom_command(list(command), **route))

    def _call(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Reply:
        batch = _script_batch(self._package, self.cluster, "EVALSHA", script.sha, keys=keys, args=args)
        [reply] = self._client.exec(batch, raise_on_error=False)
        if _is_unknown_script(reply):
            batch = _script_batch(self._package, self.cluster, "EVAL", script.source, keys=keys, args=args)
            [reply] = self._client.exec(batch, raise_on_error=False)
        return _reply(reply)

    def _scan(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            cursor, keys = as_resp2(self._client.custom_command(_scan(cursor, pattern)))
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return list(found)

    def _scan_cluster(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor = self._package.ClusterScanCursor()
        while not cursor.is_finished():
            cursor, keys = self._client.scan(
                cursor, match=pattern, count=int(SCAN_COUNT), type=self._package.ObjectType.HASH
            )
            found.update(dict.fromkeys(keys))
        return list(found)

    def living(self) -> Address | None:
        """Ask for the address of a node of the cluster that answers."""
        batch, options = _who(self._package)
        for _ in range(TRIES):
            try:
                slots, me = self._client.exec(batch, raise_on_error=True, options=options)
                return _address(as_resp2(slots), as_resp2(me))
            except self._package.GlideError:
                continue
        return None

    def answers(self, request: Request, seconds: float) -> bool:
        """Return whether the nodes that ``request`` is for answer."""
        batch, options = _probe(self._package, self.cluster, request, seconds)
        try:
            return _are_answers(self._client.exec(batch, raise_on_error=False, options=options))
        except self._package.GlideError:
            return False

    def close(self) -> None:
        self._client.close()


class Async:
    """A ``glide.GlideClient`` or ``GlideClusterClient``, of one event loop."""

    def __init__(self, client: Any, patience: float) -> None:
        import glide

        self._client = client
        self._package: Any = glide
        # Answers are lost when the loop that reads them has ended; a request would wait for ever.
        self.patience = patience
        self.cluster = isinstance(client, glide.GlideClusterClient)
        self.limit = _limit(client.config)
        self.server = _where(client.config)

    async def perform(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                async with asyncio.timeout(self.patience):
                    return await self._call(script, keys, args)
            case Commands(commands):
                if not commands:
                    return []
                batch = _batch(self._package, self.cluster, commands)
                async with asyncio.timeout(self.patience):
                    replies = await self._client.exec(batch, raise_on_error=False)
                return _replies(commands, replies)
            case Scan(pattern):
                return await (self._scan_cluster(pattern) if self.cluster else self._scan(pattern))
            case Ask(command, near):
                route = _route(self._package, self.cluster, near)
                async with asyncio.timeout(self.patience):
                    return as_resp2(await self._client.custom_command(list(command), **route))

    async def _call(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Reply:
        batch = _script_batch(self._package, self.cluster, "EVALSHA", script.sha, keys=keys, args=args)
        [reply] = await self._client.exec(batch, raise_on_error=False)
        if _is_unknown_script(reply):
            batch = _script_batch(self._package, self.cluster, "EVAL", script.source, keys=keys, args=args)
            [reply] = await self._client.exec(batch, raise_on_error=False)
        return _reply(reply)

    async def _scan(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            async with asyncio.timeout(self.patience):
                reply = await self._client.custom_command(_scan(cursor, pattern))
            cursor, keys = as_resp2(reply)
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return list(found)

    async def _scan_cluster(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor = self._package.ClusterScanCursor()
        while not cursor.is_finished():
            async with asyncio.timeout(self.patience):
                cursor, keys = await self._client.scan(
                    cursor, match=pattern, count=int(SCAN_COUNT), type=self._package.ObjectType.HASH
                )
            found.update(dict.fromkeys(keys))
        return list(found)

    async def living(self) -> Address | None:
        """Ask for the address of a node of the cluster that answers."""
        batch, options = _who(self._package)
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(self.patience):
                    slots, me = await self._client.exec(batch, raise_on_error=True, options=options)
                return _address(as_resp2(slots), as_resp2(me))
            except (self._package.GlideError, TimeoutError):
                continue
        return None

    async def answers(self, request: Request, seconds: float) -> bool:
        """Return whether the nodes that ``request`` is for answer."""
        batch, options = _probe(self._package, self.cluster, request, seconds)
        try:
            async with asyncio.timeout(seconds + SLACK):
                replies = await self._client.exec(batch, raise_on_error=False, options=options)
            return _are_answers(replies)
        except (self._package.GlideError, TimeoutError):
            return False

    async def close(self) -> None:
        await self._client.close()


def _quiet(package: Any) -> None:
    # By default the native part prints warnings to standard output. A user's own setting stays.
    if package.Logger._instance is None:
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
            root_pem_cacerts=_read(target.tls_ca_certs),
            client_cert_pem=_read(target.tls_cert),
            client_key_pem=_read(target.tls_key),
        )
    common: dict[str, Any] = {
        "addresses": addresses,
        "use_tls": target.tls,
        "credentials": credentials,
        "request_timeout": _milliseconds(target.attempt),
        "client_name": target.client_name,
        "client_info_tag": f"statekeep:{version()}",
        # Otherwise making the client connects: an asyncio client would block its event loop meanwhile.
        "lazy_connect": True,
        "reconnect_strategy": package.BackoffStrategy(num_of_retries=4, factor=50, exponent_base=2, jitter_percent=20),
    }
    connection_timeout = _milliseconds(target.connect_timeout)
    if target.cluster:
        advanced = package.AdvancedGlideClusterClientConfiguration(
            connection_timeout=connection_timeout, tls_config=tls
        )
        return package.GlideClusterClientConfiguration(advanced_config=advanced, **common)
    advanced = package.AdvancedGlideClientConfiguration(connection_timeout=connection_timeout, tls_config=tls)
    return package.GlideClientConfiguration(advanced_config=advanced, database_id=target.database or None, **common)


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def patience_of(client: Any, deadline: float) -> float:
    """Return the seconds to wait for an answer of a client that the user made."""
    return max(deadline, (client.config.request_timeout or 250) / 1000) + SLACK


# A client that gets no answers keeps its connections: it asks a peer that is gone, or a primary that is frozen and
# was replaced long ago, until the system gives the connection up after many minutes. So another one is tried after a
# timeout. It takes over if it gets answers from those who owe one. Else the old one stays, which serves at least the
# other nodes of a cluster. Requests that are under way stay with the old client. The last of them, which holds its
# driver, ends it.


def _is_unanswered(error: Exception) -> bool:
    from glide_shared import exceptions

    return isinstance(cause_of(error), TimeoutError | exceptions.TimeoutError)


def _trial(target: Target) -> float:
    """Return the seconds to wait for another client, which has to connect first."""
    return target.connect_timeout + min(target.attempt, SLACK)


def _nobody() -> None:
    return None


def _through(target: Target, node: Address | None) -> Target:
    # The nodes of the URL may be those that give no answers.
    return target if node is None else evolve(target, addresses=(node,))


class SyncReopening:
    """A blocking driver that opens another client when one gets no answer."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._driver = _open_sync(target)
        self._other: Callable[[], Sync | None] = _nobody
        self._tried = time.monotonic()
        self._lock = threading.Lock()
        self._is_closed = False
        self.cluster = self._driver.cluster
        self.limit = self._driver.limit
        self.server = self._driver.server

    def perform(self, request: Request) -> Reply:
        driver = self._driver
        try:
            return driver.perform(request)
        except Exception as error:
            if _is_unanswered(error):
                self._reopen(driver, request)
            raise

    def _reopen(self, driver: Sync, request: Request) -> None:
        with self._lock:
            if self._driver is not driver:
                return
            other = self._other()
            if other is None:
                if time.monotonic() - self._tried < REOPEN_AFTER:
                    return
                living = driver.living() if self.cluster else None
                other = _open_sync(_through(self._target, living))
                self._other = weakref.ref(other)
                self._tried = time.monotonic()
        # All whose requests got no answer share one trial: a node that still gives none holds up nobody but its own.
        if other.answers(request, _trial(self._target)):
            with self._lock:
                if self._driver is driver:
                    self._driver, self._other = other, _nobody
            if self._is_closed:
                self._driver.close()

    def close(self) -> None:
        self._is_closed = True
        self._driver.close()


class AsyncReopening:
    """A driver of one event loop that opens another client when one gets no answer."""

    def __init__(self, target: Target, driver: Async) -> None:
        self._target = target
        self._driver = driver
        self._other: Callable[[], Async | None] = _nobody
        self._tried = time.monotonic()
        self._lock = asyncio.Lock()
        self._is_closed = False
        self.cluster = driver.cluster
        self.limit = driver.limit
        self.server = driver.server
        self.patience = driver.patience

    async def perform(self, request: Request) -> Reply:
        driver = self._driver
        try:
            return await driver.perform(request)
        except Exception as error:
            if _is_unanswered(error):
                await self._reopen(driver, request)
            raise

    async def _reopen(self, driver: Async, request: Request) -> None:
        async with self._lock:
            if self._driver is not driver:
                return
            other = self._other()
            if other is None:
                if time.monotonic() - self._tried < REOPEN_AFTER:
                    return
                living = await driver.living() if self.cluster else None
                other = _open_async(_through(self._target, living))
                if other is None:
                    return
                self._other = weakref.ref(other)
                self._tried = time.monotonic()
        # All whose requests got no answer share one trial: a node that still gives none holds up nobody but its own.
        if await other.answers(request, _trial(self._target)):
            async with self._lock:
                if self._driver is driver:
                    self._driver, self._other = other, _nobody
            if self._is_closed:
                await self._driver.close()

    async def close(self) -> None:
        self._is_closed = True
        await self._driver.close()


def open_sync(target: Target) -> SyncReopening:
    """Make a blocking client; it connects with the first request."""
    return SyncReopening(target)


def open_async(target: Target) -> AsyncReopening | None:
    """Make a client for the running event loop; it connects with the first request.

    Returns:
        ``None`` if the asyncio client cannot work here: all its answers come through one pipe of the process, which
        the event loop reads that used glide first. As long as that one is open, no other loop can rely on it.
    """
    driver = _open_async(target)
    return None if driver is None else AsyncReopening(target, driver)


def _open_sync(target: Target) -> Sync:
    import glide_sync

    _quiet(glide_sync)
    kind = glide_sync.GlideClusterClient if target.cluster else glide_sync.GlideClient
    client = kind.create(_config(glide_sync, target))
    driver = Sync(client)
    weakref.finalize(driver, _end_sync, client, os.getpid()).atexit = False
    return driver


_opening = threading.Lock()


def _open_async(target: Target) -> Async | None:
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
    driver = Async(client, target.attempt + target.connect_timeout + SLACK)
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
