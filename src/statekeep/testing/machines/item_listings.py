"""The part of the machine of items that is about listings of one namespace."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ...domain import Item
from ...repositories.items import ItemRepository
from .. import strategies as some
from ..comparison import ComparingMachine, canonical, expected_form
from ..oracles.items import ItemOracle, Kept, Labels
from ..under_way import UnderWay


def _ranges(more: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a listing by key."""
    return st.fixed_dictionaries(
        {},
        optional={
            "prefix": st.sampled_from(["", "1", "00", "{", "*"]) | some.item_keys().map(lambda key: key[:1]),
            "after": st.none() | some.item_keys() | st.sampled_from(["b", "5", "\U0010ffff"]),
            "reverse": st.booleans(),
            "limit": st.none() | st.integers(0, 3),
            **more,
        },
    )


def _without_after(query: dict[str, Any]) -> dict[str, Any]:
    """Leave out ``after`` in the order of puts."""
    is_by_time = query.get("order") == "updated"
    return {name: value for name, value in query.items() if not (is_by_time and name == "after")}


class ListingMachine(ComparingMachine):
    """Lists the items of a namespace, at once and while they change."""

    repository: ItemRepository
    stepwise: ItemRepository
    oracle: ItemOracle

    # -- what is compared

    def ends(self, expires_at: dt.datetime | None) -> Any:
        """Return when an item ends, or if only the backend knows what time it is, whether."""
        return expires_at is not None if self.clock is None else expires_at

    def fields(self, item: Item | Kept) -> dict[str, Any]:
        names = ("namespace", "key", "value", "version", "created_at", "updated_at")
        return {name: getattr(item, name) for name in names} | {"ends": self.ends(item.expires_at)}

    def result(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self.fields(item) for item in result]
        return self.fields(result) if isinstance(result, (Item, Kept)) else result

    # -- listings

    @rule(
        namespace=some.item_namespaces(),
        query=_ranges(
            {
                "refresh": some.refreshes(),
                "offset": st.integers(0, 3),
                "filter": some.filters(),
                "order": st.sampled_from(["key", "updated"]),
            }
        ).map(_without_after),
    )
    def list_anything(self, namespace: Labels, query: dict[str, Any]) -> None:
        self.compare(
            lambda: [self.fields(item) for item in self.repository.list(namespace, **query)],
            lambda: [self.fields(kept) for kept in self.oracle.list(namespace, **query)],
        )

    @rule(namespace=some.item_namespaces(), query=_ranges({}))
    def list_keys(self, namespace: Labels, query: dict[str, Any]) -> None:
        self.compare(
            lambda: list(self.repository.keys(namespace, **query)), lambda: list(self.oracle.keys(namespace, **query))
        )

    @precondition(lambda self: self.oracle.items)
    @rule(data=st.data(), reverse=st.booleans(), limit=st.none() | st.integers(1, 3), refresh=some.refreshes())
    def list_behind(self, data: st.DataObject, reverse: bool, limit: int | None, refresh: bool | None) -> None:
        """Behind an item that is there."""
        namespace, after = data.draw(st.sampled_from(sorted(self.oracle.items)))
        self.list_anything(namespace, {"after": after, "reverse": reverse, "limit": limit, "refresh": refresh})

    @precondition(lambda self: len(self.under_way) < 2)
    @rule(
        namespace=some.item_namespaces(),
        prefix=st.just("") | some.item_keys().map(lambda key: key[:1]),
        reverse=st.booleans(),
        first=st.integers(0, 2),
        what=st.sampled_from(["items", "items", "keys", "items by time"]),
    )
    def begin_listing(self, namespace: Labels, prefix: str, reverse: bool, first: int, what: str) -> None:
        """Begin a listing, which goes on while other rules change its items."""
        query: dict[str, Any] = {"prefix": prefix, "reverse": reverse}
        if what == "items by time":
            query["order"] = "updated"

        def place(item: Item | Kept) -> Hashable:
            # What is put again is another one in the order of puts.
            return (item.updated_at, item.key) if what == "items by time" else item.key

        def there() -> dict[Hashable, Any]:
            found = self.oracle.list(namespace, **query, refresh=False)
            if what == "keys":
                return {kept.key: kept.key for kept in found}
            return {place(kept): expected_form(self.fields(kept)) for kept in found}

        def precedes(one: Any, other: Any) -> bool:
            return bool(one > other if reverse else one < other)

        self.oracle.expire()
        if what == "keys":
            keys = self.stepwise.keys(namespace, **query)
            listing = UnderWay(keys, there, lambda key: (key, key), precedes)
        else:
            items = self.stepwise.list(namespace, **query, refresh=False)
            listing = UnderWay(items, there, lambda item: (place(item), canonical(self.fields(item))), precedes)
        self.under_way.append(listing)
        self.under_way[-1].go_on(first)  # the first page is read now, or when it goes on
