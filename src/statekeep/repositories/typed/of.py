"""Typed faces of repositories: the methods that make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from ..checkpoints import AsyncCheckpointRepository, CheckpointRepository
    from ..items import AsyncItemRepository, ItemRepository
    from .items import AsyncTypedItems, TypedItems
    from .threads import AsyncTypedThread, TypedThread

T = TypeVar("T")


class OfItems:
    """The part of a repository that makes typed items of it."""

    @overload
    def of(
        self,
        kind: type[T] | TypeAdapter[T],
        namespace: Sequence[str],
        *,
        migrate: Callable[[Any], Any] | None = None,
    ) -> TypedItems[T]: ...

    @overload
    def of(
        self, kind: Any, namespace: Sequence[str], *, migrate: Callable[[Any], Any] | None = None
    ) -> TypedItems[Any]: ...

    def of(
        self, kind: Any, namespace: Sequence[str], *, migrate: Callable[[Any], Any] | None = None
    ) -> TypedItems[Any]:
        """Return the items of a namespace as values of one type.

        Values are stored as JSON, as ever, but a :class:`~statekeep.Payload` as its bytes; those that others put there
        are read all the same.

        Args:
            kind: any type that pydantic knows: a model, a dataclass, a ``TypedDict``, ``list[int]``. A type checker
                infers the values of a class; of a union or an ``Annotated`` type it does if you pass a ``TypeAdapter``.
                Make this once, not for each call.
            namespace: labels from the outside in.
            migrate: called with a stored JSON value that is not of the type; returns one that is. What it returns is
                stored with the next ``put`` or ``update``.

        Raises:
            InvalidInput: pydantic does not know the type, or the namespace is wrong.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> item = items.put(("scores",), "ada", 7)
            >>> items.of(list[int], ("scores",), migrate=lambda old: [old]).get("ada").value
            [7]
        """
        from .items import TypedItems

        return TypedItems(cast("ItemRepository", self), kind, namespace, migrate)


class AsyncOfItems:
    """The part of a repository that makes typed items of it."""

    @overload
    def of(
        self,
        kind: type[T] | TypeAdapter[T],
        namespace: Sequence[str],
        *,
        migrate: Callable[[Any], Any] | None = None,
    ) -> AsyncTypedItems[T]: ...

    @overload
    def of(
        self, kind: Any, namespace: Sequence[str], *, migrate: Callable[[Any], Any] | None = None
    ) -> AsyncTypedItems[Any]: ...

    def of(
        self, kind: Any, namespace: Sequence[str], *, migrate: Callable[[Any], Any] | None = None
    ) -> AsyncTypedItems[Any]:
        """Return the items of a namespace as values of one type.

        See :meth:`ItemRepository.of`. Nothing is awaited.
        """
        from .items import AsyncTypedItems

        return AsyncTypedItems(cast("AsyncItemRepository", self), kind, namespace, migrate)


class OfThreads:
    """The part of a repository that makes typed threads of it."""

    @overload
    def of(
        self,
        kind: type[T] | TypeAdapter[T],
        thread_id: str,
        *,
        namespace: str = "",
        migrate: Callable[[Any], Any] | None = None,
    ) -> TypedThread[T]: ...

    @overload
    def of(
        self,
        kind: Any,
        thread_id: str,
        *,
        namespace: str = "",
        migrate: Callable[[Any], Any] | None = None,
    ) -> TypedThread[Any]: ...

    def of(
        self,
        kind: Any,
        thread_id: str,
        *,
        namespace: str = "",
        migrate: Callable[[Any], Any] | None = None,
    ) -> TypedThread[Any]:
        """Return a thread whose state is of one type, for programs without a framework.

        Args:
            kind: as for :meth:`ItemRepository.of`. Each field of a model, dataclass or ``TypedDict`` becomes a channel,
                whose version is the digest of its value.
            thread_id: the thread.
            namespace: ``""`` for the root.
            migrate: called with a stored state, as JSON, that is not of the type; returns one that is.

        Raises:
            InvalidInput: pydantic does not know the type, or an id is wrong.

        Example:
            >>> import statekeep
            >>> chat = statekeep.connect("memory:").checkpoints.of(list[str], "chat-1")
            >>> saved = chat.save(["Hello"])
            >>> chat.load().state
            ['Hello']
        """
        from .threads import TypedThread

        return TypedThread(cast("CheckpointRepository", self), kind, thread_id, namespace, migrate)


class AsyncOfThreads:
    """The part of a repository that makes typed threads of it."""

    @overload
    def of(
        self,
        kind: type[T] | TypeAdapter[T],
        thread_id: str,
        *,
        namespace: str = "",
        migrate: Callable[[Any], Any] | None = None,
    ) -> AsyncTypedThread[T]: ...

    @overload
    def of(
        self,
        kind: Any,
        thread_id: str,
        *,
        namespace: str = "",
        migrate: Callable[[Any], Any] | None = None,
    ) -> AsyncTypedThread[Any]: ...

    def of(
        self,
        kind: Any,
        thread_id: str,
        *,
        namespace: str = "",
        migrate: Callable[[Any], Any] | None = None,
    ) -> AsyncTypedThread[Any]:
        """Return a thread whose state is of one type, for programs without a framework.

        See :meth:`CheckpointRepository.of`. Nothing is awaited.
        """
        from .threads import AsyncTypedThread

        return AsyncTypedThread(cast("AsyncCheckpointRepository", self), kind, thread_id, namespace, migrate)
