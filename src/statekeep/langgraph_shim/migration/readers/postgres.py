"""langgraph-checkpoint-postgres: its saver.

Its store has the table of :class:`~.sql.SqlItems`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ....domain import DEFAULT, Payload, SavedCheckpoint, Serializer, dump
from ....domain.model import Ttl
from ....repositories.operation import Operation
from ..payloads import Parts, assembled, in_order_of
from ..source import Key
from .sql import WRITES, Database, Row, by_thread, keys_of, values_of, writes_by_key

_plain = JsonPlusSerializer()


def columns_of(database: Database, table: str) -> Operation[set[str]]:
    """Return the names of a table's columns; none if there is no such table."""
    rows: list[Row] = yield database.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped", (table,)
    )
    return {row[0] for row in rows}


@define
class PostgresThreads:
    """Threads of PostgresSaver and AsyncPostgresSaver.

    A checkpoint is JSON; values of channels are stored serialized, by version, and are moved as they are.
    """

    database: Database
    serde: Serializer | None
    _path: str | None = None

    def threads(self) -> Operation[list[str]]:
        if not (yield from columns_of(self.database, "checkpoints")):
            return []
        return (yield from by_thread(self.database))

    def keys(self, thread_id: str) -> Operation[list[Key]]:
        return keys_of(self.database, thread_id)

    def read(self, thread_id: str, keys: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        chosen, parameters = values_of(keys, 2)
        where = f"WHERE thread_id = ? AND (checkpoint_ns, checkpoint_id) IN {chosen}"
        query = WRITES.format(path=(yield from self._path_column()), value="blob", table="checkpoint_writes")
        writes = writes_by_key((yield self.database.rows(f"{query} {where}", (thread_id, *parameters))))
        rows: list[Row] = yield self.database.rows(
            f"SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata FROM checkpoints {where}",
            (thread_id, *parameters),
        )
        values = yield from self._values(thread_id, rows)
        return in_order_of(keys, [_saved(thread_id, row, values, writes) for row in rows])

    def _path_column(self) -> Operation[str]:
        if self._path is None:
            columns = yield from columns_of(self.database, "checkpoint_writes")
            self._path = "task_path" if "task_path" in columns else "''"
        return self._path

    def _values(self, thread_id: str, rows: Sequence[Row]) -> Operation[dict[tuple[str, str, str], Payload]]:
        """Read the channel values of some checkpoints, each once."""
        wanted = {
            (row[0], channel, str(version))
            for row in rows
            for channel, version in (row[3].get("channel_versions") or {}).items()
        }
        if not wanted:
            return {}
        chosen, parameters = values_of(sorted(wanted), 3)
        found: list[Row] = yield self.database.rows(
            "SELECT checkpoint_ns, channel, version, type, blob FROM checkpoint_blobs "
            f"WHERE thread_id = ? AND (checkpoint_ns, channel, version) IN {chosen}",
            (thread_id, *parameters),
        )
        return {
            (namespace, channel, version): Payload(encoding=encoding, data=bytes(data or b""))
            for namespace, channel, version, encoding, data in found
            if encoding != "empty"
        }

    def left(self, thread_id: str, keys: Sequence[Key]) -> Operation[Ttl]:
        return DEFAULT
        yield


def _saved(
    thread_id: str, row: Row, values: Mapping[tuple[str, str, str], Payload], writes: Mapping[Key, Any]
) -> SavedCheckpoint:
    namespace, checkpoint_id, parent_id, checkpoint, metadata = row
    header = dict(checkpoint)
    inline = header.pop("channel_values", None) or {}
    payloads = {
        channel: values[namespace, channel, str(version)]
        for channel, version in (header.get("channel_versions") or {}).items()
        if (namespace, channel, str(version)) in values
    }
    # A value that is stored apart may have left a mark in its place.
    inline = {name: value for name, value in inline.items() if name not in payloads}
    parts = Parts(header, inline, lambda value: dump(_plain, value))
    address = (thread_id, namespace, checkpoint_id)
    return assembled(address, parent_id, parts, metadata or {}, writes.get((namespace, checkpoint_id), ()), payloads)
