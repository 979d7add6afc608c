"""The doctor: all checks of a connection, whatever service is behind it."""

from __future__ import annotations

import asyncio
from typing import Any

from ...domain import InvalidInput, StatekeepError
from ...repositories.connection import AsyncConnection, Backends, Connection
from ...repositories.encrypted_metadata import EncryptedMetadata
from ...repositories.operation import Operation, arun, named, run
from . import general
from .elsewhere import Elsewhere
from .finding import Finding, guarded, ok


def examine(keep: Connection, *, write: bool = False) -> list[Finding]:
    """Check a connection and the service behind it, and say what to do.

    It changes nothing. In Valkey one script makes a key beside yours and deletes it at once; it needs about 25 round
    trips, and 4 for each further primary of a cluster. What a managed service does not show is ``unknown``.

    Args:
        keep: the connection.
        write: try on AWS what cannot be tried without writing: an event, or a session, that is deleted at once.

    Returns:
        The findings, in the order of the checks. An error of the service is a finding, too.

    Raises:
        InvalidInput: ``keep`` is no connection.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     [(finding.name, finding.state) for finding in examine(keep)]
        [('libraries', 'ok'), ('reach', 'ok'), ('clock', 'ok'), ('life', 'ok'), ('ttl', 'ok')]
    """
    if not isinstance(keep, Connection):
        raise InvalidInput(f"keep must be a Connection, got {type(keep).__name__}", field="keep")
    backends = keep.backends
    findings, operation = _begun(backends, write)

    def execute(request: Any) -> Any:
        if isinstance(request, Elsewhere):
            return request.client.execute(request.request)
        return backends.checkpoints.execute(request)

    return findings + run(operation, execute)


async def aexamine(keep: AsyncConnection, *, write: bool = False) -> list[Finding]:
    """Check a connection as :func:`examine` does, from an event loop.

    Args:
        keep: the connection.
        write: as there.

    Raises:
        InvalidInput: ``keep`` is no connection for asyncio.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> bool:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         return all(finding.state == "ok" for finding in await aexamine(keep))
        >>> asyncio.run(main())
        True
    """
    if not isinstance(keep, AsyncConnection):
        raise InvalidInput(f"keep must be an AsyncConnection, got {type(keep).__name__}", field="keep")
    backends = keep.backends
    findings, operation = await asyncio.to_thread(_begun, backends, write)  # it reads files

    async def execute(request: Any) -> Any:
        if isinstance(request, Elsewhere):
            return await request.client.aexecute(request.request)
        return await backends.checkpoints.aexecute(request)

    return findings + await arun(operation, execute)


def _begun(backends: Backends, write: bool) -> tuple[list[Finding], Operation[list[Finding]]]:
    """Return the findings about this machine, and the operation that makes the others."""
    checkpoints: Any = backends.checkpoints
    if isinstance(checkpoints, EncryptedMetadata):
        checkpoints = checkpoints.backend
    findings = general.libraries(getattr(getattr(checkpoints, "client", None), "library", None))
    return findings, named("examine", _of_service(checkpoints, backends, write))


def _of_service(checkpoints: Any, backends: Backends, write: bool) -> Operation[list[Finding]]:
    """Choose the checks by the kind of backend, and import no more than they need."""
    modules = [base.__module__ for base in type(checkpoints).__mro__]
    kind = next((name.removeprefix(_PACKAGE) for name in modules if name.startswith(_PACKAGE)), "")
    items: Any = backends.items
    match kind.partition(".")[0]:
        case "valkey":
            from .valkey.examination import Subject, examined

            is_ours = bool(getattr(checkpoints.client, "is_embedded", False))
            return examined(Subject(checkpoints, items, is_ours))
        case "agentcore":
            from .aws import agentcore

            return agentcore(checkpoints, items, write=write)
        case "bedrock_sessions":
            from .aws import bedrock_sessions

            return bedrock_sessions(checkpoints, write=write)
    return _of_any(checkpoints, is_in_memory=kind.startswith("memory."))


_PACKAGE = f"{Connection.__module__.rpartition('.')[0]}."


def _of_any(checkpoints: Any, *, is_in_memory: bool) -> Operation[list[Finding]]:
    """Check what any service has: a sign of life, and a clock."""
    try:
        findings = yield from general.reach(checkpoints, SLOW)
    except StatekeepError as error:
        return [general.unreachable(error)]
    findings += yield from guarded("clock", general.clock(checkpoints, CLOCKS))
    if is_in_memory:
        findings.append(ok("life", "What is kept in this process is gone when the connection is closed."))
    if hasattr(checkpoints, "ttl"):
        findings.append(general.lives(checkpoints.ttl, getattr(checkpoints, "refresh_on_read", False)))
    return findings


SLOW = 0.1
"""Seconds from which on a round trip is slow, to a service of which nothing is known."""

CLOCKS = 2.0
"""Seconds that clocks may be apart."""
