"""The servers of a run, and how contenders reach them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from attrs import evolve, frozen

from statekeep.testing.servers import ValkeyServer

from .postgres import NoPostgres, PostgresServer


class NotHere(Exception):
    """A contender needs what is not there; the message says what."""


@frozen
class Servers:
    """Where contenders keep their data.

    Attributes:
        valkey: the Valkey server, on loopback, in memory.
        postgres: the PostgreSQL server, or why there is none.
        directory: for files, on the disk of the system's temporary files.
        valkey_port: of the server, or of a proxy before it.
        postgres_port: as ``valkey_port``.
        database: of PostgreSQL.
    """

    valkey: ValkeyServer
    postgres: PostgresServer | str
    directory: Path
    valkey_port: int
    postgres_port: int | None = None
    database: str = "postgres"

    @property
    def valkey_url(self) -> str:
        """For clients of Valkey."""
        return f"valkey://127.0.0.1:{self.valkey_port}"

    @property
    def postgres_url(self) -> str:
        """For clients of PostgreSQL.

        Raises:
            NotHere: there is none.
        """
        return self._postgres().url(self.database, self.postgres_port)

    @property
    def port_of_postgres(self) -> int:
        """Of the server itself.

        Raises:
            NotHere: there is none.
        """
        return self._postgres().port

    def _postgres(self) -> PostgresServer:
        if isinstance(self.postgres, str):
            raise NotHere(f"no PostgreSQL: {self.postgres}")
        return self.postgres

    def new_file(self) -> Path:
        """The path of a file that does not exist yet."""
        return self.directory / uuid4().hex

    def behind(self, valkey_port: int, postgres_port: int | None = None) -> Servers:
        """The same servers through proxies."""
        return evolve(self, valkey_port=valkey_port, postgres_port=postgres_port)


@contextlib.contextmanager
def started() -> Iterator[Servers]:
    """Start what can be started on this machine, and stop it in the end."""
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer())
        postgres: PostgresServer | str
        try:
            postgres = stack.enter_context(PostgresServer())
        except NoPostgres as missing:
            postgres = str(missing)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="statekeep-bench-"))
        yield Servers(valkey, postgres, Path(directory), valkey.port)
