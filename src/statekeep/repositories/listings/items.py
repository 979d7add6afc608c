"""The bodies of the methods of items that list, search, or care for a namespace."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve

from ...domain import InvalidInput, Item, ItemsMeasure, ListItems, NamespaceMatch, SearchItem
from ...domain.filters import checked
from ...domain.items import Namespace, Order
from ...domain.shown import shown
from ...domain.vector_index import SearchStatus
from ..embedding import Embed
from ..faces import Pages, Repository
from ..item_backend import ItemBackend, ItemRange, ItemSearch, Listing, NamespaceQuery, prepared
from ..operation import Operation, Page, named
from ..records.restored import stored_bytes
from ..validation import boolean, boolean_or_none, count, labels, text


class ItemListings(Repository[ItemBackend]):
    """Listings and searches: arguments in, operations out."""

    kind = "items"

    _embeds: bool
    _backend_embeds: bool

    def _list(
        self,
        namespace: Sequence[str],
        *,
        prefix: str = "",
        limit: int | None = None,
        offset: int = 0,
        after: str | None = None,
        reverse: bool = False,
        order: Order = "key",
        filter: Mapping[str, Any] | None = None,
        refresh: bool | None = None,
    ) -> Pages[Item]:
        """Iterate over the items of one namespace in order, reading page by page.

        Keys are ordered by their characters' code points, which is also the order of their UTF-8 bytes. An item that is
        there throughout comes exactly once. In the order of puts, one that is put again while you iterate comes at
        most once, and may not come.

        Args:
            namespace: exactly this one, not those below.
            prefix: only keys that begin with this text.
            limit: at most so many.
            offset: how many to leave out at the beginning. They are looked at all the same: ``after`` is faster.
            after: only keys behind this one; with ``reverse``, before it. It need not exist. It is for the order of
                keys alone.
            reverse: the greatest key first; with ``order="updated"``, the last put first.
            order: ``"key"``, or ``"updated"`` for that of ``updated_at``.
            filter: as for :meth:`search`; it comes before ``offset`` and ``limit``.
            refresh: as for :meth:`get`.

        Raises:
            InvalidInput: ``after`` is given with another order than that of keys, or an argument is wrong.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> for key in ["b", "c", "a"]:
            ...     item = items.put(("chats", "ada"), key, {"is_open": key != "c"})
            >>> newest = items.list(("chats", "ada"), order="updated", reverse=True, filter={"is_open": True})
            >>> [item.key for item in newest]
            ['a', 'b']
        """
        query = evolve(
            item_range(namespace, prefix, limit, after, reverse, order),
            filter=None if filter is None else checked(filter) or None,
            offset=count("offset", offset),
            refresh=boolean_or_none("refresh", refresh),
        )
        return partial(self.backend.list, query)

    def _keys(
        self,
        namespace: Sequence[str],
        *,
        prefix: str = "",
        limit: int | None = None,
        after: str | None = None,
        reverse: bool = False,
    ) -> Pages[str]:
        """Iterate over the keys of one namespace in order, without reading the values.

        They are those of the items that :meth:`list` returns; no TTL begins anew. On Valkey the index alone is read, so
        the bytes do not depend on the values. What has expired is left out; a key whose item another program deleted,
        or the server evicted, is named until a ``list`` finds it gone, or :meth:`reindex`. AgentCore reads the newest
        event of each item, with values of up to 64 KiB.

        Args:
            namespace: exactly this one, not those below.
            prefix: only keys that begin with this text.
            limit: at most so many.
            after: only keys behind this one; with ``reverse``, before it. It need not exist.
            reverse: the greatest key first.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> for key in ["draft-1", "draft-2", "final"]:
            ...     item = items.put(("papers",), key, "a long text")
            >>> list(items.keys(("papers",), prefix="draft-", reverse=True))
            ['draft-2', 'draft-1']
        """
        return partial(self.backend.keys, item_range(namespace, prefix, limit, after, reverse))

    def _search(
        self,
        namespace_prefix: Sequence[str] = (),
        *,
        filter: Mapping[str, Any] | None = None,
        query: str | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh: bool | None = None,
    ) -> Operation[list[SearchItem]]:
        """Find items at or below a namespace.

        Args:
            namespace_prefix: labels; ``()`` for all.
            filter: conditions on fields of the value, see :func:`statekeep.domain.filters.matches`.
            query: what to look for by meaning, if the repository has a vector index or its service embeds: the nearest
                first, and behind them, newest first, those without vectors. Else, and without it, newest first by
                ``updated_at``.
            limit: at most so many.
            offset: how many to leave out at the beginning.
            refresh: as for :meth:`get`.

        Raises:
            InvalidInput: an operator of the filter does not exist or stands in the place of a field, or another
                argument is wrong.
            EmbeddingFailed: no vector was made of the query.
        """
        search = ItemSearch(
            labels("namespace_prefix", namespace_prefix),
            None if filter is None else checked(filter) or None,
            None,
            count("limit", limit),
            count("offset", offset),
            boolean_or_none("refresh", refresh),
        )
        wanted = "" if query is None else text("query", query, empty=True, is_id=False)
        return named("search", self._searched(search, wanted))

    def _searched(self, search: ItemSearch, query: str) -> Operation[list[SearchItem]]:
        if search.limit == 0:
            return []
        if query and self._embeds:
            (vector,) = yield Embed([query], are_queries=True)
            search = evolve(search, query=vector)
        elif query and self._backend_embeds:
            search = evolve(search, text=query)
        return (yield from self.backend.search(search))

    def _list_namespaces(
        self,
        *,
        prefix: Sequence[str] = (),
        suffix: Sequence[str] = (),
        matches: Sequence[NamespaceMatch] = (),
        max_depth: int | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Operation[list[Namespace]]:
        """Return the namespaces that hold items, in their order as tuples.

        Args:
            prefix: labels that it must begin with; ``"*"`` stands for any one label.
            suffix: labels that it must end with, likewise.
            matches: further conditions.
            max_depth: deeper namespaces are cut to so many labels, and each is returned once.
            limit: at most so many.
            offset: how many to leave out at the beginning.
        """
        if isinstance(matches, str) or not isinstance(matches, Collection):
            raise InvalidInput("matches must be a sequence of NamespaceMatch", field="matches")
        found = [
            NamespaceMatch(where="prefix", path=labels("prefix", prefix)),
            NamespaceMatch(where="suffix", path=labels("suffix", suffix)),
        ]
        for match in matches:
            if not isinstance(match, NamespaceMatch):
                raise InvalidInput(f"matches must be NamespaceMatch, got {type(match).__name__}", field="matches")
            found.append(match)
        if max_depth is not None and not count("max_depth", max_depth):
            raise InvalidInput("max_depth must be None or an integer >= 1, got 0", field="max_depth")
        query = NamespaceQuery(
            tuple(match for match in found if match.path),
            max_depth,
            None if limit is None else count("limit", limit),
            count("offset", offset),
        )
        return self.backend.list_namespaces(query)

    def _clear(self, namespace: Sequence[str], *, below: bool = False) -> Operation[int]:
        """Delete all items of a namespace, and of those below it if asked, in steps.

        It is not atomic: if it is cut off, some are deleted, and you may call it again. Items that others put
        meanwhile may stay.

        Args:
            namespace: its labels.
            below: also delete what is in all namespaces that begin with these labels; with ``()``, everything.

        Returns:
            How many there were.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> for namespace in [("users", "ada"), ("users", "ada", "notes"), ("users", "bob")]:
            ...     item = items.put(namespace, "k", 1)
            >>> items.clear(("users", "ada"), below=True), items.list_namespaces()
            (2, [('users', 'bob')])
        """
        return self.backend.clear(labels("namespace", namespace), boolean("below", below))

    def _measure(self, namespace: Sequence[str]) -> Operation[ItemsMeasure]:
        """Count the items of a namespace, and the bytes of their records.

        Valkey tells what the records take in memory, with two round trips for each 500 items; where ``MEMORY USAGE``
        is forbidden, the bytes of their fields. Other backends read all items: it is the bytes of their values.
        Indexes and vectors are not counted.

        Args:
            namespace: exactly this one, not those below.

        Example:
            >>> import statekeep
            >>> items = statekeep.connect("memory:").items
            >>> item = items.put(("users", "ada"), "theme", "dark")
            >>> items.measure(("users", "ada"))
            ItemsMeasure(items=1, bytes=6, basis='lengths')
        """
        place = labels("namespace", namespace)
        measure = getattr(self.backend, "measure", None)
        return named("measure", self._measured(place) if measure is None else measure(place))

    def _measured(self, namespace: Namespace) -> Operation[ItemsMeasure]:
        query = ItemRange(namespace, prefix="", after=None, reverse=False, limit=None, refresh=False)
        items = size = 0
        cursor: Any = None
        while True:
            page: Page[Item] = yield from self.backend.list(query, cursor)
            items += len(page.items)
            size += sum(stored_bytes(item.value) for item in page.items)
            cursor = page.cursor
            if cursor is None:
                return ItemsMeasure(items=items, bytes=size, basis="lengths")

    def _setup(self) -> Operation[SearchStatus]:
        """Prepare vector search: make the server's index if it can have one.

        Idempotent, needed for vector search alone.

        Returns:
            What searches are done with: the module and algorithm, or exact comparison and why.

        Raises:
            Conflict: there is an index, or a collection, of this name with other options.
        """
        return named("setup", prepared(self.backend))

    def _reindex(self, namespace: Sequence[str]) -> Operation[int]:
        """Rebuild what is derived from a namespace's records.

        Needed after records were added, changed or deleted by other means, such as redis-om.

        Args:
            namespace: exactly this one, not those below.

        Returns:
            The number of items found.
        """
        return self.backend.reindex(labels("namespace", namespace))


def item_range(
    namespace: Sequence[str], prefix: str, limit: int | None, after: str | None, reverse: bool, order: Order = "key"
) -> ItemRange:
    """Return a range of checked arguments, which starts no TTL anew.

    Raises:
        InvalidInput: one is wrong, or ``after`` is given with another order than that of keys.
    """
    if order not in ("key", "updated"):
        raise InvalidInput(f'order must be "key" or "updated", got {shown(order)}', field="order")
    if after is not None and order != "key":
        raise InvalidInput(
            'after is a key, so it goes with order="key" alone; use offset with order="updated"', field="after"
        )
    return ItemRange(
        labels("namespace", namespace),
        text("prefix", prefix, empty=True, is_id=False),
        None if after is None else text("after", after, empty=True),
        boolean("reverse", reverse),
        None if limit is None else count("limit", limit),
        refresh=False,
        order=order,
    )


def listing_of(part: ListItems) -> Listing:
    """Return a listing that is a part of a batch.

    Raises:
        InvalidInput: one of its texts is no Unicode text.
    """
    query = item_range(part.namespace, part.prefix, part.limit, part.after, part.reverse, part.order)
    return Listing(evolve(query, refresh=part.refresh))
