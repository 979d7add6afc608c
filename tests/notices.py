"""Messages that a process logs once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from statekeep.repositories.process import notices


@contextmanager
def all_notices() -> Iterator[None]:
    """Have those logged again, and as warnings, that were logged before."""
    before, notices._given = notices._given, set()
    warned, notices._warned = notices._warned, {}
    try:
        yield
    finally:
        notices._given |= before
        notices._warned |= warned
