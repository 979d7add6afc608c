"""Storage of Strands Agents over items."""

from __future__ import annotations

import asyncio
import builtins
import copy
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from ...domain import DEFAULT, InvalidInput, Item, StatekeepError
from ...domain.items import Namespace
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.connect import aconnect
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, ttl_or_default
from ..backends import KeepsItems, item_backend
from ..owned import ClosesOwnAsync
from ..packing import packed, unpacked
from ..shielding import shielded
from .framework import StorageError, check_installed

if TYPE_CHECKING:
    from strands.storage.search import SearchStrategy, StorageSearchResult

T = TypeVar("T")

FOLDERS: Final = 2
"""Folders of a key that are labels of a namespace: those of the SDK are ``session`` and the session's id."""

AT_ONCE: Final = 16
"""Namespaces that are listed side by side."""


class StatekeepStorage(ClosesOwnAsync):
    """Bytes under keys, for all in the SDK that takes a ``storage``.

    It implements the protocol ``strands.storage.Storage``: pass it to ``SnapshotSessionManager``, ``FileMemoryStore``
    or ``Agent(storage=)``. Use it in several tasks, event loops, threads and processes at once: each write is one unit.
    A write that is cancelled comes to its end first, so nothing is changed behind your back.

    Errors are ``StorageError``, with Statekeep's own as ``__cause__``.

    Args:
        keep: where it is kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``items``. You close it.
        namespace: labels in front of the keys.
        ttl: seconds that a value is kept after it was written, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with.
        search_strategy: as for the SDK's own storages: told of each write, and asked by :meth:`search`; ``None`` for a
            search by keywords.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: strands-agents is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> list[str]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         storage = StatekeepStorage(keep)
        ...         await storage.write("notes/tea.md", b"Earl Grey")
        ...         return await storage.list("notes/")
        >>> asyncio.run(main())
        ['notes/tea.md']
    """

    def __init__(
        self,
        keep: KeepsItems,
        *,
        namespace: Sequence[str] = ("strands", "storage"),
        ttl: Ttl = DEFAULT,
        search_strategy: SearchStrategy[Any] | None = None,
    ) -> None:
        check_installed()
        self._items = AsyncItemRepository(item_backend(keep))
        self._root = labels("namespace", namespace)
        self._ttl = ttl_or_default(ttl)
        if search_strategy is not None and not all(hasattr(search_strategy, name) for name in ("index", "search")):
            raise InvalidInput(
                f"search_strategy must have index and search, got {type(search_strategy).__name__}",
                field="search_strategy",
            )
        self._strategy = search_strategy
        self._prefix = ""

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("strands", "storage"),
        ttl: float | None = None,
        search_strategy: SearchStrategy[Any] | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this storage alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            search_strategy: as for the class.
            prefix: as for :func:`statekeep.aconnect`.
            refresh_on_read: reading a value starts its TTL anew.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> import asyncio
            >>> async def main() -> bytes | None:
            ...     async with StatekeepStorage.from_url("memory:") as storage:
            ...         await storage.write("tea", b"Earl Grey")
            ...         return await storage.read("tea")
            >>> asyncio.run(main())
            b'Earl Grey'
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            storage = cls(keep, namespace=namespace, search_strategy=search_strategy)
        storage._own = keep
        return storage

    async def write(self, key: str, data: bytes) -> None:
        """Store bytes under a key, in place of what is there: one round trip.

        Args:
            key: text with ``/`` between folders. As with the SDK's own storages, runs of ``/`` count as one, and those
                at the ends as none; there is no backslash in it, and no folder ``..``.
            data: the bytes.

        Raises:
            StorageError: it was not written, or, with a search strategy, not indexed.
        """
        normalized = _key(key)
        namespace, name = self._place(normalized)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise StorageError(f"data of {shown(key)} must be bytes, got {type(data).__name__}")
        with _storage_errors():
            await shielded(self._items.put(namespace, name, packed(data), ttl=self._ttl, index=False))
        if self._strategy is not None:
            try:
                await self._strategy.index(self, normalized, bytes(data))
            except Exception as error:
                raise StorageError(f"{shown(key)} was written, but indexing it failed: {error}") from error

    async def read(self, key: str) -> bytes | None:
        """Return the bytes under a key, ``None`` if there are none: one round trip.

        Args:
            key: as for :meth:`write`.

        Raises:
            StorageError: the key is wrong, the service does not answer, or something else lies there.
        """
        namespace, name = self._place(_key(key))
        with _storage_errors():
            item = await self._items.get(namespace, name)
            return None if item is None else unpacked(item)

    async def delete(self, key: str) -> None:
        """Delete what is under a key, if there is anything: one round trip.

        Args:
            key: as for :meth:`write`.

        Raises:
            StorageError: it was not deleted.
        """
        namespace, name = self._place(_key(key))
        with _storage_errors():
            await shielded(self._items.delete(namespace, name))

    async def list(self, query: str = "") -> builtins.list[str]:
        """Return the keys that begin with a text, in the order of their code points.

        A text with two whole folders in it, such as ``session/ada/``, takes one round trip for 500 keys. One with less
        takes one more, to find its folders, and then as much for each of them.

        Args:
            query: what the keys begin with; ``""`` for all.

        Raises:
            StorageError: the text is wrong, or the service does not answer.
        """
        return sorted(await self._found(_path(query, "query"), self._keys_in))

    async def search(self, query: str) -> builtins.list[StorageSearchResult]:
        """Search the stored bytes as UTF-8 text; the best come first.

        Of a part, as of :meth:`namespace`, only that is searched. By keywords, all of it is read, 100 values in two
        round trips; with a search strategy that has the say.

        Args:
            query: text; with a search strategy, what that takes.

        Raises:
            StorageError: the service does not answer.
        """
        from strands.storage.search import KeywordSearchStrategy

        if self._strategy is not None:
            found: builtins.list[StorageSearchResult] = await self._strategy.search(self, query)
        else:
            found = await KeywordSearchStrategy().search(_Read(self), query)
        return found

    def namespace(self, prefix: str) -> Self:
        """Return the part of this storage below a folder; its keys begin there.

        It shares the connection, and :meth:`close` leaves that open. As with the SDK's own storages, a session manager
        puts no folder of its own in front of a part.

        Args:
            prefix: the folder, or several with ``/`` between them.

        Raises:
            StorageError: it is no folder.

        Example:
            >>> import asyncio, statekeep
            >>> async def main() -> list[str]:
            ...     async with statekeep.aconnect("memory:") as keep:
            ...         storage = StatekeepStorage(keep)
            ...         await storage.namespace("acme").write("tea", b"Earl Grey")
            ...         return await storage.list("")
            >>> asyncio.run(main())
            ['acme/tea']
        """
        from strands.storage.storage import _NAMESPACED

        folder = _path(prefix, "prefix").strip("/")
        part = copy.copy(self)
        part._prefix = f"{self._prefix}{folder}/" if folder else self._prefix
        part._own = None
        part._namespaced = _NAMESPACED  # type: ignore[attr-defined]
        return part

    def _place(self, key: str) -> tuple[Namespace, str]:
        *folders, name = f"{self._prefix}{key}".split("/", FOLDERS)
        return (*self._root, *folders), name

    async def _found(
        self, query: str, listed: Callable[[Namespace, str], Awaitable[builtins.list[T]]]
    ) -> builtins.list[T]:
        """Return what is listed in the folders of what begins with ``query``."""
        with _storage_errors():
            spaces = await self._spaces(f"{self._prefix}{query}")
            found: builtins.list[T] = []
            for first in range(0, len(spaces), AT_ONCE):
                for some in await asyncio.gather(*(listed(*space) for space in spaces[first : first + AT_ONCE])):
                    found += some
            return found

    async def _keys_in(self, folders: Namespace, prefix: str) -> builtins.list[str]:
        keys = self._items.keys((*self._root, *folders), prefix=prefix)
        return [self._name(folders, key) async for key in keys]

    async def _items_in(self, folders: Namespace, prefix: str) -> builtins.list[tuple[str, Item]]:
        items = self._items.list((*self._root, *folders), prefix=prefix, refresh=False)
        return [(self._name(folders, item.key), item) async for item in items]

    def _name(self, folders: Namespace, key: str) -> str:
        """Return the name of a key in this part of the storage."""
        return "/".join((*folders, key)).removeprefix(self._prefix)

    async def _spaces(self, path: str) -> builtins.list[tuple[Namespace, str]]:
        """Return the folders of what begins with ``path``, and the rest of it in each."""
        *folders, rest = path.split("/", FOLDERS)
        spaces: builtins.list[tuple[Namespace, str]] = [(tuple(folders), rest)]
        if len(folders) == FOLDERS:
            return spaces
        above = (*self._root, *folders)
        for namespace in await self._items.list_namespaces(prefix=above):
            below = namespace[len(self._root) :]
            # A label "*" of a prefix stands for any, and others may have put something further below.
            if namespace[: len(above)] == above and len(folders) < len(below) <= FOLDERS:
                if "/".join((*below, "")).startswith(path):
                    spaces.append((below, ""))
        return spaces

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r}, {self._prefix!r})"


class _Read:
    """The keys and bytes of a storage, read in one go for a search."""

    def __init__(self, storage: StatekeepStorage) -> None:
        self._storage = storage
        self._items: dict[str, Item] = {}

    async def list(self, query: str) -> builtins.list[str]:
        self._items = dict(await self._storage._found(query, self._storage._items_in))
        return sorted(self._items)

    async def read(self, key: str) -> bytes:
        with _storage_errors():
            return unpacked(self._items[key])


def _path(path: str, what: str) -> str:
    """Return a path as the SDK's storages normalize it, but for a slash at its end."""
    if not isinstance(path, str):
        raise StorageError(f"{what} must be text, got {type(path).__name__}")
    found = re.sub("/+", "/", path).removeprefix("/")
    if "\\" in found or ".." in found.split("/"):
        raise StorageError(f"{what} must have no backslash and no folder '..', got {shown(path)}")
    return found


def _key(key: str) -> str:
    found = _path(key, "key").removesuffix("/")
    if not found:
        raise StorageError("key must not be empty")
    return found


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except StatekeepError as error:
        raise StorageError(str(error)) from error
