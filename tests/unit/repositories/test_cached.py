"""What ``cached`` keeps, what it makes of errors, and how often it runs a function."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
from pydantic import BaseModel

import statekeep
from statekeep import (
    AsyncCacheRepository,
    CacheRepository,
    InvalidInput,
    ModelSerializer,
    Payload,
    QuotaExceeded,
    Throttled,
    Unavailable,
    cached,
)
from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.testing.comparison import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def cache() -> CacheRepository:
    return CacheRepository(MemoryCacheEntries())


@pytest.fixture
def acache(cache: CacheRepository) -> AsyncCacheRepository:
    return AsyncCacheRepository(cache.backend)


class Counter:
    """A function that counts its calls."""

    def __init__(self, result: Any = "result") -> None:
        self.calls: list[Any] = []
        self.result = result

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


# -- what is a hit


def test_equal_arguments_are_one_call(cache: CacheRepository) -> None:
    calls = []

    @cached(cache)
    def add(a: int, b: int = 1, *more: int, scale: int = 1) -> int:
        calls.append((a, b, more, scale))
        return (a + b + sum(more)) * scale

    assert add(1) == add(1, 1) == add(a=1, b=1) == add(b=1, a=1, scale=1) == 2
    assert len(calls) == 1
    assert add(1, 1, 1) == 3
    assert add(1, scale=2) == 4
    assert add(True) == 2  # equal, but not the same
    assert add(1.0) == 2.0  # type: ignore[arg-type]
    assert type(add(1.0)) is float  # type: ignore[arg-type]
    assert len(calls) == 5
    with pytest.raises(TypeError):
        add()


async def test_async_functions(cache: CacheRepository, acache: AsyncCacheRepository) -> None:
    calls = []

    async def double(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return 2 * x

    for repository in (cache, acache):
        kept = cached(repository, namespace=(type(repository).__name__,))(double)
        assert inspect.iscoroutinefunction(kept)
        assert [await kept(1), await kept(x=1), await kept(2)] == [2, 2, 4]
    assert calls == [1, 2, 1, 2]


def test_a_blocking_function_over_the_async_face(acache: AsyncCacheRepository) -> None:
    counter = Counter()
    assert cached(acache, namespace=("n",), key=str)(counter)() == "result"
    assert cached(acache, namespace=("n",), key=str)(counter)() == "result"
    assert len(counter.calls) == 1


@pytest.mark.parametrize("result", [None, False, 0, "", [], (1, (2,)), {1: b"x"}, {"a"}])
def test_every_result_is_a_hit(cache: CacheRepository, result: Any) -> None:
    counter = Counter(result)
    function = cached(cache, namespace=("n",))(counter)
    assert function() == result
    found = function()
    assert found == result
    assert type(found) is type(result)
    assert len(counter.calls) == 1


def test_results_are_objects_of_their_own(cache: CacheRepository) -> None:
    function = cached(cache, namespace=("n",))(Counter([1]))
    function().append(2)
    function().append(3)
    assert function() == [1]


def test_the_ttl(cache: CacheRepository) -> None:
    clock = Clock()
    repository = CacheRepository(MemoryCacheEntries(ttl=10, clock=clock))
    default, brief, ever = (Counter(name) for name in ("default", "brief", "ever"))
    functions = [
        cached(repository, namespace=("default",))(default),
        cached(repository, namespace=("brief",), ttl=0.5)(brief),
        cached(repository, namespace=("ever",), ttl=None)(ever),
    ]
    for wait in (0, 0.6, 10, 100):
        clock.now += wait
        assert [function() for function in functions] == ["default", "brief", "ever"]
    assert [len(counter.calls) for counter in (default, brief, ever)] == [3, 4, 1]


def test_the_namespace(cache: CacheRepository) -> None:
    @cached(cache)
    def one() -> int:
        return 1

    @cached(cache, namespace=["of", "mine"])
    def two() -> int:
        return 2

    assert one() + two() == 3
    assert cache.clear([(f"{__name__}.test_the_namespace.<locals>.one",)]) == 1
    assert cache.clear([("of", "mine")]) == 1


def test_the_key(cache: CacheRepository) -> None:
    calls = []

    @cached(cache, namespace=("n",), key=lambda url, **_: url.lower())
    def fetch(url: str, *, timeout: float = 1) -> str:
        calls.append(url)
        return url

    assert fetch("A", timeout=1) == fetch("a", timeout=2) == "A"
    assert set(cache.get([(("n",), "a")])) == {(("n",), "a")}
    no_text: Any = lambda: b"bytes"  # noqa: E731
    wrong = cached(cache, namespace=("n",), key=no_text)(Counter())
    with pytest.raises(InvalidInput) as caught:
        wrong()
    assert caught.value.field == "key"


def test_the_serializer(cache: CacheRepository) -> None:
    class Answer(BaseModel):
        text: str

    calls = []

    @cached(cache, serializer=ModelSerializer(Answer))
    def answer(question: str) -> Answer:
        calls.append(question)
        return Answer(text=question.upper())

    assert answer("a") == answer("a") == Answer(text="A")
    assert calls == ["a"]


def test_what_the_serializer_refuses_is_an_error_and_writes_nothing(cache: CacheRepository) -> None:
    counter = Counter(object())
    function = cached(cache, namespace=("n",))(counter)
    for _ in range(2):
        with pytest.raises(InvalidInput):
            function()
    assert len(counter.calls) == 2
    assert cache.clear() == 0


def test_what_cannot_be_read_is_made_anew(cache: CacheRepository, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter([1])
    function = cached(cache, namespace=("n",), key=lambda: "the-key")(counter)
    for damaged in (Payload(encoding="json", data=b"{"), Payload(encoding="pickle", data=b"1")):
        cache.set({(("n",), "the-key"): damaged})
        caplog.clear()
        with caplog.at_level(logging.WARNING, "statekeep.cache"):
            assert function() == [1]
            [message] = caplog.messages
            assert "the-key" in message
            assert function() == [1]
            assert len(caplog.messages) == 1
    assert len(counter.calls) == 2


# -- methods, and what else there is


def test_methods(cache: CacheRepository) -> None:
    calls: list[Any] = []

    @dataclasses.dataclass(frozen=True)
    class Weather:
        country: str

        @cached(cache)
        def at(self, city: str) -> str:
            calls.append(city)
            return f"{self.country}/{city}"

        @classmethod
        @cached(cache)
        def name(cls) -> str:
            calls.append(cls)
            return cls.__name__

        @staticmethod
        @cached(cache)
        def unit(name: str) -> str:
            calls.append(name)
            return name

    assert Weather("uk").at("london") == Weather("uk").at(city="london") == "uk/london"
    assert Weather("ca").at("london") == "ca/london"
    assert Weather.name() == Weather("x").name() == "Weather"
    assert Weather.unit("C") == Weather("x").unit("C") == "C"
    assert len(calls) == 4


def test_methods_of_objects_without_a_value_need_a_key(cache: CacheRepository) -> None:
    class Service:
        @cached(cache)
        def ask(self, question: str) -> str:
            return question

        @cached(cache, key=lambda self, question: question)
        def ask_any(self, question: str) -> str:
            return question

    with pytest.raises(InvalidInput, match=r"Service\.ask: self: .*pass key=") as caught:
        Service().ask("a")
    assert caught.value.field == "self"
    assert Service().ask_any("a") == Service().ask_any("a") == "a"


@pytest.mark.parametrize(
    "argument", [object(), lambda: None, threading.Lock(), [object()], {"a": iter(())}], ids=range(5)
)
def test_arguments_without_a_value(cache: CacheRepository, argument: Any) -> None:
    counter = Counter()
    with pytest.raises(InvalidInput, match="pass key="):
        cached(cache, namespace=("n",))(counter)(argument)
    assert counter.calls == []


def test_the_wrapper_looks_like_the_function(cache: CacheRepository) -> None:
    def documented(a: int) -> str:
        """Says so."""
        return str(a)

    wrapper = cached(cache)(documented)
    assert wrapper.__doc__ == "Says so."
    assert wrapper.__name__ == "documented"
    assert inspect.signature(wrapper) == inspect.signature(documented)
    assert inspect.unwrap(wrapper) is documented


def test_wrong_arguments(cache: CacheRepository) -> None:
    wrong: dict[str, list[Any]] = {
        "namespace": ["text", [""], 1, [1]],
        "key": ["text", 1],
        "ttl": [0, -1, float("nan"), True, "1"],
        "serializer": [object()],
        "on_error": ["ignore", None, True],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(InvalidInput) as caught:
                cached(cache, **{name: value})
            assert caught.value.field == name
    for repository in (None, cache.backend, "memory:"):
        with pytest.raises(InvalidInput) as caught:
            cached(repository)  # type: ignore[arg-type]
        assert caught.value.field == "repository"


def test_what_cannot_be_cached(cache: CacheRepository) -> None:
    def generator() -> Any:
        yield 1

    async def agenerator() -> Any:
        yield 1

    others: list[Any] = [generator, agenerator, classmethod(generator), 1, None]  # type: ignore[arg-type]
    for wrong in others:
        with pytest.raises(InvalidInput) as caught:
            cached(cache)(wrong)
        assert caught.value.field == "function"
    with pytest.raises(InvalidInput) as caught:
        cached(cache)(functools.partial(pow, 2))
    assert caught.value.field == "namespace"
    assert cached(cache, namespace=("n",))(functools.partial(pow, 2))(3) == 8
    with pytest.raises(InvalidInput) as caught:
        cached(cache)(max)  # whose parameters are not known
    assert caught.value.field == "key"


# -- one run for concurrent calls


def together(count: int, function: Callable[[], Any]) -> list[Any]:
    """Call a function in threads that begin at the same time; return results and exceptions."""
    barrier = threading.Barrier(count)

    def call() -> Any:
        barrier.wait()
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return [done.result(timeout=20) for done in [pool.submit(call) for _ in range(count)]]


def test_threads_share_one_run(cache: CacheRepository) -> None:
    calls = []

    @cached(cache)
    def slow(x: int) -> list[int]:
        calls.append(x)
        time.sleep(0.2)
        return [x]

    results = together(8, lambda: slow(1))
    assert results == [[1]] * 8
    assert calls == [1]
    assert len({id(result) for result in results}) == 8
    assert together(2, lambda: slow(2)) == [[2]] * 2
    assert calls == [1, 2]


def test_threads_share_an_exception_that_is_not_kept(cache: CacheRepository) -> None:
    calls = []

    @cached(cache)
    def fails() -> None:
        calls.append(1)
        time.sleep(0.2)
        raise LookupError(f"call {len(calls)}")

    results = together(5, fails)
    assert [str(result) for result in results] == ["call 1"] * 5
    assert {type(result) for result in results} == {LookupError}
    with pytest.raises(LookupError, match="call 2"):
        fails()
    assert cache.clear() == 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_one_thread_does_not_end_the_others(cache: CacheRepository, kind: type[BaseException]) -> None:
    calls = []
    first = threading.Event()

    @cached(cache)
    def interrupted() -> str:
        calls.append(1)
        first.set()
        time.sleep(0.2)
        if len(calls) == 1:
            raise kind
        return "done"

    def lead() -> None:
        with pytest.raises(kind):
            interrupted()

    leader = threading.Thread(target=lead)
    leader.start()
    first.wait()
    assert together(3, interrupted) == ["done"] * 3
    leader.join()
    assert len(calls) == 2


async def test_tasks_share_one_run(acache: AsyncCacheRepository) -> None:
    calls = []

    @cached(acache)
    async def slow(x: int) -> list[int]:
        calls.append(x)
        await asyncio.sleep(0.05)
        return [x]

    results = await asyncio.gather(*(slow(1) for _ in range(20)), slow(2))
    assert results == [[1]] * 20 + [[2]]
    assert sorted(calls) == [1, 2]
    assert len({id(result) for result in results}) == 21


async def test_tasks_share_an_exception(acache: AsyncCacheRepository) -> None:
    calls = []

    @cached(acache)
    async def fails() -> None:
        calls.append(1)
        await asyncio.sleep(0.05)
        raise LookupError("no")

    results = await asyncio.gather(*(fails() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 5
    assert len(calls) == 1


async def test_a_cancelled_leader_leaves_the_run_to_another(acache: AsyncCacheRepository) -> None:
    calls = []

    @cached(acache)
    async def slow() -> str:
        calls.append(1)
        await asyncio.sleep(0.1)
        return "done"

    leader = asyncio.create_task(slow())
    await asyncio.sleep(0.02)
    others = [asyncio.create_task(slow()) for _ in range(4)]
    await asyncio.sleep(0.02)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    async with asyncio.timeout(5):
        assert await asyncio.gather(*others) == ["done"] * 4
    assert len(calls) == 2
    assert await slow() == "done"
    assert len(calls) == 2


async def test_a_cancelled_follower_is_alone(acache: AsyncCacheRepository) -> None:
    @cached(acache)
    async def slow() -> str:
        await asyncio.sleep(0.1)
        return "done"

    tasks = [asyncio.create_task(slow()) for _ in range(3)]
    await asyncio.sleep(0.02)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == results[2] == "done"
    assert isinstance(results[1], asyncio.CancelledError)


async def test_all_cancelled(acache: AsyncCacheRepository) -> None:
    @cached(acache)
    async def slow() -> str:
        await asyncio.sleep(0.1)
        return "done"

    tasks = [asyncio.create_task(slow()) for _ in range(5)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5):
        assert await slow() == "done"


def test_event_loops_share_one_run(acache: AsyncCacheRepository) -> None:
    calls = []

    @cached(acache)
    async def slow() -> str:
        calls.append(1)
        await asyncio.sleep(0.2)
        return "done"

    assert together(4, lambda: asyncio.run(slow())) == ["done"] * 4
    assert len(calls) == 1


def test_a_loop_that_ends_leaves_the_run_to_others(acache: AsyncCacheRepository) -> None:
    begun = threading.Event()

    @cached(acache)
    async def slow() -> str:
        begun.set()
        await asyncio.sleep(0.3)
        return "done"

    async def give_up() -> None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.1)
        del task  # asyncio.run cancels what is left

    thread = threading.Thread(target=lambda: asyncio.run(give_up()))
    thread.start()
    begun.wait()
    assert asyncio.run(slow()) == "done"
    thread.join()


def test_recursion(cache: CacheRepository) -> None:
    calls = []

    @cached(cache)
    def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(30) == 832040
    assert sorted(calls) == list(range(31))


@pytest.mark.usefixtures("no_collection")
def test_a_call_never_waits_for_itself(cache: CacheRepository, acache: AsyncCacheRepository) -> None:
    @cached(cache)
    def endless(x: int) -> int:
        return endless(x)

    def call() -> None:
        with pytest.raises(RecursionError):
            endless(1)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()

    depth = contextvars.ContextVar("depth", default=0)

    @cached(acache)
    async def in_tasks() -> int:
        depth.set(depth.get() + 1)
        if depth.get() > 3:
            return depth.get()
        return await asyncio.create_task(in_tasks())

    async def run() -> int:
        async with asyncio.timeout(5):
            return await in_tasks()

    assert asyncio.run(run()) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_does_not_wait_for_its_parent(cache: CacheRepository) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @cached(cache)
    def slow() -> str:
        begun.set()
        go_on.wait(10)
        return "done"

    thread = threading.Thread(target=slow)
    thread.start()
    begun.wait()
    child = os.fork()
    if not child:
        go_on.set()
        os._exit(0 if slow() == "done" else 1)
    for _ in range(100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits")
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


# -- outages


class Outage(MemoryCacheEntries):
    """A backend whose operations fail."""

    def __init__(self, error: Exception, *names: str) -> None:
        super().__init__()
        self.error = error
        self.names = names or ("get", "set")

    def get(self, keys: Any) -> Any:
        if "get" in self.names:
            raise self.error
        return super().get(keys)

    def set(self, entries: Any) -> Any:
        if "set" in self.names:
            raise self.error
        return super().set(entries)


@pytest.mark.parametrize("kind", [Unavailable, Throttled, QuotaExceeded])
@pytest.mark.parametrize("names", [("get",), ("set",), ("get", "set")])
def test_outages(kind: type[Exception], names: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    repository = CacheRepository(Outage(kind("the server is away"), *names))
    counter = Counter()
    with pytest.raises(kind):
        cached(repository, namespace=("n",))(counter)()
    assert len(counter.calls) == (0 if "get" in names else 1)
    counter.calls.clear()
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert cached(repository, namespace=("n",), on_error="miss")(counter)() == "result"
    assert len(counter.calls) == 1
    assert len(caplog.messages) == len(names)
    assert all("the server is away" in message for message in caplog.messages)


def test_other_errors_are_never_a_miss() -> None:
    repository = CacheRepository(Outage(statekeep.AccessDenied("no")))
    with pytest.raises(statekeep.AccessDenied):
        cached(repository, namespace=("n",), on_error="miss")(Counter())()


def test_an_outage_of_one_is_an_outage_of_all_that_wait() -> None:
    @cached(CacheRepository(Outage(Unavailable("away"), "set")))
    def slow() -> int:
        time.sleep(0.2)
        return 1

    assert {type(result) for result in together(4, slow)} == {Unavailable}


# -- keys of arguments


class Plain(BaseModel):
    a: int = 1
    b: dict[str, Any] = {}


@attrs.frozen
class Attrs:
    a: int


def test_attrs_and_models_as_arguments(cache: CacheRepository) -> None:
    counter = Counter()
    function = cached(cache, namespace=("n",))(counter)
    for argument in (Plain(), Plain(a=2), Plain(b={"x": 1}), Attrs(1), Attrs(2), {"a": 1}):
        function(argument)
        function(argument)
    assert len(counter.calls) == 6
