"""``cached``: keep the results of a function."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from types import ModuleType, NoneType
from typing import Any, Concatenate, Final, ParamSpec, Protocol, Self, TypeVar, overload

from attrs import field, frozen

from ...domain import DEFAULT, InvalidInput, Payload, Serializer, dump, load
from ...domain.cache import CacheKey
from ...domain.fingerprint import fingerprint
from ...domain.items import Namespace
from ...domain.model import Ttl
from ..cache import (
    OUTAGES,
    AsyncCacheRepository,
    CacheBackend,
    CacheRepository,
    OnError,
    checked_on_error,
    logger,
    unanswered,
)
from ..operation import Operation, arun, run
from ..validation import labels, text, ttl_seconds
from .in_flight import InFlight, Outcome
from .results import serializer_of

P = ParamSpec("P")
Q = ParamSpec("Q")
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)

_NOTHING: Final = object()
_UNKEPT: Final = object()
"""The result of a call that nobody else can have."""


# -- types of decorated functions


class CachedFunction(Protocol[P, ResultT_co]):
    """A function that :func:`cached` decorated.

    What it and its methods return is awaited if it is ``async def``.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ResultT_co:
        """Return the result, kept or new."""
        ...

    @overload
    def invalidate(  # type: ignore[overload-overlap]  # results of any type count as awaitable, too
        self: CachedFunction[P, Coroutine[Any, Any, Any]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, bool]: ...
    @overload
    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...

    @overload
    def clear(  # type: ignore[overload-overlap]
        self: CachedFunction[P, Coroutine[Any, Any, Any]],
    ) -> Coroutine[Any, Any, int]: ...
    @overload
    def clear(self) -> int: ...

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Any, Q], ResultT], instance: object, owner: Any = None
    ) -> Callable[Q, ResultT]: ...


class Decorator(Protocol):
    """A decorator, made by :func:`cached`."""

    def __call__(self, function: Callable[P, ResultT], /) -> CachedFunction[P, ResultT]: ...


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


def _run() -> Operation[Outcome]:
    outcome: Outcome = yield _Run()
    return outcome


@frozen
class _Cached:
    """Settings and calls under way of one function.

    Attributes:
        name: of the function, for messages.
        serializer: returns that of the results.
    """

    name: str
    namespace: Namespace
    ttl: Ttl
    serializer: Callable[[], Serializer]
    on_error: OnError
    in_flight: InFlight = field(factory=InFlight)

    def invalidate(self, key: str) -> Operation[bool]:
        """Forget the result of one call."""
        return bool((yield _Keep(lambda keep: keep.delete([(self.namespace, key)]))))

    def clear(self) -> Operation[int]:
        """Forget all results."""
        count: int = yield _Keep(lambda keep: keep.clear([self.namespace]))
        return count

    def call(self, key: str) -> Operation[Any]:
        """Answer one call: from the cache, from a call under way, or by the function."""
        return (yield from self._call(key)).result()

    def _call(self, key: str) -> Operation[Outcome]:
        if self.in_flight.is_part_of(key):
            return (yield from _run())
        while True:
            future, leads = self.in_flight.join(key)
            if leads:
                return (yield from self._lead(key))
            outcome: Outcome | None = yield _Wait(future)
            if outcome is None:
                continue  # it was cancelled, which is nobody's business but its own
            if outcome.error is not None:
                return outcome
            if outcome.value is _UNKEPT:
                return (yield from _run())
            value = self._loaded(key, outcome.value)
            return (yield from _run()) if value is _NOTHING else Outcome(value)

    def _lead(self, key: str) -> Operation[Outcome]:
        shared: Outcome | None = None
        try:
            outcome, payload = yield from self._made(key)
            shared = outcome if outcome.error is not None else Outcome(_UNKEPT if payload is None else payload)
            return outcome
        except Exception as error:
            shared = Outcome(error=error)
            raise
        finally:
            self.in_flight.finish(key, shared)

    def _made(self, key: str) -> Operation[tuple[Outcome, Payload | None]]:
        """Return the outcome, and its payload if it can be kept.

        Callers that wait load objects of their own.
        """
        serializer = self.serializer()  # before the function runs: it may refuse what the function returns
        place: CacheKey = (self.namespace, key)
        entries = yield from self._kept(lambda keep: keep.get([place]), {})
        if place in entries:
            payload = entries[place].payload
            value = self._loaded(key, payload)
            if value is not _NOTHING:
                return Outcome(value), payload
        with self.in_flight.leading(key):
            outcome = yield from _run()
        if outcome.error is not None:
            return outcome, None
        try:
            payload = dump(serializer, outcome.value)
        except Exception as error:
            # It may have been dear. Neither the result nor the error's text is logged, which may show it.
            logger.warning(
                "the result of %s is not kept: %s refuses a %s (%s); annotate what it returns, or pass serializer=",
                self.name,
                type(serializer).__name__,
                type(outcome.value).__qualname__,
                type(error).__name__,
            )
            return outcome, None
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
            return load(self.serializer(), payload)
        except Exception as error:
            logger.warning(
                "the kept result of %s under the key %r cannot be read and counts as missing (%s)",
                self.name,
                key,
                type(error).__name__,
            )
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
) -> Decorator:
    """Return a decorator that keeps the results of a function, by its arguments.

    The function may be a blocking one or ``async def``. While a call is under way, others with equal arguments in this
    process, in any thread or task, wait for it and get its result or exception: the function runs once. Exceptions are
    not kept. If a task that runs the function is cancelled, one of those that wait runs it.

    ``f.invalidate(...)`` takes the arguments of a call, forgets its result, and returns whether one was kept.
    ``f.clear()`` forgets all results in the namespace, and returns how many. Both are awaited if ``f`` is, and raise an
    outage whatever ``on_error`` is. A call that is under way meanwhile may still store its result.

    For methods, ``self`` is an argument, too: make its class a dataclass or a Pydantic model, or pass ``key``. To
    ``invalidate`` pass it as well: ``Weather.at.invalidate(weather, "london")``.

    Args:
        repository: where results are kept; either face serves functions of either kind.
        namespace: labels; by default one, the function's module and qualified name. Name a version in it to forget
            results of an older version of the function. Required for what has no name of its own: lambdas, functions
            within functions, bound methods, callable objects, and functions of a script, which are all of ``__main__``
            (those of ``python -m package.module`` are not). What tells two of them apart, such as a tenant, belongs
            into it. So does what a decorator below this one adds to the arguments.
        key: gets the arguments and returns the entry's key, any text. By default all arguments count, as they are
            after defaults were applied, see :func:`~statekeep.domain.fingerprint.fingerprint`.
        ttl: seconds for which results are kept, fractions allowed; ``None`` for ever, :data:`~statekeep.DEFAULT` for
            the TTL of the repository.
        serializer: of results. By default what the function is annotated to return says how: models, dataclasses,
            enumerations and containers of such are read by Pydantic, anything else by
            :class:`~statekeep.JsonSerializer`, which keeps tuples, sets, bytes and dates as they are. A result that
            would not come back equal is returned but not kept, and the logger ``statekeep.cache`` warns; so it does of
            an entry that cannot be read, which counts as missing.
        on_error: ``"raise"``: while the cache cannot be reached, calls raise ``Unavailable`` (or ``Throttled``, or
            ``QuotaExceeded``). ``"miss"``: they run the function, and a warning is logged; each waits until the
            ``deadline`` of the connection first.

    Raises:
        InvalidInput: an argument is wrong; the function is a generator, has no name of its own and no ``namespace``, or
            returns what cannot be kept; at a call: no key can be made of its arguments.

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
        >>> add.invalidate(1), add(1)
        adding
        (True, 2)
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

    def decorate(function: Any, /) -> Any:
        name, own = _checked(function)
        if place is None and own is not None:
            raise InvalidInput(f"{name} {own}; pass namespace=, labels that no other function has", field="namespace")
        chosen_serializer = (lambda: serializer) if serializer is not None else serializer_of(function, name)
        calls = _Cached(name, (name,) if place is None else place, life, chosen_serializer, chosen)
        make_key = key or _default_key(function, name)

        def key_of(args: Any, kwargs: Mapping[str, Any]) -> str:
            return text("key", make_key(*args, **kwargs), empty=True)

        wrap = _awaiting if inspect.iscoroutinefunction(function) else _blocking
        return wrap(function, repository.backend, calls, key_of)

    return decorate


def _checked(function: Any) -> tuple[str, str | None]:
    """Return the name of a function whose results can be kept.

    And why it is no name of its own, if so.
    """
    if not callable(function):
        raise InvalidInput(
            f"only functions can be cached, got {type(function).__name__}; @cached goes below @classmethod, "
            "@staticmethod and @property",
            field="function",
        )
    qualified = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if qualified is None:
        return f"{module}.{type(function).__qualname__}", "is an object without a name"
    name = f"{module}.{qualified}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(f"{name} is a generator: what it yields cannot be cached", field="function")
    if "<lambda>" in qualified:
        return name, "is a lambda, which has no name of its own"
    if "<locals>" in qualified:
        return name, "is made anew by each call of the function around it, and all of these share its name"
    if not isinstance(getattr(function, "__self__", None), ModuleType | NoneType):
        return name, "is bound to an object, and those of other objects share its name"
    if module in ("__main__", "__mp_main__"):
        spec = getattr(sys.modules.get(module), "__spec__", None)
        if spec is None:
            return name, "is a function of a script, and those of other scripts may share its name"
        return f"{spec.name}.{qualified}", None
    return name, None if module else "is of no module"


def _described(wrapper: Any, function: Any, invalidate: Callable[..., Any], clear: Callable[[], Any]) -> Any:
    """Have a wrapper look like the function, and give it the two others."""
    functools.update_wrapper(wrapper, function)
    wrapper.invalidate, wrapper.clear = invalidate, clear
    return wrapper


def _check_object(function: Any, args: Sequence[Any]) -> None:
    """Refuse to invalidate a call of a method without its object.

    ``weather.at.invalidate`` does not get it.
    """
    around, _, name = str(getattr(function, "__qualname__", "")).rpartition("<locals>.")[2].rpartition(".")
    if not around or next(iter(inspect.signature(function).parameters), "") not in ("self", "cls"):
        return
    if args and not hasattr(args[0] if isinstance(args[0], type) else type(args[0]), name):
        raise InvalidInput(f"pass the object first: {around}.{name}.invalidate({around.lower()}, ...)", field="self")


def _blocking(function: Any, backend: CacheBackend, calls: _Cached, key_of: Callable[..., str]) -> Any:
    keep = CacheRepository(backend)

    def answer(request: _Keep | _Wait) -> Any:
        return request.ask(keep) if isinstance(request, _Keep) else request.future.result()

    def call(*args: Any, **kwargs: Any) -> Any:
        def answer_call(request: _Keep | _Run | _Wait) -> Any:
            if not isinstance(request, _Run):
                return answer(request)
            try:
                return Outcome(function(*args, **kwargs))
            except Exception as error:
                return Outcome(error=error)

        return run(calls.call(key_of(args, kwargs)), answer_call)

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        _check_object(function, args)
        return run(calls.invalidate(key_of(args, kwargs)), answer)

    def clear() -> int:
        return run(calls.clear(), answer)

    return _described(call, function, invalidate, clear)


def _awaiting(function: Any, backend: CacheBackend, calls: _Cached, key_of: Callable[..., str]) -> Any:
    keep = AsyncCacheRepository(backend)

    async def answer(request: _Keep | _Wait) -> Any:
        return await (request.ask(keep) if isinstance(request, _Keep) else asyncio.wrap_future(request.future))

    async def call(*args: Any, **kwargs: Any) -> Any:
        async def answer_call(request: _Keep | _Run | _Wait) -> Any:
            if not isinstance(request, _Run):
                return await answer(request)
            try:
                return Outcome(await function(*args, **kwargs))
            except Exception as error:
                return Outcome(error=error)

        return await arun(calls.call(key_of(args, kwargs)), answer_call)

    async def invalidate(*args: Any, **kwargs: Any) -> bool:
        _check_object(function, args)
        return await arun(calls.invalidate(key_of(args, kwargs)), answer)

    async def clear() -> int:
        return await arun(calls.clear(), answer)

    return _described(call, function, invalidate, clear)
