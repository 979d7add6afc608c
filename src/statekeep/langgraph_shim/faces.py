"""Both faces of savers, stores and caches: blocking, and for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from ..domain import CheckpointQuery, InvalidInput, WrongEventLoop
from ..domain.shown import once_made
from ..repositories.faces import Backend, aclosing_on_error, pinged
from ..repositories.operation import Operation, arun, run
from ..telemetry import hook

ResultT = TypeVar("ResultT")
FaceT = TypeVar("FaceT")


def checked_repository(repository: Any, wanted: type[FaceT], other: type[Any], instead: str) -> FaceT:
    """Return ``repository`` if it is of the wanted face.

    Raises:
        InvalidInput: it is not; if it is of the other face, the message names the class to use ``instead``.
    """
    if isinstance(repository, wanted):
        return repository
    raise InvalidInput(
        f"repository must be of type {wanted.__name__}, got {type(repository).__name__}"
        + (f"; use {instead}" if isinstance(repository, other) else ""),
        field="repository",
    )


def executing(keep: Any) -> Callable[[Any], Any]:
    """Answer requests that are functions of a repository."""
    return partial(_answered, keep)


def _answered(keep: Any, request: Any) -> Any:
    return request(keep)


def _place(where: object) -> dict[str, Any]:
    """Return the place that a config or query names, for observers.

    Faults of it are told by the operation.
    """
    if isinstance(where, CheckpointQuery):
        named = {"thread_id": where.thread_id, "namespace": where.namespace}
        return {name: value for name, value in named.items() if value is not None}
    found = where.get("configurable") if isinstance(where, Mapping) else None
    names = {"thread_id": "thread_id", "checkpoint_ns": "namespace"}
    return {names[name]: found[name] for name in names if name in found} if isinstance(found, Mapping) else {}


class Faces:
    """Runs operations on one backend, blocking or in an event loop."""

    _backend: Backend
    checks_on_entry = False
    """Whether to ask for a sign of life when it is entered with ``async with``."""
    _execute: Callable[[Any], Any]
    """Answers a request, blocking."""
    _aexecute: Callable[[Any], Awaitable[Any]]

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._backend!r})"

    def _enter_sync(self) -> None:
        """Refuse a blocking call, if this thread must not wait."""

    def _run(self, operation: Operation[ResultT], name: str = "", where: object = None) -> ResultT:
        """Run an operation.

        Args:
            operation: on the backend, or of calls of a repository.
            name: as observers are told of it; one of repository calls has none, as they are told of these.
            where: LangGraph's config or a query, of the thread.
        """
        if name and hook.observers:
            with hook.watching(name, self._backend, _place(where)):
                return run(operation, self._execute)
        return run(operation, self._execute)

    async def _arun(self, operation: Operation[ResultT], name: str = "", where: object = None) -> ResultT:
        if name and hook.observers:
            with hook.watching(name, self._backend, _place(where)):
                return await arun(operation, self._aexecute)
        return await arun(operation, self._aexecute)

    def ping(self) -> float:
        """Ask the server for a sign of life: one round trip, none with ``memory:``.

        Returns:
            The seconds that the answer took, those to connect included.

        Raises:
            Unavailable: no answer until the deadline.
            AccessDenied: the credentials are wrong.
        """
        self._enter_sync()
        if hook.observers:
            with hook.watching("ping", self._backend):
                return run(pinged(self._backend), self._backend.execute)
        return run(pinged(self._backend), self._backend.execute)

    async def aping(self) -> float:
        """As :meth:`ping`."""
        if hook.observers:
            with hook.watching("ping", self._backend):
                return await arun(pinged(self._backend), self._backend.aexecute)
        return await arun(pinged(self._backend), self._backend.aexecute)

    async def aclose(self) -> None:
        """Close what was opened for this; a client that you passed stays open. Idempotent."""
        await self._backend.aclose()

    async def __aenter__(self) -> Self:
        if self.checks_on_entry:
            async with aclosing_on_error(self.aclose):
                await self.aping()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Blocking(Faces):
    """Serves blocking code and event loops alike."""

    def close(self) -> None:
        """Close what was opened for this; a client that you passed stays open. Idempotent."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Awaiting(Faces):
    """Serves event loops, and blocking code in threads in which none runs."""

    _twins: ClassVar[str]
    """Examples of what to await instead."""

    def _enter_sync(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise WrongEventLoop(
            f"{type(self).__name__}: a sync method was called in the thread of a running event loop, which it would "
            f"block. Await the async twin instead ({self._twins} ...), or call from another thread "
            "(await asyncio.to_thread(...))."
        )

    def _run(self, operation: Operation[ResultT], name: str = "", where: object = None) -> ResultT:
        self._enter_sync()
        return super()._run(operation, name, where)
