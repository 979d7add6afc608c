"""Items and checkpoints whose values are of the user's own types."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, Field, Strict

from .items import Namespace
from .model import Model, Name, Text

T = TypeVar("T")
StateT = TypeVar("StateT")


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


class TypedCheckpoint(Model, Generic[StateT]):
    """A checkpoint of a typed thread.

    Attributes:
        thread_id: its thread.
        namespace: ``""`` for the root.
        checkpoint_id: sorts by time.
        parent_id: the checkpoint that it was made from.
        created_at: when, with a time zone.
        metadata: what was saved with it.
        state: the state. It is your own, as the value of :class:`TypedItem`.
    """

    thread_id: Name
    namespace: Text
    checkpoint_id: Name
    parent_id: Name | None
    created_at: AwareDatetime
    metadata: dict[str, Any]
    state: StateT
