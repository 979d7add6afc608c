"""Connections of valkey-py that ask a provider for credentials."""

from __future__ import annotations

from typing import Any

from ....options import CredentialProvider
from .. import credentials


def asking(kind: Any, provider: CredentialProvider | None) -> Any:
    """Return a class of blocking connections that asks a provider.

    Without one that is ``kind``.
    """
    if provider is None:
        return kind
    chosen = provider

    class Asking(kind):  # type: ignore[misc]
        def connect(self) -> None:
            if self._sock is None:
                self.username, self.password = credentials.ask(chosen)
            super().connect()

    return Asking


def aasking(kind: Any, provider: CredentialProvider | None) -> Any:
    """As :func:`asking`, for connections of event loops."""
    if provider is None:
        return kind
    chosen = provider

    class Asking(kind):  # type: ignore[misc]
        async def connect(self) -> None:
            if not self.is_connected:
                self.username, self.password = await credentials.aask(chosen)
            await super().connect()

    return Asking
