"""The Valkey backend of logs; the modules beside have the operations."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Sequence
from typing import Any, ClassVar

from ....domain import Log, LogEntry, LogMeasure
from ....domain.items import Namespace
from ....domain.logs import LogValue
from ....domain.model import Ttl
from ...logs import ExpectedPosition, LogRange
from ...operation import Operation, Page, named
from ..backend import ValkeyBackend
from ..calls import kept_ms
from ..client.factory import Client
from . import keys, listing, operations
from .operations import LogSettings
from .piecewise import PIECEWISE


class ValkeyLogs(ValkeyBackend):
    """Logs in Valkey, for :class:`~statekeep.LogRepository`.

    Args:
        client: see :func:`~statekeep.repositories.valkey.client.factory.client_for`.
        prefix: what all keys start with; not empty, and not starting or ending with ``:``.
        ttl: seconds that a log lives after values were appended without a TTL of their own, fractions allowed;
            ``None`` for ever.
        refresh_on_read: reading a log starts its TTL anew.

    Raises:
        InvalidInput: an argument is wrong.
    """

    place_of = staticmethod(keys.place_of)
    types: ClassVar[dict[str, bytes]] = {
        "log": b"list",
        "log-life": b"string",
        "log-index": b"zset",
        "log-clock": b"string",
        "log-call": b"string",
    }
    piecewise = PIECEWISE

    def __init__(
        self, client: Client, *, prefix: str = "statekeep", ttl: float | None = None, refresh_on_read: bool = False
    ) -> None:
        super().__init__(client, prefix, ttl)
        self.refresh_on_read = bool(refresh_on_read)
        self._settings = LogSettings(prefix, self.ttl, self.refresh_on_read, client.cluster, kept_ms(client))

    def append(self, log: Namespace, values: Sequence[LogValue], ttl: Ttl) -> Operation[int]:
        """Store any number of values in one script call."""
        return named("append", operations.store(self._settings, log, values, ttl))

    def read(self, query: LogRange) -> Operation[builtins.list[LogEntry]]:
        """Read any number in one script call."""
        return operations.read(self._settings, query)

    def pop(self, log: Namespace, n: int, first: bool) -> Operation[builtins.list[LogEntry]]:
        """Remove any number in one script call.

        It takes a command more if their values have more than 64 KiB.
        """
        return operations.pop(self._settings, log, n, first)

    def trim(self, log: Namespace, keep: int) -> Operation[int]:
        """Remove any number in one script call."""
        return operations.trim(self._settings, log, keep)

    def replace(
        self, log: Namespace, values: Sequence[LogValue], expected: ExpectedPosition, ttl: Ttl
    ) -> Operation[int]:
        """Store any number of values in one script call."""
        found = operations.store(self._settings, log, values, ttl, replaces=True, expected=expected)
        return named("replace", found)

    def restore(
        self, log: Namespace, entries: Sequence[LogEntry], after: int, expires_at: dt.datetime | None
    ) -> Operation[None]:
        """Store any number of values in one script call."""
        return operations.restore(self._settings, log, entries, after, expires_at)

    def measure(self, log: Namespace) -> Operation[LogMeasure]:
        """Ask the server in one round trip."""
        return operations.measure(self._settings, log)

    def count(self, log: Namespace) -> Operation[int]:
        """Ask with one command."""
        return operations.count(self._settings, log)

    def list(self, prefix: Namespace, limit: int | None, cursor: Any) -> Operation[Page[Log]]:
        """List in two round trips per page of a few hundred logs."""
        return named("list", listing.list_logs(self._settings, prefix, limit, cursor))
