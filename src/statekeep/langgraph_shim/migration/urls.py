"""Databases of peers behind URLs, and what is in them."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from ...domain import AccessDenied, InvalidInput, Serializer, Unavailable
from ...domain.shown import shown
from ...repositories.connect import connect
from ...repositories.operation import Operation, run
from .entry import migrate
from .readers.choice import missing, redis_decoder
from .readers.postgres import PostgresThreads, columns_of
from .readers.redis import KIND, RedisItems, RedisThreads
from .readers.servers import Server, scan
from .readers.sql import Psycopg, Sqlite, SqlItems
from .readers.sqlite import SqliteEntries, SqliteThreads
from .readers.valkey_aws import CACHE, STORE, THREAD, ServerEntries, ValkeyItems, ValkeyThreads
from .report import MigrationReport, Progress, Verify
from .source import PeerSource, Readers

SQLITE: Final = "langgraph-checkpoint-sqlite"
POSTGRES: Final = "langgraph-checkpoint-postgres"
REDIS: Final = "langgraph-checkpoint-redis"
AWS: Final = "langgraph-checkpoint-aws"


def open_source(url: str, *, kind: str | None = None, serde: Serializer | None = None) -> PeerSource:
    """Open the database of another package, and find out what is in it.

    It is opened to read only. Keys of Valkey and Redis are those with the prefixes that the packages have by default;
    for others pass the saver or the store itself to :func:`migrate`.

    Args:
        url: ``sqlite:///file`` (``sqlite:////`` before an absolute path), ``postgresql://``, ``redis://``,
            ``rediss://``, ``valkey://`` or ``valkeys://``.
        kind: the package that wrote it, if a server has data of several: ``"langgraph-checkpoint-aws"``,
            ``"langgraph-checkpoint-redis"``, ``"langgraph-checkpoint-postgres"`` or ``"langgraph-checkpoint-sqlite"``.
        serde: the serializer that wrote checkpoints, if it is not LangGraph's own: needed if they are encrypted, or
            pickled.

    Returns:
        What is there, to be passed to :func:`migrate`.

    Raises:
        InvalidInput: the URL or the kind is wrong, there is nothing to migrate, or data of several packages.
        MissingDependency: a driver is not installed, or langgraph-checkpoint-redis, which alone reads its data.
        Unavailable: the server does not answer, or there is no such file.
        AccessDenied: the server refuses the user or the password.

    Example:
        >>> import pathlib, statekeep, tempfile
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> from langgraph.checkpoint.sqlite import SqliteSaver
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "threads.db"
        >>> with SqliteSaver.from_conn_string(str(path)) as saver:
        ...     config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        ...     stored = saver.put(config, empty_checkpoint(), {}, {})
        >>> with open_source(f"sqlite:///{path}") as source, statekeep.connect("memory:") as keep:
        ...     migrate(source, keep).threads
        1
    """
    if not isinstance(url, str):
        raise InvalidInput(f"url must be text, got {type(url).__name__}", field="url")
    scheme = url.partition(":")[0].lower()
    if scheme not in _OPENED:
        raise InvalidInput(
            f"url must begin with one of {', '.join(f'{name}:' for name in _OPENED)}, got {shown(scheme)}", field="url"
        )
    kinds, open_ = _OPENED[scheme]
    if kind is not None and kind not in kinds:
        raise InvalidInput(f"kind must be {' or '.join(kinds)} for {scheme}:, got {shown(kind)}", field="kind")
    return open_(url, kind, serde)


def migrate_urls(
    source: str,
    target: str,
    *,
    kind: str | None = None,
    serde: Serializer | None = None,
    since: dt.datetime | MigrationReport | None = None,
    verify: Verify = "sample",
    progress: Progress | None = None,
) -> MigrationReport:
    """Bring all that is behind a peer's URL to a URL of Statekeep's.

    Args:
        source: as of :func:`open_source`.
        target: as of :func:`statekeep.connect`.
        kind: as of :func:`open_source`.
        serde: as of :func:`open_source`.
        since: as of :func:`migrate`.
        verify: as of :func:`migrate`.
        progress: as of :func:`migrate`.

    Returns:
        Counts of what was read, and of what was written.

    Raises:
        StatekeepError: as :func:`open_source`, :func:`statekeep.connect` and :func:`migrate`.

    Example:
        >>> import pathlib, tempfile
        >>> from langgraph.store.sqlite import SqliteStore
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.db"
        >>> with SqliteStore.from_conn_string(str(path)) as store:
        ...     store.setup()
        ...     store.put(("users", "ada"), "theme", {"dark": True})
        >>> migrate_urls(f"sqlite:///{path}", "memory:").items_put
        1
    """
    with open_source(source, kind=kind, serde=serde) as found, connect(target) as keep:
        return migrate(found, keep, since=since, verify=verify, progress=progress)


def _nothing(url: str, kinds: str) -> InvalidInput:
    return InvalidInput(f"there is nothing of {kinds} behind the {urlsplit(url).scheme}: URL", field="url")


def _done(operation: Operation[Any]) -> Any:
    return run(operation, lambda ask: ask.blocking())


def _sqlite(url: str, kind: str | None, serde: Serializer | None) -> PeerSource:
    parts = urlsplit(url)
    path = Path(unquote(parts.path.removeprefix("/") if parts.path.startswith("/") else parts.path))
    if parts.netloc or not path.name:
        raise InvalidInput(
            'url must be "sqlite:///relative/file" or "sqlite:////absolute/file", got another form', field="url"
        )
    if not path.is_file():
        raise Unavailable(f"there is no file {shown(str(path))}")
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False)
    database = Sqlite(connection)
    try:
        rows = _done(_rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'"))
        names = {row[0] for row in rows}
        if not names & {"checkpoints", "store", "cache"}:
            raise _nothing(url, SQLITE)
        columns = {row[0] for row in _done(_rows(database, "SELECT name FROM pragma_table_info('store')"))}
    except BaseException:
        connection.close()
        raise
    has = {"checkpoints", "writes"} <= names, "store" in names, "cache" in names

    def make(writer: Serializer) -> Readers:
        return Readers(
            SqliteThreads(database, serde) if has[0] else None,
            SqlItems(database, "expires_at" in columns) if has[1] else None,
            SqliteEntries(database) if has[2] else None,
        )

    return PeerSource(SQLITE, *has, make, connection.close)


def _rows(database: Any, query: str) -> Operation[list[Any]]:
    found: list[Any] = yield database.rows(query)
    return found


def _postgres(url: str, kind: str | None, serde: Serializer | None) -> PeerSource:
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise missing("psycopg[binary]") from error
    try:
        connection = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        refused = "authentication" in str(error) or "does not exist" in str(error)
        kind_of_error = AccessDenied if refused else Unavailable
        raise kind_of_error(f"cannot connect to the source: {' '.join(str(error).split())}") from error
    except psycopg.ProgrammingError as error:
        raise InvalidInput(f"url is none of PostgreSQL: {error}", field="url") from error
    database = Psycopg(connection)
    try:
        connection.read_only = True
        threads, blobs, items = (
            _done(columns_of(database, table)) for table in ("checkpoints", "checkpoint_blobs", "store")
        )
        if not (threads or items):
            raise _nothing(url, POSTGRES)
        if threads and not (blobs and "checkpoint_id" in threads):
            raise InvalidInput(
                "the table checkpoints is none of PostgresSaver; of its shallow twin read the newest checkpoints by "
                "passing the saver itself to migrate",
                field="url",
            )
    except BaseException:
        connection.close()
        raise

    def make(writer: Serializer) -> Readers:
        return Readers(
            PostgresThreads(database, serde) if threads else None,
            SqlItems(database, "expires_at" in items) if items else None,
        )

    return PeerSource(POSTGRES, bool(threads), bool(items), False, make, connection.close)


_SIGNS: Final = (
    (AWS, "checkpoints", THREAD, "list"),
    (AWS, "items", STORE, "hash"),
    (REDIS, "checkpoints", "checkpoint:", KIND),
    (REDIS, "items", "store:", KIND),
    ("", "cache", CACHE, "string"),
)
"""Keys and types of values that say who wrote them. Caches of both packages have the same keys but for a separator."""


def _server(url: str, kind: str | None, serde: Serializer | None) -> PeerSource:
    client, errors = _client(url)
    server = Server(client)
    try:
        client.ping()
        found = _done(_found(server))
        kinds = sorted({who for who, _ in found} if kind is None else {kind})
        if not found or not any(who in kinds for who, _ in found):
            raise _nothing(url, " or ".join((AWS, REDIS) if kind is None else (kind,)))
        if len(kinds) > 1:
            raise InvalidInput(f"there is data of several packages: choose a kind, {' or '.join(kinds)}", field="kind")
        chosen = kinds[0]
        decoder = redis_decoder() if chosen == REDIS and (REDIS, "checkpoints") in found else None
    except errors["AuthenticationError"] as error:
        client.close()
        raise AccessDenied(f"the source refuses the user or the password: {error}") from error
    except (errors["ConnectionError"], errors["TimeoutError"]) as error:
        client.close()
        raise Unavailable(f"the source does not answer: {type(error).__name__}: {error}") from error
    except BaseException:
        client.close()
        raise
    has = {what: (chosen, what) in found for what in ("checkpoints", "items", "cache")}

    def make(writer: Serializer) -> Readers:
        threads: Any = RedisThreads(server, decoder, writer) if chosen == REDIS else ValkeyThreads(server, serde)
        items: Any = RedisItems(server) if chosen == REDIS else ValkeyItems(server)
        entries = ServerEntries(server, CACHE, ":" if chosen == REDIS else "/")
        return Readers(
            threads if has["checkpoints"] else None, items if has["items"] else None, entries if has["cache"] else None
        )

    return PeerSource(chosen, has["checkpoints"], has["items"], has["cache"], make, client.close)


def _found(server: Server) -> Operation[set[tuple[str, str]]]:
    """Return whose data there is, and of which kind."""
    found = set()
    for who, what, prefix, kind in _SIGNS:
        cursor: Any = None
        while True:
            keys, cursor = yield from scan(server, cursor, prefix, kind)
            if keys:
                by_key = AWS if "/" in keys[0].removeprefix(prefix) else REDIS
                found.add((who or by_key, what))
            if keys or cursor is None:
                break
    return found


def _client(url: str) -> tuple[Any, Mapping[str, type[Exception]]]:
    """Open a client of valkey-py or redis-py, whichever is installed.

    Both speak to both servers.
    """
    scheme, _, rest = url.partition(":")
    is_tls = scheme.lower() in ("rediss", "valkeys")
    kind = "valkey" if scheme.lower().startswith("valkey") else "redis"
    if find_spec(kind) is None:
        kind = "redis" if kind == "valkey" else "valkey"
    try:
        package: Any = import_module(kind)
    except ModuleNotFoundError as error:
        raise missing("redis") from error
    make = getattr(package, kind.capitalize())
    try:
        client = make.from_url(f"{kind}{'s' if is_tls else ''}:{rest}")
    except ValueError as error:
        raise InvalidInput(f"url is wrong: {error}", field="url") from error
    return client, vars(package.exceptions)


_Open = Callable[[str, str | None, Serializer | None], PeerSource]

_OPENED: Final[Mapping[str, tuple[tuple[str, ...], _Open]]] = {
    "sqlite": ((SQLITE,), _sqlite),
    "postgresql": ((POSTGRES,), _postgres),
    "postgres": ((POSTGRES,), _postgres),
    "redis": ((AWS, REDIS), _server),
    "rediss": ((AWS, REDIS), _server),
    "valkey": ((AWS, REDIS), _server),
    "valkeys": ((AWS, REDIS), _server),
}
