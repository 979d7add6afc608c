"""Export and restore, for blocking code and for event loops."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import frozen

from ..domain import CorruptRecord, InvalidInput, Unsupported
from ..repositories.cache import AsyncCacheRepository, CacheRepository
from ..repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ..repositories.connection import AsyncConnection, Connection
from ..repositories.items import AsyncItemRepository, ItemRepository
from ..repositories.logs import AsyncLogRepository, LogRepository
from ..repositories.operation import Operation, arun, named, run
from ..repositories.validation import boolean, function_or_none, some_of
from .codecs import begins, codec
from .exporting import Local, write_all
from .files import LONGEST_HEADER, ArchiveFile, Input, Output, compression_for, create, is_stream, open_input, path_of
from .lines import KINDS, header_line
from .reading import Reader, Unit
from .report import ArchiveProgress, Counts, Progress, Report
from .restoring import restore_all

ResultT = TypeVar("ResultT")

Source = Connection | CheckpointRepository | ItemRepository | LogRepository | CacheRepository
AsyncSource = (
    AsyncConnection | AsyncCheckpointRepository | AsyncItemRepository | AsyncLogRepository | AsyncCacheRepository
)

_BLOCKING: Final = (CheckpointRepository, ItemRepository, LogRepository, CacheRepository, Connection)
_AWAITING: Final = (
    AsyncCheckpointRepository,
    AsyncItemRepository,
    AsyncLogRepository,
    AsyncCacheRepository,
    AsyncConnection,
)


_NOTHING: Final[Unit] = (-1, None)
"""The unit before the first one."""


# -- arguments


def _parts(value: Any, field: str, faces: tuple[type[Any], ...]) -> dict[str, Any]:
    """Return the repositories of a connection, or the one that was passed, by kind."""
    *repositories, connection = faces
    if isinstance(value, connection):
        found: dict[str, Any] = {}
        for kind in KINDS:
            with suppress(Unsupported):  # the service keeps none
                found[kind] = getattr(value, kind)
        return found
    for kind, face in zip(KINDS, repositories, strict=True):
        if isinstance(value, face):
            return {kind: value}
    names = ", ".join(face.__name__ for face in faces)
    raise InvalidInput(f"{field} must be one of {names}, got {type(value).__name__}", field=field)


# -- export


def _checked(
    kinds: Any, resume: Any, overwrite: Any, progress: Any
) -> tuple[tuple[str, ...] | None, bool, bool, Progress | None]:
    return (
        some_of("kinds", kinds, KINDS),
        boolean("resume", resume),
        boolean("overwrite", overwrite),
        function_or_none("progress", progress),
    )


def _exported(
    parts: Mapping[str, Any],
    file: ArchiveFile,
    kinds: tuple[str, ...] | None,
    resume: bool,
    overwrite: bool,
    progress: Progress | None,
) -> Operation[ArchiveProgress]:
    for kind in kinds or ():
        if kind not in parts:
            raise Unsupported(f"the source keeps no {kind}")
    wanted = tuple(parts) if kinds is None else kinds
    if "cache" in wanted and not hasattr(parts["cache"].backend, "list"):
        raise Unsupported("the source cannot list its cache entries; leave them out by kinds=")
    opened: tuple[Output, Counts, Unit, bool] = yield Local(partial(_opened, file, wanted, resume, overwrite))
    output, counts, unit, is_whole = opened
    report = Report(progress, lambda: output.written, counts)
    body = _nothing() if is_whole else write_all(parts, output, report, wanted, unit)
    yield from _closing(body, output.close)
    return report.progress()


def _nothing() -> Operation[None]:
    yield from ()


def _closing(body: Operation[None], close: Callable[[], None]) -> Operation[None]:
    """Do something, and close a file at its end, which may take a while."""
    try:
        yield from body
    except GeneratorExit:  # nobody answers any more
        close()
        raise
    except BaseException:
        yield Local(close)
        raise
    yield Local(close)


def _opened(
    file: ArchiveFile, kinds: tuple[str, ...], resume: bool, overwrite: bool
) -> tuple[Output, Counts, Unit, bool]:
    """Open a file to write it.

    Returns it with what it has already: counts, the last unit, and whether it is whole.
    """
    if not resume or is_stream(file):
        if resume:
            raise InvalidInput("resume needs a file: a stream cannot be gone on with", field="resume")
        return create(file, overwrite=overwrite), Counts(), _NOTHING, False
    path = path_of(file)
    if not path.exists() or not path.stat().st_size:
        return create(file, overwrite=True), Counts(), _NOTHING, False
    return _resumed(path, kinds)


def _resumed(path: Path, kinds: tuple[str, ...]) -> tuple[Output, Counts, Unit, bool]:
    """Read a file as far as it is whole, and cut off the rest."""
    source = open_input(path)
    reader = Reader(source)
    # Where the file may be cut: before each unit, as the one before it is whole then.
    cuts: deque[_Cut] = deque()
    is_whole = False
    try:
        with suppress(CorruptRecord):
            while True:
                before = _Cut.of(reader)
                if reader.next()[1] is None:
                    is_whole = True
                    break
                if reader.unit != before.unit:
                    cuts.append(before)
                    kept = source.frames[1] if source.is_compressed else source.offset
                    while len(cuts) > 1 and cuts[1].offset <= kept:
                        cuts.popleft()
    finally:
        source.close()
    _check_begun(path, reader, kinds)
    output = Output(path.open("r+b"), is_ours=True, codec=codec(compression_for(path)))
    if is_whole:
        output.written = source.read
        return output, reader.counts, reader.unit, True
    if source.is_compressed:
        place, offset = source.frames
        cut = next((cut for cut in [*cuts, _Cut.of(reader)] if cut.offset == offset), None)
    else:
        cut = cuts[-1] if cuts else None
        place = 0 if cut is None else cut.offset
    if cut is None or cut.unit == _NOTHING:
        place, cut = 0, _Cut(0, hashlib.sha256(), Counts(), _NOTHING)
    output.stream.truncate(place)
    output.stream.seek(place)
    output.written, output.digest = place, cut.digest
    return output, cut.counts, cut.unit, False


@frozen
class _Cut:
    """A place in an archive where records are whole.

    Attributes:
        offset: bytes of lines before it.
        digest: of these.
        counts: of the records before it.
        unit: the last one of them.
    """

    offset: int
    digest: Any
    counts: Counts
    unit: Unit

    @classmethod
    def of(cls, reader: Reader) -> _Cut:
        """Return the place behind the last line that was read."""
        return cls(reader.source.offset, reader.digest(), reader.counts.copy(), reader.unit)


def _check_begun(path: Path, reader: Reader, kinds: tuple[str, ...]) -> None:
    """Check that a file is one that this export began.

    Raises:
        InvalidInput: it is another one.
    """
    source = reader.source
    compression = compression_for(path)
    if reader.header is None:
        with path.open("rb") as stream:
            start = stream.read(LONGEST_HEADER)
        if not (begins(start, compression) if compression else header_line(kinds).startswith(start)):
            raise InvalidInput(f"{path} is no archive that was begun with the same kinds", field="file")
        return
    if source.is_compressed is not bool(compression):
        raise InvalidInput(f"{path} is compressed in another way than its name says", field="file")
    if reader.header.kinds != kinds:
        has = ", ".join(reader.header.kinds)
        raise InvalidInput(f"{path} was begun with the kinds {has}: pass the same to go on", field="kinds")


# -- restore


def _restored(
    parts: Mapping[str, Any], file: ArchiveFile, kinds: tuple[str, ...] | None, progress: Progress | None
) -> Operation[ArchiveProgress]:
    source: Input = yield Local(partial(open_input, file))
    report = Report(progress, lambda: source.read)
    yield from _closing(restore_all(parts, Reader(source), report, kinds), source.close)
    return report.progress()


def _verified(file: ArchiveFile, progress: Progress | None) -> Operation[ArchiveProgress]:
    source: Input = yield Local(partial(open_input, file))
    reader = Reader(source)
    report = Report(progress, lambda: source.read, reader.counts)
    yield from _closing(_read(reader, report), source.close)
    return report.progress()


def _read(reader: Reader, report: Report) -> Operation[None]:
    while (yield Local(reader.batch)):
        report.add()


# -- the two faces


def _run(operation: Operation[ResultT]) -> ResultT:
    def execute(request: Any) -> Any:
        if isinstance(request, Local):
            return request.do()
        return run(request.operation, request.repository.executor.execute)

    return run(operation, execute)


async def _arun(operation: Operation[ResultT]) -> ResultT:
    async def execute(request: Any) -> Any:
        if isinstance(request, Local):
            return await asyncio.to_thread(request.do)
        return await arun(request.operation, request.repository.executor.aexecute)

    return await arun(operation, execute)


def export(
    source: Source,
    file: ArchiveFile,
    *,
    kinds: Iterable[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ArchiveProgress:
    """Write all records of a repository or connection into a file, as JSON lines.

    The same records make the same bytes, whatever backend they are in and in whatever order they were stored. The last
    line has counts and a digest, so that a file that was cut off is recognized. ``docs/backup.md`` describes it.

    Memory is bounded: a page of checkpoints, and the ids of all threads. A thread of more than 16 MB goes through a
    temporary file. Records that are written meanwhile may be missing; a thread is as it was when its export began.

    Args:
        source: a connection, or a repository of checkpoints, items, logs or cache entries.
        file: a path, ``"-"`` for standard output, or a binary stream, which stays open and need not be seekable. A path
            that ends with ``.gz`` or ``.zst`` is compressed.
        kinds: some of ``"checkpoints"``, ``"items"``, ``"logs"`` and ``"cache"``; ``None`` for all that the source
            keeps.
        resume: go on with a file that was cut off, behind its last whole thread, item, log or cache entry. What is in
            it stays as it is, be the source as it may by now. One that is whole already is left alone.
        overwrite: replace a file that is there.
        progress: function that gets the counts so far, after each thread and each page of others.

    Returns:
        Counts of everything in the file.

    Raises:
        InvalidInput: an argument is wrong, or the file is there and neither ``resume`` nor ``overwrite`` was passed, or
            it is to be resumed and none that the same export began.
        Unsupported: the source does not keep, or cannot list, one of ``kinds``.
        MissingDependency: the path ends with ``.zst``, and ``zstandard`` is not installed.
        OSError: the file cannot be written.
        StatekeepError: reading failed; a note says at which record.

    Example:
        >>> import io, statekeep
        >>> from statekeep import archive
        >>> file = io.BytesIO()
        >>> with statekeep.connect("memory:") as keep:
        ...     item = keep.items.put(("users", "ada"), "theme", "dark")
        ...     archive.export(keep, file).items
        1
        >>> file.getvalue().splitlines()[0]
        b'{"kind":"archive","format":"statekeep","version":1,"kinds":["checkpoints","items","logs","cache"]}'
    """
    arguments = _checked(kinds, resume, overwrite, progress)
    return _run(named("export", _exported(_parts(source, "source", _BLOCKING), file, *arguments)))


async def aexport(
    source: AsyncSource,
    file: ArchiveFile,
    *,
    kinds: Iterable[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ArchiveProgress:
    """Write all records into a file in asyncio code. See :func:`export`.

    Worker threads write the file.

    Example:
        >>> import asyncio, io, statekeep
        >>> from statekeep import archive
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         await keep.items.put(("users", "ada"), "theme", "dark")
        ...         return (await archive.aexport(keep, io.BytesIO())).items
        >>> asyncio.run(main())
        1
    """
    arguments = _checked(kinds, resume, overwrite, progress)
    return await _arun(named("aexport", _exported(_parts(source, "source", _AWAITING), file, *arguments)))


def restore(
    file: ArchiveFile, target: Source, *, kinds: Iterable[str] | None = None, progress: Progress | None = None
) -> ArchiveProgress:
    """Store the records of an archive, exactly as they were exported.

    Records of the target with the same ids are replaced, but for pending writes with ``idx >= 0``, which stay; all
    others of the target are left alone. A log is replaced as a whole. What has ended by now is left out. You may repeat
    a restore, also one that was cut off. Memory is bounded: some records, and at most 64 MB of the values of a thread.

    Each line is checked before it is stored, and lines are stored as whole records; the digest is checked at the end.
    To know before that the file is whole, call :func:`verify`.

    Args:
        file: a path, ``"-"`` for standard input, or a binary stream. Compression is recognized by the first bytes.
        target: a connection or repository, of any backend.
        kinds: as for :func:`export`; others are left out.
        progress: function that gets the counts so far.

    Returns:
        Counts of what was stored.

    Raises:
        CorruptRecord: a line is damaged, or the file was cut off; the message names the line. What came before it is
            stored.
        InvalidInput: the file is no archive, or an argument is wrong.
        Unsupported: the archive is of a later version, or the target keeps no such records.
        OSError: the file cannot be read.
        StatekeepError: writing failed; a note says at which record.

    Example:
        >>> import io, statekeep
        >>> from statekeep import archive
        >>> file = io.BytesIO()
        >>> with statekeep.connect("memory:") as old, statekeep.connect("memory:") as new:
        ...     item = old.items.put(("users", "ada"), "theme", "dark")
        ...     exported = archive.export(old, file)
        ...     restored = archive.restore(io.BytesIO(file.getvalue()), new)
        ...     new.items.get(("users", "ada"), "theme") == item
        True
    """
    arguments = some_of("kinds", kinds, KINDS), function_or_none("progress", progress)
    return _run(named("restore", _restored(_parts(target, "target", _BLOCKING), file, *arguments)))


async def arestore(
    file: ArchiveFile, target: AsyncSource, *, kinds: Iterable[str] | None = None, progress: Progress | None = None
) -> ArchiveProgress:
    """Store the records of an archive in asyncio code. See :func:`restore`.

    Worker threads read the file.

    Example:
        >>> import asyncio, io, statekeep
        >>> from statekeep import archive
        >>> async def main() -> int:
        ...     file = io.BytesIO()
        ...     async with statekeep.aconnect("memory:") as old, statekeep.aconnect("memory:") as new:
        ...         await old.items.put(("users", "ada"), "theme", "dark")
        ...         await archive.aexport(old, file)
        ...         return (await archive.arestore(io.BytesIO(file.getvalue()), new)).items
        >>> asyncio.run(main())
        1
    """
    arguments = some_of("kinds", kinds, KINDS), function_or_none("progress", progress)
    return await _arun(named("arestore", _restored(_parts(target, "target", _AWAITING), file, *arguments)))


def verify(file: ArchiveFile, *, progress: Progress | None = None) -> ArchiveProgress:
    """Read an archive to its end, and check everything that a restore would.

    Args:
        file: as for :func:`restore`.
        progress: function that gets the counts so far.

    Returns:
        Counts of what is in it.

    Raises:
        CorruptRecord: a line is damaged, or the file was cut off; the message names the line.
        InvalidInput: the file is no archive.
        Unsupported: the archive is of a later version.
        OSError: the file cannot be read.

    Example:
        >>> import io, statekeep
        >>> from statekeep import archive
        >>> file = io.BytesIO()
        >>> with statekeep.connect("memory:") as keep:
        ...     exported = archive.export(keep, file)
        >>> archive.verify(io.BytesIO(file.getvalue()[:-20]))
        Traceback (most recent call last):
        ...
        statekeep.domain.errors.CorruptRecord: the archive ends behind line 1, without its last line: it was cut off ...
    """
    return _run(named("verify", _verified(file, function_or_none("progress", progress))))
