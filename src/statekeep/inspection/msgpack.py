"""MessagePack as JSON-like values, without making any object that it names.

LangGraph's serializer writes objects as extensions that hold the module, the name and the arguments of what makes them
again. Here the names stay names: nothing is imported, and nothing is called. Lists and texts that are not shown are
passed over, so a large value takes little memory.
"""

from __future__ import annotations

import struct
from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..domain.errors import Portable
from .limits import TYPE, Cutter

WORK: Final = 3_000_000
"""Values that are passed over at most; it takes about a second."""


class Damaged(Portable, ValueError):
    """These bytes are no MessagePack."""


class _Exhausted(Portable):
    """Too much was looked at already."""


_FIXED: Final[Mapping[int, tuple[str, int]]] = {
    0xCA: (">f", 4),
    0xCB: (">d", 8),
    0xCC: (">B", 1),
    0xCD: (">H", 2),
    0xCE: (">I", 4),
    0xCF: (">Q", 8),
    0xD0: (">b", 1),
    0xD1: (">h", 2),
    0xD2: (">i", 4),
    0xD3: (">q", 8),
}
"""Numbers, by their first byte."""

_SIZED: Final[Mapping[int, tuple[str, int]]] = {
    0xC4: ("bytes", 1),
    0xC5: ("bytes", 2),
    0xC6: ("bytes", 4),
    0xC7: ("extension", 1),
    0xC8: ("extension", 2),
    0xC9: ("extension", 4),
    0xD9: ("text", 1),
    0xDA: ("text", 2),
    0xDB: ("text", 4),
    0xDC: ("list", 2),
    0xDD: ("list", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}
"""What has a size of so many bytes behind its first one."""

_CONSTANTS: Final[Mapping[int, Any]] = {0xC0: None, 0xC2: False, 0xC3: True}


class _Reader:
    def __init__(self, data: memoryview, cutter: Cutter, work: list[int]) -> None:
        self._data = data
        self._at = 0
        self.cutter = cutter
        self.work = work

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def _take(self, count: int) -> memoryview:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise Damaged("the bytes end too early")
        self._at += count
        return found

    def head(self) -> tuple[str, Any]:
        """Read the first bytes of a value: its kind, and its value or size."""
        self.work[0] -= 1
        if self.work[0] < 0:
            raise _Exhausted
        first = self._take(1)[0]
        if first <= 0x7F:
            return "constant", first
        if first >= 0xE0:
            return "constant", first - 256
        if first <= 0x8F:
            return "map", first & 0x0F
        if first <= 0x9F:
            return "list", first & 0x0F
        if first <= 0xBF:
            return "text", first & 0x1F
        if first in _CONSTANTS:
            return "constant", _CONSTANTS[first]
        if first in _FIXED:
            form, size = _FIXED[first]
            return "constant", struct.unpack(form, self._take(size))[0]
        if 0xD4 <= first <= 0xD8:
            return "extension", 1 << (first - 0xD4)
        if first in _SIZED:
            kind, size = _SIZED[first]
            return kind, int.from_bytes(self._take(size), "big")
        raise Damaged(f"no value begins with the byte {first:#x}")

    def read(self, deeper: int) -> Any:
        """Read a value as it is shown. ``deeper``: so many levels may follow."""
        kind, found = self.head()
        cutter = self.cutter
        cutter.left -= 1
        if kind == "constant":
            if isinstance(found, float) and (found != found or found in (float("inf"), float("-inf"))):
                return {TYPE: "float", "value": repr(found)}
            return found
        if kind == "text":
            return self._text(found)
        if kind == "bytes":
            return cutter.bytes(self._take(found))
        if kind == "extension":
            code = struct.unpack(">b", self._take(1))[0]
            return self._extension(code, self._take(found), deeper)
        if deeper < 1:
            self.skip(found if kind == "list" else 2 * found)
            return cutter.mark(f"a {kind} of {found:,}, deeper than {cutter.limits.depth} levels")
        return self._list(found, deeper) if kind == "list" else self._map(found, deeper)

    def _text(self, size: int) -> Any:
        data, most = self._take(size), self.cutter.limits.characters
        if size <= 4 * most:
            return self.cutter.text(bytes(data).decode("utf-8", "backslashreplace"))
        # A character has at most four bytes, and the last one here may be a part of one.
        begins = getincrementaldecoder("utf-8")("backslashreplace").decode(bytes(data[: 4 * most]))
        return self.cutter.mark(f"a text of {size:,} bytes", begins=begins[:most])

    def _several(self, count: int, read: Callable[[], Any], each: int) -> tuple[list[Any], int]:
        """Read so many items, and pass over those that are not shown.

        Returns how many these are, too.
        """
        most = min(count, self.cutter.limits.items)
        items: list[Any] = []
        try:
            while len(items) < most and self.cutter.left > 0:
                items.append(read())
            self.skip((count - len(items)) * each)
        except _Exhausted:  # as all that would follow, here and around this
            pass
        return items, count - len(items)

    def _list(self, count: int, deeper: int) -> list[Any]:
        items, more = self._several(count, lambda: self.read(deeper - 1), 1)
        return self.cutter.listed(items, more)

    def _map(self, count: int, deeper: int) -> dict[str, Any]:
        def pair() -> tuple[Any, Any]:
            return self.read(deeper - 1), self.read(deeper - 1)

        pairs, more = self._several(count, pair, 2)
        return self.cutter.mapping(pairs, more)

    def skip(self, count: int) -> None:
        while count:
            kind, found = self.head()
            count -= 1
            if kind in ("text", "bytes"):
                self._take(found)
            elif kind == "extension":
                self._take(found + 1)
            elif kind != "constant":
                count += found if kind == "list" else 2 * found

    def _extension(self, code: int, data: memoryview, deeper: int) -> Any:
        if deeper < 1:
            depth = self.cutter.limits.depth
            return self.cutter.mark(f"an object of {len(data):,} bytes, deeper than {depth} levels")
        kept = self.cutter.left, self.cutter.was_cut
        try:
            reader = _Reader(data, self.cutter, self.work)
            found = _object(code, reader, deeper)
            if not reader.left or self.work[0] < 0:
                return found
        except (Damaged, _Unknown):
            pass
        self.cutter.left, self.cutter.was_cut = kept
        return {"code": code} | self.cutter.bytes(data, "msgpack.extension")


class _Unknown(Portable):
    """No extension of LangGraph."""


_SNAPSHOT: Final = 7
_ARRAY: Final = 6
_MODELS: Final = (2, 4, 5)
_ARGUMENTS: Final = 1


def _object(code: int, reader: _Reader, deeper: int) -> Any:
    """Read what an extension of LangGraph's serializer says of an object."""
    if code == _SNAPSHOT:
        return {TYPE: "langgraph.checkpoint.serde.types._DeltaSnapshot", "value": reader.read(deeper - 1)}
    if not 0 <= code < _SNAPSHOT:
        raise _Unknown
    kind, count = reader.head()
    if kind != "list" or not 3 <= count <= 4:
        raise _Unknown
    first, second = reader.read(0), reader.read(1)
    if code == _ARRAY and count == 4:
        return {TYPE: "numpy.ndarray", "dtype": first, "shape": second, "order": reader.read(0), "data": reader.read(0)}
    if not (isinstance(first, str) and isinstance(second, str)):
        raise _Unknown
    value = reader.read(deeper - 1)
    if count == 4:
        reader.skip(1)  # the method that LangGraph would call
    name = f"{first}.{second}"
    if code == _ARGUMENTS:
        return {TYPE: name, "args": value}
    return reader.cutter.fields(name, value) if code in _MODELS else {TYPE: name, "value": value}


def unpacked(data: bytes, cutter: Cutter) -> Any:
    r"""Return what MessagePack says, as JSON-like values.

    Args:
        data: the bytes.
        cutter: cuts them down.

    Raises:
        Damaged: it is none.

    Example:
        >>> from statekeep.inspection.limits import Cutter, Limits
        >>> unpacked(b"\x92\x01\xa1x", Cutter(Limits()))
        [1, 'x']
    """
    reader = _Reader(memoryview(data), cutter, [WORK])
    try:
        found = reader.read(cutter.limits.depth)
    except _Exhausted:
        return cutter.mark(f"more than {WORK:,} values")
    if reader.left and reader.work[0] >= 0:
        raise Damaged(f"{reader.left} bytes follow the value")
    return found
