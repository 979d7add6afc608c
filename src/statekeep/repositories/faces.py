"""Both faces of a repository's method, made from one body.

A body checks its arguments and returns an operation. :func:`blocking` makes a method of it that runs the operation,
:func:`awaiting` one that must be awaited: same name, parameters, defaults and docstring. A listing's body returns its
pages; :func:`iterating` and :func:`aiterating` make methods of it that read them one by one.
"""

from __future__ import annotations

import datetime as dt
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from types import FunctionType
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from ..domain.shown import once_made
from ..telemetry import hook
from ..telemetry.calls import Call
from .operation import Operation, Page, arun, named, run

ParametersT = ParamSpec("ParametersT")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Pages = Callable[[Any], Operation[Page[ItemT]]]
"""Returns the operation that reads the page at a cursor; ``None`` is the first one's."""


class Executor(Protocol):
    """Answers the requests of operations. Each backend does."""

    def execute(self, request: Any) -> Any:
        """Answer one request of an operation, blocking."""
        ...

    async def aexecute(self, request: Any) -> Any:
        """Answer one request of an operation, without blocking the event loop."""
        ...


class Backend(Executor, Protocol):
    """The part of a backend that is the same for all kinds of records."""

    def ping(self) -> Operation[None]:
        """Ask for a sign of life, with one request that any user is permitted."""
        ...

    def now(self) -> Operation[dt.datetime]:
        """Read the server's clock with one request; in UTC."""
        ...

    def close(self) -> None:
        """Close what the backend opened itself. Idempotent."""
        ...

    async def aclose(self) -> None:
        """As :meth:`close`, from the event loop."""
        ...


BackendT = TypeVar("BackendT", bound=Backend)


class Repository(Generic[BackendT]):
    """The part that both faces share.

    It is a backend, and who answers the requests of its operations.
    """

    kind: ClassVar[str] = ""
    """The kind of its records, as in the names of operations: ``"checkpoints"``."""

    def __init__(self, backend: BackendT) -> None:
        self.backend = backend
        self.executor: Executor = backend

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, member in vars(cls).items():
            body = getattr(member, "__wrapped__", None)
            if isinstance(member, FunctionType) and body and member.__qualname__ == body.__qualname__:
                member.__qualname__, member.__module__ = f"{cls.__qualname__}.{name}", cls.__module__

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.backend!r})"


RepositoryT = TypeVar("RepositoryT", bound=Repository[Any])


def blocking(
    body: Callable[Concatenate[RepositoryT, ParametersT], Operation[ResultT]],
) -> Callable[Concatenate[RepositoryT, ParametersT], ResultT]:
    """Make a method that runs the operation of ``body``."""
    call = Call(body)

    @wraps(body)
    def method(self: RepositoryT, /, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> ResultT:
        if hook.observers:
            with call.watching(self, args, kwargs):
                return run(body(self, *args, **kwargs), self.executor.execute)
        return run(body(self, *args, **kwargs), self.executor.execute)

    _describe(method, body)
    return method


def awaiting(
    body: Callable[Concatenate[RepositoryT, ParametersT], Operation[ResultT]],
) -> Callable[Concatenate[RepositoryT, ParametersT], Coroutine[Any, Any, ResultT]]:
    """Make a coroutine function that runs the operation of ``body``."""
    call = Call(body)

    @wraps(body)
    async def method(self: RepositoryT, /, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> ResultT:
        if hook.observers:
            with call.watching(self, args, kwargs):
                return await arun(body(self, *args, **kwargs), self.executor.aexecute)
        return await arun(body(self, *args, **kwargs), self.executor.aexecute)

    _describe(method, body)
    return method


def iterating(
    body: Callable[Concatenate[RepositoryT, ParametersT], Pages[ItemT]],
) -> Callable[Concatenate[RepositoryT, ParametersT], Iterator[ItemT]]:
    """Make a method that iterates over the pages of ``body``.

    Bad input is refused before the first step.
    """
    call = Call(body)

    @wraps(body)
    def method(self: RepositoryT, /, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> Iterator[ItemT]:
        return _items(body(self, *args, **kwargs), self, lambda: call.watching(self, args, kwargs))

    _describe(method, body, Iterator)
    return method


def aiterating(
    body: Callable[Concatenate[RepositoryT, ParametersT], Pages[ItemT]],
) -> Callable[Concatenate[RepositoryT, ParametersT], AsyncIterator[ItemT]]:
    """Make a method that iterates asynchronously over the pages of ``body``.

    See :func:`iterating`.
    """
    call = Call(body)

    @wraps(body)
    def method(self: RepositoryT, /, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> AsyncIterator[ItemT]:
        return _aitems(body(self, *args, **kwargs), self, lambda: call.watching(self, args, kwargs))

    _describe(method, body, AsyncIterator)
    return method


Watching = Callable[[], hook.watching]


def _items(pages: Pages[ItemT], repository: Repository[Any], watching: Watching) -> Iterator[ItemT]:
    page = _page(pages(None), repository, watching)
    yield from page.items
    while page.cursor is not None:
        page = _page(pages(page.cursor), repository, watching)
        yield from page.items


def _page(operation: Operation[Page[ItemT]], repository: Repository[Any], watching: Watching) -> Page[ItemT]:
    if hook.observers:
        with watching():
            return run(operation, repository.executor.execute)
    return run(operation, repository.executor.execute)


async def _aitems(pages: Pages[ItemT], repository: Repository[Any], watching: Watching) -> AsyncIterator[ItemT]:
    page = await _apage(pages(None), repository, watching)
    for item in page.items:
        yield item
    while page.cursor is not None:
        page = await _apage(pages(page.cursor), repository, watching)
        for item in page.items:
            yield item


async def _apage(operation: Operation[Page[ItemT]], repository: Repository[Any], watching: Watching) -> Page[ItemT]:
    if hook.observers:
        with watching():
            return await arun(operation, repository.executor.aexecute)
    return await arun(operation, repository.executor.aexecute)


def _describe(method: Any, body: Callable[..., Any], iterator: Any = None) -> None:
    """Have ``method`` say what it returns, and its own name.

    Tracebacks and profiles tell it apart by that.

    Args:
        method: wraps ``body``.
        body: returns ``Operation[X]`` or ``Pages[X]``, as an annotation in text.
        iterator: ``method`` returns one of X; ``None`` for X itself.
    """
    # What is wrong with arguments is said of the body, by the name that the caller knows.
    method.__name__ = name = body.__name__.removeprefix("_")
    method.__qualname__ = body.__qualname__ = name
    method.__code__ = method.__code__.replace(co_name=name)
    returned = body.__annotations__["return"].partition("[")[2].removesuffix("]")
    shown = returned if iterator is None else f"{iterator.__name__}[{returned}]"
    method.__signature__ = inspect.signature(body).replace(return_annotation=shown)
    # Type hints are looked up in the body's module, which need not know the iterator.
    method.__annotations__ = {**body.__annotations__, "return": returned if iterator is None else iterator[returned]}


def _ping(self: Repository[Any]) -> Operation[float]:
    """Ask for a sign of life: one round trip, none with ``memory:``.

    Returns:
        The seconds that the answer took, those to connect included.

    Raises:
        Unavailable: no answer until the deadline.
        AccessDenied: the credentials are wrong.

    Example:
        >>> import statekeep
        >>> statekeep.connect("memory:").ping() < 1
        True
    """
    return pinged(self.backend)


def _now(self: Repository[Any]) -> Operation[dt.datetime]:
    """Read the server's clock: one round trip, none with ``memory:``.

    Valkey tells microseconds, in a cluster those of one of its nodes; records expire by this clock. AWS services tell
    the whole second in which they answered, and the TTL of items in AgentCore goes by your own clock. With ``memory:``
    it is the clock of this process, or the one that was given.

    Returns:
        The time, in UTC.

    Raises:
        Unavailable: no answer until the deadline.
        AccessDenied: the credentials are wrong, or forbid the question.
        Unsupported: something between you and the AWS service removes the time from its answers.

    Example:
        >>> import statekeep
        >>> statekeep.connect("memory:", clock=lambda: 1_000_000_000.5).now().isoformat()
        '2001-09-09T01:46:40.500000+00:00'
    """
    return named("now", self.backend.now())


class Blocking(Repository[BackendT]):
    """The part of a blocking repository that is the same for all kinds of records."""

    ping = blocking(_ping)
    now = blocking(_now)

    def close(self) -> None:
        """Close what the repository opened itself. Idempotent.

        A client that you passed stays open.
        """
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Awaiting(Repository[BackendT]):
    """The part of an asyncio repository that is the same for all kinds of records."""

    ping = awaiting(_ping)
    now = awaiting(_now)

    async def close(self) -> None:
        """Close what the repository opened itself. Idempotent.

        A client that you passed stays open.
        """
        await self.backend.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def pinged(backend: Backend) -> Operation[float]:
    """Ask a backend for a sign of life; return the seconds that the answer took."""
    return named("ping", _pinged(backend))


def _pinged(backend: Backend) -> Operation[float]:
    began = time.perf_counter()
    yield from backend.ping()
    return time.perf_counter() - began


@contextmanager
def closing_on_error(close: Callable[[], None]) -> Iterator[None]:
    """Call ``close`` if the block fails."""
    try:
        yield
    except BaseException:
        close()
        raise


@asynccontextmanager
async def aclosing_on_error(close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Await ``close`` if the block fails."""
    try:
        yield
    except BaseException:
        await close()
        raise
