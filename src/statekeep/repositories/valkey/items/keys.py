"""Key names of items. ``docs/key-schema.md`` describes them for people.

``{N1.N2}`` is a literal hash tag of the encoded labels, so everything of a namespace lives in one slot. No label is
empty, so the empty namespace may be ``{.}``. With units of ``n`` labels the tag has the first ``n``, and the others
stand behind it: ``{N1}.N2``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final

from attrs import field, frozen

from ....domain.items import Namespace
from ....domain.model import SHORT
from ...item_backend import ItemRange
from ..keys import decode_namespace, decode_part, encode_namespace, encode_part, ordered
from ..requests import Arg


@frozen(eq=False)
class ItemKeys:
    """The keys of one namespace of items."""

    prefix: str
    namespace: Namespace
    unit: int | None = None
    """How many labels are in the hash tag; ``None`` for all."""
    encoded: str = field(init=False)
    tag: str = field(init=False)
    """The labels as keys have them: with the hash tag."""
    index: str = field(init=False)
    """The index of its items, by key."""
    recency: str = field(init=False)
    """The index of its items, by the time of the last put."""
    expiry: str = field(init=False)
    """The index of those of them that end, by that time."""
    state: str = field(init=False)
    """What writers have to know."""
    sequence: str = field(init=False)
    """The number of the last value appended."""
    indexes: tuple[str, ...] = field(init=False)
    """Recency, expiry and index, in the order of the scripts."""

    def __attrs_post_init__(self) -> None:
        encoded = encode_namespace(self.namespace)
        rest = () if self.unit is None else self.namespace[self.unit :]
        tag = f"{{{encode_namespace(self.namespace[: self.unit])}}}" + "".join(f".{encode_part(one)}" for one in rest)
        for name, value in (
            ("encoded", encoded),
            ("tag", tag),
            ("index", f"{self.prefix}:item-index:{tag}"),
            ("recency", f"{self.prefix}:item-recent:{tag}"),
            ("expiry", f"{self.prefix}:item-ends:{tag}"),
            ("state", f"{self.prefix}:item-state:{tag}"),
            ("sequence", f"{self.prefix}:item-sequence:{tag}"),
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "indexes", (self.recency, self.expiry, self.index))

    @cached_property
    def ordered(self) -> str:
        """Its name in the index of namespaces."""
        return ordered(self.namespace)

    @property
    def former(self) -> list[str]:
        """Indexes of it and of all above, of earlier versions: with the items below."""
        if self.unit is not None:
            return []  # earlier versions had no units
        return [
            f"{self.prefix}:{kind}:{{{encode_namespace(self.namespace[:depth])}}}"
            for depth in range(len(self.namespace) + 1)
            for kind in ("item-recency", "item-expiry")
        ]

    def pk(self, key: str) -> str:
        """Return the primary key of an item: ``{N1.N2}:K``."""
        return f"{self.tag}:{encode_part(key)}"

    def record(self, key: str) -> str:
        """Return the key of an item's record."""
        return f"{self.prefix}:item:{self.tag}:{encode_part(key)}"

    def vectors(self, collection: str) -> str:
        """Return the key of the index of a collection's vectors."""
        return f"{self.prefix}:item-vector-index:{encode_part(collection)}:{self.tag}"

    def changes(self, collection: str) -> str:
        """Return the key of the list of items whose vectors were put last."""
        return f"{self.prefix}:item-vector-changes:{encode_part(collection)}:{self.tag}"

    def vector(self, collection: str, member: str) -> str:
        """Return the key of a vector by its member of that index, ``K:I``."""
        return f"{self.prefix}:item-vector:{encode_part(collection)}:{self.tag}:{member}"


def item_keys(prefix: str, namespace: Namespace, unit: int | None = None) -> ItemKeys:
    """Return the keys of a namespace, from memory if it is in use."""
    return (_item_keys if sum(map(len, namespace)) <= SHORT else ItemKeys)(prefix, namespace, unit)


_item_keys = lru_cache(maxsize=4096)(ItemKeys)


def bounds(query: ItemRange, after: str | None) -> list[Arg]:
    """Return the bounds of a range of keys, in the order of its listing."""
    prefix = query.prefix
    low: Arg = f"[{prefix}" if prefix else "-"
    # No UTF-8 has this byte, so it is behind all that begins with the prefix.
    high: Arg = b"(" + prefix.encode() + b"\xff" if prefix else "+"
    if after is not None:
        if query.reverse and (after < prefix or after.startswith(prefix)):
            high = f"({after}"
        elif not query.reverse and after >= prefix:
            low = f"({after}"
    return [high, low] if query.reverse else [low, high]


class Below:
    """Namespaces that were at or below others when somebody last looked.

    A wrong guess costs a round trip, no more.
    """

    def __init__(self) -> None:
        self._known: dict[Namespace, Sequence[ItemKeys]] = {}

    def guess(self, keys: ItemKeys) -> Sequence[ItemKeys]:
        """Return those at or below a namespace; at first it alone."""
        return self._known.get(keys.namespace) or [keys]

    def note(self, keys: ItemKeys, found: Sequence[ItemKeys]) -> None:
        """Note those that are there, unless their names are long."""
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        if all(sum(map(len, each.namespace)) <= SHORT for each in (keys, *found)):
            self._known[keys.namespace] = found
        else:
            self._known.pop(keys.namespace, None)


class Listed:
    """The keys that listings had when somebody last looked.

    A wrong guess costs a round trip, no more.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Sequence[str]] = {}
        self._count = 0

    def guess(self, listing: Hashable) -> Sequence[str]:
        """Return the keys of a listing; at first none."""
        return self._known.get(listing, ())

    def note(self, listing: Hashable, found: Sequence[str]) -> None:
        """Note the keys that are there, unless they are long."""
        known = self._known.pop(listing, None)
        self._count -= 0 if known is None else len(known) + 1
        if any(len(key) > SHORT for key in found):
            return
        self._count += len(found) + 1
        if self._count > MOST_KEYS:
            self._known.clear()
            self._count = len(found) + 1
        self._known[listing] = found


MOST_KEYS: Final = 20_000
"""Keys of listings that are remembered: some megabytes at most."""

REMEMBERED: Final = 512
"""Namespaces of which is remembered what is below them: some namespaces each."""


@lru_cache(maxsize=16)
def clock_key(prefix: str) -> str:
    """Return the key of the last time of a put to a namespace that is gone.

    It is in the slot of ``()``.
    """
    return f"{prefix}:item-clock:{{.}}"


@lru_cache(maxsize=16)
def namespace_index_keys(prefix: str, unit: int | None = None) -> tuple[str, ...]:
    """Return the indexes of namespaces: by name, by last put and by end.

    They are in the slot of ``()``. Namespaces in units have some of their own.
    """
    kind = "item-namespace-index" if unit is None else "item-unit-namespace-index"
    return tuple(f"{prefix}:{kind}:{{.}}:{order}" for order in ("name", "time", "end"))


@lru_cache(maxsize=16)
def unit_keys(prefix: str, unit: int | None = None) -> tuple[str, str]:
    """Return the keys that tell of other units.

    They are the index by name of the namespaces that are in units if these are not, or the other way round, and the key
    that says how many labels a unit is. They are in the slot of ``()``.
    """
    return namespace_index_keys(prefix, 0 if unit is None else None)[0], f"{prefix}:item-unit:{{.}}"


def namespace_of_tag(unit: str, rest: str) -> Namespace:
    """Return a namespace by the two parts of its keys.

    Args:
        unit: the labels in the hash tag.
        rest: those behind it, with a ``.`` before each.

    >>> namespace_of_tag("users", ".ada"), namespace_of_tag(".", ".users"), namespace_of_tag(".", "")
    (('users', 'ada'), ('users',), ())
    """
    return decode_namespace(rest[1:] if unit == "." and rest else unit + rest)


_PLACE: Final = re.compile(
    r"(?!item-(unit-)?namespace-index:|item-unit:)item(-[a-z-]+)?:([^:{]*:)?"
    r"\{(?P<unit>[^{}]*)\}(?P<rest>\.[^:{}]+)?(:(?P<key>[^:]*))?"
)


def place_of(name: str) -> Mapping[str, object]:
    """Return what a key is about, by its name behind the prefix.

    >>> place_of("item:{users.ada}:theme")
    {'namespace': ('users', 'ada'), 'key': 'theme'}
    >>> place_of("item-index:{users}.ada")
    {'namespace': ('users', 'ada')}
    """
    found = _PLACE.match(name)
    if found is None:
        return {}
    place: dict[str, object] = {"namespace": namespace_of_tag(found["unit"], found["rest"] or "")}
    return place if found["key"] is None else {**place, "key": decode_part(found["key"])}
