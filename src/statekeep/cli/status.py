"""How a command ends: its exit status, and one line about an error."""

from __future__ import annotations

from enum import IntEnum

from ..domain.errors import InvalidInput, MissingDependency, StatekeepError, Unsupported


class Status(IntEnum):
    """Exit statuses."""

    OK = 0
    FAILED = 1
    """A check failed, or the service did not do it."""
    FOUND_NOTHING = 1
    """There is no such thing."""
    WRONG_USE = 2
    """The command was used wrongly, or cannot do that with this service or installation."""
    INTERRUPTED = 130
    """Ctrl-C."""
    CUT_OFF = 141
    """The reader of a pipe is gone, as after ``| head``; a shell says so of programs that a SIGPIPE ends."""


def status_of(error: Exception) -> Status:
    """Return the status that a command ends with after an error.

    >>> from statekeep import InvalidInput, Unavailable
    >>> int(status_of(InvalidInput("limit must be 1 or more"))), int(status_of(Unavailable("no answer")))
    (2, 1)
    """
    wrong = isinstance(error, InvalidInput | MissingDependency | Unsupported)
    return Status.WRONG_USE if wrong else Status.FAILED


def line_of(error: Exception) -> str:
    """Return what a user is told about an error, in one line.

    >>> from statekeep import Unavailable
    >>> line_of(Unavailable("no answer of db:6379", operation="get"))
    "no answer of db:6379 (operation='get')"
    >>> line_of(KeyError("x"))
    "a fault of Statekeep: KeyError: 'x'; run it again with --debug, and report what it says"
    """
    if isinstance(error, StatekeepError):
        notes: list[str] = getattr(error, "__notes__", [])
        return "; ".join([str(error), *notes])
    if isinstance(error, OSError):  # of files that the user names
        return f"{type(error).__name__}: {error}"
    kind = type(error).__name__
    return f"a fault of Statekeep: {kind}: {error}; run it again with --debug, and report what it says"
