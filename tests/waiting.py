"""Finds what makes an event loop wait: blockbuster, for what Statekeep does."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import blockbuster

import statekeep
import statekeep.testing

SOURCES: Final = str(Path(statekeep.__file__).parent)
_TESTING: Final = str(Path(statekeep.testing.__file__).parent)
_TESTS: Final = (str(Path(__file__).parent / "unit"), str(Path(__file__).parent / "integration"))
_ASYNCIO: Final = str(Path(asyncio.__file__).parent)

_MAKERS: Final = {"<module>", "aconnect", "client_for"}
"""Functions that async programs alone call without awaiting them, or that make no connection."""

_MAY_BLOCK: Final = {"_folder_of_certificates"}
"""It reads ``ssl_ca_path`` where a client is made, so that what is wrong there shows at once."""

_AWAITED: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Watchdog:
    """Refuses what blocks a running event loop, if Statekeep does it unasked.

    A blocking method that a test calls within its event loop is allowed: what it does is what its caller wants. That a
    coroutine of ours calls one is not.
    """

    def __init__(self) -> None:
        self._blockbuster = blockbuster.BlockBuster(statekeep, excluded_modules=[statekeep.testing])
        for function in self._blockbuster.functions.values():
            function.can_block_predicate = _unless_asked_for(function.can_block_predicate)

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._blockbuster.activate()
        try:
            yield
        finally:
            self._blockbuster.deactivate()


def _unless_asked_for(predicate: Callable[..., bool]) -> Callable[..., bool]:
    return lambda *args, **kwargs: predicate(*args, **kwargs) or _is_asked_for(sys._getframe(1))


def _is_asked_for(frame: FrameType | None) -> bool:
    """Return whether the test itself blocks, or the first function of ours that it called is a blocking one."""
    first: FrameType | None = None
    while frame is not None and not frame.f_code.co_filename.startswith(_TESTS):
        if _is_ours(frame):
            first = frame
            if frame.f_code.co_name in _MAY_BLOCK:
                return True
        frame = frame.f_back
    if first is None or first.f_back is None:
        return frame is not None
    code: Any = first.f_code
    by_the_loop = first.f_back.f_code.co_filename.startswith(_ASYNCIO)
    return not (code.co_flags & _AWAITED or code.co_name in _MAKERS or by_the_loop)


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(SOURCES) and not name.startswith(_TESTING)
