"""What ``cached`` keeps, what it makes of errors, and how often it runs a function."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import enum
import functools
import inspect
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from pydantic import BaseModel, PrivateAttr

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

    @cached(cache, namespace=("n",))
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


def one_of_the_module() -> int:
    return 1


def test_the_namespace(cache: CacheRepository) -> None:
    one = cached(cache)(one_of_the_module)

    @cached(cache, namespace=["of", "mine"])
    def two() -> int:
        return 2

    assert one() + two() == 3
    assert cache.clear([(f"{__name__}.one_of_the_module",)]) == 1
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

    @cached(cache, namespace=("n",), serializer=ModelSerializer(Answer))
    def answer(question: str) -> Answer:
        calls.append(question)
        return Answer(text=question.upper())

    assert answer("a") == answer("a") == Answer(text="A")
    assert calls == ["a"]


def test_what_the_serializer_refuses_is_returned_and_not_kept(
    cache: CacheRepository, caplog: pytest.LogCaptureFixture
) -> None:
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    result = Secret()
    counter = Counter([result])
    function = cached(cache, namespace=("n",))(counter)
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert function()[0] is function()[0] is result
    assert len(counter.calls) == 2
    assert cache.clear() == 0
    assert len(caplog.messages) == 2
    assert "Counter" in caplog.text
    assert "hunter2" not in caplog.text


def test_each_call_that_waits_makes_what_cannot_be_kept(cache: CacheRepository) -> None:
    calls = []

    @cached(cache, namespace=("n",))
    def slow() -> object:
        calls.append(1)
        time.sleep(0.2)
        return object()

    assert len({id(result) for result in together(4, slow)}) == 4
    assert len(calls) == 4


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


KEPT = CacheRepository(MemoryCacheEntries())
CALLS: list[Any] = []


@dataclasses.dataclass(frozen=True)
class Weather:
    country: str

    @cached(KEPT)
    def at(self, city: str) -> str:
        CALLS.append(city)
        return f"{self.country}/{city}"

    @classmethod
    @cached(KEPT)
    def name(cls) -> str:
        CALLS.append(cls)
        return cls.__name__

    @staticmethod
    @cached(KEPT)
    def unit(name: str) -> str:
        CALLS.append(name)
        return name

    @cached(KEPT)
    def here(self, city: str = "london") -> str:
        CALLS.append(city)
        return city


class Climate(Weather):
    pass


def test_methods() -> None:
    CALLS.clear()
    assert Weather("uk").at("london") == Weather("uk").at(city="london") == "uk/london"
    assert Weather("ca").at("london") == "ca/london"
    names: list[Any] = [Weather.name, Weather("x").name, Climate.name]  # mypy takes "cls" for an argument
    assert [name() for name in names] == ["Weather", "Weather", "Climate"]
    units: list[Any] = [Weather.unit, Weather("x").unit]
    assert [unit("C") for unit in units] == ["C", "C"]
    assert len(CALLS) == 5


def test_methods_are_invalidated_with_their_object() -> None:
    CALLS.clear()
    here = Weather("uk")
    for _ in range(2):
        here.here("paris")
        assert Weather.here.invalidate(here, "paris") is True
        assert Weather.here.invalidate(here, city="paris") is False
    assert CALLS == ["paris"] * 2
    assert Weather.unit("F") == "F"
    assert Weather.unit.invalidate("F") is True
    bound: Any = here.here
    with pytest.raises(InvalidInput, match=r"Weather\.here\.invalidate\(weather") as caught:
        bound.invalidate("paris")
    assert caught.value.field == "self"


def test_methods_of_objects_without_a_value_need_a_key(cache: CacheRepository) -> None:
    class Service:
        @cached(cache, namespace=("n",))
        def ask(self, question: str) -> str:
            return question

        @cached(cache, namespace=("n",), key=lambda self, question: question)
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

    wrapper = cached(cache, namespace=("n",))(documented)
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

    @cached(cache, namespace=("n",))
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

    @cached(cache, namespace=("n",))
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

    @cached(cache, namespace=("n",))
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

    @cached(acache, namespace=("n",))
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

    @cached(acache, namespace=("n",))
    async def fails() -> None:
        calls.append(1)
        await asyncio.sleep(0.05)
        raise LookupError("no")

    results = await asyncio.gather(*(fails() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 5
    assert len(calls) == 1


async def test_a_cancelled_leader_leaves_the_run_to_another(acache: AsyncCacheRepository) -> None:
    calls = []

    @cached(acache, namespace=("n",))
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
    @cached(acache, namespace=("n",))
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
    @cached(acache, namespace=("n",))
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

    @cached(acache, namespace=("n",))
    async def slow() -> str:
        calls.append(1)
        await asyncio.sleep(0.2)
        return "done"

    assert together(4, lambda: asyncio.run(slow())) == ["done"] * 4
    assert len(calls) == 1


def test_a_loop_that_ends_leaves_the_run_to_others(acache: AsyncCacheRepository) -> None:
    begun = threading.Event()

    @cached(acache, namespace=("n",))
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

    @cached(cache, namespace=("n",))
    def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(30) == 832040
    assert sorted(calls) == list(range(31))


@pytest.mark.usefixtures("no_collection")
def test_a_call_never_waits_for_itself(cache: CacheRepository, acache: AsyncCacheRepository) -> None:
    @cached(cache, namespace=("n",))
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

    @cached(acache, namespace=("n",))
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

    @cached(cache, namespace=("n",))
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
    @cached(CacheRepository(Outage(Unavailable("away"), "set")), namespace=("n",))
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


# -- names


def in_a_function(model: str) -> Callable[[str], str]:
    def ask(question: str) -> str:
        return f"{model}:{question}"

    return ask


class Client:
    def __init__(self, tenant: str) -> None:
        self.tenant = tenant

    def __repr__(self) -> str:
        return f"Client({self.tenant})"

    def fetch(self, key: str) -> str:
        return f"{self.tenant}/{key}"

    @classmethod
    def of(cls, key: str) -> str:
        return f"{cls.__name__}/{key}"


NAMELESS: dict[str, Callable[[], Any]] = {
    "closure": lambda: in_a_function("haiku"),
    "lambda": lambda: lambda x: x,
    "bound": lambda: Client("acme").fetch,
    "of a class": lambda: Client.of,
    "of a list": lambda: [].append,
    "object": Counter,
    "partial": lambda: functools.partial(pow, 2),
}


@pytest.mark.parametrize("kind", NAMELESS)
def test_what_has_no_name_of_its_own_needs_a_namespace(cache: CacheRepository, kind: str) -> None:
    function = NAMELESS[kind]()
    with pytest.raises(InvalidInput, match="pass namespace=") as caught:
        cached(cache)(function)
    assert caught.value.field == "namespace"
    assert "acme" not in str(caught.value)
    if kind != "of a list":  # it says nothing of its parameters
        assert callable(cached(cache, namespace=("n",))(function))


def test_namespaces_tell_closures_and_tenants_apart(cache: CacheRepository) -> None:
    asks = [cached(cache, namespace=("ask", model))(in_a_function(model)) for model in ("haiku", "opus")]
    assert [ask("hi") for ask in asks] == ["haiku:hi", "opus:hi"]
    fetches = [cached(cache, namespace=("fetch", name))(Client(name).fetch) for name in ("acme", "globex")]
    assert [fetch("plan") for fetch in fetches] == ["acme/plan", "globex/plan"]


@pytest.mark.parametrize("how", ["script", "module"])
def test_functions_of_scripts_need_a_namespace(tmp_path: Path, how: str) -> None:
    source = """
import statekeep
keep = statekeep.connect("memory:")
try:
    @statekeep.cached(keep.cache)
    def summary(text: str) -> str:
        return text
    summary("a")
    print(keep.cache.clear([("billing.summary",)]))
except statekeep.InvalidInput as error:
    print(error.field)
"""
    (tmp_path / "billing.py").write_text(source)
    command = [sys.executable, *(["billing.py"] if how == "script" else ["-m", "billing"])]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == {"script": "namespace\n", "module": "1\n"}[how]


# -- invalidate and clear


def square(x: int, *, scale: int = 1) -> int:
    CALLS.append(x)
    return x * x * scale


def test_invalidate_and_clear(cache: CacheRepository) -> None:
    CALLS.clear()
    kept = cached(cache)(square)
    assert kept.invalidate(2) is False
    assert [kept(2), kept(3), kept(3, scale=2)] == [4, 9, 18]
    assert kept.invalidate(x=2, scale=1) is True
    assert [kept(2), kept(3)] == [4, 9]
    assert CALLS == [2, 3, 3, 2]
    assert kept.clear() == 3
    assert kept.clear() == 0
    assert kept(2) == 4
    assert len(CALLS) == 5
    with pytest.raises(TypeError):
        kept.invalidate()  # type: ignore[call-arg]


async def asquare(x: int) -> int:
    CALLS.append(x)
    return x * x


async def test_invalidate_and_clear_of_coroutine_functions(
    cache: CacheRepository, acache: AsyncCacheRepository
) -> None:
    for repository in (cache, acache):
        CALLS.clear()
        kept = cached(repository)(asquare)
        assert [await kept(2), await kept(2)] == [4, 4]
        assert await kept.invalidate(2) is True
        assert [await kept(2), await kept(3)] == [4, 9]
        assert CALLS == [2, 2, 3]
        assert await kept.clear() == 2


def one_text(url: str) -> str:
    return url


def test_invalidate_goes_by_the_key(cache: CacheRepository) -> None:
    kept = cached(cache, namespace=("n",), key=str.lower)(one_text)
    kept("A")
    assert kept.invalidate("a") is True


def test_outages_of_invalidate_are_errors() -> None:
    class Away(MemoryCacheEntries):
        def delete(self, keys: Any) -> Any:
            raise Unavailable("away")

    kept = cached(CacheRepository(Away()), on_error="miss")(square)
    with pytest.raises(Unavailable):
        kept.invalidate(1)


# -- results as they are annotated


class Colour(enum.Enum):
    RED = "red"


class Answer(BaseModel):
    text: str
    data: bytes = b"\xff"
    places: tuple[int, ...] = (1, 2)
    _hidden: str = PrivateAttr("")


class Longer(Answer):
    more: int = 1


@dataclasses.dataclass
class Report:
    answers: list[Answer]
    colour: Colour = Colour.RED
    other: Any = (1, {2})


def of_model() -> Answer:
    return Answer(text="a")


def of_models() -> list[Answer]:
    return [Answer(text="a"), Answer(text="b")]


def of_dataclass() -> Report:
    return Report([Answer(text="a")])


def of_maybe() -> dict[str, Answer | None]:
    return {"a": Answer(text="a"), "b": None}


def of_enum() -> Colour:
    return Colour.RED


def of_plain() -> tuple[set[int], bytes]:
    return {1}, b"x"


def of_pair() -> tuple[Answer, Later]:
    return Answer(text="a"), Later()


@pytest.mark.parametrize("function", [of_model, of_models, of_dataclass, of_maybe, of_enum, of_plain, of_pair])
def test_results_come_back_as_they_are_annotated(cache: CacheRepository, function: Callable[[], Any]) -> None:
    counted = Counter()

    @functools.wraps(function)
    def counting() -> Any:
        counted()
        return function()

    kept = cached(cache, namespace=("n",))(counting)
    first, second = kept(), kept()
    assert first == second == function()
    assert type(first) is type(second)
    assert len(counted.calls) == 1


class Later(BaseModel):
    """Defined behind the function that returns it."""


def hides() -> Answer:
    found = Answer(text="a")
    found._hidden = "secret"
    return found


def lengthens() -> Answer:
    return Longer(text="a")


def errs() -> Answer:
    return {"text": "a"}  # type: ignore[return-value]


@pytest.mark.parametrize("function", [hides, lengthens, errs])
def test_what_would_come_back_as_something_else_is_not_kept(
    cache: CacheRepository, function: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    kept = cached(cache)(function)
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert kept() == function()
        assert kept() == function()
    assert len(caplog.messages) == 2
    assert all(f"{__name__}.{function.__name__}" in message for message in caplog.messages)
    assert "secret" not in caplog.text
    assert cache.clear() == 0


class Opaque:
    pass


def of_opaque() -> Opaque:
    raise AssertionError("it must not run")


def of_opaques() -> dict[str, list[Opaque]]:
    raise AssertionError("it must not run")


@pytest.mark.parametrize("function", [of_opaque, of_opaques])
def test_results_that_can_never_be_kept_are_refused_at_decoration(
    cache: CacheRepository, function: Callable[[], Any]
) -> None:
    with pytest.raises(InvalidInput, match=f"{function.__name__} cannot be kept.*pass serializer=") as caught:
        cached(cache)(function)
    assert caught.value.field == "serializer"
    assert callable(cached(cache, serializer=ModelSerializer(Answer))(function))


def test_annotations_of_what_is_defined_later(cache: CacheRepository) -> None:
    source = """
from __future__ import annotations
from pydantic import BaseModel, PrivateAttr

@keep
def early() -> Later: return Later()

@keep
def never() -> Unknown: return 1

class Later(BaseModel): pass
"""
    scope: dict[str, Any] = {"__name__": "of_exec", "keep": cached(cache)}
    exec(source, scope)
    assert scope["early"]() == scope["early"]() == scope["Later"]()
    assert scope["never"]() == 1
    assert cache.clear() == 2


def test_models_that_differ_in_private_attributes_are_other_arguments(cache: CacheRepository) -> None:
    kept = cached(cache, namespace=("n",))(lambda answer: answer._hidden)
    one, other = Answer(text="a"), Answer(text="a")
    other._hidden = "other"
    assert [kept(one), kept(other)] == ["", "other"]
