"""A listing that goes on while its items change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

Forms = Mapping[Hashable, Any]
"""Canonical forms of the items that there are, by their places."""


class UnderWay:
    """Checks a listing that goes on while its items change.

    An item that was there throughout comes exactly once; one that never was there does not come.

    Args:
        items: the listing.
        there: what the listing would have to find if it were made now, in its order.
        placed: where an item is, and its canonical form.
        precedes: whether one place may come before another one.
    """

    def __init__(
        self,
        items: Iterator[Any],
        there: Callable[[], Forms],
        placed: Callable[[Any], tuple[Hashable, Any]],
        precedes: Callable[[Any, Any], bool],
    ) -> None:
        self._items = items
        self._there = there
        self._placed = placed
        self._precedes = precedes
        self._throughout = set(there())
        self._forms: dict[Hashable, list[Any]] = {}
        self._found: list[Hashable] = []
        self.is_over = False
        self.look()

    def look(self) -> None:
        """Note the items that are there now."""
        now = self._there()
        self._throughout &= now.keys()
        for place, form in now.items():
            forms = self._forms.setdefault(place, [])
            if form not in forms:
                forms.append(form)

    def go_on(self, count: int | None) -> None:
        """Take so many more items, or all, and check them."""
        while count is None or count > 0:
            item = next(self._items, None)
            if item is None:
                self.is_over = True
                missing = self._throughout - set(self._found)
                assert not missing, f"there throughout, but not listed: {missing}"
                return
            place, form = self._placed(item)
            assert place not in self._found, f"listed twice: {place}"
            assert form in self._forms.get(place, []), f"never there while it was listed: {place}: {form}"
            assert not self._found or self._precedes(self._found[-1], place), f"{place} after {self._found[-1]}"
            self._found.append(place)
            count = None if count is None else count - 1
