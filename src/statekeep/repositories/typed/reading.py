"""Reads of items of one namespace whose values are all of one type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from ...domain import Item, SearchItem, TypedItem, TypedSearchItem, TypeMismatch
from ...domain.items import Order
from ...domain.model import Model
from ...domain.shown import shown
from ..faces import Pages, Repository
from ..item_backend import ItemBackend
from ..items import AsyncItemRepository, ItemRepository
from ..operation import Operation, Page, named
from ..records.json_text import unparsed
from ..validation import labels
from .values import Migrate, Values

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=Model)


class TypedReads(Repository[ItemBackend], Generic[T]):
    """The bodies of the methods that read: arguments in, operations out."""

    kind = "items"

    def __init__(
        self,
        repository: ItemRepository | AsyncItemRepository,
        of: Any,
        namespace: Sequence[str],
        migrate: Migrate | None = None,
    ) -> None:
        super().__init__(repository.backend)
        self.executor = repository.executor
        self.namespace = labels("namespace", namespace)
        self._items = repository
        self._values: Values[T] = Values(of, migrate, has_payloads=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r}, {shown(self.namespace, 200)})"

    def _get(self, key: str, *, refresh: bool | None = None) -> Operation[TypedItem[T] | None]:
        """Return an item, or ``None``.

        Args:
            key: any text.
            refresh: as for :meth:`ItemRepository.get`.

        Raises:
            TypeMismatch: the stored value is not of the type.
        """
        return named("get", self._read(self._items._get(self.namespace, key, refresh=refresh)))

    def _list(
        self,
        *,
        prefix: str = "",
        limit: int | None = None,
        offset: int = 0,
        after: str | None = None,
        reverse: bool = False,
        order: Order = "key",
        filter: Mapping[str, Any] | None = None,
        refresh: bool | None = None,
    ) -> Pages[TypedItem[T]]:
        """Iterate over the items in order, reading page by page.

        Args:
            prefix: only keys that begin with this text.
            limit: at most so many.
            offset: how many to leave out at the beginning.
            after: only keys behind this one; with ``reverse``, before it. It need not exist. It is for the order of
                keys alone.
            reverse: the greatest key first; with ``order="updated"``, the last put first.
            order: as for :meth:`ItemRepository.list`.
            filter: as for :meth:`ItemRepository.search`; fields are those of the JSON value.
            refresh: as for :meth:`get`.

        Raises:
            TypeMismatch: a value of the next page is not of the type.
        """
        pages = self._items._list(
            self.namespace,
            prefix=prefix,
            limit=limit,
            offset=offset,
            after=after,
            reverse=reverse,
            order=order,
            filter=filter,
            refresh=refresh,
        )
        # A filter looks into the values, so the backend parses them anyway.
        return partial(self._page, pages, parsed=bool(filter))

    def _keys(
        self, *, prefix: str = "", limit: int | None = None, after: str | None = None, reverse: bool = False
    ) -> Pages[str]:
        """Iterate over the keys in their order, without reading the values.

        See :meth:`ItemRepository.keys`.

        Args:
            prefix: only keys that begin with this text.
            limit: at most so many.
            after: only keys behind this one; with ``reverse``, before it. It need not exist.
            reverse: the greatest key first.
        """
        return self._items._keys(self.namespace, prefix=prefix, limit=limit, after=after, reverse=reverse)

    def _search(
        self,
        *,
        filter: Mapping[str, Any] | None = None,
        query: str | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh: bool | None = None,
    ) -> Operation[list[TypedSearchItem[T]]]:
        """Find items in the namespace.

        Those of the namespaces below are found, too: they must be of the type as well.

        Args:
            filter: as for :meth:`ItemRepository.search`; fields are those of the JSON value.
            query: as for :meth:`ItemRepository.search`.
            limit: at most so many.
            offset: how many to leave out at the beginning.
            refresh: as for :meth:`get`.

        Raises:
            TypeMismatch: a value that was found is not of the type.
        """
        found = self._items._search(
            self.namespace, filter=filter, query=query, limit=limit, offset=offset, refresh=refresh
        )
        # A filter looks into the values, so the backend parses them anyway.
        return named("search", self._found(found if filter else unparsed(found)))

    # -- the parts

    def _typed(self, item: Item) -> TypedItem[T]:
        return with_value(TypedItem, item, self._value(item))

    def _value(self, item: Item) -> T:
        try:
            return self._values.decode(item.value, item.key, "item")
        except TypeMismatch as error:
            error.place = {"namespace": item.namespace, "key": item.key}
            raise

    def _read(self, operation: Operation[Item | None]) -> Operation[TypedItem[T] | None]:
        item = yield from unparsed(operation)
        return None if item is None else self._typed(item)

    def _page(self, pages: Pages[Item], cursor: Any, *, parsed: bool) -> Operation[Page[TypedItem[T]]]:
        page = pages(cursor)
        return named("list", self._read_page(page if parsed else unparsed(page)))

    def _read_page(self, operation: Operation[Page[Item]]) -> Operation[Page[TypedItem[T]]]:
        page = yield from operation
        return Page([self._typed(item) for item in page.items], page.cursor)

    def _found(self, search: Operation[list[SearchItem]]) -> Operation[list[TypedSearchItem[T]]]:
        items = yield from search
        return [with_value(TypedSearchItem, item, self._value(item)) for item in items]


def with_value(model: type[ModelT], item: Item, value: Any) -> ModelT:
    """Return an item of a model, with another value."""
    return model.trusted(**{name: getattr(item, name) for name in model.model_fields} | {"value": value})
