"""Requests to another service than that of the connection."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ...repositories.faces import Executor


@frozen
class Elsewhere:
    """A request that a client of its own answers.

    Attributes:
        client: answers it.
        request: as the client takes it.
    """

    client: Executor
    request: Any
