"""Key names. ``docs/key-schema.md`` describes them for people.

Every part that comes from a user is percent-encoded, so that it holds none of ``: { } @ ! ?``, white space or
glob characters: two different parts never make the same key. ``{T}`` is a literal hash tag, so everything of a
thread lives in one slot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

from ...domain import CorruptRecord
from ...domain.items import Namespace
from ...domain.model import SHORT
from ...domain.shown import shown


def part(text: str) -> str:
    """Encode one part of a key.

    >>> part("user:42/{é}.")
    'user%3A42%2F%7B%C3%A9%7D%2E'
    """
    return (_part if len(text) <= SHORT else _part.__wrapped__)(text)


@lru_cache(maxsize=8192)
def _part(text: str) -> str:
    return text if _plain(text) else quote(text, safe="-_~").replace(".", "%2E")


_plain = re.compile(r"[A-Za-z0-9_~-]*").fullmatch


def unpart(text: str) -> str:
    """Undo :func:`part`.

    Raises:
        CorruptRecord: ``text`` was not made by :func:`part`.
    """
    return (_unpart if len(text) <= SHORT else _unpart.__wrapped__)(text)


@lru_cache(maxsize=8192)
def _unpart(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"not a percent-encoded text: {shown(text)}") from error


def is_part(text: str) -> bool:
    """Whether :func:`part` makes this of something.

    >>> is_part("a%2Eb"), is_part("a.b"), is_part("%61"), is_part("%FF")
    (True, False, False, False)
    """
    return part(unquote(text, errors="replace")) == text


def literally(start: str) -> str:
    """A pattern that matches nothing but a text."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", start)


def text(data: bytes, key: str) -> str:
    """Decode what is stored as text under ``key``.

    Raises:
        CorruptRecord: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"not text: {error}", key=key) from error


def place(namespace: Sequence[str]) -> str:
    """Encode a namespace.

    >>> place(("users", "ada.b")), place(())
    ('users.ada%2Eb', '.')
    """
    return ".".join(map(part, namespace)) or "."


def namespace_of(text: str) -> Namespace:
    """Undo :func:`place`."""
    return () if text == "." else tuple(map(unpart, text.split(".")))
