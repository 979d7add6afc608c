"""Connections that a bridge to a framework opened itself."""

from __future__ import annotations

from typing import Self

from ..repositories.connection import AsyncConnection, Connection


class ClosesOwn:
    """The part of a bridge that closes the connection which it opened itself."""

    _own: Connection | None = None

    def close(self) -> None:
        """Close the connection that this opened itself. Idempotent.

        One that you passed stays open.
        """
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClosesOwnAsync:
    """The part of a bridge that closes the connection which it opened itself."""

    _own: AsyncConnection | None = None

    async def close(self) -> None:
        """Close the connection that this opened itself. Idempotent.

        One that you passed stays open.
        """
        if self._own is not None:
            await self._own.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
