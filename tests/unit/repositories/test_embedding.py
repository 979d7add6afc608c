"""Vectors of texts, from whatever the user gave."""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import functools
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from statekeep.domain import EmbeddingFailed, MissingDependency, VectorIndex
from statekeep.repositories.embedding import Embed, Embedder
from statekeep.repositories.records.vectors import packed

pytestmark = pytest.mark.anyio

TEXTS = ["a", "bcd"]
DOCUMENTS = packed([[1, 0], [3, 0]], 2, 2)
QUERIES = packed([[1, 1], [3, 1]], 2, 2)

calls: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def note(name: str, argument: Any) -> None:
    """Remember who was asked, for what, and whether in the thread of an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        calls.append((name, argument, threading.get_ident(), "no loop"))
    else:
        calls.append((name, argument, threading.get_ident(), "loop"))


def function(texts: Sequence[str]) -> list[list[float]]:
    note("function", texts)
    return [[len(text), 0] for text in texts]


async def afunction(texts: Sequence[str]) -> list[list[float]]:
    note("afunction", texts)
    await asyncio.sleep(0)
    return [[len(text), 0] for text in texts]


class Callable:
    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        return await afunction(texts)


class Documents:
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        note("embed_documents", texts)
        return [[len(text), 0] for text in texts]


class Queries(Documents):
    def embed_query(self, text: str) -> list[float]:
        note("embed_query", text)
        return [len(text), 1]


class Twins(Queries):
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        note("aembed_documents", texts)
        return [[len(text), 0] for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        note("aembed_query", text)
        return [len(text), 1]


class AsyncQueries(Documents):
    async def embed_query(self, text: str) -> list[float]:
        note("embed_query", text)
        return [len(text), 1]


class Async:
    async def embed_documents(self, texts: list[str]) -> list[list[float]]:
        note("embed_documents", texts)
        return [[len(text), 0] for text in texts]

    async def embed_query(self, text: str) -> list[float]:
        note("embed_query", text)
        return [len(text), 1]


class Chain(Embeddings):
    """LangChain's own twins run the blocking methods in threads."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return Documents().embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return Queries().embed_query(text)


def embedder(embed: Any) -> Embedder:
    return Embedder(VectorIndex(dims=2, embed=embed))


# Who is asked for documents and for queries: blocking, and from an event loop.
KINDS: dict[str, tuple[Any, str, str, str, str]] = {
    "function": (function, "function", "function", "function", "function"),
    "lambda": (lambda texts: function(list(texts)), "function", "function", "function", "function"),
    "partial": (functools.partial(function), "function", "function", "function", "function"),
    "async function": (afunction, "afunction", "afunction", "afunction", "afunction"),
    "async partial": (functools.partial(afunction), "afunction", "afunction", "afunction", "afunction"),
    "async callable": (Callable(), "afunction", "afunction", "afunction", "afunction"),
    "documents": (Documents(), "embed_documents", "embed_documents", "embed_documents", "embed_documents"),
    "queries": (Queries(), "embed_documents", "embed_query", "embed_documents", "embed_query"),
    "twins": (Twins(), "embed_documents", "embed_query", "aembed_documents", "aembed_query"),
    "async queries": (AsyncQueries(), "embed_documents", "embed_query", "embed_documents", "embed_query"),
    "async": (Async(), "embed_documents", "embed_query", "embed_documents", "embed_query"),
    "LangChain": (Chain(), "embed_documents", "embed_query", "embed_documents", "embed_query"),
}
IN_A_LOOP = {"afunction", "aembed_documents", "aembed_query"}


def asked() -> list[tuple[str, Any]]:
    return sorted((name, argument) for name, argument, *_ in calls)


def expected(name: str) -> list[tuple[str, Any]]:
    return [(name, text) for text in TEXTS] if name.endswith("query") else [(name, TEXTS)]


@pytest.mark.parametrize("kind", KINDS)
def test_blocking(kind: str) -> None:
    embed, documents, queries, _, _ = KINDS[kind]
    found = embedder(embed).embed(Embed(TEXTS))
    assert found == DOCUMENTS
    assert asked() == expected(documents)
    calls.clear()
    found = embedder(embed).embed(Embed(tuple(TEXTS), are_queries=True))
    assert found == (QUERIES if queries.endswith("query") else DOCUMENTS)
    assert asked() == expected(queries)


@pytest.mark.parametrize("kind", KINDS)
async def test_blocking_within_a_running_loop(kind: str) -> None:
    embed, documents, queries, _, _ = KINDS[kind]
    assert embedder(embed).embed(Embed(TEXTS)) == DOCUMENTS
    assert asked() == expected(documents)
    calls.clear()
    found = embedder(embed).embed(Embed(TEXTS, are_queries=True))
    assert found == (QUERIES if queries.endswith("query") else DOCUMENTS)


@pytest.mark.parametrize("kind", KINDS)
async def test_from_an_event_loop(kind: str) -> None:
    embed, _, _, documents, queries = KINDS[kind]
    here = threading.get_ident()
    for are_queries, name in ((False, documents), (True, queries)):
        calls.clear()
        found = await embedder(embed).aembed(Embed(TEXTS, are_queries))
        assert found == (QUERIES if name.endswith("query") else DOCUMENTS)
        assert asked() == expected(name)
        for _, _, thread, where in calls:
            # What blocks must not do so in the thread of the loop; what is async runs in the loop itself.
            assert (thread == here) is (where == "loop")
        assert all(where == "loop" for called, _, _, where in calls if called in IN_A_LOOP)


async def test_async_functions_run_in_the_loop_of_the_caller() -> None:
    loops = []

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        loops.append(asyncio.get_running_loop())
        return [[1, 2]]

    await embedder(embed).aembed(Embed(["a"]))
    embedder(embed).embed(Embed(["a"]))
    assert loops[0] is asyncio.get_running_loop()
    assert loops[1] is not loops[0]


async def test_blocking_functions_leave_the_loop_alone() -> None:
    go = threading.Event()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        assert go.wait(10)
        return [[1, 2]]

    task = asyncio.ensure_future(embedder(embed).aembed(Embed(["a"])))
    await asyncio.sleep(0.01)
    go.set()
    assert await task == packed([[1, 2]], 1, 2)


@pytest.mark.parametrize("kind", ["blocking", "async", "from a loop"])
async def test_context_variables(kind: str) -> None:
    variable = contextvars.ContextVar("variable", default="lost")
    variable.set("kept")
    found = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        found.append(variable.get())
        return [[1, 2]]

    async def aembed(texts: Sequence[str]) -> list[list[float]]:
        return embed(texts)

    one = embedder(aembed if kind == "async" else embed)
    if kind == "from a loop":
        await one.aembed(Embed(["a"]))
    else:
        one.embed(Embed(["a"]))
    assert found == ["kept"]


class Broken(Exception):
    pass


def fails(texts: Any) -> Any:
    raise Broken("no such model " + "x" * 1000)


async def afails(texts: Any) -> Any:
    fails(texts)


class FailingQueries(Documents):
    embed_query = staticmethod(fails)


@pytest.mark.parametrize(
    ("embed", "are_queries"), [(fails, False), (afails, False), (fails, True), (FailingQueries(), True)]
)
async def test_a_function_that_fails(embed: Any, are_queries: bool) -> None:
    request = Embed(["a"], are_queries)
    with pytest.raises(EmbeddingFailed) as error:
        embedder(embed).embed(request)
    assert str(error.value).startswith("no vectors were made of the texts: Broken: no such model xxx")
    assert len(str(error.value)) < 400
    assert isinstance(error.value.__cause__, Broken)
    with pytest.raises(EmbeddingFailed, match="Broken: no such model") as error:
        await embedder(embed).aembed(request)
    assert isinstance(error.value.__cause__, Broken)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure(kind: type[BaseException]) -> None:
    def interrupted(texts: Any) -> Any:
        raise kind

    with pytest.raises(kind):
        embedder(interrupted).embed(Embed(["a"]))


async def test_a_cancelled_request() -> None:
    async def slow(texts: Any) -> Any:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(embedder(slow).aembed(Embed(["a"])))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1, 2]], "must return 2 vectors, one for each text, got 1"),
        ([[1, 2], [3]], "vectors of 2 numbers, as dims says, got one of 1"),
        (None, "must return a list of 2 vectors, got None"),
        ([[1, 2], [3, float("nan")]], "NaN"),
    ],
)
async def test_what_are_no_vectors(vectors: Any, message: str) -> None:
    with pytest.raises(EmbeddingFailed, match=message):
        embedder(lambda texts: vectors).embed(Embed(TEXTS))
    with pytest.raises(EmbeddingFailed, match=message):
        await embedder(lambda texts: vectors).aembed(Embed(TEXTS))


def test_each_query_is_one_vector() -> None:
    class Matrix(Documents):
        def embed_query(self, text: str) -> Any:
            return [[1, 2]]

    with pytest.raises(EmbeddingFailed, match="got one of 1"):
        embedder(Matrix()).embed(Embed(["a"], are_queries=True))


async def test_langchain() -> None:
    chain = DeterministicFakeEmbedding(size=2)
    one = embedder(chain)
    assert one.embed(Embed(TEXTS)) == packed(chain.embed_documents(TEXTS), 2, 2)
    assert await one.aembed(Embed(TEXTS)) == packed(chain.embed_documents(TEXTS), 2, 2)
    assert await one.aembed(Embed(["a"], are_queries=True)) == packed([chain.embed_query("a")], 1, 2)


def test_arrays() -> None:
    assert embedder(lambda texts: np.array([[1, 0], [3, 0]])).embed(Embed(TEXTS)) == DOCUMENTS


def test_threads_end(recwarn: pytest.WarningsRecorder) -> None:
    before = threading.active_count()
    for _ in range(3):
        embedder(afunction).embed(Embed(TEXTS))
    assert threading.active_count() == before
    assert not recwarn.list


def test_numpy_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'statekeep\[search\]'"):
        embedder(function)
