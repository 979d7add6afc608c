"""LangGraph stores over any item repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, cast

from langgraph.store.base import NOT_PROVIDED, BaseStore, Item, NotProvided, Op, Result, SearchItem, TTLConfig

from ...domain import DEFAULT, InvalidInput, SearchStatus, VectorIndex
from ...domain.shown import shown
from ...domain.vector_index import time_zone
from ...repositories.item_backend import ItemBackend
from ...repositories.items import AsyncItemRepository, ItemRepository
from ..faces import Awaiting, Blocking, Faces, checked_repository, executing
from . import operations
from .operations import minutes


def _switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false, got {shown(value)}", field=name)


_TTL_OPTIONS: Final[dict[str, Callable[[str, Any], object]]] = {
    "default_ttl": minutes,
    "refresh_on_read": _switch,
    "omit_expired": _switch,
    "sweep_interval_minutes": minutes,
}


def _checked_ttl(ttl: Any) -> TTLConfig | None:
    if ttl is None:
        return None
    if not isinstance(ttl, Mapping):
        raise InvalidInput(
            f'ttl must be a mapping such as {{"default_ttl": 60.0}}, in minutes, got {shown(ttl)}', field="ttl"
        )
    for name, value in ttl.items():
        if name not in _TTL_OPTIONS:
            raise InvalidInput(
                f"ttl: unknown option {shown(name, 40)}; there are {', '.join(_TTL_OPTIONS)}", field="ttl"
            )
        _TTL_OPTIONS[name](name, value)
    return cast(TTLConfig, dict(ttl))


class Store(Faces, BaseStore):
    """LangGraph's methods over both faces of one backend.

    ``list_namespaces`` and its async twin are those of LangGraph's ``BaseStore``, which calls ``batch`` and ``abatch``.
    """

    supports_ttl = True
    _backend: ItemBackend

    def __init__(self, backend: ItemBackend, ttl: TTLConfig | None) -> None:
        self.ttl_config = _checked_ttl(ttl)
        self._backend = backend
        self._sync, self._async = ItemRepository(backend), AsyncItemRepository(backend)
        self._execute, self._aexecute = executing(self._sync), executing(self._async)
        self._zone = None if backend.index is None else time_zone(backend.index.timezone)

    @property
    def index(self) -> VectorIndex | None:
        """The options of vector search; ``None``: there is none, and queries are ignored."""
        return self._backend.index

    def _lifetime(self, ttl: float | NotProvided | None) -> Any:
        # Without a word from anybody the repository's own TTL holds, of which LangGraph does not know.
        return (self.ttl_config or {}).get("default_ttl", DEFAULT) if ttl is NOT_PROVIDED else ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations. What reads sees what was there before what writes.

        Single items are read in one batch of the repository, and written in one; each search and each listing of
        namespaces is a request of its own. Of several puts of one item only the last is done.

        Args:
            ops: ``GetOp``, ``SearchOp``, ``ListNamespacesOp`` and ``PutOp`` of ``langgraph.store.base``. The ``ttl``
                of a ``PutOp`` is in minutes, and ``None`` means for ever.

        Returns:
            A result for each, in the same order; ``None`` for a ``PutOp``.

        Raises:
            InvalidNamespaceError: a label is empty, no text, or has a period or a NUL in it.
            InvalidInput: JSON cannot hold a value, or another argument is wrong. It is a ``ValueError``; nothing was
                read or written.
            EmbeddingFailed: no vectors were made of the texts. Nothing was written.

        Example:
            >>> import statekeep
            >>> from langgraph.store.base import GetOp, PutOp
            >>> store = RepositoryStore(statekeep.connect("memory:").items)
            >>> store.put(("notes",), "a", {"text": "old"})
            >>> got, put = store.batch([GetOp(("notes",), "a"), PutOp(("notes",), "a", {"text": "new"})])
            >>> got.value, store.get(("notes",), "a").value
            ({'text': 'old'}, {'text': 'new'})
        """
        return self._run(operations.batch(ops, self._zone))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As :meth:`batch`."""
        return await self._arun(operations.batch(ops, self._zone))

    # LangGraph takes str(key), which of a subclass may be another text.

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Return an item, or ``None``.

        Args:
            namespace: labels.
            key: any text; what is no text is made one.
            refresh_ttl: whether its TTL begins anew; ``None`` for what the store's ``ttl`` says.
        """
        return super().get(namespace, operations.key_of(key), refresh_ttl=refresh_ttl)

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """As :meth:`get`."""
        return await super().aget(namespace, operations.key_of(key), refresh_ttl=refresh_ttl)

    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete an item; one that does not exist is no error."""
        super().delete(namespace, operations.key_of(key))

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        """As :meth:`delete`."""
        await super().adelete(namespace, operations.key_of(key))

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Store an item, whole or not at all.

        An item under the same key is replaced, and keeps its ``created_at``.

        Args:
            namespace: labels, the first of which is not ``"langgraph"``.
            key: any text; what is no text is made one.
            value: a mapping that JSON can hold. Of dates, times, UUIDs, members of an ``Enum`` and dataclasses, at any
                depth, the JSON is stored that orjson writes: text, the member's value, and the public attributes.
                They are not made objects again.
            index: paths of the texts that it can be found by; ``None`` for the ``fields`` of the index, ``False``
                for none.
            ttl: minutes that it lives from now on, fractions allowed; ``None`` for ever. By default ``default_ttl``
                of the store, or else what the repository was made with.

        Raises:
            InvalidNamespaceError: the namespace is empty or reserved, or a label is wrong.
            InvalidInput: JSON cannot hold the value, or another argument is wrong. Nothing was written.
            EmbeddingFailed: no vectors were made of the texts. Nothing was written.
        """
        super().put(namespace, operations.key_of(key), value, index, ttl=self._lifetime(ttl))

    def search(
        self,
        namespace_prefix: tuple[str, ...],
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Return items at or below a namespace.

        The nearest to ``query`` come first, or else the newest.

        Args:
            namespace_prefix: labels; ``()`` for all.
            query: a text to find by meaning; without an index it is ignored.
            filter: pairs that must be equal in the value, or mappings of operators such as ``{"$gt": 1}``.
            limit: at most so many.
            offset: so many are left out first.
            refresh_ttl: whether the TTL of what is found starts anew; by default as the store's ``ttl`` says.

        Raises:
            InvalidNamespaceError: a label is empty, no text, or has a period or a NUL in it.
            InvalidInput: another argument is wrong.
            EmbeddingFailed: no vector was made of the query.
        """
        return super().search(
            namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
        )

    async def asearch(
        self,
        namespace_prefix: tuple[str, ...],
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """As :meth:`search`."""
        return await super().asearch(
            namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
        )

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """As :meth:`put`."""
        await super().aput(namespace, operations.key_of(key), value, index, ttl=self._lifetime(ttl))

    def clear(self, namespace: tuple[str, ...], *, below: bool = False) -> int:
        """Delete all items of a namespace, and of those below it if asked, in steps.

        It is not atomic: if it is cut off, some are deleted, and you may call it again.

        Args:
            namespace: its labels.
            below: also delete what is in all namespaces that begin with these labels; with ``()``, everything.

        Returns:
            How many there were.

        Raises:
            InvalidInput: an argument is wrong.

        Example:
            >>> import statekeep
            >>> store = RepositoryStore(statekeep.connect("memory:").items)
            >>> store.put(("users", "ada", "notes"), "a", {"text": "old"})
            >>> store.clear(("users", "ada"), below=True)
            1
        """
        return self._run(operations.clear(namespace, below))

    async def aclear(self, namespace: tuple[str, ...], *, below: bool = False) -> int:
        """As :meth:`clear`."""
        return await self._arun(operations.clear(namespace, below))


class RepositoryStore(Blocking, Store):
    """A LangGraph store over an item repository.

    Serves ``invoke`` and ``ainvoke`` alike: every backend answers both. May be shared by threads and tasks, and
    kept as long as the program runs; as a context manager it closes the repository at the end.

    Args:
        repository: where items are kept. If it was made with an ``index``, ``search(query=...)`` finds by meaning.
        ttl: LangGraph's ``TTLConfig``: ``default_ttl`` in minutes, and ``refresh_on_read`` (true unless given).
            ``sweep_interval_minutes`` and ``omit_expired`` mean nothing here: what expired is gone at once.

    Attributes:
        ttl_config: as given, or ``None``.
        index: the options of vector search, or ``None``.

    Raises:
        InvalidInput: ``repository`` is not an ``ItemRepository``, or an option of ``ttl`` is wrong.

    Example:
        >>> import statekeep
        >>> with RepositoryStore(statekeep.connect("memory:").items, ttl={"default_ttl": 60.0}) as store:
        ...     store.put(("users", "ada"), "theme", {"dark": True})
        ...     store.get(("users", "ada"), "theme").value
        {'dark': True}
    """

    def __init__(self, repository: ItemRepository, *, ttl: TTLConfig | None = None) -> None:
        keep = checked_repository(repository, ItemRepository, AsyncItemRepository, "AsyncRepositoryStore")
        super().__init__(keep.backend, ttl)

    def setup(self) -> SearchStatus:
        """Prepare vector search: make the server's index if it can have one.

        Idempotent; needed for vector search alone.

        Returns:
            What searches are done with: the module and algorithm, or exact comparison and why.

        Raises:
            Conflict: there is an index, or a collection, of this name with other options.
        """
        return self._sync.setup()


class AsyncRepositoryStore(Awaiting, Store):
    """A LangGraph store over an async item repository.

    Serves ``ainvoke``, and answers sync calls from threads in which no event loop runs, such as those of sync
    nodes in an async graph. A sync call in an event loop's own thread would block the loop; it is refused.

    Args:
        repository: where items are kept. If it was made with an ``index``, ``asearch(query=...)`` finds by meaning.
        ttl: as for :class:`RepositoryStore`.

    Attributes:
        ttl_config: as given, or ``None``.
        index: the options of vector search, or ``None``.

    Raises:
        InvalidInput: ``repository`` is not an ``AsyncItemRepository``, or an option of ``ttl`` is wrong.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> dict[str, bool]:
        ...     async with AsyncRepositoryStore(statekeep.aconnect("memory:").items) as store:
        ...         await store.aput(("users", "ada"), "theme", {"dark": True})
        ...         return (await store.aget(("users", "ada"), "theme")).value
        >>> asyncio.run(main())
        {'dark': True}
    """

    _twins = "graph.ainvoke, store.aget, store.aput"

    def __init__(self, repository: AsyncItemRepository, *, ttl: TTLConfig | None = None) -> None:
        keep = checked_repository(repository, AsyncItemRepository, ItemRepository, "RepositoryStore")
        super().__init__(keep.backend, ttl)

    async def setup(self) -> SearchStatus:
        """Prepare vector search. See :meth:`RepositoryStore.setup`."""
        return await self._async.setup()
