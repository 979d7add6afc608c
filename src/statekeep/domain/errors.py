"""The errors of Statekeep, in one tree.

::

    StatekeepError
     +-- InvalidInput          (also a ValueError)    an argument is wrong; ``field`` names it
     +-- MissingDependency     (also an ImportError)  an extra is not installed
     +-- Unavailable           the server is dead, slow, restarting or in the wrong role
     +-- Throttled             the service asks to slow down
     +-- QuotaExceeded         out of memory, storage or another limit
     +-- ThreadClosed          the service takes no more writes to the thread
     +-- AccessDenied          wrong credentials, a certificate that is refused, or missing permission
     +-- Conflict              somebody else changed the record first
     +-- EmbeddingFailed       no vectors were made of texts
     +-- MissingChannels       a checkpoint refers to channel values that are not stored
     +-- CorruptRecord         stored bytes are not what Statekeep wrote
     |    +-- TypeMismatch     a stored value is not of the type that it is read as
     +-- Unsupported           this backend cannot do that
     +-- ClientClosed          (also a RuntimeError)  used after it was closed
     +-- WrongEventLoop        (also a RuntimeError)  called from a thread or loop that must not wait

A missing record is ``None``, never an exception. A failure is an exception, never ``None``.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .shown import shown


class Portable(Exception):
    """An error that survives pickle and copy.

    It keeps its attributes and the errors that led to it.

    Of an error among these that cannot be pickled itself the text stays, as a :class:`ForeignError`. Tracebacks are not
    kept, as pickle keeps none.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self), self.args, vars(self), _links(self), self.__suppress_context__)


class ForeignError(Portable):
    """The class and text of an error that cannot be pickled."""


_Links = Sequence[tuple[bool, BaseException]]
"""Errors that led to one another, the latest first, and whether each is the ``__cause__``, not the ``__context__``."""


def _links(error: BaseException) -> _Links:
    found: list[tuple[bool, BaseException]] = []
    seen = {id(error)}
    while True:
        is_cause = error.__cause__ is not None
        before = error.__cause__ if is_cause or error.__suppress_context__ else error.__context__
        if before is None or id(before) in seen:
            return found
        seen.add(id(before))
        if isinstance(before, Portable):  # which brings those before it
            return [*found, (is_cause, before)]
        found.append((is_cause, before if _can_be_pickled(before) else _as_text(before)))
        error = before


def _can_be_pickled(error: BaseException) -> bool:
    try:
        twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - of bytes made in this line
        return type(twin) is type(error) and str(twin) == str(error)
    except Exception:
        return False


def _as_text(error: BaseException) -> ForeignError:
    kind = type(error)
    return ForeignError(f"{kind.__module__}.{kind.__qualname__}: {error}")


def _revived(
    kind: type[Portable], args: tuple[Any, ...], attributes: Mapping[str, Any], links: _Links, suppress_context: bool
) -> Portable:
    """Make an error as it was, whatever its constructor takes."""
    error = kind.__new__(kind, *args)
    builtin: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    builtin.__init__(error, *args)
    vars(error).update(attributes)
    after: BaseException = error
    for is_cause, before in links:
        if is_cause:
            after.__cause__ = before
        else:
            after.__context__ = before
        after = before
    error.__suppress_context__ = suppress_context
    return error


class StatekeepError(Portable):
    """Base of all errors raised by Statekeep, which pickle and copy keep as they are.

    Attributes:
        operation: name of the repository operation that failed (``"put"``), if known.
        key: the stored key that the error is about, if there is one.
        place: what it is the key of, as you named it: ``{"thread_id": "chat-1", "namespace": ""}``, if that is known.
            The text of the error shows it instead of the key, unless the stored record itself is damaged.

    The driver's own error, if any, is the ``__cause__``.
    """

    place: Mapping[str, object] | None = None
    _shows_key = False

    def __init__(self, message: str, *, operation: str | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.operation = operation
        self.key = key

    def __str__(self) -> str:
        where = {"key": self.key} if self._shows_key or not self.place else self.place
        named = {"operation": self.operation, **where}
        about = ", ".join(
            f"{name}={repr(value) if name == 'key' else shown(value)}" for name, value in named.items() if value
        )
        message = super().__str__()
        return f"{message} ({about})" if about else message


class InvalidInput(StatekeepError, ValueError):
    """An argument is wrong. The message says how to mend it.

    Attributes:
        field: the argument's name, or that of a part of it, if it has one.
    """

    def __init__(
        self, message: str, *, field: str | None = None, operation: str | None = None, key: str | None = None
    ) -> None:
        super().__init__(message, operation=operation, key=key)
        self.field = field


class MissingDependency(StatekeepError, ImportError):
    """A driver is not installed; the message is the command that installs it.

    Attributes:
        package: the driver's package.
        extra: the extra of Statekeep that brings it.
    """

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
    """The credentials are wrong, or they do not permit this operation.

    Or the TLS certificate of the server, or yours, is refused.
    """


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

    Attributes:
        channels: the names of these channels.
    """

    def __init__(self, channels: Collection[str], *, key: str | None = None) -> None:
        names = ", ".join(map(repr, sorted(channels)))
        super().__init__(f"no stored value for the referenced channels {names}; nothing was written", key=key)
        self.channels = frozenset(channels)


class CorruptRecord(StatekeepError):
    """Stored bytes are damaged, or not Statekeep's; ``key`` says where."""

    _shows_key = True


class TypeMismatch(CorruptRecord):
    """A stored value is sound JSON, and not of the type that it is read as.

    ``key`` is that of the item, or the id of the checkpoint. Nothing was changed: pass ``migrate=``, or read it without
    a type.

    Attributes:
        errors: what is wrong, as pydantic says it: dicts with ``type``, ``loc`` and ``msg``.
    """

    def __init__(
        self,
        message: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        operation: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, key=key)
        self.errors = [dict(error) for error in errors]


class Unsupported(StatekeepError):
    """The backend, server or client cannot do that."""


class WrongEventLoop(StatekeepError, RuntimeError):
    """Called from an event loop or thread in which waiting would block for ever."""


class ClientClosed(StatekeepError, RuntimeError):
    """A client, or what was built on it, was used after it was closed."""
