"""``cached``: keep the results of a function."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar

from attrs import field, frozen

from ..domain import DEFAULT, InvalidInput, JsonSerializer, Payload, Serializer, dump, load
from ..domain.cache import CacheKey
from ..domain.fingerprint import fingerprint
from ..domain.items import Namespace, Ttl
from ..domain.shown import shown
from .cache import (
    OUTAGES,
    AsyncCacheRepository,
    CacheBackend,
    CacheRepository,
    OnError,
    checked_on_error,
    unanswered,
    unreadable,
)
from .operation import Operation, arun, run
from .validation import labels, text, ttl_seconds

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

_NOTHING: Final = object()


# -- requests of a call


@frozen
class _Keep:
    """Ask the repository."""

    ask: Callable[[Any], Any]


@frozen
class _Run:
    """Call the function."""


@frozen
class _Wait:
    """Wait for the call that is under way."""

    future: Future[Any]


@frozen
class _Outcome:
    """The end of a call: a value, or the error that the function raised."""

    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


# -- one call at a time


_led: ContextVar[frozenset[tuple[int, str]]] = ContextVar("statekeep calls under way", default=frozenset())
"""The calls of which this code is a part: to wait for one of them would be to wait for itself."""


class _InFlight:
    """Calls of one function that are under way in this process, by key."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[str, Future[_Outcome | None]] = {}
        self._process = os.getpid()

    def join(self, key: str) -> tuple[Future[_Outcome | None], bool]:
        """Return a future of the outcome, and whether the caller must :meth:`finish` it.

        An outcome of ``None`` means that the call was cancelled: join again.
        """
        if self._process != os.getpid():
            self._begin()  # nobody in a child process would ever finish the calls of its parent
        with self._lock:
            future = self._futures.get(key)
            if future is not None:
                return future, False
            future = self._futures[key] = Future()
            future.set_running_or_notify_cancel()  # so that nobody who waits can cancel it for the others
            return future, True

    def finish(self, key: str, outcome: _Outcome | None) -> None:
        """Hand the outcome to all callers that wait."""
        with self._lock:
            future = self._futures.pop(key)
        future.set_result(outcome)

    def is_part_of(self, key: str) -> bool:
        return (id(self), key) in _led.get()

    @contextmanager
    def leading(self, key: str) -> Iterator[None]:
        token = _led.set(_led.get() | {(id(self), key)})
        try:
            yield
        finally:
            try:
                _led.reset(token)
            except ValueError:
                pass  # a coroutine that nobody waits for any more is closed wherever it is found


def _run() -> Operation[_Outcome]:
    outcome: _Outcome = yield _Run()
    return outcome


@frozen
class _Cached:
    """Settings and calls under way of one function."""

    namespace: Namespace
    ttl: Ttl
    serializer: Serializer
    on_error: OnError
    in_flight: _InFlight = field(factory=_InFlight)

    def call(self, key: str) -> Operation[_Outcome]:
        """Answer one call: from the cache, from a call under way, or by the function."""
        if self.in_flight.is_part_of(key):
            return (yield from _run())
        while True:
            future, leads = self.in_flight.join(key)
            if leads:
                return (yield from self._lead(key))
            outcome: _Outcome | None = yield _Wait(future)
            if outcome is None:
                continue  # it was cancelled, which is nobody's business but its own
            if outcome.error is not None:
                return outcome
            value = self._loaded(key, outcome.value)
            return (yield from _run()) if value is _NOTHING else _Outcome(value)

    def _lead(self, key: str) -> Operation[_Outcome]:
        shared: _Outcome | None = None
        try:
            outcome, payload = yield from self._made(key)
            shared = outcome if payload is None else _Outcome(payload)
            return outcome
        except Exception as error:
            shared = _Outcome(error=error)
            raise
        finally:
            self.in_flight.finish(key, shared)

    def _made(self, key: str) -> Operation[tuple[_Outcome, Payload | None]]:
        """Return the outcome and its payload; callers that wait load objects of their own."""
        place: CacheKey = (self.namespace, key)
        entries = yield from self._kept(lambda keep: keep.get([place]), {})
        if place in entries:
            payload = entries[place].payload
            value = self._loaded(key, payload)
            if value is not _NOTHING:
                return _Outcome(value), payload
        with self.in_flight.leading(key):
            outcome = yield from _run()
        if outcome.error is not None:
            return outcome, None
        payload = dump(self.serializer, outcome.value)
        yield from self._kept(lambda keep: keep.set({place: (payload, self.ttl)}), None)
        return outcome, payload

    def _kept(self, ask: Callable[[Any], Any], otherwise: Any) -> Operation[Any]:
        try:
            return (yield _Keep(ask))
        except OUTAGES as error:
            if self.on_error == "raise":
                raise
            unanswered(error)
            return otherwise

    def _loaded(self, key: str, payload: Payload) -> Any:
        try:
            return load(self.serializer, payload)
        except Exception as error:
            unreadable(error, (self.namespace, key))
            return _NOTHING


def _default_key(function: Callable[..., Any], name: str) -> Callable[..., str]:
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise InvalidInput(f"{name} does not say what its parameters are; pass key=", field="key") from error

    def key(*args: Any, **kwargs: Any) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return fingerprint(bound.arguments)
        except InvalidInput as error:
            raise InvalidInput(
                f"no key can be made of the arguments of {name}: {error}; pass key=, a function that returns a text",
                field=error.field,
            ) from error

    return key


def cached(
    repository: CacheRepository | AsyncCacheRepository,
    *,
    namespace: Sequence[str] | None = None,
    key: Callable[..., str] | None = None,
    ttl: Ttl = DEFAULT,
    serializer: Serializer | None = None,
    on_error: OnError = "raise",
) -> Callable[[Callable[P, ResultT]], Callable[P, ResultT]]:
    """Return a decorator that keeps the results of a function, by its arguments.

    The function may be a blocking one or ``async def``. While a call is under way, others with equal arguments in this
    process, in any thread or task, wait for it and get its result or exception: the function runs once. Exceptions are
    not kept. If a task that runs the function is cancelled, one of those that wait runs it.

    For methods, ``self`` is an argument, too: make its class a dataclass or a Pydantic model, or pass ``key``.

    Args:
        repository: where results are kept; either face serves functions of either kind.
        namespace: labels; by default one, the function's module and qualified name. Name a version in it to forget
            results of an older version of the function.
        key: gets the arguments and returns the entry's key, any text. By default all arguments count, as they are
            after defaults were applied, see :func:`~statekeep.domain.fingerprint.fingerprint`.
        ttl: seconds for which results are kept, fractions allowed; ``None`` for ever, :data:`~statekeep.DEFAULT` for
            the TTL of the repository.
        serializer: of results; :class:`~statekeep.JsonSerializer` by default, which keeps tuples, sets, bytes and
            dates as they are. An entry that cannot be read counts as missing, and the logger
            ``statekeep.cache`` warns.
        on_error: ``"raise"``: while the cache cannot be reached, calls raise ``Unavailable`` (or ``Throttled``, or
            ``QuotaExceeded``). ``"miss"``: they run the function, and a warning is logged; each waits until the
            ``deadline`` of the connection first.

    Raises:
        InvalidInput: an argument is wrong, or the function is a generator; at a call: no key can be made of its
            arguments, or the serializer refuses the result.

    Example:
        >>> import statekeep
        >>> keep = statekeep.connect("memory:")
        >>> @cached(keep.cache, ttl=3600)
        ... def add(a: int, b: int = 1) -> int:
        ...     print("adding")
        ...     return a + b
        >>> add(1), add(a=1, b=1)
        adding
        (2, 2)
    """
    if not isinstance(repository, CacheRepository | AsyncCacheRepository):
        raise InvalidInput(
            f"repository must be a CacheRepository or an AsyncCacheRepository, got {type(repository).__name__}",
            field="repository",
        )
    place = None if namespace is None else labels("namespace", namespace)
    life = DEFAULT if ttl is DEFAULT else ttl_seconds(ttl)
    if key is not None and not callable(key):
        raise InvalidInput("key must be a function that returns a text", field="key")
    if serializer is not None and not isinstance(serializer, Serializer):
        raise InvalidInput("serializer must have dumps_typed and loads_typed", field="serializer")
    chosen = checked_on_error(on_error)

    def decorate(function: Callable[P, ResultT]) -> Callable[P, ResultT]:
        name = _checked(function, named=place is not None)
        calls = _Cached((name,) if place is None else place, life, serializer or JsonSerializer(), chosen)
        make_key = key or _default_key(function, name)

        def operation(args: Any, kwargs: Mapping[str, Any]) -> Operation[_Outcome]:
            return calls.call(text("key", make_key(*args, **kwargs), empty=True))

        wrap = _awaiting if inspect.iscoroutinefunction(function) else _blocking
        return functools.wraps(function)(wrap(function, repository.backend, operation))

    return decorate


def _checked(function: Any, *, named: bool) -> str:
    """Return the name of a function whose results can be kept."""
    if not callable(function):
        raise InvalidInput(
            f"only functions can be cached, got {type(function).__name__}; @cached goes below @classmethod, "
            "@staticmethod and @property",
            field="function",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(f"{shown(function)} is a generator: what it yields cannot be cached", field="function")
    name = getattr(function, "__qualname__", None)
    if name is None and not named:
        raise InvalidInput(f"{shown(function)} has no name of its own; pass namespace=", field="namespace")
    return f"{function.__module__}.{name}"


def _blocking(function: Any, backend: CacheBackend, operation: Callable[..., Operation[_Outcome]]) -> Any:
    keep = CacheRepository(backend)

    def call(*args: Any, **kwargs: Any) -> Any:
        def answer(request: _Keep | _Run | _Wait) -> Any:
            match request:
                case _Keep(ask):
                    return ask(keep)
                case _Wait(future):
                    return future.result()
                case _Run():
                    try:
                        return _Outcome(function(*args, **kwargs))
                    except Exception as error:
                        return _Outcome(error=error)

        return run(operation(args, kwargs), answer).result()

    return call


def _awaiting(function: Any, backend: CacheBackend, operation: Callable[..., Operation[_Outcome]]) -> Any:
    keep = AsyncCacheRepository(backend)

    async def call(*args: Any, **kwargs: Any) -> Any:
        async def answer(request: _Keep | _Run | _Wait) -> Any:
            match request:
                case _Keep(ask):
                    return await ask(keep)
                case _Wait(future):
                    return await asyncio.wrap_future(future)
                case _Run():
                    try:
                        return _Outcome(await function(*args, **kwargs))
                    except Exception as error:
                        return _Outcome(error=error)

        return (await arun(operation(args, kwargs), answer)).result()

    return call
