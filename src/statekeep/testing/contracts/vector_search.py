"""The contract of a backend of items that can be found by meaning.

It is made of tests that its authors inherit.

Example, for a backend of your own::

    pytest.register_assert_rewrite("statekeep.testing.contracts.vector_search")  # in conftest.py
    from statekeep.testing.contracts.vector_search import VectorSearchContract

    class TestMyBackend(VectorSearchContract):
        @pytest.fixture
        def indexed(self):
            with ExitStack() as stack:
                yield lambda index: stack.enter_context(ItemRepository(MyBackend(..., index=index)))

        @pytest.fixture
        async def aindexed(self):
            async with AsyncExitStack() as stack:
                def opened(index):
                    repository = AsyncItemRepository(MyBackend(..., index=index))
                    stack.push_async_exit(repository)
                    return repository
                yield opened
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from ...domain import Conflict, DeleteItem, EmbeddingFailed, Payload, PutItem, SearchItem, SearchStatus, VectorIndex
from ...repositories.items import AsyncItemRepository, ItemRepository
from ..embedding import DIMS, letter_counts
from ..faces import awaited

__all__ = ["VectorSearchContract"]

Indexed = Callable[[VectorIndex], ItemRepository]
AIndexed = Callable[[VectorIndex], AsyncItemRepository]
Searchable = Callable[..., Coroutine[Any, Any, AsyncItemRepository]]

N = ("n",)


class Calls:
    """A function from texts to vectors that remembers its calls."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts.append(list(texts))
        return letter_counts(texts)


class Documents:
    """Embeds as LangChain's embeddings do.

    What is looked for is embedded in a way of its own, with twice the length.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append("documents")
        return letter_counts(texts)

    def embed_query(self, text: str) -> list[float]:
        self.calls.append("query")
        return [number * 2 for number in letter_counts([text])[0]]


class AsyncDocuments(Documents):
    """With both kinds of methods."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)


async def acounts(texts: Sequence[str]) -> list[list[float]]:
    """Count letters as an asynchronous function that embeds texts."""
    await asyncio.sleep(0)
    return letter_counts(texts)


class AsyncCallable:
    """Embeds texts as an object that is called and awaited."""

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        return await acounts(texts)


class _Array:
    """As numpy's arrays."""

    def __init__(self, numbers: list[float]) -> None:
        self._numbers = numbers

    def tolist(self) -> list[float]:
        return self._numbers


def cosine(one: str, other: str) -> float:
    """Return how alike the vectors of two texts are."""
    x, y = letter_counts([one, other])
    return sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))


def scored(found: Sequence[SearchItem]) -> list[tuple[str, float | None]]:
    """Return the key and the rounded score of each item."""
    return [(item.key, None if item.score is None else round(item.score, 4)) for item in found]


def found_keys(found: Sequence[SearchItem]) -> list[str]:
    """Return the keys of items that were found."""
    return [item.key for item in found]


class VectorSearchContract:
    """Tests of what an item repository documents about its index.

    See :class:`~statekeep.repositories.items.ItemRepository`.

    See the module for how to use it. What the fixtures return is called with an index, and returns an empty
    repository of that index, made without a TTL. Each test runs with both faces.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def indexed(self) -> Iterator[Indexed]:
        """From an index to an empty repository; override it."""
        raise NotImplementedError("override the fixture `indexed`")

    @pytest.fixture
    async def aindexed(self) -> AsyncIterator[AIndexed]:
        """From an index to an empty repository for asyncio; override it."""
        raise NotImplementedError("override the fixture `aindexed`")
        yield

    @pytest.fixture(params=["blocking", "async"])
    def searchable(self, request: pytest.FixtureRequest) -> Searchable:
        """From options of an index to an empty repository, one face after the other."""
        is_blocking = request.param == "blocking"
        make = request.getfixturevalue("indexed" if is_blocking else "aindexed")

        async def opened(**options: Any) -> AsyncItemRepository:
            defaults = {"dims": DIMS, "embed": letter_counts, "fields": ["text"], "index_type": "flat"}
            repository = make(VectorIndex(**defaults | options))
            keep: AsyncItemRepository = awaited(repository) if is_blocking else repository
            await keep.setup()
            return keep

        return opened

    # -- order and scores

    async def test_the_nearest_come_first(self, searchable: Searchable) -> None:
        keep = await searchable()
        texts = ["a", "ab", "abb", "abbb", "b", "abc", "xyz"]
        for text in texts:
            await keep.put(N, text, {"text": text})
        found = await keep.search(query="a")
        # The last two are as far: the newest of them comes first.
        assert found_keys(found) == ["a", "ab", "abc", "abb", "abbb", "xyz", "b"]
        for item in found:
            assert type(item) is SearchItem
            assert type(item.score) is float
            assert math.isclose(item.score, cosine("a", item.key), abs_tol=1e-5)
        for offset in range(8):
            for limit in (0, 1, 3, 100):
                assert await keep.search(query="a", offset=offset, limit=limit) == found[offset : offset + limit]

    @pytest.mark.parametrize(
        ("metric", "want"),
        [
            ("cosine", [("b", 1.0), ("ab", 0.7071), ("aaab", 0.3162), ("cc", 0.0)]),
            ("ip", [("aaab", 2.0), ("ab", 2.0), ("b", 2.0), ("cc", 0.0)]),
            ("l2", [("b", -1.0), ("ab", -2.0), ("cc", -8.0), ("aaab", -10.0)]),
        ],
    )
    async def test_metrics(self, searchable: Searchable, metric: str, want: list[Any]) -> None:
        keep = await searchable(distance_metric=metric)
        for text in ("b", "ab", "cc", "aaab"):
            await keep.put(N, text, {"text": text})
        assert scored(await keep.search(query="bb")) == want

    async def test_equal_scores_are_newest_first(self, searchable: Searchable) -> None:
        keep = await searchable()
        for number in range(30):
            await keep.put((f"{number % 3}",), f"{number}", {"text": "ab"})
        await keep.put(("0",), "3", {"text": "ba"})
        want = ["3", *(f"{number}" for number in range(29, -1, -1) if number != 3)]
        assert found_keys(await keep.search(query="ab", limit=100)) == want
        assert found_keys(await keep.search(query="ab", limit=7, offset=5)) == want[5:12]

    async def test_those_without_vectors_come_last(self, searchable: Searchable) -> None:
        keep = await searchable()
        for key, value in {
            "0": {"text": "b"}, "1": {"other": "a"}, "2": {"text": "a"}, "3": 5, "4": {"text": None},
            "6": {"text": "ab"}, "7": ["text"],
        }.items():  # fmt: skip
            await keep.put(N, key, value)
        want = [("2", 1.0), ("6", 0.7071), ("0", 0.0), ("7", None), ("4", None), ("3", None), ("1", None)]
        every = await keep.search(query="a")
        assert scored(every) == want
        for offset in range(10):
            for limit in (1, 2, 4):
                assert await keep.search(query="a", offset=offset, limit=limit) == every[offset : offset + limit]

    async def test_many_items(self, searchable: Searchable) -> None:
        keep = await searchable(fields=["$"])
        texts = ["a" * (number % 23) + "b" * (number % 17) + "c" * (number % 11 + 1) for number in range(500)]
        await keep.batch(
            [PutItem(namespace=("n", f"{at % 5}"), key=f"{at:03}", value=text) for at, text in enumerate(texts)]
        )
        every = await keep.search(query="aabbb", limit=1000)
        assert sorted(found_keys(every)) == [f"{number:03}" for number in range(500)]
        scores = [item.score for item in every]
        assert scores == sorted(scores, key=lambda score: score or 0, reverse=True)
        for item in every:
            assert item.score is not None
            assert math.isclose(item.score, cosine("aabbb", item.value), abs_tol=1e-5)
        assert await keep.search(query="aabbb", limit=10) == every[:10]
        assert await keep.search(query="aabbb", limit=300, offset=150) == every[150:450]
        part = [item for item in every if item.namespace == ("n", "3")]
        assert await keep.search(("n", "3"), query="aabbb", limit=20) == part[:20]

    # -- prefix, filter, query

    async def test_prefix_and_filter(self, searchable: Searchable) -> None:
        keep = await searchable()
        for namespace in (("user",), ("users",), ("user", "1"), ("user", "12"), (), ("u*",)):
            for text in ("a", "ab", "b"):
                await keep.put(namespace, text, {"text": text, "is_b": "b" in text, "length": len(text)})
        found = await keep.search(("user",), query="a", limit=100)
        assert {item.namespace for item in found} == {("user",), ("user", "1"), ("user", "12")}
        assert found_keys(found) == ["a"] * 3 + ["ab"] * 3 + ["b"] * 3
        assert len(await keep.search(query="a", limit=100)) == 18
        assert found_keys(await keep.search(("user", "1"), query="b")) == ["b", "ab", "a"]
        assert found_keys(await keep.search(("user",), query="a", filter={"is_b": True}, limit=4)) == ["ab"] * 3 + ["b"]
        assert found_keys(await keep.search(("user", "1"), query="a", filter={"length": {"$gt": 1}})) == ["ab"]
        assert found_keys(await keep.search(("u*",), query="a", filter={"is_b": True}, offset=1)) == ["b"]
        assert await keep.search(("user*",), query="a") == []
        assert await keep.search(query="a", filter={"is_b": None}) == []

    async def test_a_filter_that_few_fulfil(self, searchable: Searchable) -> None:
        """The items that match are among the farthest."""
        keep = await searchable()
        await keep.batch([PutItem(namespace=N, key=f"{at}", value={"text": "a", "rare": False}) for at in range(300)])
        await keep.put(N, "x", {"text": "b", "rare": True})
        await keep.put(N, "y", {"text": "bba", "rare": True})
        await keep.put(N, "z", {"rare": True})
        assert found_keys(await keep.search(query="a", filter={"rare": True})) == ["y", "x", "z"]

    async def test_without_query_nothing_is_embedded(self, searchable: Searchable) -> None:
        calls = Calls()
        keep = await searchable(embed=calls)
        await keep.batch([PutItem(namespace=N, key=text, value={"text": text}) for text in ("a", "b")])
        assert len(calls.texts) == 1
        for query in (None, ""):
            assert scored(await keep.search(query=query)) == [("b", None), ("a", None)]
        assert await keep.search(query="a", limit=0) == []
        assert len(calls.texts) == 1

    async def test_any_text_is_a_query(self, searchable: Searchable) -> None:
        keep = await searchable(embed=lambda texts: [[1.0, len(text)] for text in texts], dims=2)
        for text in ("*", "@x:{y}", "é😀", 'a"b\\', "\x00"):
            await keep.put((text,), text, {"text": text, text: text})
            [found] = await keep.search((text,), query=text, filter={text: text})
            assert scored([found]) == [(text, 1.0)]

    # -- which texts become vectors

    async def test_the_best_of_several_fields_counts(self, searchable: Searchable) -> None:
        keep = await searchable(fields=["title", "body.text"])
        await keep.put(N, "title", {"title": "a", "body": {"text": "xxx"}})
        await keep.put(N, "body", {"title": "yyy", "body": {"text": "aab"}})
        await keep.put(N, "one", {"title": "ab"})
        await keep.put(N, "none", {"text": "a"})
        want = [("title", 1.0), ("body", 0.8944), ("one", 0.7071), ("none", None)]
        assert scored(await keep.search(query="a")) == want
        assert scored(await keep.search(query="x", limit=1)) == [("title", 1.0)]
        assert scored(await keep.search(query="y", limit=1)) == [("body", 1.0)]
        assert found_keys(await keep.search(query="a", limit=2, offset=1)) == ["body", "one"]

    async def test_every_element_has_a_vector_of_its_own(self, searchable: Searchable) -> None:
        calls = Calls()
        keep = await searchable(embed=calls, fields=["parts[*].text"])
        await keep.put(N, "many", {"parts": [{"text": text} for text in ("x", "y", "a", "x")]})
        assert sorted(calls.texts[0]) == ["a", "x", "y"]
        await keep.put(N, "one", {"parts": [{"text": "ab"}, {"other": "a"}]})
        await keep.put(N, "none", {"parts": []})
        for query in "axy":
            assert scored(await keep.search(query=query, limit=1)) == [("many", 1.0)]
        assert scored(await keep.search(query="b")) == [("one", 0.7071), ("many", 0.0), ("none", None)]

    async def test_hundreds_of_vectors_of_one_item(self, searchable: Searchable) -> None:
        keep = await searchable(fields=["[*]"])
        await keep.put(N, "many", ["a" * number for number in range(1, 300)] + ["b"])
        await keep.put(N, "few", ["bc"])
        await keep.put(N, "far", ["z"])
        assert scored(await keep.search(query="b")) == [("many", 1.0), ("few", 0.7071), ("far", 0.0)]
        await keep.put(N, "many", ["a"])
        assert scored(await keep.search(query="b", limit=1)) == [("few", 0.7071)]

    async def test_the_whole_value(self, searchable: Searchable) -> None:
        keep = await searchable(fields=["$"])
        await keep.put(N, "text", "a")
        await keep.put(N, "object", {"b": ["bb"]})
        assert scored(await keep.search(query="b")) == [("object", 1.0), ("text", 0.0)]

    async def test_what_a_put_says_of_its_index(self, searchable: Searchable) -> None:
        calls = Calls()
        keep = await searchable(embed=calls)
        value = {"text": "a", "other": "b", "list": ["c", "d"]}
        await keep.put(N, "default", value)
        await keep.put(N, "false", value, index=False)
        await keep.put(N, "other", value, index=["other"])
        await keep.batch([PutItem(namespace=N, key="list", value=value, index=["list[*]", "text"])])
        [appended] = await keep.append(N, [value], index=["list[-1]"])
        await keep.put(N, "nothing", value, index=[])
        assert calls.texts == [["a"], ["b"], ["c", "d", "a"], ["d"]]
        for query, want in {"a": {"default", "list"}, "b": {"other"}, "c": {"list"}, "d": {"list", appended}}.items():
            found = await keep.search(query=query)
            assert {item.key for item in found if item.score and item.score > 0.99} == want
            assert {item.key for item in found if item.score is None} == {"false", "nothing"}

    # -- no stale vectors

    async def test_a_payload_has_no_vectors(self, searchable: Searchable) -> None:
        keep = await searchable(fields=("$",))
        payload = Payload(encoding="json", data=b'"a"')
        await keep.put(("n",), "was found", "a")
        await keep.put(("n",), "text", "a")
        await keep.put(("n",), "was found", payload)
        await keep.put(("n",), "named", payload, index=["$", "text"])
        found = await keep.search(("n",), query="a")
        assert scored(found) == [("text", 1.0), ("named", None), ("was found", None)]
        assert found[1].value == found[2].value == payload

    async def test_an_update_replaces_the_vectors(self, searchable: Searchable) -> None:
        keep = await searchable(fields=["texts[*]"])
        await keep.put(N, "k", {"texts": ["a", "b", "c"]})
        await keep.put(N, "k", {"texts": ["d"]})
        assert scored(await keep.search(query="d")) == [("k", 1.0)]
        assert scored(await keep.search(query="abc")) == [("k", 0.0)]
        await keep.put(N, "k", {"texts": ["a", "e"]}, index=False)
        assert scored(await keep.search(query="d")) == [("k", None)]
        await keep.put(N, "k", {"texts": ["f", "e"]})
        assert scored(await keep.search(query="e")) == [("k", 1.0)]
        await keep.put(N, "k", {"texts": []})
        assert scored(await keep.search(query="e")) == [("k", None)]
        found = await keep.search(query="e", filter={"texts": []})
        assert [(item.version, item.score) for item in found] == [(5, None)]

    async def test_what_is_deleted_is_not_found(self, searchable: Searchable) -> None:
        keep = await searchable()
        ends: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: keep.delete(N, "k"),
            lambda: keep.pop(N),
            lambda: keep.clear(N),
            lambda: keep.batch([DeleteItem(namespace=N, key="k")]),
        ]
        for end in ends:
            await keep.put(N, "k", {"text": "a"})
            assert scored(await keep.search(query="a")) == [("k", 1.0)]
            await end()
            assert await keep.search(query="a") == []
            await keep.put(N, "k", {"text": "a"}, index=False)
            assert scored(await keep.search(query="a")) == [("k", None)]
            await keep.delete(N, "k")

    async def test_the_expired_are_not_found(self, searchable: Searchable) -> None:
        keep = await searchable()
        await keep.put(N, "stays", {"text": "b"})
        brief = await keep.put(N, "brief", {"text": "a"}, ttl=0.2)
        assert brief.expires_at is not None
        with anyio.fail_after(20):
            while await keep.get(N, "brief"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert scored(await keep.search(query="a")) == [("stays", 0.0)]
        await keep.put(N, "brief", {"text": "a"}, index=False)
        assert scored(await keep.search(query="a")) == [("stays", 0.0), ("brief", None)]

    async def test_vectors_live_as_long_as_their_item(self, searchable: Searchable) -> None:
        keep = await searchable()
        await keep.put(N, "refreshed", {"text": "a"}, ttl=2)
        await keep.put(N, "for ever", {"text": "ab"}, ttl=2)
        await keep.put(N, "for ever", {"text": "ab"})
        for _ in range(5):
            await anyio.sleep(0.5)
            found = await keep.search(query="a", refresh=True)
            assert scored(found) == [("refreshed", 1.0), ("for ever", 0.7071)]

    async def test_a_conflict_leaves_the_vectors(self, searchable: Searchable) -> None:
        keep = await searchable()
        await keep.put(N, "k", {"text": "a"})
        with pytest.raises(Conflict):
            await keep.put(N, "k", {"text": "b"}, expected=2)
        with pytest.raises(Conflict):
            await keep.batch(
                [
                    PutItem(namespace=N, key="k", value={"text": "b"}),
                    PutItem(namespace=N, key="l", value={"text": "b"}, expected=1),
                ]
            )
        with pytest.raises(Conflict):
            await keep.delete(N, "k", expected=2)
        assert scored(await keep.search(query="a")) == [("k", 1.0)]
        await keep.put(N, "k", {"text": "b"}, expected=1)
        assert scored(await keep.search(query="b")) == [("k", 1.0)]

    async def test_reindex_keeps_the_vectors(self, searchable: Searchable) -> None:
        calls = Calls()
        keep = await searchable(embed=calls)
        await keep.put(N, "k", {"text": "a"})
        await keep.put(N, "l", {"text": "ab"}, index=False)
        assert await keep.reindex(N) == 2
        assert len(calls.texts) == 1
        assert scored(await keep.search(query="a")) == [("k", 1.0), ("l", None)]

    async def test_setup_is_idempotent(self, searchable: Searchable) -> None:
        keep = await searchable()
        await keep.put(N, "k", {"text": "a"})
        status = await keep.setup()
        assert type(status) is SearchStatus
        # It is active, and says why if it is not a module that is.
        assert status.engine is not None
        assert (status.algorithm is None) is (status.engine == "exact") is bool(status.reason)
        assert scored(await keep.search(query="a")) == [("k", 1.0)]

    def test_sixteen_writers_leave_the_vectors_of_one(self, indexed: Indexed) -> None:
        index = VectorIndex(dims=DIMS, embed=letter_counts, fields=["texts[*]"], index_type="flat")
        repository = indexed(index)
        repository.setup()
        letters = "abcdefghijklmnop"

        def write(letter: str) -> None:
            for number in range(5):
                repository.put(N, "k", {"texts": [letter] + ["z" * at for at in range(1, number + 1)]})

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(write, letters))
        item = repository.get(N, "k")
        assert item is not None
        for letter in letters:
            [found] = repository.search(query=letter)
            assert found.score == pytest.approx(1 if letter == item.value["texts"][0] else 0)

    # -- embedding

    async def test_one_call_embeds_all(self, searchable: Searchable) -> None:
        calls = Calls()
        keep = await searchable(embed=calls, fields=["text", "more[*]"])
        await keep.batch(
            [
                PutItem(namespace=N, key="1", value={"text": "a", "more": ["b", "a"]}),
                PutItem(namespace=("m",), key="2", value={"text": "b"}),
                PutItem(namespace=N, key="3", value={"text": "c"}, index=False),
                PutItem(namespace=N, key="4", value={}),
                DeleteItem(namespace=N, key="1"),
                PutItem(namespace=N, key="1", value={"text": "d"}),
            ]
        )
        await keep.append(N, [{"text": "a"}, {"more": ["e", "a"]}, {}])
        await keep.search(query="q")
        assert calls.texts == [["a", "b", "d"], ["a", "e"], ["q"]]
        assert found_keys(await keep.search(query="d", limit=1)) == ["1"]
        assert {item.namespace for item in await keep.search(query="b", limit=1)} == {("m",)}
        assert await keep.search(query="zz", filter={"none": 1}) == []

    @pytest.mark.parametrize(
        "embed",
        [letter_counts, acounts, AsyncCallable(), Documents(), AsyncDocuments()],
        ids=["function", "async function", "async callable", "object", "object with async methods"],
    )
    async def test_ways_to_embed(self, searchable: Searchable, embed: Any) -> None:
        keep = await searchable(embed=embed)
        await keep.put(N, "1", {"text": "ab"})
        await keep.append(("m",), [{"text": "b"}])
        found = await keep.search(query="ab")
        assert [item.score for item in found] == [pytest.approx(1), pytest.approx(math.sqrt(0.5))]

    async def test_what_is_looked_for_is_embedded_as_such(self, searchable: Searchable) -> None:
        embed = Documents()
        keep = await searchable(embed=embed, distance_metric="ip")
        await keep.put(N, "k", {"text": "a"})
        assert scored(await keep.search(query="a")) == [("k", 2.0)]
        assert embed.calls == ["documents", "query"]

    @pytest.mark.parametrize("kind", [tuple, list, _Array])
    async def test_kinds_of_vectors(self, searchable: Searchable, kind: Any) -> None:
        keep = await searchable(embed=lambda texts: tuple(kind([1, len(text)]) for text in texts), dims=2)
        await keep.put(N, "k", {"text": "abc"})
        [found] = await keep.search(query="abc")
        assert found.score == pytest.approx(1)

    @pytest.mark.parametrize(
        "vectors",
        [
            [], [[1.0, 2.0]], [[1.0, 2.0]] * 3, [[1.0, 2.0], [1.0]], [[1.0, 2.0], [1.0, 2.0, 3.0]],
            [[1.0, 2.0], [1.0, math.nan]], [[1.0, 2.0], [math.inf, 1.0]], [[1.0, 2.0], [1e39, 1.0]],
            [[1.0, 2.0], ["1", "2"]], [[1.0, 2.0], [None, 1.0]], [[1.0, 2.0], None], None, 5, "ab",
            [[1.0, 2.0], [[1.0], [2.0]]], [[1.0, 2.0], [True, False]],
        ],
        ids=str,
    )  # fmt: skip
    async def test_what_are_no_vectors(self, searchable: Searchable, vectors: Any) -> None:
        right: list[Any] = [[1.0, 2.0], [1.0, 2.0]]
        answers: list[Any] = []
        keep = await searchable(
            embed=lambda texts: answers[0][: len(texts)] if answers == [right] else answers[0], dims=2
        )
        await self.nothing_is_written(keep, answers, right, vectors)

    async def nothing_is_written(self, keep: AsyncItemRepository, answers: list[Any], right: Any, wrong: Any) -> None:
        """Try whatever embeds two texts at once."""
        answers[:] = [right]
        before = await keep.put(N, "k", {"text": "a"})
        value = {"text": "b"}
        calls: list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = [
            ("put", lambda: keep.put(N, "k", {"text": "x", "more": "y"}, index=["text", "more"])),
            (
                "batch",
                lambda: keep.batch(
                    [
                        DeleteItem(namespace=N, key="k"),
                        PutItem(namespace=N, key="l", value=value),
                        PutItem(namespace=("m",), key="l", value={"text": "c"}),
                    ]
                ),
            ),
            ("append", lambda: keep.append(("m",), [value, {"text": "c"}])),
        ]
        answers[:] = [wrong]
        for operation, call in calls:
            with pytest.raises(EmbeddingFailed) as caught:
                await call()
            assert caught.value.operation == operation
        answers[:] = [right]
        assert await keep.get(N, "k") == before
        assert await keep.list_namespaces() == [N]
        assert [item.score for item in await keep.search(query="a")] == [pytest.approx(1)]

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_an_embedder_that_raises(self, searchable: Searchable, is_async: bool) -> None:
        fails = False

        def embed(texts: Sequence[str]) -> list[list[float]]:
            if fails:
                raise OSError("the model is away")
            return letter_counts(texts)

        async def aembed(texts: Sequence[str]) -> list[list[float]]:
            return embed(texts)

        keep = await searchable(embed=aembed if is_async else embed)
        before = await keep.put(N, "k", {"text": "a"})
        fails = True
        calls: list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = [
            ("put", lambda: keep.put(N, "k", {"text": "b"})),
            ("put", lambda: keep.put(("m",), "k", {"text": "b"}, expected=None)),
            ("append", lambda: keep.append(("m",), [{}, {"text": "b"}])),
            ("batch", lambda: keep.batch([PutItem(namespace=N, key="l", value={"text": "b"})])),
            ("search", lambda: keep.search(query="a")),
        ]
        for operation, call in calls:
            with pytest.raises(EmbeddingFailed, match="the model is away") as caught:
                await call()
            assert caught.value.operation == operation
            assert isinstance(caught.value.__cause__, OSError)
        assert found_keys(await keep.search()) == ["k"]
        assert await keep.get(N, "k") == before
        await keep.put(N, "l", {"text": "b"}, index=False)
        await keep.put(N, "m", {"other": "b"})
        fails = False
        assert scored(await keep.search(query="a")) == [("k", 1.0), ("m", None), ("l", None)]

    async def test_a_query_of_the_wrong_length(self, searchable: Searchable) -> None:
        dims = 2
        keep = await searchable(embed=lambda texts: [[1.0] * dims for _ in texts], dims=2)
        await keep.put(N, "k", {"text": "a"})
        dims = 3
        with pytest.raises(EmbeddingFailed, match="2"):
            await keep.search(query="a")

    async def test_values_are_checked_before_they_are_embedded(self, searchable: Searchable) -> None:
        calls = Calls()
        keep = await searchable(embed=calls)
        for value in ({"text": "a", "more": math.nan}, {"text": b"a"}):
            with pytest.raises(ValueError, match="value"):
                await keep.put(N, "k", value)
        assert calls.texts == []
