"""The contract of a backend of cache entries, as tests that its authors inherit.

Example, for a backend of your own (``pytest`` and ``anyio`` are needed)::

    # In conftest.py, so that failures say what was compared:
    pytest.register_assert_rewrite("statekeep.testing.contracts.cache")
    from statekeep.testing.contracts.cache import CacheContract

    class TestMyBackend(CacheContract):
        @pytest.fixture
        def repository(self):
            with CacheRepository(MyBackend(...)) as repository:
                yield repository

        @pytest.fixture
        async def arepository(self):
            async with AsyncCacheRepository(MyBackend(...)) as repository:
                yield repository
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar, cast

import anyio
import pytest

from ...domain import DEFAULT, CacheEntry, InvalidInput, Payload
from ...domain.cache import CacheKey
from ...domain.model import LONGEST_ID, MOST_LABELS
from ...repositories.cache import AsyncCacheRepository, CacheRepository
from ..faces import awaited
from ..strategies import NASTY_TEXTS
from ..strategies.texts import Disguised, member

__all__ = ["CacheContract"]

ItemT = TypeVar("ItemT")

TOO_LONG = "x" * (LONGEST_ID + 1)

K: CacheKey = (("n",), "k")
OTHER: CacheKey = (("n",), "other")

SEPARATE: tuple[CacheKey, ...] = (
    ((), ""), ((), "k"), ((), "a.b:k"), (("a",), "k"), (("a",), "b:k"), (("a",), "b/k"), (("a", "b"), "k"),
    (("a.b",), "k"), (("a/b",), "k"), (("a:b",), "k"), (("a", "b", "c"), "k"), (("a", "b"), "c:k"), ((".",), "k"),
    (("%2E",), "k"), (("index",), "hash"), (("index",), "schema"), (("a",), "K"), (("A",), "k"), (("a",), "k "),
    (("a",), " k"), (("a",), "k*"), (("é",), "k"), (("e\u0301",), "k"), (("{a}",), "k"),
)  # fmt: skip
"""Keys that a careless encoding takes for one another."""

WRONG_KEYS: tuple[Any, ...] = (
    "key", ("n", "k"), (("n",), None), (("n",), b"k"), (("n",), 1), (("n",), "\ud800"), (("",), "k"),
    (("\ud800",), "k"), ((b"n",), "k"), ((None,), "k"), (("n",),), (("n",), "k", "more"), None, 1, (("n",), TOO_LONG),
    ((TOO_LONG,), "k"), ((TOO_LONG[2:], "xx"), "k"), (("x",) * (MOST_LABELS + 1), "k"),
)  # fmt: skip

WRONG_TTLS: tuple[Any, ...] = (
    0, -1, -0.5, 0.0, float("nan"), float("inf"), True, False, "60", b"60", 1e300, 10**400, -(10**400), Decimal(1),
    Fraction(1),
)  # fmt: skip


def payload(text: str | bytes) -> Payload:
    """Return a payload as a serializer might have made it."""
    return Payload(encoding="raw", data=text.encode() if isinstance(text, str) else text)


def values(entries: dict[CacheKey, CacheEntry]) -> dict[CacheKey, str]:
    """Return the text of each entry."""
    return {place: entry.payload.data.decode() for place, entry in entries.items()}


async def listed(items: AsyncIterator[ItemT]) -> list[ItemT]:
    """Return the results of a listing."""
    return [item async for item in items]


class CacheContract:
    """Tests of everything that :class:`~statekeep.CacheRepository` documents.

    See the module for how to use it.

    Each test gets empty repositories without a TTL of their own. Those that take ``keep`` run with both faces.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def repository(self) -> Iterator[CacheRepository]:
        """Yield an empty repository; override it."""
        raise NotImplementedError("override the fixture `repository`")

    @pytest.fixture
    async def arepository(self) -> AsyncIterator[AsyncCacheRepository]:
        """Yield an empty repository for asyncio; override it."""
        raise NotImplementedError("override the fixture `arepository`")
        yield

    @pytest.fixture(params=["blocking", "async"])
    def keep(self, request: pytest.FixtureRequest) -> AsyncCacheRepository:
        """One face after the other."""
        if request.param == "blocking":
            return awaited(cast(CacheRepository, request.getfixturevalue("repository")))
        return cast(AsyncCacheRepository, request.getfixturevalue("arepository"))

    # -- what is missing

    async def test_nothing_stored(self, keep: AsyncCacheRepository) -> None:
        assert await keep.get([K]) == {}
        assert await keep.get([]) == {}
        await keep.set({})
        assert await keep.delete([K]) == 0
        assert await keep.delete([]) == 0
        assert await keep.clear() == 0
        assert await keep.clear([]) == 0
        assert await keep.clear([("n",), ()]) == 0
        assert await keep.reindex() == 0

    async def test_only_what_is_there_is_returned(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        assert values(await keep.get([OTHER, K, ((), "k")])) == {K: "1"}

    # -- what is stored is what comes back

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\xff\xfe", b"text", bytes(range(256)) * 500], ids=len)
    async def test_payloads(self, keep: AsyncCacheRepository, data: bytes) -> None:
        stored = Payload(encoding="msgpack+zstd;é", data=data)
        await keep.set({K: stored})
        found = await keep.get([K])
        assert list(found) == [K]
        assert type(found[K]) is CacheEntry
        assert (found[K].namespace, found[K].key) == K
        assert found[K].payload == stored

    async def test_times(self, keep: AsyncCacheRepository) -> None:
        before = dt.datetime.now(dt.UTC)
        await keep.set({K: (payload("1"), 60.5), OTHER: (payload("2"), None)})
        after = dt.datetime.now(dt.UTC)
        found = await keep.get([K, OTHER])
        slack = dt.timedelta(seconds=1)  # the server's clock is another one
        assert before - slack <= found[K].created_at <= after + slack
        assert found[K].created_at.tzinfo is not None
        ends = found[K].expires_at
        assert ends is not None
        assert dt.timedelta(0) <= ends - found[K].created_at - dt.timedelta(seconds=60.5) <= dt.timedelta(seconds=0.002)
        assert ends.microsecond % 1000 == 0
        assert found[OTHER].expires_at is None

    async def test_keys_are_kept_apart(self, keep: AsyncCacheRepository) -> None:
        entries = {place: payload(f"{number}") for number, place in enumerate(SEPARATE)}
        await keep.set(entries)
        found = await keep.get(list(entries))
        assert {place: entry.payload for place, entry in found.items()} == entries
        for number, place in enumerate(SEPARATE):
            assert values(await keep.get([place])) == {place: f"{number}"}

    async def test_any_text_is_a_key_and_a_label(self, keep: AsyncCacheRepository) -> None:
        entries = {((text, "x"), text): payload(f"{number}") for number, text in enumerate(NASTY_TEXTS)}
        await keep.set(entries)
        assert {place: entry.payload for place, entry in (await keep.get(list(entries))).items()} == entries
        assert await keep.reindex() == len(entries)
        for text in NASTY_TEXTS:
            assert await keep.clear([(text,), (text, "x", "x")]) == 0
            assert await keep.clear([(text, "x")]) == 1
        assert await keep.get(list(entries)) == {}

    async def test_a_key_may_be_asked_for_twice(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        assert values(await keep.get([K, K])) == {K: "1"}
        assert await keep.delete([K, K]) == 1

    @pytest.mark.parametrize("disguise", [Disguised, member])
    async def test_a_key_of_a_subclass_of_str_is_the_text_that_it_is(
        self, keep: AsyncCacheRepository, disguise: Callable[[str], str]
    ) -> None:
        place = ((disguise("n"),), disguise("k"))
        await keep.set({place: Payload(encoding=disguise("raw"), data=b"1")})
        entries = await keep.get([K])
        assert values(entries) == {K: "1"} == values(await keep.get([place]))
        entry = entries[K]
        named = [*entry.namespace, entry.key, entry.payload.encoding]
        assert [type(text) for text in named] == [str] * 3
        assert await keep.delete([place]) == 1
        await keep.set({K: payload("2"), place: payload("3")})
        assert values(await keep.get([K])) == {K: "3"}
        assert await keep.clear([place[0]]) == 1

    async def test_set_replaces(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: (Payload(encoding="a", data=b"a long value"), 60)})
        first = (await keep.get([K]))[K]
        await keep.set({K: Payload(encoding="b", data=b"")})
        second = (await keep.get([K]))[K]
        assert second.payload == Payload(encoding="b", data=b"")
        assert second.expires_at is None
        assert second.created_at >= first.created_at
        await keep.set({K: (payload("3"), 60)})
        assert (await keep.get([K]))[K].expires_at is not None
        assert await keep.clear() == 1

    async def test_many(self, keep: AsyncCacheRepository) -> None:
        entries = {((f"n{number % 3}",), f"k{number}"): payload(f"{number}") for number in range(1201)}
        await keep.set(entries)
        assert {place: entry.payload for place, entry in (await keep.get(list(entries))).items()} == entries
        assert await keep.delete([(("n0",), f"k{number}") for number in range(1201)]) == 401
        assert await keep.clear([("n1",)]) == 400
        assert set(await keep.get(list(entries))) == {place for place in entries if place[0] == ("n2",)}
        assert await keep.clear() == 400

    async def test_many_bytes(self, keep: AsyncCacheRepository) -> None:
        entries = {(("n",), f"{number}"): payload(bytes([number]) * 3_000_000) for number in range(5)}
        await keep.set(entries)
        found = await keep.get(list(entries))
        assert {place: entry.payload for place, entry in found.items()} == entries
        assert await keep.clear([("n",)]) == 5

    # -- the end of entries

    async def test_entries_end_when_they_should(self, keep: AsyncCacheRepository) -> None:
        brief, longer, ever = (("n",), "brief"), (("n",), "longer"), (("n",), "ever")
        await keep.set({brief: (payload("1"), 0.8), longer: (payload("2"), 60), ever: (payload("3"), None)})
        assert set(await keep.get([brief, longer, ever])) == {brief, longer, ever}
        await anyio.sleep(1.0)
        assert set(await keep.get([brief, longer, ever])) == {longer, ever}
        assert await keep.delete([brief]) == 0
        assert await keep.reindex() == 2
        assert await keep.clear() == 2

    async def test_the_last_ttl_counts(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: (payload("1"), 0.4), OTHER: (payload("1"), None)})
        await keep.set({K: (payload("2"), DEFAULT), OTHER: (payload("2"), 0.4)})
        await anyio.sleep(0.6)
        assert values(await keep.get([K, OTHER])) == {K: "2"}

    async def test_a_namespace_ends_and_begins_again(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: (payload("1"), 0.2)})
        await anyio.sleep(0.4)
        await keep.set({OTHER: payload("2")})
        assert await keep.get([K]) == {}
        assert await keep.clear([("n",)]) == 1
        await keep.set({K: payload("3")})
        assert await keep.clear() == 1

    # -- deleting

    async def test_delete(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1"), OTHER: payload("2"), ((), "k"): payload("3")})
        assert await keep.delete([K, (("n",), "no"), ((), "k")]) == 2
        assert values(await keep.get([K, OTHER, ((), "k")])) == {OTHER: "2"}
        assert await keep.delete([K]) == 0
        assert await keep.clear() == 1

    async def test_clear_is_about_exactly_these_namespaces(self, keep: AsyncCacheRepository) -> None:
        entries = {place: payload("v") for place in SEPARATE}
        await keep.set(entries)
        for namespace in [("*",), ("a*",), ("?",), ("[a-z]",), ("a", "b", "c", "d"), ("b",)]:
            assert await keep.clear([namespace]) == 0
        left = set(SEPARATE)
        for namespace in [("a", "b"), (), ("a",), ("a.b",)]:
            gone = {place for place in left if place[0] == namespace}
            assert await keep.clear([namespace]) == len(gone)
            left -= gone
            assert set(await keep.get(list(entries))) == left
        assert await keep.clear([("a",), ("A",), ("A",), ("é",)]) == 2
        assert await keep.clear() == len(left) - 2
        assert await keep.get(list(entries)) == {}

    async def test_clear_of_nothing_clears_nothing(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        assert await keep.clear([]) == 0
        assert await keep.clear(()) == 0
        assert set(await keep.get([K])) == {K}

    async def test_what_is_set_after_a_clear_stays(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        assert await keep.clear() == 1
        await keep.set({K: payload("2")})
        assert values(await keep.get([K])) == {K: "2"}
        assert await keep.clear([("n",)]) == 1

    async def test_lists_are_namespaces_too(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        assert await keep.clear([["n"]]) == 1

    # -- listing, and storing what was listed

    async def test_lists_of_nothing(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list", "list_namespaces", "restore")
        await keep.restore([])
        assert await listed(keep.list()) == []
        assert await listed(keep.list(("n",))) == []
        assert await listed(keep.list_namespaces()) == []

    async def test_list(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list")
        entries = {place: payload(f"{number}") for number, place in enumerate(SEPARATE)}
        await keep.set(entries)
        found = await listed(keep.list())
        assert [type(entry) for entry in found] == [CacheEntry] * len(entries)
        places = [(entry.namespace, entry.key) for entry in found]
        assert places == sorted(entries)
        assert {(entry.namespace, entry.key): entry for entry in found} == await keep.get(list(entries))
        for namespace in [("a",), (), ("a", "b"), ("b",), ["a"]]:
            only = [(entry.namespace, entry.key) for entry in await listed(keep.list(namespace))]
            assert only == [place for place in places if place[0] == tuple(namespace)]

    async def test_any_text_is_listed(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list", "list_namespaces")
        entries = {((text, "x"), text): payload(f"{number}") for number, text in enumerate(NASTY_TEXTS)}
        await keep.set(entries)
        found = await listed(keep.list())
        assert [(entry.namespace, entry.key) for entry in found] == sorted(entries)
        assert [one.namespace for one in await listed(keep.list_namespaces())] == [
            space for space, _ in sorted(entries)
        ]

    async def test_what_ends_first_is_listed_first(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list")
        lives = {"a": None, "b": 3600, "c": 0.3, "d": 60, "e": None, "f": 7200}
        await keep.set({(("n",), key): (payload(key), ttl) for key, ttl in lives.items()})
        await anyio.sleep(0.5)
        assert [entry.key for entry in await listed(keep.list(("n",)))] == ["d", "b", "f", "a", "e"]
        assert [entry.key for entry in await listed(keep.list())] == ["d", "b", "f", "a", "e"]

    async def test_many_are_listed(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list", "list_namespaces")
        places = [((f"n{number % 3}",), f"k{number:04}") for number in range(1201)]
        large = (("n3",), "large")
        await keep.set({**{place: payload(place[1]) for place in places}, large: payload(bytes(5_000_000))})
        found = await listed(keep.list())
        assert [(entry.namespace, entry.key) for entry in found] == [*sorted(places), large]
        assert [entry.payload.data.decode() for entry in found[:-1]] == [key for _, key in sorted(places)]
        spaces = await listed(keep.list_namespaces())
        assert [(one.namespace, one.entries) for one in spaces] == [
            (("n0",), 401), (("n1",), 400), (("n2",), 400), (("n3",), 1)
        ]  # fmt: skip
        assert 401 * 5 <= spaces[0].bytes < 401 * 1000
        assert spaces[3].bytes >= 5_000_000
        assert {one.basis for one in spaces} <= {"memory", "lengths"}

    async def test_what_is_deleted_meanwhile_is_not_listed(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list")
        places = [(("n",), f"k{number:03}") for number in range(200)]
        await keep.set({place: payload("v") for place in places})
        entries = keep.list()
        first = await anext(entries)
        assert (first.namespace, first.key) == places[0]
        await keep.delete(places[::2])
        found = [entry.key async for entry in entries]
        assert {key for _, key in places[1::2]} <= set(found)
        assert found == sorted(set(found))

    async def test_restore(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list", "restore")
        created = dt.datetime(2021, 2, 3, 4, 5, 6, 789_012, dt.UTC)
        ends = dt.datetime(2099, 1, 2, 3, 4, 5, 678_000, dt.UTC)
        entries = [
            CacheEntry(namespace=place[0], key=place[1], payload=payload(place[1]), created_at=created, expires_at=end)
            for place, end in (((("n",), "a"), ends), ((("n",), "b"), None), (((), ""), ends))
        ]
        await keep.set({K: payload("stays"), (("n",), "a"): (payload("replaced"), 60)})
        await keep.restore(entries)
        found = await keep.get([(("n",), "a"), (("n",), "b"), ((), "")])
        assert found == {(entry.namespace, entry.key): entry for entry in entries}
        assert [entry.key for entry in await listed(keep.list())] == ["", "a", "b", "k"]
        assert await keep.reindex() == 4
        assert await keep.clear([("n",)]) == 3

    async def test_restore_in_other_zones_and_between_milliseconds(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "restore")
        zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
        created = dt.datetime(1999, 12, 31, 23, 59, 59, 999_999, zone)
        ends = dt.datetime(2150, 1, 1, 0, 0, 0, 1, zone)
        entry = CacheEntry(namespace=(), key="k", payload=payload("1"), created_at=created, expires_at=ends)
        await keep.restore((entry,))
        [found] = (await keep.get([((), "k")])).values()
        assert found.created_at == created
        assert found.expires_at == ends + dt.timedelta(microseconds=999)
        assert (found.created_at.utcoffset(), found.expires_at.utcoffset()) == (dt.timedelta(0), dt.timedelta(0))

    async def test_restore_leaves_out_what_has_ended(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list", "restore")
        past = await keep.now() - dt.timedelta(seconds=1)
        entry = CacheEntry(namespace=("n",), key="k", payload=payload("old"), created_at=past, expires_at=past)
        gone = entry.model_copy(update={"key": "gone"})
        await keep.set({K: payload("new")})
        await keep.restore([entry, gone])
        assert values(await keep.get([K, (("n",), "gone")])) == {K: "new"}
        await keep.clear()
        await keep.restore([gone])
        assert await listed(keep.list()) == []
        soon = await keep.now() + dt.timedelta(seconds=0.5)
        await keep.restore([entry.model_copy(update={"expires_at": soon})])
        await anyio.sleep(0.8)
        assert await listed(keep.list()) == []

    async def test_what_was_listed_comes_back(self, keep: AsyncCacheRepository) -> None:
        self.needs(keep, "list", "restore")
        places = {number: ((f"n{number % 7}",), f"{number}") for number in range(700)}
        await keep.set({place: (payload(place[1]), 60 + number) for number, place in places.items()})
        await keep.set({(("n1",), f"ever {number}"): payload("v") for number in range(20)})
        before = await listed(keep.list())
        assert len(before) == 720
        await keep.clear()
        await keep.restore(before)
        assert await listed(keep.list()) == before
        await keep.restore(before)
        assert await listed(keep.list()) == before

    async def test_wrong_listings(self, keep: AsyncCacheRepository) -> None:
        for wrong in ("n", b"n", [""], [None], 1, [TOO_LONG]):
            with pytest.raises(InvalidInput) as caught:
                keep.list(cast(Any, wrong))
            assert caught.value.field == "namespace"
        entry = CacheEntry(namespace=(), key="k", payload=payload("1"), created_at=dt.datetime.now(dt.UTC))
        for wrong_entries in (entry, None, "e", iter([entry]), {K: entry}, [payload("1")], [None]):
            with pytest.raises(InvalidInput) as caught:
                await keep.restore(cast(Any, wrong_entries))
            assert caught.value.field == "entries"
        with pytest.raises(InvalidInput):
            await keep.restore([entry, entry.model_copy(update={"key": 1})])
        assert await keep.get([((), "k")]) == {}

    def needs(self, keep: AsyncCacheRepository, *methods: str) -> None:
        """Skip a test of methods that the backend need not have."""
        for method in methods:
            if not hasattr(keep.backend, method):
                pytest.skip(f"the backend has no method {method}")

    # -- bad input

    async def test_the_longest_keys(self, keep: AsyncCacheRepository) -> None:
        place: CacheKey = (("a", "é" * (LONGEST_ID // 2 - 1), "b"), ":" * LONGEST_ID)
        await keep.set({place: payload("1")})
        assert values(await keep.get([place])) == {place: "1"}
        assert await keep.reindex() == 1
        assert await keep.clear([place[0]]) == 1
        assert await keep.get([place]) == {}

    async def test_wrong_keys(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        for wrong in WRONG_KEYS:
            with pytest.raises(InvalidInput):
                await keep.get([K, wrong])
            with pytest.raises(InvalidInput):
                await keep.delete([K, wrong])
            with pytest.raises(InvalidInput):
                await keep.set({K: payload("2"), wrong: payload("2")})
        assert values(await keep.get([K])) == {K: "1"}

    async def test_wrong_sequences_of_keys(self, keep: AsyncCacheRepository) -> None:
        for wrong in ("nk", b"nk", None, 1, iter([K]), {K}):
            for call in (keep.get, keep.delete):
                with pytest.raises(InvalidInput) as caught:
                    await call(cast(Any, wrong))
                assert caught.value.field == "keys"

    async def test_wrong_ttls(self, keep: AsyncCacheRepository) -> None:
        for wrong in WRONG_TTLS:
            with pytest.raises(InvalidInput) as caught:
                await keep.set({OTHER: (payload("1"), 60), K: (payload("1"), wrong)})
            assert caught.value.field == "ttl"
        assert await keep.get([K, OTHER]) == {}

    async def test_wrong_entries(self, keep: AsyncCacheRepository) -> None:
        for wrong in (b"v", "v", None, (b"v", 1), (payload("v"),), (payload("v"), 1, 1)):
            with pytest.raises(InvalidInput) as caught:
                await keep.set(cast(Any, {OTHER: payload("1"), K: wrong}))
            assert caught.value.field == "entries"
        with pytest.raises(InvalidInput):
            await keep.set(cast(Any, [(K, payload("1"))]))
        assert await keep.get([K, OTHER]) == {}

    async def test_wrong_namespaces(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        for wrong in ("n", b"n", ["n"], [("n",), ("",)], [("n",), None], 1, iter([("n",)])):
            with pytest.raises(InvalidInput) as caught:
                await keep.clear(cast(Any, wrong))
            assert caught.value.field == "namespaces"
        assert set(await keep.get([K])) == {K}

    # -- at the same time

    def test_threads(self, repository: CacheRepository) -> None:
        """Use a cache from several threads at the same time.

        Entries are whole, and a clear afterwards leaves none.
        """
        places = [((f"n{number % 2}",), f"k{number}") for number in range(20)]
        stop = threading.Event()

        def write(seed: int) -> None:
            for number in range(60):
                text = f"{seed}-{number}-" * 10
                repository.set({place: (payload(text), 60 if number % 2 else None) for place in places[seed::3]})

        def erase() -> None:
            while not stop.is_set():
                repository.clear([("n0",)])
                repository.clear()
                repository.delete(places[:5])

        def read() -> None:
            while not stop.is_set():
                for entry in repository.get(places).values():
                    text = entry.payload.data.decode()
                    assert text == text[: len(text) // 10] * 10

        with ThreadPoolExecutor(6) as pool:
            try:
                others = [pool.submit(erase), pool.submit(read), pool.submit(read)]
                for done in [pool.submit(write, seed) for seed in range(3)]:
                    done.result()
            finally:
                stop.set()
            for other in others:
                other.result()
        there = repository.get(places)
        assert repository.clear() == len(there)
        assert repository.get(places) == {}

    async def test_tasks(self, arepository: AsyncCacheRepository) -> None:
        places = [((f"n{number % 3}",), f"k{number}") for number in range(60)]
        async with anyio.create_task_group() as group:
            for place in places:
                group.start_soon(arepository.set, cast(Any, {place: payload(place[1])}))
        assert values(await arepository.get(places)) == {place: place[1] for place in places}
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(arepository.clear, [(f"n{number}",)])
        assert await arepository.get(places) == {}
        assert await arepository.clear() == 0

    # -- its end

    async def test_ping(self, keep: AsyncCacheRepository) -> None:
        seconds = await keep.ping()
        assert isinstance(seconds, float)
        assert seconds >= 0

    async def test_now(self, keep: AsyncCacheRepository) -> None:
        first, second = await keep.now(), await keep.now()
        assert first <= second
        assert first.utcoffset() == dt.timedelta(0)

    async def test_close_may_be_repeated(self, keep: AsyncCacheRepository) -> None:
        await keep.set({K: payload("1")})
        await keep.close()
        await keep.close()
