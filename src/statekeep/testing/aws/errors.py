"""The errors that a service answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...domain.errors import Portable


class AwsError(Portable):
    """An error of the service.

    Args:
        code: name of the error shape, such as ``ResourceNotFoundException``.
        message: what the client is told.
        status: HTTP status; ``None`` for that of the operation's error shape, or else 400.
        members: further members of the error shape.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = dict(members or {})


class ConnectionCut(Portable):
    """The server is to close the connection without an answer."""


def invalid(reason: str, message: str, field: str | None = None) -> AwsError:
    """Return a ``ValidationException`` with the members that tell why.

    It is for the services that have them.
    """
    fields = [{"name": field, "message": message}] if field else []
    return AwsError("ValidationException", message, members={"reason": reason, "fieldList": fields})
