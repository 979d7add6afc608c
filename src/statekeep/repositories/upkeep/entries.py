"""The bodies of the methods of cache entries that list, and store what was listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...domain import CacheEntry, CacheNamespace, InvalidInput, Unsupported
from ...domain.items import Namespace
from ..faces import BackendT, Pages, Repository
from ..operation import Operation, Page, named
from ..validation import labels

ListEntries = Callable[[Namespace | None, Any], Operation[Page[CacheEntry]]]
ListNamespaces = Callable[[Any], Operation[Page[CacheNamespace]]]
Restore = Callable[[Sequence[CacheEntry]], Operation[None]]


class EntryUpkeep(Repository[BackendT]):
    """Listings of entries, and their return: arguments in, operations out.

    The backend need not be able to.
    """

    def _list(self, namespace: Sequence[str] | None = None) -> Pages[CacheEntry]:
        """Iterate over the entries that there are, reading page by page.

        They come namespace by namespace, in the order of the labels; in each one those that end first are the first,
        those that last for ever are the last, and among equals the keys go by their characters' code points. An entry
        that is there throughout, and is not set again, comes exactly once; one that is set again may come twice, or not
        at all. One that is damaged is left out, and a warning is logged as by :meth:`get`.

        Args:
            namespace: exactly this one, not those below; ``None`` for all that the repository has.

        Raises:
            Unsupported: the backend cannot list.

        Example:
            >>> import statekeep
            >>> cache = statekeep.connect("memory:").cache
            >>> payload = statekeep.Payload(encoding="json", data=b"1")
            >>> cache.set({((), "for ever"): payload, ((), "briefly"): (payload, 60), (("n",), "k"): payload})
            >>> [(entry.namespace, entry.key) for entry in cache.list()]
            [((), 'briefly'), ((), 'for ever'), (('n',), 'k')]
        """
        method: ListEntries = self._method("list")
        return partial(method, None if namespace is None else labels("namespace", namespace))

    def _list_namespaces(self) -> Pages[CacheNamespace]:
        """Iterate over the namespaces that have entries, with their numbers and bytes.

        They come in the order of their labels. All entries are looked at, some hundred at a time, to add up what they
        take; their values are not read. On Valkey these bytes are those of its memory, or lengths as for
        :meth:`CheckpointRepository.measure`.

        Raises:
            Unsupported: the backend cannot list.

        Example:
            >>> import statekeep
            >>> cache = statekeep.connect("memory:").cache
            >>> cache.set({(("n",), "k"): statekeep.Payload(encoding="json", data=b"1")})
            >>> list(cache.list_namespaces())
            [CacheNamespace(namespace=('n',), entries=1, bytes=1, basis='lengths')]
        """
        method: ListNamespaces = self._method("list_namespaces")
        return method

    def _restore(self, entries: Sequence[CacheEntry]) -> Operation[None]:
        """Store entries as they were read, with their times.

        Each is stored whole or not at all, and replaces what is there under its key. Those that have ended are left
        out. :meth:`set` would have them created now.

        Args:
            entries: such as :meth:`list` returns, of this repository or another one. Of several for one key the last
                one counts. An end is rounded up to the millisecond.

        Raises:
            InvalidInput: ``entries`` are something else. Nothing was written.
            Unsupported: the backend cannot store entries with their times.

        Example:
            >>> import statekeep
            >>> old, new = statekeep.connect("memory:", ttl=60).cache, statekeep.connect("memory:").cache
            >>> old.set({((), "k"): statekeep.Payload(encoding="json", data=b"1")})
            >>> new.restore(list(old.list()))
            >>> list(new.list()) == list(old.list())
            True
        """
        # Not any iterable: checking a generator would use it up.
        if isinstance(entries, str | bytes) or not isinstance(entries, Sequence):
            raise InvalidInput(f"entries must be a sequence, got {type(entries).__name__}", field="entries")
        for entry in entries:
            if not isinstance(entry, CacheEntry):
                raise InvalidInput(f"entries must be CacheEntry, got {type(entry).__name__}", field="entries")
        method: Restore = self._method("restore")
        checked = [_checked(entry) for entry in entries]
        return named("restore", method(list({(entry.namespace, entry.key): entry for entry in checked}.values())))

    def _method(self, name: str) -> Any:
        method = getattr(self.backend, name, None)
        if method is None:
            raise Unsupported(f"{type(self.backend).__name__} has no method {name}")
        return method


def _checked(entry: CacheEntry) -> CacheEntry:
    """Return an entry as a valid one of builtin types: a copy was not checked."""
    return CacheEntry(**{name: getattr(entry, name) for name in CacheEntry.model_fields})
