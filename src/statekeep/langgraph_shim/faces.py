"""What savers and stores have in common: both faces of one backend, and their end."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from ..domain import InvalidInput, WrongEventLoop
from ..domain.shown import once_made
from ..repositories.operation import Operation, arun, run


class Face(Protocol):
    """A repository, sync or async."""

    backend: Any

    def close(self) -> Any: ...


SyncT = TypeVar("SyncT", bound=Face)
AsyncT = TypeVar("AsyncT", bound=Face)
ResultT = TypeVar("ResultT")
FaceT = TypeVar("FaceT", bound=Face)


def checked_repository(repository: Any, wanted: type[FaceT], other: type[Face], instead: str) -> FaceT:
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


class Faces(Generic[SyncT, AsyncT]):
    """Runs operations whose requests are functions of a repository, on either face of one backend."""

    _sync: SyncT
    _async: AsyncT

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sync.backend!r})"

    def _enter_sync(self) -> SyncT:
        return self._sync

    def _run(self, operation: Operation[ResultT]) -> ResultT:
        keep = self._enter_sync()
        return run(operation, lambda request: request(keep))

    async def _arun(self, operation: Operation[ResultT]) -> ResultT:
        return await arun(operation, lambda request: request(self._async))

    async def aclose(self) -> None:
        """Close what was opened for this; a client that you passed stays open. Idempotent."""
        await self._async.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class Blocking(Faces[SyncT, AsyncT]):
    """Serves blocking code and event loops alike."""

    def close(self) -> None:
        """Close what was opened for this; a client that you passed stays open. Idempotent."""
        self._sync.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Awaiting(Faces[SyncT, AsyncT]):
    """Serves event loops, and blocking code in threads in which none runs."""

    _twins: ClassVar[str]
    """Examples of what to await instead."""

    def _enter_sync(self) -> SyncT:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._sync
        raise WrongEventLoop(
            f"{type(self).__name__}: a sync method was called in the thread of a running event loop, which it would "
            f"block. Await the async twin instead ({self._twins} ...), or call from another thread "
            "(await asyncio.to_thread(...))."
        )
