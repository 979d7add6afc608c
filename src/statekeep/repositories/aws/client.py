"""A boto3 client that answers requests of operations.

It does so blocking, or from an event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from ...domain import ClientClosed, InvalidInput
from ...domain.shown import once_made
from ..process import fork
from ..process.copies import refuse
from ..process.notices import aws_logger
from ..process.workers import Workers
from .attempts import follow
from .calls import AwsCall, Reply, Request
from .errors import TOKEN_REUSED, NotFound, failure, rule_for
from .joining import Joiner

WORKERS: Final = 16
"""Threads at most; fewer if the client has fewer connections."""


_PORTS: Final = {"https": 443, "http": 80}


class AwsClient:
    """Executes :class:`AwsCall` and :class:`AwsCalls` with one boto3 client.

    Calls side by side, and those of event loops, run in threads: as many as the client has connections, 16 at most.
    Calls that may be joined go out as one when they wait for each other, see :mod:`.joining`.
    In a forked process a client of our own is made anew.

    Args:
        client: a boto3 client of ``service``; ``None`` to make one with the first call, in a thread, because boto3
            reads files for that.
        service: boto3's name of the service.
        remake: makes the client, also after a fork, and says that it is ours to close; ``None`` for one of the user's,
            which is never closed.
        workers: threads at most, while there is no client that could say it.
        slow_request: seconds from which on a warning tells of a call that took so long; ``None`` for never.

    Raises:
        InvalidInput: ``client`` is none of boto3's, or of another service.
    """

    def __init__(
        self,
        client: Any,
        service: str,
        remake: Callable[[], Any] | None = None,
        *,
        workers: int = WORKERS,
        slow_request: float | None = None,
    ) -> None:
        if client is not None or remake is None:
            check_client(client, service)
            workers = client.meta.config.max_pool_connections
        self.service = service
        self._client: Any = None
        self._address: tuple[Any, tuple[str | None, int | None]] | None = None
        self._methods: dict[str, str] = {}
        if client is not None:
            self._use(client)
        self._remake = remake
        self._making = threading.Lock()
        self._workers = Workers(min(WORKERS, workers), "statekeep-aws")
        self._slow_request = slow_request
        self._joiner = Joiner(self._workers, self._call)
        self._is_closed = False
        fork.follow(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._remake is None:
            refuse(
                "a boto3 client that you made, and savers and repositories around it,",
                "pass region_name and the like instead: a copy then makes a client of its own",
            )
        return _made_again, (self.service, self._remake, self._slow_request, self._is_closed)

    @once_made
    def __repr__(self) -> str:
        if self._client is None:
            return f"{type(self).__name__}({self.service!r})"
        return f"{type(self).__name__}({self.service!r}, region={self.region!r}, {self._client.meta.endpoint_url!r})"

    @property
    def client(self) -> Any:
        """The client of boto3."""
        return self._client or self._made()

    @property
    def region(self) -> str | None:
        """The client's region; ``None`` as long as there is no client."""
        region: str | None = self._client and self._client.meta.region_name
        return region

    def sibling(self, service: str) -> AwsClient | None:
        """Return a client of another service, with the same settings; yours to close.

        Args:
            service: boto3's name of it.

        Returns:
            ``None`` over a client that the user made, whose settings nobody knows.
        """
        if not isinstance(self._remake, partial):
            return None
        return AwsClient(None, service, partial(self._remake.func, service))

    @property
    def address(self) -> tuple[str | None, int | None]:
        """The host and port of the service; nothing as long as there is no client."""
        client = self._client
        if client is None:
            return None, None
        if self._address is None or self._address[0] is not client:
            url = urlsplit(client.meta.endpoint_url)
            self._address = client, (url.hostname, url.port or _PORTS.get(url.scheme))
        return self._address[1]

    def after_fork(self) -> None:
        """Leave the client of the parent alone, and make another one when it is needed."""
        self._making = threading.Lock()
        if self._remake is not None:
            # The parent goes on using the connections that this process inherited.
            fork.abandon(self._client)
            self._client = None

    def execute(self, request: Request) -> Reply:
        """Answer a request, blocking.

        Raises:
            StatekeepError: what the service or boto3 reports; see :mod:`.errors`.
        """
        self._check_open()
        if isinstance(request, AwsCall):
            return self._here(request)
        if len(request.calls) == 1:
            return [self._here(request.calls[0])]
        futures = [self._submitted(call) for call in request.calls]
        return _first_error_or_replies([(future.exception(), future) for future in futures])

    async def aexecute(self, request: Request) -> Reply:
        """Answer a request without blocking the event loop. Raises as :meth:`execute`.

        When the caller is cancelled, calls that have begun still run to their end.
        """
        self._check_open()
        if isinstance(request, AwsCall):
            return await asyncio.wrap_future(self._submitted(request))
        futures = [self._submitted(call) for call in request.calls]
        done = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        errors = [one if isinstance(one, BaseException) else None for one in done]
        return _first_error_or_replies(list(zip(errors, futures, strict=True)))

    def close(self) -> None:
        """Close the client, unless it is the user's, and let the threads end."""
        self._is_closed = True
        self._workers.close()
        if self._remake is not None and self._client is not None:
            self._client.close()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        self.close()

    def _here(self, call: AwsCall) -> Any:
        return self._call(call) if call.joins is None else self._submitted(call).result()

    def _submitted(self, call: AwsCall) -> Future[Any]:
        if call.joins is not None:
            return self._joiner.submit(call, call.joins)
        return self._workers.submit(self._call, call)

    def _call(self, call: AwsCall) -> Any:
        client = self._client or self._made()
        method = self._methods.get(call.operation)
        if method is None:
            raise InvalidInput(f"{self.service} has no operation {call.operation}", field="operation")
        began = time.monotonic()
        try:
            reply = getattr(client, method)(**call.arguments)
            self._note(call, reply, time.monotonic() - began)
            return reply
        except Exception as error:
            rule = rule_for(error, self.service, call)
            if rule is None:
                raise
            if call.missing_ok and rule.error is NotFound:
                return None
            if call.used_ok and rule is TOKEN_REUSED:
                return None
            # A cause is printed with the traceback, so what must not be shown is no cause.
            cause = error if rule.shows_text else None
            raise failure(rule, error, self.service, self.region, call) from cause

    def _note(self, call: AwsCall, reply: Any, seconds: float) -> None:
        metadata = reply.get("ResponseMetadata", {}) if isinstance(reply, dict) else {}
        if failures := metadata.get("RetryAttempts"):
            aws_logger.info(
                "%s %s is answered after %d failed attempts and %.1f seconds",
                self.service,
                call.operation,
                failures,
                seconds,
            )
        if self._slow_request is not None and seconds >= self._slow_request:
            aws_logger.warning("%s: slow: %s took %.3f seconds", self.service, call.operation, seconds)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClientClosed(f"{self.service}: the client is closed")

    def _made(self) -> Any:
        with self._making:
            if self._client is None:
                self._check_open()
                assert self._remake is not None
                made = self._remake()
                self._use(made)
                if self._is_closed:  # meanwhile, by another thread
                    made.close()
                    self._check_open()
            return self._client

    def _use(self, client: Any) -> None:
        follow(client, self.service)
        self._methods = {api: method for method, api in client.meta.method_to_api_mapping.items()}
        self._client = client


def _made_again(service: str, remake: Callable[[], Any], slow_request: float | None, is_closed: bool) -> AwsClient:
    client = AwsClient(None, service, remake, slow_request=slow_request)
    if is_closed:
        client.close()
    return client


def _first_error_or_replies(done: Iterable[tuple[BaseException | None, Future[Any]]]) -> list[Any]:
    pairs = list(done)
    for error, _ in pairs:
        if error is not None:
            raise error
    return [future.result() for _, future in pairs]


def check_client(client: Any, service: str) -> None:
    """Check that this is a boto3 client of a service.

    Raises:
        InvalidInput: it is not; ``field`` is ``client``.
    """
    try:
        found = client.meta.service_model.service_name
        # That of aiobotocore's clients is a coroutine function.
        is_blocking = not asyncio.iscoroutinefunction(client._make_api_call)  # noqa: SLF001
    except AttributeError:
        raise InvalidInput(
            f'client must be boto3.client("{service}"), got {type(client).__name__}', field="client"
        ) from None
    if found != service:
        raise InvalidInput(f'client must be boto3.client("{service}"), got one of "{found}"', field="client")
    if not is_blocking:
        raise InvalidInput(
            "client must be boto3's; one of aioboto3 or aiobotocore does not fit. The async methods serve event loops "
            "with threads",
            field="client",
        )
