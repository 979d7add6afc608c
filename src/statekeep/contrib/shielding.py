"""Cancellation, as bridges to frameworks of asyncio handle it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


async def shielded(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await work to its end, and only then let the task be cancelled.

    So nothing changes any more when the task's owner is told.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # it is nobody's any more
    raise cancelled
