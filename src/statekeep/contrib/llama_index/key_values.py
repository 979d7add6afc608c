"""Values by collection and key over items, for document and index stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, Unpack

from ...domain import DEFAULT, InvalidInput, Item, PutItem
from ...domain.items import Namespace
from ...domain.model import Ttl
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, text, ttl_or_default
from ..backends import KeepsItems, item_backend
from ..owned import ClosesOwn
from ..shielding import shielded
from .framework import COLLECTION, BaseKVStore, check_installed


class StatekeepKVStore(ClosesOwn, BaseKVStore):  # type: ignore[misc]
    """Values by collection and key, for whatever takes a ``BaseKVStore``.

    Such are ``KVDocumentStore`` and ``KVIndexStore``.

    Its methods block, and those that begin with ``a`` do not. Use it in several threads, tasks, event loops and
    processes at once: each method is one unit. A method that changes something and is cancelled comes to its end first,
    so nothing is changed behind your back.

    Args:
        keep: where it is kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``items``. You close it.
        namespace: labels in front of the collections.
        ttl: seconds that a value is kept after it was put, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: llama-index-core is not installed.

    Example:
        >>> import statekeep
        >>> store = StatekeepKVStore(statekeep.connect("memory:"))
        >>> store.put("tea", {"kind": "Earl Grey"})
        >>> store.get("tea")
        {'kind': 'Earl Grey'}
    """

    def __init__(
        self, keep: KeepsItems, *, namespace: Sequence[str] = ("llama-index", "values"), ttl: Ttl = DEFAULT
    ) -> None:
        check_installed()
        backend = item_backend(keep)
        self._items, self._aitems = ItemRepository(backend), AsyncItemRepository(backend)
        self._root = labels("namespace", namespace)
        self._ttl = ttl_or_default(ttl)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("llama-index", "values"),
        ttl: float | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this store alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            prefix: as for :func:`statekeep.connect`.
            refresh_on_read: reading a value starts its TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> with StatekeepKVStore.from_url("memory:") as store:
            ...     store.get_all()
            {}
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            store = cls(keep, namespace=namespace)
        store._own = keep
        return store

    # -- blocking

    def put(self, key: str, val: dict[str, Any], collection: str = COLLECTION) -> None:
        """Store a value: one round trip.

        Args:
            key: any text.
            val: a mapping that JSON can hold.
            collection: any text but the empty one.
        """
        self._items.put(self._place(collection), key, _value(val), ttl=self._ttl)

    def put_all(
        self, kv_pairs: list[tuple[str, dict[str, Any]]], collection: str = COLLECTION, batch_size: int = 1
    ) -> None:
        """Store values, all or none: one round trip.

        Args:
            kv_pairs: keys with values.
            collection: of all.
            batch_size: what other stores need; here it means nothing.
        """
        self._items.batch(self._puts(kv_pairs, collection))

    def get(self, key: str, collection: str = COLLECTION) -> dict[str, Any] | None:
        """Return a value, or ``None``: one round trip."""
        return _found(self._items.get(self._place(collection), key))

    def get_all(self, collection: str = COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values of a collection by their keys: two round trips for 100 values."""
        return {item.key: item.value for item in self._items.list(self._place(collection))}

    def delete(self, key: str, collection: str = COLLECTION) -> bool:
        """Delete a value and say whether it was there: one round trip."""
        return self._items.delete(self._place(collection), key)

    # -- in an event loop

    async def aput(self, key: str, val: dict[str, Any], collection: str = COLLECTION) -> None:
        """Do as :meth:`put`."""
        await shielded(self._aitems.put(self._place(collection), key, _value(val), ttl=self._ttl))

    async def aput_all(
        self, kv_pairs: list[tuple[str, dict[str, Any]]], collection: str = COLLECTION, batch_size: int = 1
    ) -> None:
        """Do as :meth:`put_all`."""
        await shielded(self._aitems.batch(self._puts(kv_pairs, collection)))

    async def aget(self, key: str, collection: str = COLLECTION) -> dict[str, Any] | None:
        """Do as :meth:`get`."""
        return _found(await self._aitems.get(self._place(collection), key))

    async def aget_all(self, collection: str = COLLECTION) -> dict[str, dict[str, Any]]:
        """Do as :meth:`get_all`."""
        return {item.key: item.value async for item in self._aitems.list(self._place(collection))}

    async def adelete(self, key: str, collection: str = COLLECTION) -> bool:
        """Do as :meth:`delete`."""
        return await shielded(self._aitems.delete(self._place(collection), key))

    def _place(self, collection: str) -> Namespace:
        return labels("collection", (*self._root, text("collection", collection)))

    def _puts(self, pairs: Iterable[tuple[str, Any]], collection: str) -> list[PutItem]:
        place = self._place(collection)
        try:
            found = [(key, value) for key, value in pairs]
        except (TypeError, ValueError) as error:
            raise InvalidInput("kv_pairs must be pairs of a key and a value", field="kv_pairs") from error
        return [
            PutItem(namespace=place, key=text("key", key, empty=True), value=_value(value), ttl=self._ttl)
            for key, value in found
        ]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"


def _value(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"val must be a mapping, got {type(value).__name__}", field="val")
    return dict(value)


def _found(item: Item | None) -> dict[str, Any] | None:
    if item is None:
        return None
    value: dict[str, Any] = item.value
    return value
