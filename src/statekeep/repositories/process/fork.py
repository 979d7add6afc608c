"""Clients in a process that was forked, as by gunicorn or multiprocessing."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol


class Forked(Protocol):
    """Something that has to change in the child process."""

    def after_fork(self) -> None: ...


# What a child process inherited and must neither use nor close.
_abandoned: list[object] = []
_followed: weakref.WeakSet[Any] = weakref.WeakSet()


def follow(client: Forked) -> None:
    """Call ``client.after_fork()`` in each child process.

    It is called before anything else runs there.
    """
    _followed.add(client)


def abandon(inherited: object) -> None:
    """Keep what must neither be used nor closed in a child process.

    Its end would disturb the parent.
    """
    _abandoned.append(inherited)


def _after_fork() -> None:
    for client in list(_followed):
        client.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
