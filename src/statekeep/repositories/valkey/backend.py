"""The base of the backends in Valkey: a client, a prefix, a TTL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

from attrs import evolve

from ...domain import CorruptRecord, InvalidInput, StatekeepError
from ...domain.ids import time_of
from ...domain.model import plain_text
from ...domain.shown import once_made, shown
from ...telemetry.records import Service
from ..operation import Operation, arun, named, run
from ..validation import ms_of, ttl_seconds
from .client.factory import Client
from .piecewise import Piecewise, server_us
from .requests import Ask, Call, Divided, Reply, Request
from .wrong_type import locate_wrong_type


class ValkeyBackend:
    """A backend that answers the requests of operations with a client.

    Args:
        client: see :func:`~statekeep.repositories.valkey.client.factory.client_for`.
        prefix: what all keys start with; not empty, and not starting or ending with ``:``.
        ttl: seconds that a record lives after it was put, fractions allowed; ``None`` for ever.

    Raises:
        InvalidInput: an argument is wrong.
    """

    types: ClassVar[dict[str, bytes]]
    """The server's name of a key's type, by the name behind the prefix."""

    piecewise: ClassVar[Mapping[str, Piecewise]] = {}
    """Stand-ins for scripts, by name, while the slot of their keys moves to another node."""

    @staticmethod
    def place_of(name: str) -> Mapping[str, object]:
        """Return what a key is about as the caller named it, nothing if it is about all.

        Args:
            name: the key behind the prefix.
        """
        return {}

    def __init__(self, client: Client, prefix: str, ttl: float | None) -> None:
        if not isinstance(prefix, str) or not prefix or prefix != prefix.strip(":") or {"{", "}"} & set(prefix):
            raise InvalidInput(
                f"prefix must be text, not empty, without braces, and without ':' at its ends, got {shown(prefix)}",
                field="prefix",
            )
        self.client = client
        self.prefix = plain_text(prefix)
        self.ttl = ttl_seconds(ttl)

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client!r}, prefix={self.prefix!r}, ttl={self.ttl!r})"

    @property
    def ttl_ms(self) -> int:
        """The TTL in whole milliseconds; 0 for ever."""
        return ms_of(self.ttl)

    @property
    def service(self) -> Service:
        """The server, for observers."""
        found = getattr(self.client, "service", None)
        return found if isinstance(found, Service) else Service("valkey")

    def execute(self, request: Request) -> Reply:
        """Answer one request of an operation, blocking."""
        try:
            return self.client.execute(request)
        except (Divided, StatekeepError) as failed:
            return run(named("", self._after(request, failed)), self.client.execute)

    async def aexecute(self, request: Request) -> Reply:
        """Answer one request of an operation, without blocking the event loop."""
        try:
            return await self.client.aexecute(request)
        except (Divided, StatekeepError) as failed:
            return await arun(named("", self._after(request, failed)), self.client.aexecute)

    def _after(self, request: Request, failed: Divided | StatekeepError) -> Operation[Reply]:
        """Answer a request that failed in another way.

        Else the error is raised, and says what it is about.
        """
        try:
            if isinstance(failed, Divided):
                return (yield from self._in_pieces(failed.call))
            if isinstance(failed, CorruptRecord):
                raise (yield from locate_wrong_type(self.prefix, self.types, request, failed)) from failed.__cause__
            raise failed
        except StatekeepError as error:
            if error.key is not None and error.place is None:
                with suppress(CorruptRecord):  # the key is none of ours
                    error.place = self.place_of(error.key.removeprefix(f"{self.prefix}:")) or None
            raise

    def _in_pieces(self, call: Call) -> Operation[Reply]:
        """Answer a call whose keys may be on two nodes.

        It is answered in pieces, or when they no longer are.
        """
        do = self.piecewise.get(call.script.name)
        operation = None if do is None else do(call.keys, call.args)
        if operation is None:
            return (yield evolve(call, is_whole=True))
        return (yield from operation)

    def ping(self) -> Operation[None]:
        """Ask one node for a sign of life: one round trip."""
        yield Ask(["PING"])

    def now(self) -> Operation[dt.datetime]:
        """Ask one node for its time: one round trip."""
        return time_of((yield from server_us()) * 1000)

    def close(self) -> None:
        """Close the client, if Statekeep opened it."""
        self.client.close()

    async def aclose(self) -> None:
        """Close the client as :meth:`close` does, from the event loop."""
        await self.client.aclose()
