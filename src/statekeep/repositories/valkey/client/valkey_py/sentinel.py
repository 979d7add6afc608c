"""Connections of valkey-py to the primary that sentinels name."""

from __future__ import annotations

import time
from typing import Any, Final

import valkey
import valkey.asyncio
from valkey.exceptions import AuthenticationError, ConnectionError, ValkeyError

from ....operation import Operation, arun, run
from ...requests import Reply, Request
from .pool import AsyncOwn, AsyncPooled, Pool

Address = tuple[str, int]

LOOK_EVERY: Final = 1.0
"""Seconds between two questions whether the primary is still the same.

A primary that was replaced learns of that last, some seconds later, and takes writes until then, which are lost.
"""

LOOK_AFTER_FAILURE: Final = 10.0
"""Seconds until the next question when no sentinel answered."""

LONGEST_QUESTION: Final = 1.0
"""Seconds that one sentinel may take to connect, and to answer; then the next one is asked."""


class Sentinels:
    """The sentinels of a service, and the question for its primary.

    Args:
        addresses: of sentinels. The one that answered last is asked first.
        service: name of the service.
        settings: of their connections; they may have credentials of their own.
        is_tls: whether they are reached over TLS.

    Attributes:
        primary: its address, as it was named last.
    """

    def __init__(self, addresses: tuple[Address, ...], service: str, settings: dict[str, Any], *, is_tls: bool) -> None:
        self._addresses = list(addresses)
        self._service = service
        self._settings = settings
        self._is_tls = is_tls
        self.primary: Address | None = None
        self._due = 0.0

    def find(self) -> Address:
        """Return the address of the primary.

        Raises:
            ConnectionError: no sentinel answers, or none knows the service.
            AuthenticationError: a sentinel refuses the credentials, and no other one answers.
        """
        self.primary = run(self._finding(), self._ask)
        return self.primary

    async def afind(self) -> Address:
        """As :meth:`find`, from an event loop."""
        self.primary = await arun(self._finding(), self._aask)
        return self.primary

    def is_due(self) -> bool:
        """Return whether to ask again, which is so once in a while for all who ask."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + LOOK_EVERY
        return True

    def look(self) -> None:
        """Ask again, if it is due. Without an answer the primary is the one of before."""
        if self.is_due():
            try:
                self.find()
            except (ValkeyError, OSError):
                self._put_off()

    async def alook(self) -> None:
        """As :meth:`look`, from an event loop."""
        if self.is_due():
            try:
                await self.afind()
            except (ValkeyError, OSError):
                self._put_off()

    def _put_off(self) -> None:
        # Whoever asks waits for sentinels that do not answer, and the primary may be well.
        self._due = time.monotonic() + LOOK_AFTER_FAILURE

    def _finding(self) -> Operation[Address]:
        failed: list[str] = []
        refused: AuthenticationError | None = None
        for address in list(self._addresses):
            shown = f"{address[0]}:{address[1]}"
            try:
                reply = yield address
            except AuthenticationError as error:
                refused = error
            except (ValkeyError, OSError) as error:
                failed.append(f"{shown}: {type(error).__name__}: {error}")
            else:
                if reply:
                    self._addresses.sort(key=lambda other: other != address)
                    host, port = reply
                    return host.decode(), int(port)
                failed.append(f"{shown} knows no service {self._service}")
        if refused is not None:
            raise refused
        raise ConnectionError(f"no sentinel names a primary: {'; '.join(failed)}")

    def _ask(self, address: Address) -> Any:
        kind: Any = valkey.SSLConnection if self._is_tls else valkey.Connection
        connection = kind(host=address[0], port=address[1], **self._settings)
        try:
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            return connection.read_response()
        finally:
            connection.disconnect()

    async def _aask(self, address: Address) -> Any:
        kind: Any = valkey.asyncio.SSLConnection if self._is_tls else valkey.asyncio.Connection
        connection = kind(host=address[0], port=address[1], **self._settings)
        try:
            await connection.connect()
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            return await connection.read_response()
        finally:
            await connection.disconnect()


def _check_role(reply: Any) -> None:
    # Sentinels may be late to notice, and a replica would answer reads with what is old.
    if reply[0] != b"master":
        raise ConnectionError("the server that the sentinels name is no primary")


def to_primary(kind: Any, sentinels: Sentinels | None) -> Any:
    """Return a class of blocking connections to the primary.

    Without sentinels that is ``kind``.
    """
    if sentinels is None:
        return kind
    found = sentinels

    class ToPrimary(kind):  # type: ignore[misc]
        def connect(self) -> None:
            if self._sock is None:
                self.host, self.port = found.find()
            super().connect()

        def on_connect(self) -> None:
            super().on_connect()
            self.send_command("ROLE", check_health=False)
            _check_role(self.read_response())

    return ToPrimary


def ato_primary(kind: Any, sentinels: Sentinels | None) -> Any:
    """As :func:`to_primary`, for connections of event loops."""
    if sentinels is None:
        return kind
    found = sentinels

    class ToPrimary(kind):  # type: ignore[misc]
        host: str
        port: int

        async def connect(self) -> None:
            if self.is_connected and (self.host, self.port) != found.primary:
                await self.disconnect()
            if not self.is_connected:
                self.host, self.port = await found.afind()
            await super().connect()

        async def on_connect(self) -> None:
            await super().on_connect()
            await self.send_command("ROLE", check_health=False)
            _check_role(await self.read_response())

    return ToPrimary


class PrimaryPool(Pool):
    """Connections to the primary that sentinels name now."""

    def __init__(self, sentinels: Sentinels, **settings: Any) -> None:
        super().__init__(**settings)
        self._sentinels = sentinels

    def get_connection(self, command_name: str, *keys: Any, **options: Any) -> Any:
        before = self._sentinels.primary
        self._sentinels.look()
        if self._sentinels.primary != before:
            self.disconnect(inuse_connections=False)
        return super().get_connection(command_name, *keys, **options)

    def release(self, connection: Any) -> None:
        if (connection.host, connection.port) == self._sentinels.primary:
            super().release(connection)
        else:
            connection.disconnect()


class AsyncPrimaryOwn(AsyncOwn):
    """Connections that were opened here, to the primary that sentinels name now."""

    sentinels: Sentinels

    async def perform(self, request: Request) -> Reply:
        await self.sentinels.alook()
        self._client.leave_others(self.sentinels.primary)
        return await super().perform(request)


class AsyncPrimary(AsyncPooled):
    """A client with a pool whose connections follow the primary when they are used."""

    sentinels: Sentinels

    async def perform(self, request: Request) -> Reply:
        await self.sentinels.alook()
        return await super().perform(request)
