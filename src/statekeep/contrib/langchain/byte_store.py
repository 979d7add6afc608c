"""Bytes under keys over items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self, Unpack

from langchain_core.stores import ByteStore

from ...domain import DEFAULT, DeleteItem, GetItem, InvalidInput, Item, Payload, PutItem
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, text, texts, ttl_or_default
from ..backends import KeepsItems, item_backend
from ..packing import packed, unpacked
from ..shielding import shielded
from .connected import Connected


class StatekeepByteStore(Connected, ByteStore):
    """Bytes under keys, for ``CacheBackedEmbeddings`` and your own code.

    It implements ``ByteStore`` in both faces. Use it in several tasks, threads and processes at once: up to 500 pairs
    or keys are one unit. A coroutine that changes something and is cancelled comes to its end first, so nothing is
    changed behind your back.

    Args:
        keep: where the bytes are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``items``. You close it.
        namespace: labels of the items. In a cluster, a namespace is kept by one node.
        ttl: seconds that bytes are kept after they were set, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     store = StatekeepByteStore(keep)
        ...     store.mset([("tea", b"Earl Grey")])
        ...     store.mget(["tea", "coffee"])
        [b'Earl Grey', None]
    """

    def __init__(
        self, keep: KeepsItems, *, namespace: Sequence[str] = ("langchain", "bytes"), ttl: Ttl = DEFAULT
    ) -> None:
        self._namespace = labels("namespace", namespace)
        self._ttl = ttl_or_default(ttl)
        backend = item_backend(keep)
        self._items, self._aitems = ItemRepository(backend), AsyncItemRepository(backend)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("langchain", "bytes"),
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
            refresh_on_read: reading bytes starts their TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> with StatekeepByteStore.from_url("memory:") as store:
            ...     store.mset([("tea", b"Earl Grey"), ("coffee", b"")])
            ...     list(store.yield_keys(prefix="t"))
            ['tea']
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            store = cls(keep, namespace=namespace)
        store._own = keep
        return store

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes under keys, ``None`` where there are none.

        One round trip for 500 keys.

        Args:
            keys: each is any text.

        Raises:
            CorruptRecord: something else lies under a key.
        """
        return _values(self._items.batch(self._gets(keys)))

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """As :meth:`mget`.

        Args:
            keys: as for that.
        """
        return _values(await self._aitems.batch(self._gets(keys)))

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Store bytes under keys, in place of what is there: one round trip for 500.

        Args:
            key_value_pairs: keys, any texts, with bytes.

        Raises:
            InvalidInput: a key or value is wrong. Nothing was stored.
        """
        self._items.batch(self._puts(key_value_pairs))

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """As :meth:`mset`.

        Args:
            key_value_pairs: as for that.
        """
        await shielded(self._aitems.batch(self._puts(key_value_pairs)))

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete what is under keys, if there is anything: one round trip for 500.

        Args:
            keys: each is any text.
        """
        self._items.batch(self._deletes(keys))

    async def amdelete(self, keys: Sequence[str]) -> None:
        """As :meth:`mdelete`.

        Args:
            keys: as for that.
        """
        await shielded(self._aitems.batch(self._deletes(keys)))

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Iterate over the keys in the order of their code points.

        One round trip for 500 keys.

        Args:
            prefix: what they begin with; ``None`` for all.
        """
        yield from self._items.keys(self._namespace, prefix=_prefix(prefix))

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """As :meth:`yield_keys`.

        Args:
            prefix: as for that.
        """
        async for key in self._aitems.keys(self._namespace, prefix=_prefix(prefix)):
            yield key

    def _gets(self, keys: Sequence[str]) -> list[GetItem]:
        return [GetItem(namespace=self._namespace, key=key) for key in _keys(keys)]

    def _puts(self, pairs: Sequence[tuple[str, bytes]]) -> list[PutItem]:
        if isinstance(pairs, str | bytes) or not isinstance(pairs, Sequence):
            raise InvalidInput(
                f"key_value_pairs must be a sequence of pairs, got {type(pairs).__name__}", field="key_value_pairs"
            )
        options: Any = {"namespace": self._namespace, "ttl": self._ttl, "index": False}
        return [PutItem(key=key, value=value, **options) for key, value in map(_pair, pairs)]

    def _deletes(self, keys: Sequence[str]) -> list[DeleteItem]:
        return [DeleteItem(namespace=self._namespace, key=key) for key in _keys(keys)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r}, {self._namespace!r})"


def _keys(keys: Any) -> list[str]:
    return texts("keys", keys, empty=True)


def _prefix(prefix: str | None) -> str:
    return "" if prefix is None else text("prefix", prefix, empty=True, is_id=False)


def _pair(pair: Any) -> tuple[str, Payload]:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[1], bytes | bytearray | memoryview):
        raise InvalidInput(
            f"key_value_pairs must be pairs of a text and bytes, got {shown(pair)}", field="key_value_pairs"
        )
    return text("key_value_pairs", pair[0], empty=True), packed(pair[1])


def _values(items: Sequence[Item | None]) -> list[bytes | None]:
    return [None if item is None else unpacked(item) for item in items]
