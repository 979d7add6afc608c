"""langgraph-checkpoint-sqlite: its saver, store and cache."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from attrs import define, frozen

from ....domain import DEFAULT, Payload, SavedCheckpoint, Serializer
from ....domain.model import Ttl
from ....repositories.operation import Operation, Page
from ..payloads import assembled, in_order_of, place_of, taken_apart
from ..source import PAGE, FoundEntry, Key
from .sql import WRITES, Database, Row, by_thread, keys_of, values_of, writes_by_key


@define
class SqliteThreads:
    """Threads of SqliteSaver and AsyncSqliteSaver.

    Each row has a whole checkpoint, and JSON of its metadata.
    """

    database: Database
    serde: Serializer | None
    _path: str | None = None

    def threads(self) -> Operation[list[str]]:
        tables: list[Row] = yield self.database.rows("SELECT 1 FROM sqlite_master WHERE name = 'checkpoints'")
        return (yield from by_thread(self.database)) if tables else []

    def keys(self, thread_id: str) -> Operation[list[Key]]:
        return keys_of(self.database, thread_id)

    def read(self, thread_id: str, keys: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        chosen, parameters = values_of(keys, 2)
        where = f"WHERE thread_id = ? AND (checkpoint_ns, checkpoint_id) IN {chosen}"
        query = WRITES.format(path=(yield from self._path_column()), value="value", table="writes")
        # Writes first: a checkpoint that is put meanwhile is read with none, and they come with the next migration.
        writes = writes_by_key((yield self.database.rows(f"{query} {where}", (thread_id, *parameters))))
        rows: list[Row] = yield self.database.rows(
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata "
            f"FROM checkpoints {where}",
            (thread_id, *parameters),
        )
        return in_order_of(keys, [self._saved(thread_id, row, writes) for row in rows])

    def _path_column(self) -> Operation[str]:
        """Return the column of tasks' paths; a database of an old version has none."""
        if self._path is None:
            columns: list[Row] = yield self.database.rows("SELECT name FROM pragma_table_info('writes')")
            self._path = "task_path" if ("task_path",) in columns else "''"
        return self._path

    def _saved(self, thread_id: str, row: Row, writes: dict[Key, list[Any]]) -> SavedCheckpoint:
        namespace, checkpoint_id, parent_id, encoding, data, metadata = row
        address = (thread_id, namespace, checkpoint_id)
        parts = taken_apart(encoding, bytes(data), self.serde, place_of(*address))
        described = {} if metadata is None else json.loads(metadata)
        return assembled(address, parent_id, parts, described, writes.get((namespace, checkpoint_id), ()))

    def left(self, thread_id: str, keys: Sequence[Key]) -> Operation[Ttl]:
        return DEFAULT
        yield


@frozen
class SqliteEntries:
    """Entries of SqliteCache. Labels of a namespace are joined with commas."""

    database: Database

    def page(self, cursor: Any) -> Operation[Page[FoundEntry]]:
        behind = "" if cursor is None else "WHERE (ns, key) > (?, ?) "
        rows: list[Row] = yield self.database.rows(
            f"SELECT ns, key, expiry, encoding, val FROM cache {behind}ORDER BY ns, key LIMIT {PAGE}", cursor or ()
        )
        found = [
            FoundEntry(
                tuple(labels.split(",")) if labels else (),
                key,
                Payload(encoding=encoding, data=bytes(value)),
                None if expiry is None else dt.datetime.fromtimestamp(expiry, dt.UTC),
            )
            for labels, key, expiry, encoding, value in rows
        ]
        return Page(found, (rows[-1][0], rows[-1][1]) if len(rows) == PAGE else None)
