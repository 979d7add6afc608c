"""Compression of archives.

A file is a row of frames, each of which is whole by itself. A frame ends where a thread, a log or an item does, so that
an export that was cut off goes on behind the last frame.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from attrs import field, frozen

from ..domain import MissingDependency

Compression = Literal["", "gzip", "zstd"]
"""How a file is compressed; ``""``: not at all."""

SUFFIXES: Final[dict[str, Compression]] = {".gz": "gzip", ".zst": "zstd"}

_MAGIC: Final[dict[bytes, Compression]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}

_GZIP: Final = 31
"""Window bits of zlib that stand for a gzip file. Its header has neither a name nor a time then."""


class Compressor(Protocol):
    """Makes one frame."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Decompressor(Protocol):
    """Reads one frame."""

    @property
    def eof(self) -> bool:
        """Whether the frame is at its end."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Bytes that came behind it."""
        ...

    def decompress(self, data: bytes, /) -> bytes: ...


@frozen
class Codec:
    """How frames are made and read, and the errors of those that are damaged."""

    compressor: Callable[[], Compressor]
    decompressor: Callable[[], Decompressor]
    errors: tuple[type[Exception], ...] = field(default=())


def compression_of(start: bytes) -> Compression:
    """Return how a file is compressed that starts with these bytes."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def begins(start: bytes, compression: Compression) -> bool:
    """Return whether a file of this compression may begin with these bytes."""
    return any(name == compression and magic.startswith(start[: len(magic)]) for magic, name in _MAGIC.items())


def codec(compression: Compression) -> Codec | None:
    """Return the codec of a compression, ``None`` for no compression.

    Raises:
        MissingDependency: it is that of zstd, and ``zstandard`` is not installed.
    """
    if not compression:
        return None
    if compression == "gzip":
        return Codec(
            lambda: zlib.compressobj(6, zlib.DEFLATED, _GZIP), lambda: zlib.decompressobj(_GZIP), (zlib.error,)
        )
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise MissingDependency("zstandard", "zstd") from error
    compressor: Any = zstandard.ZstdCompressor(level=3)
    decompressor: Any = zstandard.ZstdDecompressor()
    return Codec(compressor.compressobj, decompressor.decompressobj, (zstandard.ZstdError,))
