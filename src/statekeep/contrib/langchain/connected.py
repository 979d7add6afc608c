"""The end of connections that a bridge opened itself, in both faces."""

from __future__ import annotations

from typing import Self

from ..owned import ClosesOwn


class Connected(ClosesOwn):
    """A bridge that may have a connection of its own."""

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        if self._own is not None:
            await self._own.asyncio.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
