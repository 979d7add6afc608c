"""Objects that a client has for each event loop, as long as both live.

Connections of asyncio know their event loop. Would the client keep them, a loop that nobody closes would stay for ever,
with all its open files. So the loop keeps them, and the client knows them weakly.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any, Final, Generic, TypeVar

KeptT = TypeVar("KeptT")

ATTRIBUTE: Final = "_statekeep"


class Loops(Generic[KeptT]):
    """An object for each event loop.

    The loops keep it, so drop what is in here when the client is dropped.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[KeptT]] = (
            weakref.WeakKeyDictionary()
        )

    def get(self, loop: asyncio.AbstractEventLoop) -> KeptT | None:
        known = self._known.get(loop)
        return None if known is None else known()

    def keep(self, loop: asyncio.AbstractEventLoop, kept: KeptT) -> None:
        held: dict[Any, KeptT] | None = getattr(loop, ATTRIBUTE, None)
        if held is None:
            held = {}
            setattr(loop, ATTRIBUTE, held)
        # Not itself as a key: it would be kept by the loop, and with it what refers to it.
        held[id(self)] = kept
        self._known[loop] = weakref.ref(kept)

    def drop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._known.pop(loop, None)
        getattr(loop, ATTRIBUTE, {}).pop(id(self), None)

    def all(self) -> dict[asyncio.AbstractEventLoop, KeptT]:
        found = {loop: known() for loop, known in list(self._known.items())}
        return {loop: kept for loop, kept in found.items() if kept is not None}

    def take_all(self) -> dict[asyncio.AbstractEventLoop, KeptT]:
        """Drop and return all."""
        found = self.all()
        for loop in found:
            self.drop(loop)
        return found
