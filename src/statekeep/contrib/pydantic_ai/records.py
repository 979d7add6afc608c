"""The stored forms of records and entries: values of items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from attrs import frozen
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import to_json

from ...domain import CorruptRecord, InvalidInput, Item
from .ancestors import Place, depths
from .framework import ConversationEntry, ConversationRecord, ModelMessage

T = TypeVar("T")
StoredT = TypeVar("StoredT", bound="_InLine")


class _InLine(BaseModel):
    """The part about a place in a history.

    Attributes:
        depth: see :class:`~statekeep.contrib.pydantic_ai.ancestors.Place`; 0 without a history.
        line: likewise, each packed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: Annotated[int, Field(ge=0)]
    line: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_line(self) -> Self:
        if len(self.line) != len(depths(self.depth)):
            raise ValueError("line is not as long as depth says")
        return self

    @property
    def place(self) -> Place:
        return Place(self.depth, self.line)


class StoredEntry(_InLine):
    """An entry.

    Attributes:
        message: a list of it, as JSON.
        parent: the id of the entry before it.
        kind: of the entry; there is no other.
        uses: how many entries and records name it: as their parent; as head, as one of the branches.
        ttl: as of the record.
    """

    message: str
    parent: str | None = None
    kind: Literal["message"] = "message"
    uses: Annotated[int, Field(ge=1)] = 1
    ttl: float | None = None


class StoredRecord(_InLine):
    """A record, with the place of its head.

    Attributes:
        record: a list of the framework's own, as JSON.
        revision: that of the record.
        left: entries that it once named as head or branch, and that nobody named since. They go with the record.
        renewed: the lives of the entries began anew no earlier than then; ``None``: than the item was created.
        ttl: seconds that the record lives after a save.
    """

    record: str
    revision: str
    left: tuple[str, ...] = ()
    renewed: AwareDatetime | None = None
    ttl: float | None = None


@frozen
class Entry:
    """An entry, and the item that it was read from."""

    item: Item
    stored: StoredEntry
    place: Place

    @classmethod
    def of(cls, item: Item) -> Self:
        """Decode an item.

        Raises:
            CorruptRecord: it is damaged.
        """
        stored = _decoded(StoredEntry, item)
        return cls(item, stored, stored.place)

    def named_by(self, count: int, *, anew: bool = False) -> StoredEntry:
        """Return its stored form if so many more name it; with ``anew``, so many in all."""
        return self.stored.model_copy(update={"uses": count if anew else self.stored.uses + count})

    def entry(self, name: str) -> ConversationEntry:
        """Return the framework's entry.

        Args:
            name: its id.

        Raises:
            CorruptRecord: it is damaged.
        """
        message = _validated(_messages(), self.stored.message, self.item)
        return ConversationEntry(id=name, parent_id=self.stored.parent, message=message)


@frozen
class Known:
    """A record, and the item that it was read from."""

    item: Item
    stored: StoredRecord
    place: Place
    tips: Sequence[str]
    """All entries that it names, as often as it names them; the head is the last."""

    @classmethod
    def of(cls, item: Item) -> Self:
        """Decode an item.

        Raises:
            CorruptRecord: it is damaged.
        """
        stored = _decoded(StoredRecord, item)
        record = _validated(_records(), stored.record, item)
        return cls(item, stored, stored.place, [*stored.left, *tips_of(record)])

    @property
    def head(self) -> str | None:
        """The entry that its history ends with."""
        return self.tips[-1] if self.place.depth else None

    def record(self) -> ConversationRecord:
        """Return the framework's record: each time a new one, which the caller may change."""
        return _validated(_records(), self.stored.record, self.item)

    def is_late(self) -> bool:
        """Return whether the lives of the entries must begin anew with the next save."""
        begun = self.stored.renewed or self.item.created_at
        ttl = self.stored.ttl
        return ttl is not None and self.item.updated_at - begun > dt.timedelta(seconds=ttl)


def tips_of(record: ConversationRecord) -> list[str]:
    """Return the entries that a record names, the head at the end."""
    return [*record.branches, *([] if record.head_id is None else [record.head_id])]


def line_of(place: Place) -> dict[str, Any]:
    """Return a place as the stored forms have it."""
    return {"depth": place.depth, "line": place.line}


NOWHERE: Final = Place(0, ())
"""The place of the head of a record that has none."""


def value_of(stored: StoredEntry | StoredRecord) -> dict[str, Any]:
    """Return the value of an item."""
    return stored.model_dump(mode="json", exclude_defaults=True)


def message_text(entry: ConversationEntry) -> str:
    """Return a list of the message of an entry, as JSON.

    Raises:
        InvalidInput: JSON cannot hold it.
    """
    return _text(_messages(), entry.message, "new_entries")


def record_text(record: ConversationRecord) -> str:
    """Return a list of a record, as JSON.

    Raises:
        InvalidInput: JSON cannot hold it.
    """
    return _text(_records(), record, "record")


# As the framework's own adapter of messages, which has null for infinities, though. It is for lists: a dataclass takes
# no configuration.
_EXACT: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


@cache
def _messages() -> TypeAdapter[list[ModelMessage]]:
    return TypeAdapter(list[ModelMessage], config=_EXACT)


@cache
def _records() -> TypeAdapter[list[ConversationRecord]]:
    return TypeAdapter(list[ConversationRecord], config=_EXACT)


def _text(adapter: TypeAdapter[list[Any]], value: Any, field: str) -> str:
    try:
        # Not at once as JSON, which has null for floats that are declared as such.
        return to_json(adapter.dump_python([value], mode="json"), inf_nan_mode="constants").decode()
    except ValueError as error:
        raise InvalidInput(f"{field}: it cannot be made JSON: {error}", field=field) from error


def _decoded(model: type[StoredT], item: Item) -> StoredT:
    try:
        return model.model_validate(item.value)
    except ValidationError as error:
        raise _corrupt(error, item) from None


def _validated(adapter: TypeAdapter[list[T]], text: str, item: Item) -> T:
    try:
        found = adapter.validate_json(text)
    except ValidationError as error:
        raise _corrupt(error, item) from None
    if len(found) != 1:
        raise CorruptRecord("a conversation's item is damaged: it holds not one thing", key=item.key)
    return found[0]


def _corrupt(error: ValidationError, item: Item) -> CorruptRecord:
    # Not the input: errors are logged, and it is what users said.
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join([str(step)[:80] for step in first["loc"][:8]])
    return CorruptRecord(f"a conversation's item is damaged: {path}: {first['msg']}", key=item.key)
