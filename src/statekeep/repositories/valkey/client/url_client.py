"""A client made from a URL: connects where it is used."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import importlib.util
import logging
import math
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ....domain import InvalidInput, MissingDependency, QuotaExceeded
from ....domain.shown import once_made
from ....telemetry.records import Service
from ...options import Driver
from ...process import fork as forks
from ...process.notices import notice, valkey_logger
from ...process.workers import Workers, running_loop
from ..requests import Reply, Request
from .clock import loop_clock
from .credentials import alogged_in, logged_in
from .driver import AsyncDriver, SyncDriver, closed, joined, service_at
from .errors import TooFewReplicas
from .loops import Loops
from .retry import SLACK, WORKERS, AsyncLimiter, RetryState, SyncLimiter
from .url import Target

if TYPE_CHECKING:
    from ..embedded.server import EmbeddedServer


class _Loop:
    """A driver of one event loop, and its end."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        self.limiter = limiter
        self.guard: AsyncGenerator[None, None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Close the client, in its own loop; several callers wait for the same end."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self.limiter.driver.close())
        await asyncio.shield(self._ending)


def _reopened(
    target: Target, driver: Driver, embedded: EmbeddedServer | Callable[[], EmbeddedServer] | None, is_closed: bool
) -> UrlClient:
    make = embedded if embedded is None or callable(embedded) else partial(_itself, embedded)
    client = UrlClient(target, driver, embedded=None if is_closed else make)
    if is_closed:
        client.close()
    return client


def _itself(server: EmbeddedServer) -> EmbeddedServer:
    return server


class UrlClient:
    """Opens drivers when needed. Survives a fork.

    There is a blocking one, and one for each event loop.

    What may block is done at once, or by a worker thread before the first request if an event loop runs here: to import
    the driver, and to start an embedded server.

    Args:
        target: the server; its unix socket is known when an embedded one is started.
        driver: the client library.
        embedded: makes the embedded server that the target is; ``None`` if it is none. It is stopped when the drivers
            are closed. Its disk is full while it says that it has too few replicas.

    A copy, also by pickle, opens connections of its own; one of a closed client is closed.
    """

    def __init__(
        self,
        target: Target,
        driver: Driver,
        *,
        embedded: Callable[[], EmbeddedServer] | None = None,
    ) -> None:
        self.cluster = target.cluster
        self.deadline = target.deadline
        self._attempt = target.attempt
        self._target = target
        self._service: Service | None = None
        self._make_server = embedded
        self._server: EmbeddedServer | None = None
        self._name: Driver = driver
        self._is_closed = False
        self._is_prepared = False
        # Two locks: opening may take seconds, and no event loop waits for that.
        self._opening = threading.Lock()
        self._lock = threading.Lock()
        self._sync: SyncLimiter | None = None
        self._loops: Loops[_Loop] = Loops()
        weakref.finalize(self, _end_all, self._loops).atexit = False
        # Weakly, as those in _loops: a loop that nobody closes is to be freed when it is dropped.
        self._served_by_workers: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._asking: Loops[asyncio.Task[Target]] = Loops()
        self._workers = Workers(min(WORKERS, self._most))
        forks.follow(self)
        if running_loop() is None:
            with self._opening:
                self._prepare()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._target, self._name, self._server or self._make_server, self._is_closed)

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target!r})"

    @property
    def library(self) -> Driver:
        """The client library that it uses."""
        return self._name

    @property
    def is_embedded(self) -> bool:
        """Whether the server is an embedded one."""
        return self._make_server is not None

    @property
    def service(self) -> Service:
        """The server, for observers."""
        found = self._service
        if found is None:
            target = self._target
            found = service_at(target.service or str(target), target.database)
            if self._is_prepared:  # from now on an embedded server's socket is known
                self._service = found
        return found

    def _prepare(self) -> None:
        """Do what may block, but for connecting. Call it with ``_opening`` held."""
        if self._is_prepared:
            return
        if self._is_closed:
            raise closed(str(self._target))
        _import_driver(self._name, self._target)
        if self._make_server is not None:
            server = self._make_server().start()
            self._target = evolve(self._target, unix_socket=server.socket_path)
            with self._lock:
                if not self._is_closed:
                    self._server = server
            if self._server is None:
                server.stop()
                raise closed(str(self._target))
        self._is_prepared = True

    def _prepare_apart(self) -> None:
        with self._opening:
            self._prepare()

    @property
    def _most(self) -> int:
        return 256 if self._name == "glide" else self._target.pool_size

    def after_fork(self) -> None:
        self._opening = threading.Lock()
        self._lock = threading.Lock()
        # An asyncio client of the parent is of no use here, and closing it would disturb the parent's event loop.
        forks.abandon(self._loops.take_all())
        self._served_by_workers = weakref.WeakSet()
        self._asking.take_all()
        self._sync = None

    def _pause(self, state: RetryState, error: Exception, patience: float = math.inf) -> float:
        """Return seconds to pause before the next attempt, or raise the translated error."""
        try:
            return state.failed(error, str(self._target), cluster=self.cluster, patience=patience)
        except TooFewReplicas as refused:
            directory = self._server and self._server.directory
            if directory is None:
                raise
            message = f"the disk of {directory} is full; its server takes no writes until there is room"
            raise QuotaExceeded(message, key=refused.key) from refused.__cause__

    # -- blocking ------------------------------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply:
        state = RetryState(request, self._target.deadline, self._attempt, self._target.slow_request)
        while True:
            patience = math.inf
            try:
                limiter = self._sync or self._open_sync()
                patience = limiter.driver.patience
                reply = limiter.perform(request, state)
            except Exception as error:
                pause = self._pause(state, error, patience)
            else:
                if state.is_notable:
                    state.answered(str(self._target))
                return reply
            state.rest(pause)

    def _open_sync(self) -> SyncLimiter:
        with self._opening:
            if self._sync is not None:
                return self._sync
            if self._is_closed:
                raise closed(str(self._target))
            self._prepare()
            driver = _sync_driver(self._name, self._target)
            limiter = SyncLimiter(driver, self._target.deadline, self._target.pool_timeout)
            with self._lock:
                if not self._is_closed:
                    self._sync = limiter
                    return limiter
        limiter.driver.close()
        raise closed(str(self._target))

    # -- event loops ---------------------------------------------------------------------------------------------

    async def aexecute(self, request: Request) -> Reply:
        loop = asyncio.get_running_loop()
        with loop_clock() as clock:
            state = RetryState(request, self._target.deadline, self._attempt, self._target.slow_request, clock=clock)
            while True:
                try:
                    if not self._is_prepared:
                        await self._workers.run(self._prepare_apart)
                    here = self._loops.get(loop) or await self._open_async(loop)
                    if here is None:
                        return await self._workers.run(self.execute, request)
                    reply = await here.limiter.perform(request, state)
                except Exception as error:
                    pause = self._pause(state, error)
                else:
                    if state.is_notable:
                        state.answered(str(self._target))
                    return reply
                await asyncio.sleep(pause)

    async def _open_async(self, loop: asyncio.AbstractEventLoop) -> _Loop | None:
        """Open a client for the running loop; ``None`` if worker threads serve it."""
        if loop in self._served_by_workers:
            return None
        target = self._target
        if self._name == "glide" and target.credential_provider is not None:
            target = await self._logged_in(loop)
            if (here := self._loops.get(loop)) is not None:  # another task was faster
                return here
        with self._lock:
            if self._is_closed:
                raise closed(str(self._target))
            for other in self._loops.all():
                if other.is_closed():
                    self._loops.drop(other)
            driver = _async_driver(self._name, target)
            if driver is None:
                self._served_by_workers.add(loop)
                return None
        here = _Loop(AsyncLimiter(driver, self._target.deadline, self._target.pool_timeout))
        # asyncio.run and the like finish the asynchronous generators that were begun in a loop before they close
        # it: the moment to close what can be closed only in there.
        here.guard = _until_the_loop_ends(loop, here, self._loops)
        await anext(here.guard)
        with self._lock:
            if self._is_closed:
                raise closed(str(self._target))
            self._loops.keep(loop, here)
        return here

    async def _logged_in(self, loop: asyncio.AbstractEventLoop) -> Target:
        """Ask for credentials, once for all tasks that open a client at the same time."""
        asking = self._asking.get(loop)
        if asking is None or asking.done():
            asking = loop.create_task(alogged_in(self._target))
            self._asking.keep(loop, asking)
            asking.add_done_callback(partial(_asked, self._asking, loop))
        return await joined(asking)

    # -- the end -------------------------------------------------------------------------------------------------

    def _take(self) -> tuple[SyncLimiter | None, dict[asyncio.AbstractEventLoop, _Loop]]:
        with self._lock:
            self._is_closed = True
            sync, self._sync = self._sync, None
            loops = self._loops.take_all()
        self._workers.close()
        return sync, loops

    def _stop_server(self) -> None:
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()

    def close(self) -> None:
        sync, loops = self._take()
        here = running_loop()
        for loop, state in loops.items():
            future = _begin(state, loop)
            if future is not None and loop is not here and loop.is_running():
                # A loop that is blocked closes its client when it goes on.
                concurrent.futures.wait([future], SLACK)
        if sync is not None:
            sync.driver.close()
        self._stop_server()

    async def aclose(self) -> None:
        sync, loops = self._take()
        here = asyncio.get_running_loop()
        for loop, state in loops.items():
            if loop is here:
                await state.end()
            elif (future := _begin(state, loop)) is not None and loop.is_running():
                await asyncio.wait([asyncio.wrap_future(future)], timeout=SLACK)
        if sync is not None:
            sync.driver.close()
        if self._server is not None:
            await self._workers.run(self._stop_server)
            self._workers.close()


async def _until_the_loop_ends(
    loop: asyncio.AbstractEventLoop, here: _Loop, loops: Loops[_Loop]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if loops.get(loop) is here:
            loops.drop(loop)
        await here.end()


def _asked(asking: Loops[asyncio.Task[Target]], loop: asyncio.AbstractEventLoop, task: asyncio.Task[Target]) -> None:
    if asking.get(loop) is task:
        asking.drop(loop)
    if not task.cancelled():
        task.exception()  # whoever waits is told


def _end_all(loops: Loops[_Loop]) -> None:
    """End what a client leaves behind that nobody closed."""
    for loop, here in loops.take_all().items():
        _begin(here, loop)


def _begin(state: _Loop, loop: asyncio.AbstractEventLoop) -> concurrent.futures.Future[None] | None:
    """Have a loop close its client: at once if it runs, else when it runs again."""
    return None if loop.is_closed() else asyncio.run_coroutine_threadsafe(state.end(), loop)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def driver_for(target: Target) -> Driver:
    """Return the driver that a URL names, or the best one that is installed.

    For one server that is valkey-py, which takes less time, if it has its parser in C. For a cluster it is glide, which
    follows changes of the topology better. The logger ``statekeep.valkey`` says which one was chosen, and why.

    Raises:
        MissingDependency: it is not installed, or none is.
        InvalidInput: an option asks for what the named one cannot do.
    """
    glide = _installed("glide_sync") or _installed("glide")
    valkey_py = _installed("valkey")
    wanted, why = target.client, "the URL or a keyword names it"
    if target.only_valkey_py is not None:
        if wanted == "glide":
            name = target.only_valkey_py
            field = "client" if name.startswith("+") else name
            raise InvalidInput(f"{name} needs client='valkey-py'; glide cannot do that", field=field)
        wanted, why = "valkey-py", f"{target.only_valkey_py} is for it alone"
    elif wanted is None and target.credential_provider is not None and valkey_py:
        wanted, why = "valkey-py", "it asks the credential provider for each connection"
    elif wanted is None:
        wanted, why = _best(glide, valkey_py, target.cluster)
    if wanted == "glide" and not glide:
        raise MissingDependency("valkey-glide", "valkey")
    if wanted == "valkey-py" and not valkey_py:
        raise MissingDependency("valkey", "valkey-py")
    kind = "a cluster" if target.cluster else "one server"
    notice(valkey_logger, logging.INFO, f"{wanted} {why}", f"{wanted} is the client of a URL of {kind}: {why}")
    if wanted == "glide" and target.keepalive:
        notice(
            valkey_logger, logging.WARNING, "socket_keepalive", "socket_keepalive has no effect: glide decides itself"
        )
    return wanted


def _best(glide: bool, valkey_py: bool, cluster: bool) -> tuple[Driver, str]:
    if not valkey_py:
        return "glide", "valkey-py is not installed"
    if not glide:
        return "valkey-py", "valkey-glide is not installed"
    if cluster:
        return "glide", "it follows changes of the topology better"
    if _installed("libvalkey"):
        return "valkey-py", "with libvalkey it takes less time"
    return "glide", "libvalkey, with which valkey-py would take less time, is not installed"


def _import_driver(name: Driver, target: Target) -> None:
    """Import the driver, and read its files.

    An event loop must not, nor a forked child, whose parent may have been at it in another thread.
    """
    if name == "valkey-py":
        from .valkey_py import factory  # noqa: F401
    else:
        from .glide import opening, reopening  # noqa: F401

        for package in ("glide", "glide_sync"):
            if _installed(package):
                importlib.import_module(package)
        opening.read_files(target)


def _sync_driver(name: Driver, target: Target) -> SyncDriver:
    if name == "valkey-py":
        from .valkey_py import factory

        return factory.open_sync(target)
    if not _installed("glide_sync"):
        raise MissingDependency("valkey-glide-sync", "valkey")
    from .glide import reopening

    return reopening.open_sync(logged_in(target))


def _async_driver(name: Driver, target: Target) -> AsyncDriver | None:
    """Make a client for the running loop; ``None`` if it has to be served by threads."""
    if name == "valkey-py":
        from .valkey_py import factory

        return factory.open_async(target)
    if not _installed("glide"):
        return None
    from .glide import reopening

    return reopening.open_async(target)
