"""Items: values under a namespace and a key, for longer than one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AwareDatetime, Field, Strict, ValidationInfo, field_validator

from .errors import InvalidInput
from .json_values import LARGEST, normalize
from .model import ANY, DEFAULT, Anything, Model, Names, Text
from .payload import Payload
from .shown import shown

T = TypeVar("T")

Namespace = Names
"""Labels from the outside in, such as ``("users", "ada")``. A label is any text but the empty one."""


ItemValue = Any
"""What JSON can hold, or a :class:`~statekeep.Payload`."""


def item_value(value: Any, field: str) -> ItemValue:
    """Return a value in the form in which it is stored.

    A payload is as it is, anything else as :func:`~statekeep.domain.json_values.normalize` has it.

    Raises:
        InvalidInput: JSON cannot hold it; the message says where.
    """
    return value if isinstance(value, Payload) else normalize(value, field)


class Item(Model):
    """A value under a namespace and a key.

    Attributes:
        namespace: labels from the outside in.
        key: any text; unique in the namespace.
        value: what JSON can hold, or a :class:`~statekeep.Payload`.
        created_at: when the key was first put; later puts leave it. One that is put again after it was deleted, or
            expired, has another.
        updated_at: when it was put last, in UTC. Later puts have later times.
        version: 1 for the first put, one more with each later one. It begins again after a deletion.
        expires_at: when it ends, to the millisecond; ``None`` for never.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     item = keep.items.put(("users", "ada"), "theme", {"dark": True})
        >>> item.key, item.value, item.version, item.expires_at
        ('theme', {'dark': True}, 1, None)
    """

    namespace: Namespace
    key: Text
    value: ItemValue
    created_at: AwareDatetime
    updated_at: AwareDatetime
    version: Annotated[int, Strict(), Field(ge=1)]
    expires_at: AwareDatetime | None = None


class SearchItem(Item):
    """An item that a search found.

    Attributes:
        score: how near it is to the query, the greater the nearer; ``None`` if it was not ranked.
    """

    score: float | None = None


class TypedItem(Model, Generic[T]):
    """An item whose value is a ``T``.

    Attributes:
        namespace: labels from the outside in.
        key: any text; unique in the namespace.
        value: the value. It is your own: what you change in it is stored nowhere until you put it.
        created_at: as of :class:`~statekeep.Item`.
        updated_at: as of :class:`~statekeep.Item`.
        version: as of :class:`~statekeep.Item`.
        expires_at: as of :class:`~statekeep.Item`.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     scores = keep.items.of(list[int], ("scores",))
        ...     item = scores.put("ada", [1, 2])
        >>> item.key, item.value, item.version
        ('ada', [1, 2], 1)
    """

    namespace: Namespace
    key: Text
    value: T
    created_at: AwareDatetime
    updated_at: AwareDatetime
    version: Annotated[int, Strict(), Field(ge=1)]
    expires_at: AwareDatetime | None = None


class TypedSearchItem(TypedItem[T], Generic[T]):
    """A typed item that a search found.

    Attributes:
        score: as of :class:`~statekeep.SearchItem`.
    """

    score: float | None = None


Order = Literal["key", "updated"]
"""The order of a listing: of keys, or of the last puts."""

Expected = int | Item | None | Literal[Anything.ANY]
"""What must be stored for a write to happen: a version, the item that was read, ``None`` for nothing, :data:`ANY`."""

Expectation = Expected | TypedItem[Any]
"""As users give it: the item that was read may be a typed one."""


def checked_expected(expected: Any, namespace: Sequence[str], key: str) -> Expected:
    """Return ``expected`` if it is legal for the item of this namespace and key.

    A typed item becomes an :class:`Item` without its value, which no expectation compares.

    Raises:
        InvalidInput: it is neither a version, nor an item of this place, nor ``None``, nor :data:`ANY`.
    """
    if isinstance(expected, TypedItem):
        expected = Item.trusted(**{name: getattr(expected, name) for name in Item.model_fields} | {"value": None})
    if isinstance(expected, Item) and expected.version < LARGEST:
        if (expected.namespace, expected.key) == (tuple(namespace), key):
            return expected
        place = shown((expected.namespace, expected.key))
        raise InvalidInput(
            f"expected must be an item of the same namespace and key, got that of {place}", field="expected"
        )
    if expected is ANY or expected is None:
        found: Expected = expected
        return found
    if isinstance(expected, int) and not isinstance(expected, bool) and 1 <= expected < LARGEST:
        return int.__int__(expected)
    raise InvalidInput(
        f"expected must be a version (1, 2 ...), an Item, a TypedItem, None or ANY, got {shown(expected)}",
        field="expected",
    )


class GetItem(Model):
    """Read an item, as a part of a batch.

    Attributes:
        namespace: of the item.
        key: of the item.
        refresh: whether its TTL begins anew; ``None`` for what the repository was made with.
    """

    namespace: Namespace
    key: Text
    refresh: bool | None = None


def _expected_there(value: Any, info: ValidationInfo) -> Expected:
    if not {"namespace", "key"} <= info.data.keys():
        return ANY  # one of these is the field that is wrong
    return checked_expected(value, info.data["namespace"], info.data["key"])


class PutItem(Model):
    """Store an item, as a part of a batch.

    Attributes:
        namespace: of the item.
        key: of the item.
        value: what JSON can hold, or a :class:`~statekeep.Payload`.
        ttl: seconds that it lives, ``None`` for ever, :data:`DEFAULT` for what the repository was made with.
        expected: the version that must be stored, or the :class:`Item` or :class:`TypedItem` that was read; ``None``:
            there must be none; :data:`ANY`: whatever there is.
        index: paths of the texts that it can be found by; ``None`` for those of the repository's index, ``False``
            for none.
    """

    namespace: Namespace
    key: Text
    value: ItemValue
    ttl: Any = DEFAULT
    expected: Any = ANY
    index: Any = None

    @field_validator("value", mode="plain")
    @classmethod
    def _is_storable(cls, value: Any) -> ItemValue:
        return item_value(value, "value")

    @field_validator("expected")
    @classmethod
    def _is_expectation(cls, value: Any, info: ValidationInfo) -> Expected:
        return _expected_there(value, info)


class DeleteItem(Model):
    """Delete an item, as a part of a batch.

    Attributes:
        namespace: of the item.
        key: of the item.
        expected: as for :class:`PutItem`.
    """

    namespace: Namespace
    key: Text
    expected: Any = ANY

    @field_validator("expected")
    @classmethod
    def _is_expectation(cls, value: Any, info: ValidationInfo) -> Expected:
        return _expected_there(value, info)


class CheckItem(Model):
    """Expect something of an item and leave it alone, as a part of a batch.

    If it does not hold, nothing of the batch is done and :class:`~statekeep.Conflict` is raised. Its own result is
    ``None``.

    Attributes:
        namespace: of the item.
        key: of the item.
        expected: the version that must be stored, or the :class:`Item` or :class:`TypedItem` that was read; ``None``:
            there must be none.

    Example:
        >>> import statekeep
        >>> from statekeep import CheckItem, PutItem
        >>> items = statekeep.connect("memory:").items
        >>> order = items.put(("shop",), "order", "open")
        >>> _, line = items.batch([CheckItem(namespace=("shop",), key="order", expected=order),
        ...                        PutItem(namespace=("shop",), key="line 1", value="tea")])
        >>> line.value, items.get(("shop",), "order").version
        ('tea', 1)
    """

    namespace: Namespace
    key: Text
    expected: Any

    @field_validator("expected")
    @classmethod
    def _is_expectation(cls, value: Any, info: ValidationInfo) -> Expected:
        expected = _expected_there(value, info)
        if value is ANY:
            raise InvalidInput("expected must not be ANY: there would be nothing to check", field="expected")
        return expected


MOST_LISTED: Final = 1000
"""How many items the listings of a batch may return together: it is one atomic unit."""


class ListItems(Model):
    """List items of one namespace, as a part of a batch.

    Attributes:
        namespace: exactly this one, not those below.
        prefix: only keys that begin with this text.
        after: only keys behind this one; with ``reverse``, before it. It is for the order of keys alone.
        limit: at most so many; 1000 in all listings of a batch.
        reverse: the greatest key first; with ``order="updated"``, the last put first.
        order: ``"key"``, or ``"updated"`` for that of ``updated_at``.
        refresh: whether their TTLs begin anew; ``None`` for what the repository was made with.
    """

    namespace: Namespace
    prefix: Text = ""
    after: Text | None = None
    limit: Annotated[int, Strict(), Field(ge=0, le=MOST_LISTED)] = 100
    reverse: Annotated[bool, Strict()] = False
    order: Order = "key"
    refresh: bool | None = None

    @field_validator("order")
    @classmethod
    def _fits(cls, value: Order, info: ValidationInfo) -> Order:
        if value != "key" and info.data.get("after") is not None:
            raise InvalidInput('after is a key, so it goes with order="key" alone', field="after")
        return value


class ItemsMeasure(Model):
    """The size of a namespace of items.

    Attributes:
        items: how many there are, in this very namespace.
        bytes: of their records, without indexes and vectors.
        basis: what the bytes are. ``"memory"``: those that they take in the server's memory. ``"lengths"``: the lengths
            of their values, without what the service needs to keep them.
    """

    items: Annotated[int, Strict(), Field(ge=0)]
    bytes: Annotated[int, Strict(), Field(ge=0)]
    basis: Literal["memory", "lengths"]


ItemOperation = GetItem | PutItem | DeleteItem | CheckItem | ListItems
"""A part of a batch."""


class NamespaceMatch(Model):
    """A condition on namespaces.

    Attributes:
        where: whether ``path`` must be at the beginning or at the end.
        path: labels; ``"*"`` stands for any one label.

    Example:
        >>> NamespaceMatch(where="suffix", path=("*", "notes")).holds(("users", "ada", "notes"))
        True
    """

    where: Literal["prefix", "suffix"]
    path: Namespace

    def holds(self, namespace: Sequence[str]) -> bool:
        """Return whether a namespace fulfils the condition."""
        length = len(self.path)
        part = namespace[:length] if self.where == "prefix" else namespace[max(0, len(namespace) - length) :]
        return len(part) == length and all(
            wanted in ("*", label) for wanted, label in zip(self.path, part, strict=True)
        )
