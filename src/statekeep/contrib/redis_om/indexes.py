"""Search indexes over records, as redis-om defines them.

Statekeep's own operations need none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import Final

from attrs import frozen

from ...domain import InvalidInput
from ...domain.model import plain_text
from ...domain.shown import shown
from .schema import RECORD_TYPES, RecordType

_SCHEMA: Final = {str: "TAG SEPARATOR |", int: "NUMERIC", dt.datetime: "NUMERIC"}
"""The index type of a field by its Python type. No percent-encoded part of a key holds the separator."""


@frozen
class IndexDefinition:
    """The definition of an index, for FT.CREATE.

    Attributes:
        name: of the index.
        schema: what stands behind the name in the command.
    """

    name: str
    schema: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands that create the index and mark it as up to date.

        Two marks tell redis-om that it is up to date.
        """
        digest = hashlib.sha1(self.schema.encode(), usedforsecurity=False).hexdigest()
        return [
            ["FT.CREATE", self.name, *self.schema.split(" ")],
            ["SET", f"{self.name}:hash", digest],
            ["SET", f"{self.name}:schema", self.schema],
        ]


def record_type_of(model: type) -> RecordType:
    """Return the stored form of a domain model.

    Raises:
        InvalidInput: there are no records of ``model``.
    """
    for record_type in RECORD_TYPES:
        if record_type.model is model:
            return record_type
    known = ", ".join(record_type.model.__name__ for record_type in RECORD_TYPES)
    raise InvalidInput(f"model must be one of {known}, got {shown(model)}", field="model")


def searchable_prefix(prefix: str) -> str:
    """Return a key prefix that redis-om and FT.CREATE can deal with.

    redis-om puts it into SCAN patterns and into commands that it splits at white space, both unescaped, and a hash
    tag would put all records and the index on one node of a cluster.

    Raises:
        InvalidInput: it is not such a prefix.
    """
    if not isinstance(prefix, str) or not re.fullmatch(r"[^\s{}*?\[\]\\]+", prefix) or prefix != prefix.strip(":"):
        raise InvalidInput(
            "prefix must be text, not empty, without ':' at its ends, white space, braces and * ? [ ] \\, "
            f"got {shown(prefix)}",
            field="prefix",
        )
    return plain_text(prefix)


def index_definition(record_type: RecordType, prefix: str) -> IndexDefinition:
    """Return the index that redis-om's Migrator would create for a record type.

    Raises:
        InvalidInput: redis-om cannot deal with the prefix.

    Example:
        >>> from .schema import CHECKPOINT
        >>> index_definition(CHECKPOINT, "app").name
        'app:checkpoint:index'
    """
    start = f"{searchable_prefix(prefix)}:{record_type.name}:"
    fields = [f"{field.name} {_SCHEMA[field.type]}" for field in record_type.fields if field.indexed]
    return IndexDefinition(f"{start}index", " ".join([f"ON HASH PREFIX 1 {start} SCHEMA pk {_SCHEMA[str]}", *fields]))
