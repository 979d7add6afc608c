"""The contract of a backend of logs, as tests that its authors inherit.

Example, for a backend of your own (``pytest`` and ``anyio`` are needed)::

    # In conftest.py, so that failures say what was compared:
    pytest.register_assert_rewrite("statekeep.testing.contracts.logs")
    from statekeep.testing.contracts.logs import LogContract

    class TestMyBackend(LogContract):
        @pytest.fixture
        def repository(self):
            with LogRepository(MyBackend(...)) as repository:
                yield repository

        @pytest.fixture
        async def arepository(self):
            async with AsyncLogRepository(MyBackend(...)) as repository:
                yield repository
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import anyio
import pytest

from ...domain import Conflict, InvalidInput, Log, LogEntry, Payload
from ...domain.items import Namespace
from ...domain.model import LONGEST_ID, MOST_LABELS
from ...repositories.logs import AsyncLogRepository, LogRepository
from ..faces import awaited
from ..strategies import NASTY_TEXTS
from ..strategies.texts import Disguised, member
from .cache import WRONG_TTLS

__all__ = ["LogContract"]

L: Namespace = ("chat", "ada")
OTHER: Namespace = ("chat", "bob")

SEPARATE: tuple[Namespace, ...] = (
    (), ("a",), ("a", "b"), ("a", "b", "c"), ("a.b",), ("a.b", "c"), ("a", "b.c"), ("a/b",), ("a:b",), (".",), ("%2E",),
    ("A",), ("a ",), (" a",), ("a*",), ("é",), ("e\u0301",), ("{a}",), ("a\x00b",), ("a\x01",), ("a\x00",), ("\x01",),
    ("index",), ("a!",), ("\U0010ffff",), ("\uffff",),
)  # fmt: skip
"""Names that a careless encoding takes for one another, or puts in another order."""

WRONG_NAMES: tuple[Any, ...] = (
    "log", b"log", None, 1, ("",), ("a", ""), ("\ud800",), (b"a",), (None,), iter(["a"]), ("x" * (LONGEST_ID + 1),),
    ("x" * LONGEST_ID, "y"), ("x",) * (MOST_LABELS + 1),
)  # fmt: skip

EXACT: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.0, -0.0, 0.1, 1e300, 5e-324, 2**70, -(10**300), "", "text", "é😀", "\ud800", "\x00",
    "@3:raw", "1 2", " ", "\n", [], {}, [[]], {"": {"": [None, 1.5, "x"]}}, {"$keep": ["tuple", []]},
    {"encoding": "x", "data": "y"}, [1, [2, [3, [{"a": {"b": "c"}}]]]],
)  # fmt: skip
"""Values that come back as they are."""

PAYLOADS = (
    Payload(encoding="raw", data=b""),
    Payload(encoding="é:1 @{}", data=b"\x00\xff 1 \n"),
    Payload(encoding="x" * LONGEST_ID, data=bytes(range(256)) * 500),
    Payload(encoding="json", data=b"[-Infinity, NaN]"),
    Payload(encoding="5:a", data=b"@5:5:a"),
)

NO_JSON: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, b"bytes", {1: 2}, {"a": {2: 3}}, object(), dt.datetime(2026, 1, 1), {1, 2},
    "\ud800\udc00", 10**5000, [[-math.inf]], {"a": [Payload(encoding="raw", data=b"")]},
)  # fmt: skip


def values(entries: Sequence[LogEntry]) -> list[Any]:
    """Return the values of entries."""
    return [entry.value for entry in entries]


async def names(logs: AsyncIterator[Log]) -> list[Namespace]:
    """Return the names of a listing."""
    return [log.name async for log in logs]


class LogContract:
    """Tests of everything that :class:`~statekeep.LogRepository` documents.

    See the module for how to use it.

    Each test gets empty repositories without a TTL of their own. Those that take ``keep`` run with both faces.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def repository(self) -> Iterator[LogRepository]:
        """Yield an empty repository; override it."""
        raise NotImplementedError("override the fixture `repository`")

    @pytest.fixture
    async def arepository(self) -> AsyncIterator[AsyncLogRepository]:
        """Yield an empty repository for asyncio; override it."""
        raise NotImplementedError("override the fixture `arepository`")
        yield

    @pytest.fixture(params=["blocking", "async"])
    def keep(self, request: pytest.FixtureRequest) -> AsyncLogRepository:
        """One face after the other."""
        if request.param == "blocking":
            return awaited(cast(LogRepository, request.getfixturevalue("repository")))
        return cast(AsyncLogRepository, request.getfixturevalue("arepository"))

    # -- what is missing

    async def test_nothing_stored(self, keep: AsyncLogRepository) -> None:
        assert await keep.last(L) == []
        assert await keep.read(L) == []
        assert await keep.read(L, after=5, limit=5) == []
        assert await keep.pop(L) == []
        assert await keep.pop(L, 3, first=True) == []
        assert await keep.trim(L, keep=0) == await keep.trim(L, keep=3) == 0
        assert await keep.count(L) == 0
        assert await keep.delete(L) == 0
        assert await keep.append(L, []) == 0
        assert await keep.replace(L, []) == 0
        assert await keep.replace(L, [], expected=None) == 0
        assert await names(keep.list()) == []

    # -- what is stored is what comes back

    async def test_values_come_back_exactly(self, keep: AsyncLogRepository) -> None:
        stored = [*EXACT, *PAYLOADS]
        assert await keep.append(L, stored) == len(stored)
        found = await keep.read(L)
        assert [type(entry) for entry in found] == [LogEntry] * len(stored)
        assert list(map(repr, values(found))) == list(map(repr, stored))
        assert values(await keep.last(L, len(stored))) == values(found)
        assert list(map(repr, values(await keep.pop(L, len(stored))))) == list(map(repr, stored))

    async def test_tuples_are_lists(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, (("a", (1,)), {"b": (2,)}))
        assert values(await keep.read(L)) == [["a", [1]], {"b": [2]}]

    async def test_nobody_changes_a_value_from_outside(self, keep: AsyncLogRepository) -> None:
        value = {"list": [1]}
        await keep.append(L, [value])
        value["list"].append(2)
        values(await keep.read(L))[0]["list"].append(3)
        assert values(await keep.last(L)) == [{"list": [1]}]

    async def test_what_json_cannot_hold_is_refused(self, keep: AsyncLogRepository) -> None:
        for wrong in NO_JSON:
            for write in (keep.append, keep.replace):
                with pytest.raises(InvalidInput) as caught:
                    await write(L, ["fine", wrong])
                assert caught.value.field == "values"
                assert "values[1]" in str(caught.value)
        assert await keep.count(L) == 0

    async def test_order(self, keep: AsyncLogRepository) -> None:
        assert await keep.append(L, [1, 2]) == 2
        assert await keep.append(L, [3]) == 3
        assert values(await keep.read(L)) == [1, 2, 3]
        assert values(await keep.read(L, limit=2)) == [1, 2]
        assert values(await keep.read(L, limit=0)) == []
        assert values(await keep.last(L)) == [3]
        assert values(await keep.last(L, 2)) == [2, 3]
        assert values(await keep.last(L, 0)) == []
        assert values(await keep.last(L, 10**30)) == values(await keep.read(L, limit=10**30)) == [1, 2, 3]
        assert await keep.count(L) == 3

    async def test_many_in_one(self, keep: AsyncLogRepository) -> None:
        assert await keep.append(L, range(6000)) == 6000
        found = await keep.read(L)
        assert values(found) == list(range(6000))
        for at in (0, 1, 2999, 5983, 5998, 5999):
            assert values(await keep.read(L, after=found[at].position, limit=2)) == values(found[at + 1 : at + 3])
        assert await keep.append(L, [Payload(encoding="raw", data=bytes(3_000_000))] * 3) == 6003
        assert len(values(await keep.pop(L, 3))[0].data) == 3_000_000
        assert values(await keep.pop(L, 1000, first=True)) == list(range(1000))
        assert await keep.trim(L, keep=2) == 4998
        assert await keep.replace(L, range(2000)) == 2000
        assert await keep.delete(L) == 2000

    # -- positions

    async def test_positions_grow_and_stay(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, ["a", "b"])
        await keep.append(L, ["c", "d"])
        before = await keep.read(L)
        positions = [entry.position for entry in before]
        assert positions == sorted(set(positions))
        assert positions[0] >= 1
        assert await keep.pop(L, first=True) == before[:1]
        assert await keep.trim(L, keep=2) == 1
        assert await keep.read(L) == before[2:]
        # Also behind one that is gone.
        assert await keep.read(L, after=positions[0]) == before[2:]
        assert await keep.read(L, after=positions[2]) == before[3:]
        assert await keep.read(L, after=positions[3]) == await keep.read(L, after=2**80) == []
        assert await keep.read(L, after=0) == before[2:]

    async def test_no_position_is_given_twice(self, keep: AsyncLogRepository) -> None:
        seen: list[int] = []
        removals: list[Callable[[], Any]] = [
            lambda: keep.pop(L),
            lambda: keep.pop(L, 2000),
            lambda: keep.trim(L, keep=0),
            lambda: keep.delete(L),
            lambda: keep.replace(L, ["another"] * 1000),
            lambda: keep.replace(L, []),
        ]
        for remove in removals:
            # More of them than microseconds go by.
            await keep.append(L, ["x"] * 1000)
            seen += [entry.position for entry in await keep.read(L, after=max(seen, default=None))]
            await remove()
            await keep.append(L, ["y"])
            new = await keep.read(L, after=seen[-1])
            assert new
            assert new[-1].value == "y"
            seen += [entry.position for entry in new]
        assert seen == sorted(set(seen))

    async def test_a_log_that_expired_and_begins_again_has_new_positions(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, ["x"] * 1000, ttl=0.001)
        await anyio.sleep(0.01)
        assert await keep.count(L) == 0
        await keep.append(L, ["x"] * 4000, ttl=60)
        last = (await keep.last(L))[0].position
        await keep.delete(L)
        await keep.append(L, ["y"])
        assert (await keep.last(L))[0].position > last

    # -- removing

    async def test_pop(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2, 3, 4, 5, 6])
        assert values(await keep.pop(L)) == [6]
        assert values(await keep.pop(L, first=True)) == [1]
        assert values(await keep.pop(L, 2)) == [4, 5]
        assert values(await keep.pop(L, 0)) == []
        assert values(await keep.pop(L, 10**30, first=True)) == [2, 3]
        assert await keep.count(L) == 0
        assert await names(keep.list()) == []
        assert await keep.append(L, [7]) == 1

    async def test_trim(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2, 3, 4])
        assert await keep.trim(L, keep=10**30) == await keep.trim(L, keep=4) == 0
        assert await keep.trim(L, keep=3) == 1
        assert values(await keep.read(L)) == [2, 3, 4]
        assert await keep.trim(L, keep=0) == 3
        assert await names(keep.list()) == []

    async def test_delete_is_about_exactly_this_log(self, keep: AsyncLogRepository) -> None:
        for log in SEPARATE:
            await keep.append(log, [list(log)])
        left = list(SEPARATE)
        for log in [("a",), (), ("*",), ("a*",), ("a", "b"), ("a", "b", "c", "d")]:
            assert await keep.delete(log) == (log in left)
            left = [other for other in left if other != log]
            assert await names(keep.list()) == sorted(left)
        for log in left:
            assert values(await keep.read(log)) == [list(log)]

    # -- replacing

    async def test_replace(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2, 3])
        last = (await keep.last(L))[0].position
        assert await keep.replace(L, ["a", Payload(encoding="raw", data=b"b")]) == 2
        entries = await keep.read(L)
        assert values(entries) == ["a", Payload(encoding="raw", data=b"b")]
        assert entries[0].position > last
        assert await keep.replace(L, []) == 0
        assert await names(keep.list()) == []
        assert await keep.replace(L, [1]) == 1
        assert await names(keep.list()) == [L]

    async def test_replace_what_was_read(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2, 3])
        read = await keep.read(L)
        last = read[-1].position
        await keep.trim(L, keep=2)  # what goes at the beginning does not matter
        assert await keep.replace(L, ["sum"], expected=last, ttl=None) == 1
        assert values(await keep.read(L)) == ["sum"]
        with pytest.raises(Conflict) as caught:
            await keep.replace(L, ["again"], expected=last)
        assert caught.value.expected == last
        assert caught.value.actual == (await keep.last(L))[0].position
        assert values(await keep.read(L)) == ["sum"]

    async def test_replace_conflicts(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2])
        last = (await keep.last(L))[0].position
        for change in (
            lambda: keep.append(L, ["more"]),
            lambda: keep.pop(L),
            lambda: keep.replace(L, [1, 2]),
            lambda: keep.delete(L),
        ):
            await change()
            there = await keep.read(L)
            with pytest.raises(Conflict):
                await keep.replace(L, ["lost"], expected=last)
            with pytest.raises(Conflict):
                await keep.replace(L, [], expected=last)
            assert await keep.read(L) == there
            await keep.replace(L, [1, 2])
            last = (await keep.last(L))[0].position
        with pytest.raises(Conflict) as caught:
            await keep.replace(L, ["lost"], expected=None)
        assert (caught.value.expected, caught.value.actual) == (None, last)
        # Deleted and made again with as many values.
        await keep.delete(L)
        await keep.append(L, [1, 2])
        with pytest.raises(Conflict):
            await keep.replace(L, ["lost"], expected=last)
        await keep.delete(L)
        assert await keep.replace(L, ["first"], expected=None) == 1

    # -- listing

    async def test_names_in_order(self, keep: AsyncLogRepository) -> None:
        for log in SEPARATE:
            await keep.append(log, [1])
        assert await names(keep.list()) == sorted(SEPARATE)
        for limit in (0, 2, len(SEPARATE) - 1, len(SEPARATE), 10**30):
            assert await names(keep.list(limit=limit)) == sorted(SEPARATE)[:limit]
        for prefix in (("a",), ("a", "b"), ("a\x00b",), ("a\x01",), ("\U0010ffff",), ("*",), ("a", "b", "c", "d")):
            below = sorted(log for log in SEPARATE if log[: len(prefix)] == prefix)
            assert await names(keep.list(prefix=prefix)) == below
            assert await names(keep.list(prefix=prefix, limit=2)) == below[:2]

    async def test_many_logs(self, keep: AsyncLogRepository) -> None:
        async def fill(first: int) -> None:
            for number in range(first, 90, 10):
                await keep.append((f"{number % 3}", f"{number:02}"), [number] * (number % 5 + 1))

        async with anyio.create_task_group() as group:
            for first in range(10):
                group.start_soon(fill, first)
        found = [log async for log in keep.list()]
        assert found == sorted(
            [
                Log(name=(f"{number % 3}", f"{number:02}"), count=number % 5 + 1, expires_at=None)
                for number in range(90)
            ],
            key=lambda log: log.name,
        )
        assert len(await names(keep.list(prefix=("1",)))) == 30
        assert await names(keep.list(prefix=("1",), limit=25)) == [log.name for log in found[30:55]]

    async def test_any_text_is_a_label(self, keep: AsyncLogRepository) -> None:
        logs = [(text, text) for text in NASTY_TEXTS]
        for number, log in enumerate(logs):
            await keep.append(log, [number])
        assert await names(keep.list()) == sorted(logs)
        for number, log in enumerate(logs):
            assert values(await keep.read(log)) == [number]
        for log in logs[::5]:
            assert await names(keep.list(prefix=log[:1])) == [log]

    @pytest.mark.parametrize("disguise", [Disguised, member])
    async def test_a_name_of_a_subclass_of_str_is_the_text_that_it_is(
        self, keep: AsyncLogRepository, disguise: Callable[[str], str]
    ) -> None:
        await keep.append((disguise("chat"), disguise("ada")), [disguise("x")])
        assert values(await keep.last(list(L))) == ["x"]
        [log] = [log async for log in keep.list(prefix=[disguise("chat")])]
        assert log.name == L
        assert [type(label) for label in log.name] == [str, str]

    # -- the end of logs

    async def test_logs_end_when_they_should(self, keep: AsyncLogRepository) -> None:
        before = dt.datetime.now(dt.UTC)
        await keep.append(L, [1], ttl=0.8)
        await keep.append(OTHER, [1], ttl=60.5)
        await keep.append(("ever",), [1])
        after = dt.datetime.now(dt.UTC)
        found = {log.name: log async for log in keep.list()}
        ends = found[OTHER].expires_at
        slack = dt.timedelta(seconds=1)  # the server's clock is another one
        assert ends is not None
        assert before - slack <= ends - dt.timedelta(seconds=60.5) <= after + slack
        assert found[("ever",)].expires_at is None
        await anyio.sleep(1.0)
        assert await names(keep.list()) == [OTHER, ("ever",)]
        assert await keep.count(L) == 0
        assert await keep.read(L) == await keep.pop(L) == []
        assert await keep.append(L, [2]) == 1
        assert values(await keep.read(L)) == [2]

    async def test_the_last_ttl_counts(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1], ttl=0.3)
        await keep.append(L, [2])
        await keep.append(OTHER, [1])
        await keep.append(OTHER, [2], ttl=0.3)
        await keep.replace(("third",), [1], ttl=0.3)
        await keep.replace(("fourth",), [1], ttl=0.3)
        await keep.replace(("fourth",), [1])
        # These leave it alone.
        await keep.append(("fourth",), [], ttl=0.3)
        await keep.append(("fifth",), [1, 2, 3], ttl=0.3)
        await keep.append(("fifth",), [], ttl=None)
        await keep.pop(("fifth",))
        await keep.trim(("fifth",), keep=1)
        await keep.read(("fifth",), refresh=False)
        await anyio.sleep(0.5)
        assert await names(keep.list()) == [L, ("fourth",)]

    async def test_a_read_refreshes_if_asked(self, keep: AsyncLogRepository) -> None:
        logs = [(f"{number}",) for number in range(5)]
        for log in logs:
            await keep.append(log, [1, 2], ttl=1.2)
        await keep.append(("ever",), [1])
        for _ in range(3):
            await anyio.sleep(0.5)
            assert values(await keep.last(logs[0], refresh=True)) == [2]
            [first] = await keep.read(logs[1], limit=1, refresh=True)
            assert first.value == 1
            assert values(await keep.read(logs[2], after=first.position, refresh=True)) in ([2], [1, 2])
            await keep.last(logs[3], 0, refresh=True)
            await keep.last(logs[4])
            await keep.last(("ever",), refresh=True)
        assert await names(keep.list()) == [*logs[:3], ("ever",)]

    # -- bad input

    async def test_wrong_names(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1])
        for wrong in WRONG_NAMES:
            calls: list[Callable[[Any], Any]] = [
                lambda log: keep.append(log, [1]), keep.last, keep.read, keep.pop, lambda log: keep.trim(log, keep=1),
                lambda log: keep.replace(log, [1]), keep.count, keep.delete,
            ]  # fmt: skip
            for call in calls:
                with pytest.raises(InvalidInput) as caught:
                    await call(wrong)
                assert caught.value.field == "log"
            with pytest.raises(InvalidInput) as caught:
                keep.list(prefix=wrong)
            assert caught.value.field == "prefix"
        assert await names(keep.list()) == [L]

    async def test_the_longest_name(self, keep: AsyncLogRepository) -> None:
        log = ("é" * (LONGEST_ID // 2 - 1), "x", ":")
        await keep.append(log, [1])
        assert values(await keep.read(log)) == [1]
        assert await names(keep.list()) == [log]

    async def test_wrong_values(self, keep: AsyncLogRepository) -> None:
        for wrong in ("text", b"bytes", {"a": 1}, None, 1, iter([1]), {1}):
            for write in (keep.append, keep.replace):
                with pytest.raises(InvalidInput) as caught:
                    await write(L, cast(Any, wrong))
                assert caught.value.field == "values"
        assert await keep.count(L) == 0

    async def test_wrong_numbers(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2])
        for wrong in (-1, 1.0, "1", None, True, math.nan):
            calls: list[tuple[str, Callable[[Any], Any]]] = [
                ("n", lambda n: keep.last(L, n)),
                ("n", lambda n: keep.pop(L, n)),
                ("keep", lambda n: keep.trim(L, keep=n)),
                *([("limit", lambda n: keep.read(L, limit=n))] if wrong is not None else []),
                *([("after", lambda n: keep.read(L, after=n))] if wrong is not None else []),
            ]
            for field, call in calls:
                with pytest.raises(InvalidInput) as caught:
                    await call(wrong)
                assert caught.value.field == field
            if wrong is not None:
                with pytest.raises(InvalidInput):
                    keep.list(limit=cast(Any, wrong))
        assert await keep.count(L) == 2

    async def test_other_wrong_arguments(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1, 2])
        for wrong in (0, -1, 1.0, "1", True, 2**53, (await keep.last(L))[0]):
            with pytest.raises(InvalidInput) as caught:
                await keep.replace(L, [1], expected=cast(Any, wrong))
            assert caught.value.field == "expected"
        for wrong in WRONG_TTLS:
            for write in (keep.append, keep.replace):
                with pytest.raises(InvalidInput) as caught:
                    await write(L, [1], ttl=wrong)
                assert caught.value.field == "ttl"
        for read in (keep.last, keep.read):
            with pytest.raises(InvalidInput) as caught:
                await read(L, refresh=cast(Any, 1))
            assert caught.value.field == "refresh"
        with pytest.raises(InvalidInput) as caught:
            await keep.pop(L, first=cast(Any, 1))
        assert caught.value.field == "first"
        assert values(await keep.read(L)) == [1, 2]

    # -- at the same time

    def test_threads(self, repository: LogRepository) -> None:
        """Append, read, pop and replace in several threads at the same time.

        Each value comes out once, appended together it is read together, and no replacement loses an append.
        """
        popped: list[Any] = []
        stop = threading.Event()

        def write(seed: int) -> None:
            for number in range(20):
                repository.append(L, [(seed, number, part) for part in range(3)])

        def take() -> None:
            while not stop.is_set():
                popped.extend(values(repository.pop(L, 2, first=True)))

        def rewrite() -> None:
            while not stop.is_set():
                there = repository.read(L)
                try:
                    repository.replace(L, values(there), expected=there[-1].position if there else None)
                except Conflict:
                    continue

        def read() -> None:
            while not stop.is_set():
                positions = [entry.position for entry in repository.read(L)]
                assert positions == sorted(set(positions))

        with ThreadPoolExecutor(5) as pool:
            try:
                others = [pool.submit(take), pool.submit(read)]
                for done in [pool.submit(write, seed) for seed in range(3)]:
                    done.result()
            finally:
                stop.set()
            for other in others:
                other.result()
        found = [*popped, *values(repository.read(L))]
        assert sorted(found) == [[seed, number, part] for seed in range(3) for number in range(20) for part in range(3)]
        for seed in range(3):
            mine = [value for value in found if value[0] == seed]
            assert mine == sorted(mine)
        stop.clear()
        repository.delete(L)
        with ThreadPoolExecutor(4) as pool:
            try:
                other = pool.submit(rewrite)
                for done in [pool.submit(write, seed) for seed in range(3)]:
                    done.result()
            finally:
                stop.set()
            other.result()
        assert len(repository.read(L)) == 180

    async def test_tasks(self, arepository: AsyncLogRepository) -> None:
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(arepository.append, L, [number, number])
        found = values(await arepository.read(L))
        assert found[::2] == found[1::2]
        assert sorted(found[::2]) == list(range(60))

    # -- exactly as they were elsewhere

    def needs(self, keep: AsyncLogRepository, method: str) -> None:
        """Skip a test of a method that the backend need not have."""
        if not hasattr(keep.backend, method):
            pytest.skip(f"the backend has no method {method}")

    async def test_restored_logs_are_exact(self, keep: AsyncLogRepository) -> None:
        self.needs(keep, "restore")
        entries = [
            LogEntry(position=3, value={"z": [1.0], "a": None}),
            LogEntry(position=4, value=Payload(encoding="raw", data=b"\x00\xff 1 ")),
            LogEntry(position=2**40, value="x"),
        ]
        ends = dt.datetime(2199, 1, 1, 0, 0, 0, 1, dt.UTC)
        await keep.restore(L, entries, expires_at=ends)
        await keep.restore((), entries[:1])
        assert await keep.read(L) == entries
        assert await keep.read(L, after=3, limit=1) == entries[1:2]
        found = [(log.name, log.count, log.expires_at) async for log in keep.list()]
        assert found == [((), 1, None), (L, 3, ends.replace(microsecond=1000))]
        await keep.restore(L, entries)
        assert await keep.read(L) == entries
        assert [log.expires_at async for log in keep.list(prefix=L)] == [None]

    async def test_appends_go_on_after_a_restore(self, keep: AsyncLogRepository) -> None:
        self.needs(keep, "restore")
        late = 2**52  # by a clock that was wrong
        await keep.restore(L, [LogEntry(position=late, value=1)])
        assert await keep.append(L, [2, 3]) == 3
        positions = [entry.position for entry in await keep.read(L)]
        assert positions == sorted(positions)
        assert positions[0] == late < positions[1]
        await keep.delete(L)
        await keep.append(L, [4])
        assert (await keep.last(L))[0].position > positions[-1]
        await keep.restore(OTHER, [LogEntry(position=2 * late - 5000, value=1)])
        await keep.delete(OTHER)
        await keep.append(OTHER, [2])
        assert (await keep.last(OTHER))[0].position > 2 * late - 5000

    async def test_a_restored_log_replaces_what_was_there(self, keep: AsyncLogRepository) -> None:
        self.needs(keep, "restore")
        await keep.append(L, ["a", "b"], ttl=3600)
        await keep.append(OTHER, ["c"])
        await keep.restore(L, [LogEntry(position=1, value="x")])
        assert values(await keep.read(L)) == ["x"]
        assert values(await keep.read(OTHER)) == ["c"]
        assert [log.expires_at async for log in keep.list(prefix=L)] == [None]

    async def test_a_log_is_restored_in_parts(self, keep: AsyncLogRepository) -> None:
        self.needs(keep, "restore")
        entries = [LogEntry(position=10 * number, value=number) for number in range(1, 8)]
        await keep.append(L, ["old"])
        await keep.restore(L, entries[:3])
        await keep.restore(L, entries[3:6], after=30)
        await keep.restore(L, entries[3:], after=30)  # it was cut off, and is repeated
        assert await keep.read(L) == entries
        await keep.restore(L, [LogEntry(position=25, value="x")], after=24)
        assert values(await keep.read(L)) == [1, 2, "x"]
        await keep.restore(L, [LogEntry(position=26, value="y")], after=25)
        await keep.restore(L, [], after=1)
        assert values(await keep.read(L)) == [1, 2, "x", "y"]

    async def test_restored_logs_end(self, keep: AsyncLogRepository) -> None:
        self.needs(keep, "restore")
        now = dt.datetime.now(dt.UTC)
        entries = [LogEntry(position=1, value=1)]
        await keep.append(L, ["stays"])
        await keep.restore(L, entries, expires_at=now - dt.timedelta(seconds=1))
        await keep.restore(L, entries, expires_at=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
        assert values(await keep.read(L)) == ["stays"]
        await keep.restore(L, entries, expires_at=now + dt.timedelta(seconds=0.4))
        await keep.restore(OTHER, entries, expires_at=now + dt.timedelta(hours=1))
        await anyio.sleep(0.6)
        assert await names(keep.list()) == [OTHER]
        assert await keep.read(L) == []

    @pytest.mark.parametrize(
        ("entries", "options"),
        [
            ("entries", {}),
            ([1], {}),
            ([LogEntry(position=2, value=1), LogEntry(position=2, value=1)], {}),
            ([LogEntry(position=2, value=1), LogEntry(position=1, value=1)], {}),
            ([LogEntry(position=2, value=1)], {"after": 2}),
            ([LogEntry(position=2**53 - 2, value=1)], {}),
            ([LogEntry(position=1, value=1)], {"expires_at": "tomorrow"}),
            ([LogEntry(position=1, value=1)], {"expires_at": dt.datetime(2100, 1, 1)}),
            ([LogEntry(position=1, value=1)], {"after": -1}),
        ],
        ids=str,
    )
    async def test_logs_that_cannot_be_restored(self, keep: AsyncLogRepository, entries: Any, options: Any) -> None:
        self.needs(keep, "restore")
        await keep.append(L, ["stays"])
        with pytest.raises(InvalidInput) as caught:
            await keep.restore(L, entries, **options)
        assert caught.value.field == next(iter(options), "entries") or caught.value.field == "entries"
        assert values(await keep.read(L)) == ["stays"]

    async def test_measure(self, keep: AsyncLogRepository) -> None:
        assert ((await keep.measure(L)).count, (await keep.measure(L)).bytes) == (0, 0)
        await keep.append(L, ["x" * 1000] * 120)
        measure = await keep.measure(L)
        assert measure.count == 120
        assert 120_000 <= measure.bytes < 300_000

    # -- its end

    async def test_ping(self, keep: AsyncLogRepository) -> None:
        assert await keep.ping() >= 0

    async def test_now(self, keep: AsyncLogRepository) -> None:
        first, second = await keep.now(), await keep.now()
        assert first <= second
        assert first.utcoffset() == dt.timedelta(0)

    async def test_close_may_be_repeated(self, keep: AsyncLogRepository) -> None:
        await keep.append(L, [1])
        await keep.close()
        await keep.close()
