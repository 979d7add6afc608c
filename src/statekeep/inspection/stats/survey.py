"""Surveys: how much is kept, of which kind, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...domain import InvalidInput
from ...domain.shown import shown
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.encrypted_metadata import EncryptedMetadata
from ...repositories.operation import Operation, arun, named, run
from ...repositories.validation import count
from ...repositories.valkey.backend import ValkeyBackend
from . import listing, valkey
from .models import Stats
from .sums import Sums

LARGEST: Final = 10

Progress = Callable[[int, int | None], object]
"""Gets how many keys or records were looked at, and of how many; ``None`` if nobody knows."""


class Survey:
    """A survey of what is kept behind a connection.

    Valkey is looked through by SCAN, a thousand keys at a time, and each key under the prefix is asked for its MEMORY
    USAGE: about 2 round trips for a thousand keys, and no command that keeps the server from others. Elsewhere all
    records are listed, and the lengths of their values are added up; AWS charges for these calls.

    In memory is what sums take: 131,072 threads, and as many namespaces, logs and namespaces of the cache, however many
    there are.

    Args:
        keep: the connection, of either face.
        sample: in Valkey look at about so many keys, and estimate the rest; elsewhere at so many threads, namespaces
            and logs. ``None`` for all.
        largest: how many of the largest threads, namespaces and logs are named.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     item = keep.items.put(("users", "ada"), "theme", "dark")
        ...     stats = Survey(keep).run()
        >>> stats.scope, [(kind.kind, kind.keys, kind.bytes) for kind in stats.kinds], stats.namespaces[0].namespace
        ('whole', [('items', 1, 6)], ('users', 'ada'))
    """

    def __init__(
        self, keep: Connection | AsyncConnection, *, sample: int | None = None, largest: int = LARGEST
    ) -> None:
        if not isinstance(keep, Connection | AsyncConnection):
            raise InvalidInput(f"keep must be a connection, got {shown(keep)}", field="keep")
        if sample is not None and count("sample", sample) < 1:
            raise InvalidInput("sample must be 1 or more", field="sample")
        self._sample = sample
        self._largest = count("largest", largest)
        self._backends = keep.backends
        checkpoints: Any = self._backends.checkpoints
        self._backend: Any = checkpoints.backend if isinstance(checkpoints, EncryptedMetadata) else checkpoints
        self._sums = Sums("memory" if isinstance(self._backend, ValkeyBackend) else "lengths")

    @property
    def so_far(self) -> Stats:
        """The sums so far; ``partial`` until the survey has come to its end."""
        return self._sums.stats(self._largest)

    def run(self, progress: Progress | None = None) -> Stats:
        """Look through everything, blocking.

        You may stop it by an exception, such as that of Ctrl-C: :attr:`so_far` has what was found until then.

        Args:
            progress: called after each request.

        Raises:
            StatekeepError: the service does not answer, or refuses to.
        """

        def execute(step: Any) -> Any:
            if isinstance(step, listing.Step):
                reply = run(step.operation, step.backend.execute)
            else:
                reply = self._backend.execute(step)
            self._tell(progress)
            return reply

        run(self._operation(), execute)
        self._tell(progress)
        return self.so_far

    async def arun(self, progress: Progress | None = None) -> Stats:
        """Look through everything as :meth:`run` does, from an event loop.

        Args:
            progress: called after each request.
        """

        async def execute(step: Any) -> Any:
            if isinstance(step, listing.Step):
                reply = await arun(step.operation, step.backend.aexecute)
            else:
                reply = await self._backend.aexecute(step)
            self._tell(progress)
            return reply

        await arun(self._operation(), execute)
        self._tell(progress)
        return self.so_far

    def _tell(self, progress: Progress | None) -> None:
        if progress is not None:
            progress(self._sums.looked, self._sums.of_keys)

    def _operation(self) -> Operation[None]:
        self._sums = Sums(self._sums.measured)
        backend = self._backend
        if isinstance(backend, ValkeyBackend):
            return named("stats", valkey.survey(self._sums, backend.prefix, backend.client.cluster, self._sample))
        return named("stats", listing.survey(self._sums, self._backends, self._sample))
