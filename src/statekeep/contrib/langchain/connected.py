"""The end of connections that a bridge opened itself."""

from __future__ import annotations

from typing import Self

from ...repositories.connection import Connection


class Connected:
    """A bridge that may have a connection of its own."""

    _own: Connection | None = None

    def close(self) -> None:
        """Close the connection that ``from_url`` opened. Idempotent.

        One that you passed stays open.
        """
        if self._own is not None:
            self._own.close()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        if self._own is not None:
            await self._own.asyncio.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
