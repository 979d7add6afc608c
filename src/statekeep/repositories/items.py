"""Repositories of items: the contract of a backend, and the two faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..domain import (
    ANY,
    DEFAULT,
    CheckItem,
    DeleteItem,
    GetItem,
    InvalidInput,
    Item,
    ListItems,
    PutItem,
    Unsupported,
)
from ..domain.items import MOST_LISTED, Expectation, ItemOperation, ItemValue, Namespace, checked_expected, item_value
from ..domain.json_values import steps
from ..domain.model import Ttl
from .embedding import Draft, Embedder, EmbeddingExecutor, draft_of, with_vectors
from .faces import Awaiting, Blocking, aiterating, awaiting, blocking, iterating
from .item_backend import MOST_EXPECTED, Action, Check, Delete, Get, ItemBackend, Listing, Put, unit_of
from .listings.items import ItemListings, listing_of
from .operation import Operation, named
from .records.restored import restores_of
from .typed.of import AsyncOfItems, OfItems
from .validation import boolean_or_none, labels, namespace_and_key, text, texts, ttl_or_default

__all__ = ["AsyncItemRepository", "ItemRepository"]


class _Operations(ItemListings):
    """The bodies of the methods: arguments in, operations out."""

    def __init__(self, backend: ItemBackend) -> None:
        super().__init__(backend)
        index = backend.index
        self._unit = unit_of(backend)
        self._embeds = index is not None
        self._backend_embeds = index is None and getattr(backend, "embeds", False)
        paths = getattr(backend, "text_paths", ()) if index is None else index.fields
        self._paths = tuple(steps(path) for path in paths)
        if index is not None:
            self.executor = EmbeddingExecutor(Embedder(index), backend)

    def _draft(self, put: Put, index: Sequence[str] | bool | None) -> Put | Draft:
        if index is not None and index is not False:
            paths = tuple(steps(path, "index") for path in texts("index", index))
        else:
            paths = self._paths
        if not (self._embeds or self._backend_embeds) or index is False:
            return put
        return draft_of(put, paths, backend_embeds=self._backend_embeds)

    def _apply(self, actions: Sequence[Action | Draft]) -> Operation[list[Any]]:
        return (yield from self.backend.apply((yield from with_vectors(actions))))

    def _one(self, action: Action | Draft) -> Operation[Any]:
        (result,) = yield from self._apply([action])
        return result

    def _get(self, namespace: Sequence[str], key: str, *, refresh: bool | None = None) -> Operation[Item | None]:
        """Return an item, or ``None``.

        Args:
            namespace: labels from the outside in, each any text but the empty one.
            key: any text.
            refresh: whether its TTL begins anew, with the seconds that it was put with; ``None`` for what the
                repository was made with.
        """
        action = Get(labels("namespace", namespace), text("key", key, empty=True), boolean_or_none("refresh", refresh))
        return named("get", self._one(action))

    def _put(
        self,
        namespace: Sequence[str],
        key: str,
        value: ItemValue,
        *,
        ttl: Ttl = DEFAULT,
        expected: Expectation = ANY,
        index: Sequence[str] | bool | None = None,
    ) -> Operation[Item]:
        """Store an item, whole or not at all; one under the same key is replaced.

        Args:
            namespace: labels from the outside in, each any text but the empty one.
            key: any text.
            value: what JSON can hold, or a :class:`~statekeep.Payload`. Tuples are stored as lists; what JSON cannot
                hold (NaN, infinities, bytes, dates) is refused: make it a payload. No filter and no query finds one.
            ttl: seconds that it lives from now on, fractions allowed; ``None`` for ever, :data:`~statekeep.DEFAULT`
                for what the repository was made with.
            expected: compare and set: the version that must be stored, or the :class:`~statekeep.Item` or
                :class:`~statekeep.TypedItem` that was read: then it must be that very item, not one that was put
                under its key after it was deleted or expired; ``None``: there must be no item;
                :data:`~statekeep.ANY`: whatever there is.
            index: paths of the texts that it can be found by; ``None`` for those of the repository's index,
                ``False`` for none. Without an index it means nothing.

        Returns:
            The stored item, with its version and times.

        Raises:
            Conflict: ``expected`` does not hold. Nothing was written.
            InvalidInput: JSON cannot hold the value, or another argument is wrong. Nothing was written.
            EmbeddingFailed: no vectors were made of its texts. Nothing was written.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> first = items.put(("settings",), "theme", "dark", expected=None)
            >>> items.put(("settings",), "theme", "light", expected=first).version
            2
        """
        place = labels("namespace", namespace), text("key", key, empty=True)
        put = Put(*place, item_value(value, "value"), ttl_or_default(ttl), checked_expected(expected, *place))
        return named("put", self._one(self._draft(put, index)))

    def _delete(self, namespace: Sequence[str], key: str, *, expected: Expectation = ANY) -> Operation[bool]:
        """Delete an item, with its vectors.

        Args:
            namespace: its labels.
            key: its key.
            expected: as for :meth:`put`.

        Returns:
            Whether there was one.

        Raises:
            Conflict: ``expected`` does not hold. Nothing was deleted.
        """
        place = labels("namespace", namespace), text("key", key, empty=True)
        return named("delete", self._one(Delete(*place, checked_expected(expected, *place))))

    def _batch(self, operations: Sequence[ItemOperation]) -> Operation[list[Any]]:
        """Do several operations in order, in one round trip where the backend can.

        Up to 500 operations on one namespace are one atomic unit; more go in several. If the repository has a ``unit``,
        so are those on all namespaces that begin with the same so many labels. With expectations, all must be of one
        unit, and if one does not hold none is done. A listing shows what is there after the operations before it. On
        Valkey it takes one round trip more, but for one that finds the keys that it found the last time.

        Args:
            operations: at most 500 if one of them has an expectation. Their listings return at most 1000 items
                together.

        Returns:
            What ``get``, ``put`` and ``delete`` return, ``None`` for a :class:`~statekeep.CheckItem`, and a list of
            items for a :class:`~statekeep.ListItems`, in the same order.

        Raises:
            Conflict: an expectation does not hold. Nothing was written.
            Unsupported: a listing would have to look at more than 20,000 entries of an index in one unit: those of
                items that are gone, or by time, of other prefixes. Nothing was written. Use :meth:`list`.

        Example:
            >>> import statekeep
            >>> from statekeep import DeleteItem, GetItem, ListItems, PutItem
            >>> items = statekeep.connect("memory:").items
            >>> put = PutItem(namespace=("n",), key="k", value=[1])
            >>> stored, read, listed, deleted = items.batch([put, GetItem(namespace=("n",), key="k"),
            ...     ListItems(namespace=("n",), limit=10), DeleteItem(namespace=("n",), key="k")])
            >>> read.value, listed == [stored], deleted
            ([1], True, True)
        """
        actions = [
            self._draft(action, index) if isinstance(action, Put) else action
            for action, index in _batched(operations, self._unit)
        ]
        return named("batch", self._apply(actions))

    def _append(
        self,
        namespace: Sequence[str],
        values: Sequence[ItemValue],
        *,
        ttl: Ttl = DEFAULT,
        index: Sequence[str] | bool | None = None,
    ) -> Operation[list[str]]:
        """Store values under new keys, behind all that were appended before; all or none.

        Args:
            namespace: their labels.
            values: at most 500, each as for :meth:`put`.
            ttl: as for :meth:`put`.
            index: as for :meth:`put`.

        Returns:
            The keys: decimal digits, always of one length, which grow with each value.

        Raises:
            InvalidInput: as :meth:`put`.
            EmbeddingFailed: as :meth:`put`.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> keys = items.append(("chat", "1"), [{"role": "user"}, {"role": "assistant"}])
            >>> [item.value["role"] for item in items.list(("chat", "1"))]
            ['user', 'assistant']
        """
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
            raise InvalidInput(f"values must be a sequence of values, got {type(values).__name__}", field="values")
        if len(values) > MOST_EXPECTED:
            raise InvalidInput(f"values must be at most {MOST_EXPECTED}, got {len(values)}", field="values")
        place = labels("namespace", namespace)
        seconds = ttl_or_default(ttl)
        drafts = [
            self._draft(Put(place, "", item_value(value, f"values[{position}]"), seconds), index)
            for position, value in enumerate(values)
        ]
        return named("append", self._appended(place, drafts))

    def _appended(self, namespace: Namespace, drafts: Sequence[Put | Draft]) -> Operation[list[str]]:
        if not drafts:
            return []
        puts = yield from with_vectors(drafts)
        return (yield from self.backend.append(namespace, puts))

    def _restore(self, items: Sequence[Item], *, index: Sequence[str] | bool | None = None) -> Operation[int]:
        """Store items exactly: with the versions and times that they were read with.

        What is there under their keys is replaced. Puts after that go on: with the next version, and a later
        ``updated_at`` than all that was restored in their namespace. Vectors are made by the index of this repository.
        Items of one namespace are one atomic unit, or several if they are more than 500.

        Args:
            items: as they were read, here or from another repository. Their times are from 1970 on and before 9999;
                ``expires_at`` is rounded up to the millisecond.
            index: as for :meth:`put`, for all of them.

        Returns:
            How many were stored: all but those whose ``expires_at`` has passed, in whose place nothing changes. When a
            refresh has one live on that ends, it is for the seconds from its ``updated_at`` to its ``expires_at``.

        Raises:
            InvalidInput: something is no item, or one has a version or times that no repository can keep.
            Unsupported: the backend has no such operation.
            EmbeddingFailed: as :meth:`put`.

        Example:
            >>> import statekeep
            >>> old, new = statekeep.connect("memory:").items, statekeep.connect("memory:").items
            >>> for theme in ["dark", "light"]:
            ...     item = old.put(("settings",), "theme", theme)
            >>> new.restore([item]), new.get(("settings",), "theme") == item
            (1, True)
            >>> new.put(("settings",), "theme", "dark").version
            3
        """
        restore = getattr(self.backend, "restore", None)
        if restore is None:
            raise Unsupported(f"{type(self.backend).__name__} cannot restore items: it has no such operation")
        drafts = [self._draft(put, index) for put in restores_of(items)]
        return named("restore", self._restored(restore, drafts))

    def _restored(
        self, restore: Callable[[Sequence[Put]], Operation[int]], drafts: Sequence[Put | Draft]
    ) -> Operation[int]:
        return (yield from restore((yield from with_vectors(drafts)))) if drafts else 0

    def _pop(self, namespace: Sequence[str]) -> Operation[Item | None]:
        """Delete the item with the greatest key and return it; ``None`` if there is none.

        Args:
            namespace: its labels.
        """
        return self.backend.pop(labels("namespace", namespace))


class ItemRepository(_Operations, Blocking[ItemBackend], OfItems):
    """Items, for blocking code.

    Get one from :func:`statekeep.connect`, or build it over a backend. It may be shared by threads.

    Args:
        backend: where the records are kept.

    Raises:
        MissingDependency: the backend has a vector index, and numpy is not installed.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     item = keep.items.put(("users", "ada"), "theme", {"dark": True})
        ...     keep.items.get(("users", "ada"), "theme").value
        {'dark': True}
    """

    get = blocking(_Operations._get)
    put = blocking(_Operations._put)
    delete = blocking(_Operations._delete)
    batch = blocking(_Operations._batch)
    append = blocking(_Operations._append)
    restore = blocking(_Operations._restore)
    measure = blocking(_Operations._measure)
    pop = blocking(_Operations._pop)
    list = iterating(_Operations._list)
    keys = iterating(_Operations._keys)
    search = blocking(_Operations._search)
    list_namespaces = blocking(_Operations._list_namespaces)
    clear = blocking(_Operations._clear)
    setup = blocking(_Operations._setup)
    reindex = blocking(_Operations._reindex)


class AsyncItemRepository(_Operations, Awaiting[ItemBackend], AsyncOfItems):
    """Items, for asyncio code.

    Get one from :func:`statekeep.aconnect`, or build it over a backend. It may be shared by tasks.

    Args:
        backend: where the records are kept.

    Raises:
        MissingDependency: the backend has a vector index, and numpy is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> dict[str, bool]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         await keep.items.put(("users", "ada"), "theme", {"dark": True})
        ...         return (await keep.items.get(("users", "ada"), "theme")).value
        >>> asyncio.run(main())
        {'dark': True}
    """

    get = awaiting(_Operations._get)
    put = awaiting(_Operations._put)
    delete = awaiting(_Operations._delete)
    batch = awaiting(_Operations._batch)
    append = awaiting(_Operations._append)
    restore = awaiting(_Operations._restore)
    measure = awaiting(_Operations._measure)
    pop = awaiting(_Operations._pop)
    list = aiterating(_Operations._list)
    keys = aiterating(_Operations._keys)
    search = awaiting(_Operations._search)
    list_namespaces = awaiting(_Operations._list_namespaces)
    clear = awaiting(_Operations._clear)
    setup = awaiting(_Operations._setup)
    reindex = awaiting(_Operations._reindex)


def _batched(operations: Sequence[ItemOperation], unit: int | None) -> list[tuple[Action, Sequence[str] | bool | None]]:
    """Return the actions of a batch, each with the ``index`` of its operation.

    Args:
        operations: as users pass them.
        unit: see :func:`unit_of`.

    Raises:
        InvalidInput: it is none, it lists too much, or what is expected cannot be kept.
    """
    # Not any iterable: checking a generator would use it up, and nothing would be done.
    if isinstance(operations, str | bytes) or not isinstance(operations, Sequence):
        what = type(operations).__name__
        raise InvalidInput(
            f"operations must be a sequence of GetItem, PutItem, DeleteItem, CheckItem and ListItems, got {what}",
            field="operations",
        )
    actions = [_action(operation) for operation in operations]
    listed = sum(operation.limit for operation in operations if isinstance(operation, ListItems))
    if listed > MOST_LISTED:
        raise InvalidInput(
            f"operations: the limits of all listings must be at most {MOST_LISTED} together, got {listed}",
            field="operations",
        )
    if any(not isinstance(action, Get | Listing) and action.expected is not ANY for action, _ in actions):
        if len({action.namespace[:unit] for action, _ in actions}) > 1:
            of = "be of one namespace" if unit is None else f"begin with the same unit={unit} labels"
            raise InvalidInput(
                f"operations with expected must all {of}: only then can all or none be done", field="operations"
            )
        if len(operations) > MOST_EXPECTED:
            raise InvalidInput(
                f"operations with expected must be at most {MOST_EXPECTED}, got {len(operations)}", field="operations"
            )
    return actions


def _action(operation: ItemOperation) -> tuple[Action, Sequence[str] | bool | None]:
    if isinstance(operation, ListItems):
        return listing_of(operation), None
    if not isinstance(operation, GetItem | PutItem | DeleteItem | CheckItem):
        what = type(operation).__name__
        raise InvalidInput(
            f"operations must be GetItem, PutItem, DeleteItem, CheckItem or ListItems, got {what}", field="operations"
        )
    place = namespace_and_key(operation.namespace, operation.key)
    match operation:
        case GetItem():
            return Get(*place, operation.refresh), None
        case PutItem():
            put = Put(*place, operation.value, ttl_or_default(operation.ttl), operation.expected)
            return put, operation.index
        case DeleteItem():
            return Delete(*place, operation.expected), None
        case CheckItem():
            return Check(*place, operation.expected), None
