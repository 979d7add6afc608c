"""Key names. ``docs/key-schema.md`` describes them for people.

Every part that comes from a user is percent-encoded, so that it holds none of ``: { } @ ! ?``, white space or
glob characters: two different parts never make the same key. ``{T}`` is a literal hash tag, so everything of a
thread lives in one slot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote
from zlib import crc32

from ...domain import CorruptRecord
from ...domain.model import SHORT, plain_text
from ...domain.shown import shown

if TYPE_CHECKING:
    from ...domain.items import Namespace  # whoever keeps checkpoints alone imports no items


def encode_part(text: str) -> str:
    """Encode one part of a key.

    >>> encode_part("user:42/{é}.")
    'user%3A42%2F%7B%C3%A9%7D%2E'
    """
    if type(text) is not str:
        text = plain_text(text)  # the cache goes by equality
    return (_encode_part if len(text) <= SHORT else _encode_part.__wrapped__)(text)


@lru_cache(maxsize=8192)
def _encode_part(text: str) -> str:
    return text if _needs_no_encoding(text) else quote(text, safe="-_~").replace(".", "%2E")


_needs_no_encoding = re.compile(r"[A-Za-z0-9_~-]*").fullmatch


def decode_part(text: str) -> str:
    """Undo :func:`encode_part`.

    Raises:
        CorruptRecord: ``text`` was not made by :func:`encode_part`.
    """
    return (_decode_part if len(text) <= SHORT else _decode_part.__wrapped__)(text)


@lru_cache(maxsize=8192)
def _decode_part(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"not a percent-encoded text: {shown(text)}") from error


def is_part(text: str) -> bool:
    """Return whether :func:`encode_part` can make this text.

    >>> is_part("a%2Eb"), is_part("a.b"), is_part("%61"), is_part("%FF")
    (True, False, False, False)
    """
    return encode_part(unquote(text, errors="replace")) == text


def escape_glob(text: str) -> str:
    """Return a glob pattern that matches nothing but this text."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def decode_text(data: bytes, key: str) -> str:
    """Decode what is stored as text under ``key``.

    Raises:
        CorruptRecord: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"not text: {error}", key=key) from error


def encode_namespace(namespace: Sequence[str]) -> str:
    """Encode a namespace.

    >>> encode_namespace(("users", "ada.b")), encode_namespace(())
    ('users.ada%2Eb', '.')
    """
    return ".".join(map(encode_part, namespace)) or "."


def decode_namespace(text: str) -> Namespace:
    """Undo :func:`encode_namespace`."""
    return () if text == "." else tuple(map(decode_part, text.split(".")))


def ordered(namespace: Sequence[str]) -> str:
    """Encode a namespace so that texts sort as the tuples do.

    >>> ordered(("a", "b")) < ordered(("a!",))
    True
    """
    return "\0".join(label.replace("\1", "\1\2").replace("\0", "\1\1") for label in namespace)


def namespace_of_ordered(text: str) -> Namespace:
    """Undo :func:`ordered`."""
    if not text:
        return ()
    return tuple(label.replace("\1\1", "\0").replace("\1\2", "\1") for label in text.split("\0"))


SHARDS: Final = tuple(f"{number:02x}" for number in range(64))
"""Hash tags of keys that are spread over a cluster, and yet in one slot with the index that knows them."""


def shard_of(text: str) -> str:
    """Return the shard of a key's text.

    >>> shard_of("users.ada:theme")
    '00'
    """
    return SHARDS[crc32(text.encode()) % len(SHARDS)]
