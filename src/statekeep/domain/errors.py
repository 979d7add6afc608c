"""The errors of Statekeep, in one tree.

::

    StatekeepError
     +-- InvalidInput          (also a ValueError)    an argument is wrong; ``field`` names it
     +-- MissingDependency     (also an ImportError)  an extra is not installed
     +-- Unavailable           the server is dead, slow, restarting or in the wrong role
     +-- Throttled             the service asks to slow down
     +-- QuotaExceeded         out of memory, storage or another limit
     +-- ThreadClosed          the service takes no more writes to the thread
     +-- AccessDenied          wrong credentials or missing permission
     +-- Conflict              somebody else changed the record first
     +-- EmbeddingFailed       no vectors were made of texts
     +-- MissingChannels       a checkpoint refers to channel values that are not stored
     +-- CorruptRecord         stored bytes are not what Statekeep wrote
     +-- Unsupported           this backend cannot do that
     +-- WrongEventLoop        (also a RuntimeError)  called from a thread or loop that must not wait

A missing record is ``None``, never an exception. A failure is an exception, never ``None``.
"""

from __future__ import annotations

from collections.abc import Collection


class StatekeepError(Exception):
    """Base of all errors raised by Statekeep.

    Attributes:
        operation: name of the repository operation that failed (``"put"``), if known.
        key: the stored key that the error is about, if there is one.

    The driver's own error, if any, is the ``__cause__``.
    """

    def __init__(self, message: str, *, operation: str | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.operation = operation
        self.key = key

    def __str__(self) -> str:
        about = ", ".join(
            f"{name}={value!r}" for name, value in (("operation", self.operation), ("key", self.key)) if value
        )
        message = super().__str__()
        return f"{message} ({about})" if about else message


class InvalidInput(StatekeepError, ValueError):
    """An argument is wrong. ``field`` names it; the message says how to mend it."""

    def __init__(
        self, message: str, *, field: str | None = None, operation: str | None = None, key: str | None = None
    ) -> None:
        super().__init__(message, operation=operation, key=key)
        self.field = field


class MissingDependency(StatekeepError, ImportError):
    """A driver is not installed; the message is the command that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'statekeep[{extra}]'")
        self.package = package
        self.extra = extra


class Unavailable(StatekeepError):
    """The server did not answer until the deadline.

    It may be dead, slow, restarting, or a replica.
    """


class Throttled(StatekeepError):
    """The service asks to slow down, and went on asking until the deadline."""


class QuotaExceeded(StatekeepError):
    """The server is out of memory or storage, or a service limit is reached."""


class ThreadClosed(StatekeepError):
    """The service takes no more writes to the thread.

    Its session is ended or expired. Reading it still works.
    """


class AccessDenied(StatekeepError):
    """The credentials are wrong, or they do not permit this operation."""


class Conflict(StatekeepError):
    """Somebody else changed the record first; nothing was written.

    Attributes:
        key: the key as the caller gave it.
        expected: the version that the caller expected; ``None`` for "there is none".
        actual: the version that is there; ``None`` if there is none. If it is the expected one, another item was put
            under the key of the expected item.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: object = None,
        actual: object = None,
        operation: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, key=key)
        self.expected = expected
        self.actual = actual


class EmbeddingFailed(StatekeepError):
    """The function that makes vectors of texts failed, or did not return vectors."""


class MissingChannels(StatekeepError):
    """A checkpoint refers to channel values that are not stored.

    They expired, or others deleted them.

    Nothing was written. Put the checkpoint again with the payloads of ``channels``, or pass ``supply=``.
    """

    def __init__(self, channels: Collection[str], *, key: str | None = None) -> None:
        names = ", ".join(map(repr, sorted(channels)))
        super().__init__(f"no stored value for the referenced channels {names}; nothing was written", key=key)
        self.channels = frozenset(channels)


class CorruptRecord(StatekeepError):
    """Stored bytes are damaged, or not Statekeep's; ``key`` says where."""


class Unsupported(StatekeepError):
    """The backend, server or client cannot do that."""


class WrongEventLoop(StatekeepError, RuntimeError):
    """Called from an event loop or thread in which waiting would block for ever."""
