"""Archives as files: lines out and in, through any stream and compression."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import define, field

from ..domain import CorruptRecord, InvalidInput
from ..domain.shown import shown
from .codecs import SUFFIXES, Codec, Compression, Compressor, codec, compression_of

ArchiveFile = str | os.PathLike[str] | BinaryIO | io.RawIOBase | io.BufferedIOBase
"""A path, ``"-"`` for standard input or output, or an open binary stream, which stays open."""

LONGEST_LINE: Final = 1 << 30
"""Most bytes of a line: no service keeps a value of which base64 has more."""

LONGEST_HEADER: Final = 4096
"""Most bytes of the first line."""

FRAME: Final = 8 << 20
"""Bytes after which a frame of a compressed file ends with the next record."""

BUFFER: Final = 1 << 20
"""Bytes that are written at once."""

_PIECE: Final = 1 << 16
"""Bytes that are read at once."""

_COMPRESSED_PIECE: Final = 1 << 12
"""Of a compressed file: a hostile one may be a million times as large when it is read."""


def compression_for(file: ArchiveFile) -> Compression:
    """Return the compression that a file's name asks for."""
    return "" if is_stream(file) else SUFFIXES.get(Path(os.fspath(file)).suffix.lower(), "")  # type: ignore[arg-type]


def is_stream(file: ArchiveFile) -> bool:
    """Return whether this is no path.

    Raises:
        InvalidInput: it is neither a path nor a binary stream.
    """
    if isinstance(file, str | os.PathLike):
        return file == "-"
    if not (hasattr(file, "read") or hasattr(file, "write")) or hasattr(file, "encoding"):
        raise InvalidInput(f"file must be a path, '-' or a binary stream, got {shown(file)}", field="file")
    return True


# -- out


@define
class Output:
    """An archive that is written.

    Attributes:
        stream: takes the bytes; closed at the end if ``is_ours``.
        digest: of all lines so far.
        written: bytes of the file so far.
    """

    stream: BinaryIO
    is_ours: bool
    codec: Codec | None
    digest: Any = field(factory=hashlib.sha256)
    written: int = 0
    _frame: Compressor | None = None
    _in_frame: int = 0
    _buffer: list[bytes] = field(factory=list)
    _buffered: int = 0

    def write(self, data: bytes) -> None:
        """Write whole lines, or parts of one."""
        self.digest.update(data)
        if self.codec is not None:
            if self._frame is None:
                self._frame, self._in_frame = self.codec.compressor(), 0
            self._in_frame += len(data)
            data = self._frame.compress(data)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= BUFFER:
            self._flush()

    def end_unit(self) -> None:
        """Note that a thread, a log, an item or a cache entry is whole."""
        if self._in_frame >= FRAME:
            self._end_frame()

    def finish(self) -> None:
        """Write all that is held back, and have the disk keep it."""
        self._end_frame()
        self._flush()
        self.stream.flush()
        if self.is_ours:
            os.fsync(self.stream.fileno())

    def close(self) -> None:
        """Close the file, if it is ours. What was written stays: the export may go on."""
        if self.is_ours:
            if not self.stream.closed:
                self._flush()
                self.stream.close()

    def _end_frame(self) -> None:
        if self._frame is not None:
            self._buffer.append(self._frame.flush())
            self._buffered += len(self._buffer[-1])
            self._frame, self._in_frame = None, 0

    def _flush(self) -> None:
        for data in self._buffer:
            self._write_all(data)
        self._buffer, self._buffered = [], 0

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = self.stream.write(view)  # a raw stream may take less
            view = view[len(view) if count is None else count :]
        self.written += len(data)


def path_of(file: ArchiveFile) -> Path:
    """Return the path of a file that is no stream.

    Raises:
        InvalidInput: it is that of a directory.
    """
    path = Path(file)  # type: ignore[arg-type]
    if path.is_dir():
        raise InvalidInput(f"file must be the path of a file, and {path} is a directory", field="file")
    return path


def create(file: ArchiveFile, *, overwrite: bool) -> Output:
    """Open a new archive.

    Raises:
        InvalidInput: there is a file, and it is not to be overwritten; or a directory.
        OSError: it cannot be opened.
        MissingDependency: its name asks for a compression that is not installed.
    """
    compressed = codec(compression_for(file))
    if is_stream(file):
        return Output(sys.stdout.buffer if file == "-" else file, is_ours=False, codec=compressed)  # type: ignore[arg-type]
    path = path_of(file)
    try:
        stream = path.open("wb" if overwrite else "xb")
    except FileExistsError as error:
        raise InvalidInput(
            f"{path} is there: go on with it (resume), or replace it (overwrite)", field="file"
        ) from error
    return Output(stream, is_ours=True, codec=compressed)


# -- in


def cut_off(number: int) -> CorruptRecord:
    """Return the error about a file that ends before its end."""
    return CorruptRecord(f"the archive ends behind line {number}, without its last line: it was cut off")


@define
class Input:
    """An archive that is read line by line.

    Attributes:
        stream: has the bytes; closed at the end if ``is_ours``.
        read: bytes of the file that were read.
        number: of the last line that was returned.
        offset: bytes of lines that were returned; without compression, the place of the next line.
        frames: for a compressed file the end of the last whole frame: bytes of the file, and bytes of lines.
    """

    stream: BinaryIO
    is_ours: bool
    read: int = 0
    number: int = 0
    offset: int = 0
    frames: tuple[int, int] = (0, 0)
    is_compressed: bool = False
    _parts: list[bytes] = field(factory=list)

    def close(self) -> None:
        """Close the file, if it is ours."""
        if self.is_ours:
            self.stream.close()

    def lines(self) -> Iterator[bytes]:
        """Return the lines with their ends.

        Raises:
            CorruptRecord: a line is too long, the file ends within a line, or its compression is damaged.
        """
        left: list[bytes] = []
        length = 0
        for piece in self._decompressed():
            first, *rest = piece.split(b"\n")
            left.append(first)
            length += len(first)
            if not self.number and length > LONGEST_HEADER:
                raise InvalidInput(
                    f"file is no archive: its first line is longer than {LONGEST_HEADER} bytes", field="file"
                )
            if length > LONGEST_LINE:
                raise CorruptRecord(f"line {self.number + 1} is longer than {LONGEST_LINE} bytes")
            for part in rest:
                yield self._line(b"".join([*left, b"\n"]))
                left, length = [part], len(part)
        if length:
            raise cut_off(self.number)

    def _line(self, line: bytes) -> bytes:
        self.number += 1
        self.offset += len(line)
        return line

    def _read(self, size: int) -> bytes:
        data = self.stream.read(size) or b""
        self.read += len(data)
        return data

    def _decompressed(self) -> Iterator[bytes]:
        start = self._read(_COMPRESSED_PIECE)
        found = codec(compression_of(start))
        self.is_compressed = found is not None
        if found is None:
            while start:
                yield start
                start = self._read(_PIECE)
            return
        out = 0
        frame = found.decompressor()
        data, consumed, is_within = start, 0, False
        while data:
            try:
                text = frame.decompress(data)
            except found.errors as error:
                raise CorruptRecord(f"the compressed data behind line {self.number} is damaged: {error}") from error
            out += len(text)
            if text:
                yield text
            if frame.eof:
                rest = frame.unused_data
                consumed += len(data) - len(rest)
                self.frames = (consumed, out)
                frame, is_within = found.decompressor(), False
                data = rest or self._read(_COMPRESSED_PIECE)
            else:
                is_within = True
                consumed += len(data)
                data = self._read(_COMPRESSED_PIECE)
        if is_within:
            raise cut_off(self.number)


def open_input(file: ArchiveFile) -> Input:
    """Open an archive to read it.

    Raises:
        OSError: it cannot be opened.
        InvalidInput: ``file`` is neither the path of a file nor a binary stream.
    """
    if is_stream(file):
        return Input(sys.stdin.buffer if file == "-" else file, is_ours=False)  # type: ignore[arg-type]
    return Input(path_of(file).open("rb"), is_ours=True)
