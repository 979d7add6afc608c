"""Records of items, of their index and of labels, and back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from ....domain import CorruptRecord, Item, Payload
from ....domain.items import ItemValue, Namespace
from ....domain.shown import shown
from ...records.checkpoints import decoded
from ...records.framing import Record
from ...records.json_text import stored_value
from ...validation import labels, text, texts
from ..ids import Lane

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def time_at(microseconds: int) -> dt.datetime:
    """Return the time of a moment."""
    return _EPOCH + dt.timedelta(microseconds=microseconds)


@frozen
class Version:
    """One version of an item, or its deletion.

    Attributes:
        namespace: of the item.
        key: of the item.
        number: 1 for the first; 0 for a deletion.
        created: microseconds since 1970; 0 for a deletion.
        updated: microseconds since 1970.
        written: milliseconds since 1970 at which the value and the index's event were stored.
        ttl: seconds that it lives; ``None`` for ever.
        expires: milliseconds since 1970; ``None`` for never.
        content: the value as JSON, or the payload; ``None`` if it is in a lane of its own and was not read.
        value: the name of that lane; ``None`` if the value is in this record.
        nonce: tells this event from others that say the same.
        records: ids of the memory records by which it is found.
        stale: ids of memory records that may be left of former versions.
        mark: that of the records' content; ``""`` without records.
    """

    namespace: Namespace
    key: str
    number: int
    created: int
    updated: int
    written: int
    ttl: float | None
    expires: int | None
    content: str | Payload | None = field(repr=False)
    value: str | None
    nonce: str
    records: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    mark: str = ""

    def is_live(self, now: int) -> bool:
        """Return whether there is an item at a time, which is given in milliseconds."""
        return self.number > 0 and (self.expires is None or self.expires > now)

    def parsed(self) -> ItemValue:
        """Return the value.

        Raises:
            CorruptRecord: it is no JSON.
        """
        assert self.content is not None
        if isinstance(self.content, Payload):
            return self.content
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise CorruptRecord(f"the value of an item is no JSON: {error}", key=self.key) from error

    def fields(self) -> dict[str, Any]:
        """Return the fields of an :class:`~statekeep.Item`."""
        assert self.content is not None
        content = self.content
        return {
            "namespace": self.namespace,
            "key": self.key,
            "value": content if isinstance(content, Payload) else stored_value(content, lambda _: self.parsed()),
            "created_at": time_at(self.created),
            "updated_at": time_at(self.updated),
            "version": self.number,
            "expires_at": None if self.expires is None else time_at(self.expires * 1000),
        }

    def item(self) -> Item:
        """Return the item."""
        return Item.trusted(**self.fields())


@frozen
class IndexEntry:
    """A key that was put at a moment, which is given in microseconds."""

    key: str
    stamp: int


# -- to records


def version_record(version: Version) -> Record:
    """Return the record of a version.

    It has the value, unless that is in a lane of its own.
    """
    head: dict[str, Any] = {
        "type": "item" if version.number else "deletion",
        "namespace": list(version.namespace),
        "key": version.key,
        "version": version.number,
        "created": version.created,
        "updated": version.updated,
        "written": version.written,
        "ttl": version.ttl,
        "expires": version.expires,
        "value": version.value,
        "nonce": version.nonce,
    }
    if version.records or version.stale:
        head["records"] = {"ids": list(version.records), "stale": list(version.stale), "mark": version.mark}
    if not version.number or version.value is not None:
        return Record(head)
    assert version.content is not None
    return Record(head | _encoding(version.content), [_data(version.content)])


def value_record(version: Version) -> Record:
    """Return the record of a large value, under a nonce that keeps equal ones apart."""
    assert version.content is not None
    head = {"type": "value", "nonce": version.nonce} | _encoding(version.content)
    return Record(head, [_data(version.content)])


def _encoding(content: str | Payload) -> dict[str, str]:
    return {"encoding": content.encoding} if isinstance(content, Payload) else {}


def _data(content: str | Payload) -> bytes:
    return content.data if isinstance(content, Payload) else content.encode()


def index_record(entry: IndexEntry) -> Record:
    """Return the record by which the index names a key."""
    return Record({"type": "key", "key": entry.key, "stamp": entry.stamp})


def label_record(label: str, period: int) -> Record:
    """Return the record that says: there was a label below in this period."""
    return Record({"type": "label", "label": label, "period": period})


# -- and back


def version_of(record: Record, lane: Lane) -> Version:
    """Return the version that a record of an item's lane is."""

    def read(head: Mapping[str, Any]) -> Version:
        if head["type"] not in ("item", "deletion"):
            raise CorruptRecord(f"a record of an item is of type {shown(head['type'], 40)}", key=str(lane))
        number = _count(head["version"])
        value = None if head["value"] is None else text("value", head["value"])
        content: str | Payload | None = None
        if number and value is None:
            content = _content(record, head)
        return Version(
            namespace=labels("namespace", head["namespace"]),
            key=text("key", head["key"], empty=True),
            number=number,
            created=_count(head["created"]),
            updated=_count(head["updated"]),
            written=_count(head["written"]),
            ttl=None if head["ttl"] is None else float(head["ttl"]),
            expires=None if head["expires"] is None else _count(head["expires"]),
            content=content,
            value=value,
            nonce=text("nonce", head["nonce"]),
            **_records(head.get("records")),
        )

    return decoded(record, str(lane), read)


def _records(found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "records": tuple(texts("ids", found["ids"])),
        "stale": tuple(texts("stale", found["stale"])),
        "mark": text("mark", found["mark"], empty=True),
    }


def content_of(record: Record, lane: Lane) -> str | Payload:
    """Return the value that a record has."""
    return decoded(record, str(lane), lambda head: _content(record, head))


def _content(record: Record, head: Mapping[str, Any]) -> str | Payload:
    (blob,) = record.blobs
    encoding = head.get("encoding")
    return blob.decode() if encoding is None else Payload(encoding=text("encoding", encoding), data=blob)


def entry_of(record: Record, lane: Lane) -> IndexEntry:
    """Return the entry that a record of an index is."""
    return decoded(
        record, str(lane), lambda head: IndexEntry(text("key", head["key"], empty=True), _count(head["stamp"]))
    )


def label_of(record: Record, lane: Lane) -> tuple[str, int]:
    """Return the label that a record names, and its period."""
    return decoded(record, str(lane), lambda head: (text("label", head["label"]), _count(head["period"])))


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"no count: {shown(value, 40)}")
    return value
