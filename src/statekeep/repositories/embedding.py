"""Vectors of texts, made by your function or object."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve, frozen

from ..domain import EmbeddingFailed, MissingDependency, Payload, StatekeepError, VectorIndex
from ..domain.json_values import texts_at
from .item_backend import Action, ItemBackend, Put
from .operation import Operation

ActionT = TypeVar("ActionT", bound=Action)


@frozen
class Embed:
    """A request for vectors of texts.

    The reply has one for each, as ``dims`` 32-bit floats.
    """

    texts: Sequence[str]
    are_queries: bool = False
    """Whether the texts are queries, which some models treat unlike stored texts."""


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


class Embedder:
    """Makes vectors with your object or function, blocking or async, for either face.

    Args:
        index: its ``embed`` and ``dims``.

    Raises:
        MissingDependency: numpy is not installed.
    """

    def __init__(self, index: VectorIndex) -> None:
        try:
            import numpy  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingDependency("numpy", "search") from error
        self._dims = index.dims
        embed = index.embed
        documents = getattr(embed, "embed_documents", None) or embed
        self._documents = documents
        self._query = getattr(embed, "embed_query", None)
        self._adocuments = getattr(embed, "aembed_documents", None)
        self._aquery = getattr(embed, "aembed_query", None)
        if _is_async(documents):
            self._adocuments = documents
        if _is_async(self._query):
            self._aquery = self._query

    def embed(self, request: Embed) -> list[bytes]:
        """Make vectors, blocking.

        Raises:
            EmbeddingFailed: your function raised an error, or returned no vectors of ``dims`` numbers.
        """
        texts = list(request.texts)
        one = self._query if request.are_queries else None
        try:
            if _is_async(one or self._documents):
                vectors = _in_a_loop(lambda: self._avectors(texts, request.are_queries))
            elif one is not None:
                vectors = [one(text) for text in texts]
            else:
                vectors = self._documents(texts)
        except Exception as error:
            raise _failed(error) from error
        return self._packed(vectors, len(texts))

    async def aembed(self, request: Embed) -> list[bytes]:
        """Make vectors; blocking functions run in another thread. Raises as :meth:`embed`."""
        texts = list(request.texts)
        try:
            vectors = await self._avectors(texts, request.are_queries)
        except Exception as error:
            raise _failed(error) from error
        return self._packed(vectors, len(texts))

    async def _avectors(self, texts: list[str], are_queries: bool) -> Any:
        if are_queries and self._aquery is not None:
            return await asyncio.gather(*map(self._aquery, texts))
        if are_queries and self._query is not None:
            return await asyncio.gather(*(asyncio.to_thread(self._query, text) for text in texts))
        if self._adocuments is not None:
            return await self._adocuments(texts)
        return await asyncio.to_thread(self._documents, texts)

    def _packed(self, vectors: Any, count: int) -> list[bytes]:
        from .records.vectors import packed

        return packed(vectors, count, self._dims)


def _failed(error: Exception) -> StatekeepError:
    return EmbeddingFailed(f"no vectors were made of the texts: {type(error).__name__}: {error!s:.300}")


def _in_a_loop(make: Callable[[], Awaitable[Any]]) -> Any:
    """Await in blocking code, in a new thread.

    The event loop of this one may be running.
    """
    outcome: list[Any] = []
    errors: list[BaseException] = []

    async def main() -> None:
        outcome.append(await make())

    def target() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(target,), name="statekeep-embed")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


class EmbeddingExecutor:
    """Answers the requests of operations.

    The model answers those for vectors, the backend all others.
    """

    def __init__(self, embedder: Embedder, backend: ItemBackend) -> None:
        self._embedder = embedder
        self._backend = backend

    def execute(self, request: Any) -> Any:
        """Answer a request, blocking."""
        return self._embedder.embed(request) if isinstance(request, Embed) else self._backend.execute(request)

    async def aexecute(self, request: Any) -> Any:
        """Answer a request, without blocking the event loop."""
        if isinstance(request, Embed):
            return await self._embedder.aembed(request)
        return await self._backend.aexecute(request)


@frozen
class Draft:
    """A put, with the texts whose vectors it still lacks."""

    put: Put
    texts: Sequence[str]


def draft_of(put: Put, paths: Sequence[tuple[str, ...]], *, backend_embeds: bool) -> Put | Draft:
    """Return a put with the texts at some paths of its value.

    They go to the backend, or vectors are made of them before. A payload has none.
    """
    has_texts = not isinstance(put.value, Payload)
    found = [text for path in paths for text in texts_at(put.value, path)] if has_texts else []
    if backend_embeds:
        return evolve(put, texts=list(dict.fromkeys(found)))
    return Draft(put, found) if found else put


def with_vectors(actions: Sequence[ActionT | Draft]) -> Operation[Sequence[ActionT | Put]]:
    """Make the vectors of all texts at once; equal texts share one."""
    wanted = list(dict.fromkeys(text for draft in actions if isinstance(draft, Draft) for text in draft.texts))
    vectors = dict(zip(wanted, (yield Embed(wanted)), strict=True)) if wanted else {}
    return [
        evolve(action.put, vectors=list(dict.fromkeys(vectors[text] for text in action.texts)))
        if isinstance(action, Draft)
        else action
        for action in actions
    ]
