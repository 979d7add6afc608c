"""The contract of a backend of items, and the requests that reach it."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from attrs import frozen

from ..domain import ANY, DEFAULT, Conflict, Item, NamespaceMatch, SearchItem, SearchStatus, VectorIndex
from ..domain.items import Expected, ItemValue, Namespace, Order
from ..domain.json_values import JsonValue
from ..domain.model import Ttl
from ..domain.shown import shown
from ..domain.vector_index import NO_INDEX
from .faces import Backend
from .operation import Operation, Page

__all__ = [
    "MOST_EXPECTED",
    "Action",
    "Check",
    "Delete",
    "EmbeddingItemBackend",
    "Get",
    "ItemAction",
    "ItemBackend",
    "ItemRange",
    "ItemSearch",
    "Listing",
    "NamespaceQuery",
    "Put",
    "Restore",
]

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""No time that is stored with an item is before it."""

MOST_EXPECTED: Final = 500
"""How many operations a batch with expectations may have: it is one atomic unit."""


@frozen
class Get:
    """Read an item; the result is the :class:`Item`, or ``None``."""

    namespace: Namespace
    key: str
    refresh: bool | None = None


@frozen
class Put:
    """Store an item; the result is the :class:`Item`.

    Attributes:
        ttl: seconds, ``None`` for ever, ``DEFAULT`` for the backend's own.
        expected: a version, or an item of this place, of which ``version`` and ``created_at`` must be those stored;
            ``None`` for nothing, ``ANY`` for whatever there is. :func:`conflict` makes the error.
        vectors: each as the bytes of ``dims`` 32-bit floats. With none, the item has none any more.
        texts: those that it can be found by, for an :class:`EmbeddingItemBackend`. With none, as for ``vectors``.
    """

    namespace: Namespace
    key: str
    value: ItemValue
    ttl: Ttl = DEFAULT
    expected: Expected = ANY
    vectors: Sequence[bytes] = ()
    texts: Sequence[str] = ()


@frozen
class Restore(Put):
    """Store an item with the version and the times that it had elsewhere.

    It is not stored if its end has passed.

    Attributes:
        ttl: seconds for which a refresh has it live; ``None`` if it does not end.
        expected: always ``ANY``.
        version: 1 or more.
        created_at: in UTC, as all times here.
        updated_at: when it was put last.
        expires_at: when it ends, in whole milliseconds; ``None`` for never.
    """

    version: int = 1
    created_at: dt.datetime = EPOCH
    updated_at: dt.datetime = EPOCH
    expires_at: dt.datetime | None = None


@frozen
class Delete:
    """Delete an item; the result is whether there was one."""

    namespace: Namespace
    key: str
    expected: Expected = ANY


@frozen
class Check:
    """Expect something of an item, and leave it alone; the result is ``None``.

    Attributes:
        expected: as of :class:`Put`, but never ``ANY``.
    """

    namespace: Namespace
    key: str
    expected: Expected


ItemAction = Get | Put | Delete | Check
"""About one item."""


def conflict(action: ItemAction, version: int | None, created_at: dt.datetime | None) -> Conflict:
    """Return the error about an expectation that does not hold.

    Args:
        action: what was to be done.
        version: of the item that is there; ``None``: there is none.
        created_at: of the item that is there.
    """
    expected = None if isinstance(action, Get) or action.expected is ANY else action.expected
    wanted = "no item" if expected is None else f"version {expected}"
    there = "there is none" if version is None else f"there is version {version}"
    if isinstance(expected, Item):
        wanted = f"version {expected.version} of the item created at {expected.created_at.isoformat()}"
        there += f" of the one created at {created_at.isoformat()}" if created_at is not None else ""
        expected = expected.version
    return Conflict(
        f"expected {wanted} in namespace {shown(action.namespace, 200)}, but {there}; nothing was written",
        expected=expected,
        actual=version,
        key=action.key,
    )


@frozen
class ItemRange:
    """Items of one namespace in the order of their keys, or of their last puts.

    Attributes:
        prefix: only keys that begin with it.
        after: only keys behind this one, in the order of the listing; ``None`` if it is not that of keys.
        limit: at most so many, ``None`` for all.
        order: by what they are ordered.
        filter: as :func:`statekeep.domain.filters.checked` returned it; ``None`` for all.
        offset: how many of those that match are left out at the beginning.
    """

    namespace: Namespace
    prefix: str
    after: str | None
    reverse: bool
    limit: int | None
    refresh: bool | None
    order: Order = "key"
    filter: Mapping[str, JsonValue] | None = None
    offset: int = 0


@frozen
class Listing:
    """List items of a namespace; the result is a list of them.

    Attributes:
        query: has a limit, and neither a filter nor an offset.
    """

    query: ItemRange

    @property
    def namespace(self) -> Namespace:
        """The namespace whose items are listed."""
        return self.query.namespace


Action = ItemAction | Listing


@frozen
class ItemSearch:
    """Items at or below a namespace.

    Attributes:
        filter: as :func:`statekeep.domain.filters.checked` returned it; ``None`` for all.
        query: a vector as bytes; ``None``: newest first.
        text: what to look for, if the backend is an :class:`EmbeddingItemBackend`; ``""``: newest first.
    """

    prefix: Namespace
    filter: Mapping[str, JsonValue] | None
    query: bytes | None
    limit: int
    offset: int
    refresh: bool | None
    text: str = ""


@frozen
class NamespaceQuery:
    """Namespaces that hold items.

    Attributes:
        matches: all of which must hold.
        max_depth: deeper ones are cut to so many labels; ``None`` for no limit.
    """

    matches: Sequence[NamespaceMatch]
    max_depth: int | None
    limit: int | None
    offset: int


def unit_of(backend: ItemBackend) -> int | None:
    """Return how many first labels of a namespace say which unit it is in.

    ``None`` stands for all. A backend need not have the attribute: then each namespace is a unit by itself.
    """
    unit: int | None = getattr(backend, "unit", None)
    return unit


class ItemBackend(Backend, Protocol):
    """The contract of a backend.

    Every operation is a generator, see :mod:`statekeep.repositories.operation`.

    The arguments are validated already, and texts are vectors already. What each operation must do is said by the
    method of the same name of :class:`ItemRepository`, and proved by the contract tests in ``statekeep.testing``.

    ``restore(puts)``, which gets a sequence of :class:`Restore` and returns how many were stored, and
    ``measure(namespace)`` are optional. Without the first one the repository raises :class:`~statekeep.Unsupported`,
    without the second it reads the items.
    """

    index: VectorIndex | None
    """The options of vector search; ``None``: there is none, and queries are ignored."""

    def apply(self, actions: Sequence[Action]) -> Operation[builtins.list[Any]]:
        """Do these one after the other: ``get``, ``put``, ``delete`` and ``batch``.

        Those of one namespace are one atomic unit, or several if they are more than 500. If the backend has an
        attribute ``unit``, an integer, so are those of all namespaces that begin with the same so many labels. If an
        expectation does not hold, nothing at all is written and :class:`~statekeep.Conflict` is raised; the caller sees
        to it that all are of one unit then, and at most :data:`MOST_EXPECTED`. An expectation is about what is there
        after the actions before it, and so is a listing. Those of one call list at most
        :data:`~statekeep.domain.items.MOST_LISTED` items together.
        """
        ...

    def append(self, namespace: Namespace, puts: Sequence[Put]) -> Operation[builtins.list[str]]:
        """Store these under new keys, all or none.

        What they have as ``key`` means nothing.
        """
        ...

    def pop(self, namespace: Namespace) -> Operation[Item | None]: ...

    def list(self, query: ItemRange, cursor: Any) -> Operation[Page[Item]]:
        """Return one page.

        ``cursor`` is ``None`` for the first; ``query.limit`` holds for all pages together.
        """
        ...

    def keys(self, query: ItemRange, cursor: Any) -> Operation[Page[str]]:
        """Return one page of the keys that :meth:`list` would return the items of.

        No values are read. The order is that of keys, there is no filter and no offset, and ``query.refresh`` means
        nothing.
        """
        ...

    def search(self, query: ItemSearch) -> Operation[builtins.list[SearchItem]]: ...

    def list_namespaces(self, query: NamespaceQuery) -> Operation[builtins.list[Namespace]]: ...

    def clear(self, namespace: Namespace, below: bool) -> Operation[int]: ...

    def setup(self) -> Operation[SearchStatus | None]:
        """Prepare vector search, and return what it is done with.

        ``None`` stands for no search by meaning.
        """
        ...

    def reindex(self, namespace: Namespace) -> Operation[int]: ...


class EmbeddingItemBackend(ItemBackend, Protocol):
    """A backend whose service makes vectors by itself.

    Its ``index`` is ``None``. :attr:`Put.texts` and :attr:`ItemSearch.text` reach it as they are.
    """

    embeds: Literal[True]

    text_paths: Sequence[str]
    """Paths of the texts that an item can be found by, unless its ``put`` names others."""


def prepared(backend: ItemBackend) -> Operation[SearchStatus]:
    """Prepare vector search, whatever the backend says of it."""
    return (yield from backend.setup()) or NO_INDEX
