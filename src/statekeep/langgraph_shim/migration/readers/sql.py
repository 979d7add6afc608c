"""SQL databases of peers.

Connections of four kinds, and what SQLite and PostgreSQL have in common.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from attrs import field, frozen

from ....domain import AccessDenied, InvalidInput, Payload, PendingWrite, Unavailable
from ....repositories.operation import Operation, Page
from ..source import PAGE, Ask, FoundItem, Key

Row = tuple[Any, ...]


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of databases as those of Statekeep."""
    try:
        yield
    except Exception as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        what = f"{type(error).__name__}: {error}"
        if "InsufficientPrivilege" in names or "InvalidPassword" in names:
            raise AccessDenied(f"the source refuses: {what}") from error
        if "OperationalError" in names or "PoolTimeout" in names:
            raise Unavailable(f"the source does not answer: {what}") from error
        raise


class Database(Protocol):
    """Answers queries. ``?`` stands for a parameter."""

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Ask:
        """Ask for all rows of a query."""
        ...


@frozen
class Sqlite:
    """A connection of :mod:`sqlite3`, perhaps shared with a saver that locks it."""

    connection: Any
    lock: Any = field(factory=nullcontext)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Ask:
        def fetch() -> list[Row]:
            with self.lock, translated():
                cursor = self.connection.cursor()
                try:
                    cursor.row_factory = None
                    return [tuple(row) for row in cursor.execute(query, tuple(parameters))]
                finally:
                    cursor.close()

        return Ask.of_blocking(fetch)


@frozen
class AioSqlite:
    """A connection of aiosqlite, of the event loop that runs."""

    connection: Any

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Ask:
        async def fetch() -> list[Row]:
            with translated():
                return [tuple(row) for row in await self.connection.execute_fetchall(query, tuple(parameters))]

        return Ask(_refuse_blocking, fetch)


@frozen
class Psycopg:
    """A connection of psycopg, or a pool of them."""

    connection: Any
    lock: Any = field(factory=nullcontext)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Ask:
        def fetch() -> list[Row]:
            with translated():
                if hasattr(self.connection, "getconn"):
                    with self.connection.connection() as one:
                        return read(one)
                with self.lock:
                    return read(self.connection)

        def read(connection: Any) -> list[Row]:
            from psycopg.rows import tuple_row

            with connection.cursor(row_factory=tuple_row) as cursor:
                found: list[Row] = cursor.execute(query.replace("?", "%s"), tuple(parameters)).fetchall()
                return found

        return Ask.of_blocking(fetch)


@frozen
class AsyncPsycopg:
    """An asyncio connection of psycopg, or a pool of them."""

    connection: Any
    lock: Any = field(factory=nullcontext)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Ask:
        async def fetch() -> list[Row]:
            with translated():
                if hasattr(self.connection, "getconn"):
                    async with self.connection.connection() as one:
                        return await read(one)
                async with self.lock:
                    return await read(self.connection)

        async def read(connection: Any) -> list[Row]:
            from psycopg.rows import tuple_row

            async with connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(query.replace("?", "%s"), tuple(parameters))
                found: list[Row] = await cursor.fetchall()
                return found

        return Ask(_refuse_blocking, fetch)


def _refuse_blocking() -> Any:
    raise InvalidInput("the source answers in asyncio code only: await amigrate instead", field="source")


def database_of(connection: Any, lock: Any = None) -> Database:
    """Return what asks a connection or a pool."""
    module, name = type(connection).__module__, type(connection).__name__
    if lock is None or isinstance(lock, asyncio.Lock) is not name.startswith("Async"):
        lock = nullcontext()
    if module.startswith("aiosqlite"):
        return AioSqlite(connection)
    if not module.startswith("psycopg"):
        return Sqlite(connection, lock)
    return AsyncPsycopg(connection, lock) if name.startswith("Async") else Psycopg(connection, lock)


def values_of(keys: Iterable[Sequence[Any]], width: int) -> tuple[str, list[Any]]:
    """Return a list of rows for ``IN``, and its parameters."""
    flat = [value for key in keys for value in key]
    row = f"({', '.join('?' * width)})"
    return f"(VALUES {', '.join([row] * (len(flat) // width))})", flat


WRITES = "SELECT checkpoint_ns, checkpoint_id, task_id, {path}, idx, channel, type, {value} FROM {table}"


def writes_by_key(rows: Iterable[Row]) -> dict[Key, list[PendingWrite]]:
    """Return pending writes by the key of their checkpoint.

    Rows are those of :data:`WRITES`.
    """
    found: dict[Key, list[PendingWrite]] = {}
    for namespace, checkpoint_id, task_id, path, idx, channel, encoding, data in rows:
        write = PendingWrite(
            task_id=task_id,
            task_path=path or "",
            idx=idx,
            channel=channel,
            payload=Payload(encoding=encoding, data=bytes(data or b"")),
        )
        found.setdefault((namespace, checkpoint_id), []).append(write)
    return found


def by_thread(database: Database) -> Operation[list[str]]:
    """Return the ids of all threads of a table ``checkpoints``.

    The last updated one is at the end.
    """
    rows: list[Row] = yield database.rows(
        "SELECT thread_id, MAX(checkpoint_id) FROM checkpoints GROUP BY thread_id ORDER BY 2, 1"
    )
    return [row[0] for row in rows]


def keys_of(database: Database, thread_id: str) -> Operation[list[Key]]:
    """Return the keys of a thread's checkpoints, oldest first."""
    rows: list[Row] = yield database.rows(
        "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ?",
        (thread_id,),
    )
    keys = [(namespace, checkpoint_id) for namespace, checkpoint_id in rows]
    return sorted(keys, key=lambda key: (key[1], key[0]))


def time_of(value: Any) -> dt.datetime | None:
    """Return a time of a database, in UTC."""
    if value is None:
        return None
    found = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
    return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)


@frozen
class SqlItems:
    """Items in the table that the stores of SQLite and PostgreSQL have.

    Attributes:
        has_end: whether there is a column ``expires_at``; old versions had none.
    """

    database: Database
    has_end: bool = True

    def page(self, cursor: Any) -> Operation[Page[FoundItem]]:
        end = "expires_at" if self.has_end else "NULL"
        behind = "" if cursor is None else "WHERE (prefix, key) > (?, ?) "
        rows: list[Row] = yield self.database.rows(
            f"SELECT prefix, key, value, updated_at, {end}, created_at FROM store {behind}"
            f"ORDER BY prefix, key LIMIT {PAGE}",
            cursor or (),
        )
        found = [
            FoundItem(
                tuple(prefix.split(".")),
                key,
                json.loads(value) if isinstance(value, str | bytes) else value,
                time_of(updated_at),
                time_of(expires_at),
                created_at=time_of(created_at),
            )
            for prefix, key, value, updated_at, expires_at, created_at in rows
        ]
        return Page(found, (rows[-1][0], rows[-1][1]) if len(rows) == PAGE else None)
