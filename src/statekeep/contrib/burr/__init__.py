"""State of Burr's applications: ``pip install 'statekeep[burr]'``.

An application is a thread, and a key of its state is a channel. ``docs/frameworks/burr.md`` says what it costs and what
is exact.
"""

from .persister import AsyncStatekeepPersister, StatekeepPersister

__all__ = ["AsyncStatekeepPersister", "StatekeepPersister"]
