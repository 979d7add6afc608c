"""Texts for people: without control characters, without secrets."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

# Controls (C0, DEL, C1), separators of lines, marks that turn the direction of text, those that are seen as nothing,
# noncharacters of XML, tags, and halves of surrogate pairs, which UTF-8 cannot carry.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_JSON_UNSAFE: Final = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)

# But for the example in a message.
_CREDENTIALS: Final = re.compile(r"(?<=//)(?!user:password@)[^/@\s'\"]*@")
_PARAMETER: Final = re.compile(r"(?i)((?:password|secret|token|secret_access_key|session_token)(?:=|%3d))[^&\s'\"]+")


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a number of things with their name.

    Args:
        count: how many.
        one: the name of one of them.
        several: that of several; with an ``s`` by default.

    >>> counted(1, "thread"), counted(0, "cache entry", "cache entries")
    ('1 thread', '0 cache entries')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"


def printable(text: str) -> str:
    r"""Return a text that does nothing to a terminal but to be shown, on one line.

    >>> printable("red \x1b[31m, two\nlines")
    'red \\x1b[31m, two\\nlines'
    """
    return _UNSAFE.sub(_escaped, text)


INVISIBLE: Final = re.compile(f"(?![\\n\\t]){_UNSAFE.pattern}")
"""Characters that are shown as nothing or turn others round; not ends of lines and tabs."""


def visible(text: str) -> str:
    r"""Return a text in which all characters can be seen.

    Those are written as escapes that are shown as nothing, or turn others round.

    Ends of lines and tabs stay.

    >>> visible("one\ntwo \u202e\x00")
    'one\ntwo \\u202e\\x00'
    """
    return INVISIBLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character) or character.encode("unicode_escape", "surrogatepass").decode("ascii")


def json_printable(document: str) -> str:
    r"""Return a JSON document with such characters written as ``\uXXXX``.

    >>> json_printable('"\x9b31m"')
    '"\\u009b31m"'
    """
    return _JSON_UNSAFE.sub(_json_escaped, document)


def _json_escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def redacted(text: str, *urls: str | None) -> str:
    """Return a text without the secrets of URLs in it.

    Args:
        text: a message, or a traceback.
        urls: those that the program was given. Their secrets are taken out wherever they stand.

    Example:
        >>> redacted("no answer of valkey://ada:s3cret@db?password=s3cret", "valkey://ada:s3cret@db")
        'no answer of valkey://***@db?password=***'
    """
    for url in urls:
        for secret in sorted(_secrets(url or ""), key=len, reverse=True):
            text = text.replace(secret, "***")
    return _PARAMETER.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def _secrets(url: str) -> set[str]:
    from urllib.parse import unquote

    found = set()
    for credentials in _CREDENTIALS.findall(url):
        found.add(credentials[:-1].partition(":")[2])
    found |= {match[0].partition("=")[2] for match in _PARAMETER.finditer(url)}
    found |= {unquote(secret) for secret in found}
    return {secret for secret in found if len(secret) >= 4}  # a shorter one is a part of many words


_SIZES: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: int | None) -> str:
    """Return a number of bytes for people.

    >>> size(999), size(1_500), size(52_428_800), size(None)
    ('999 B', '1.5 kB', '52.4 MB', '?')
    """
    if count is None:
        return "?"
    number, unit = float(count), 0
    while round(number, 1) >= 1000 and unit < len(_SIZES) - 1:
        number, unit = number / 1000, unit + 1
    return f"{count} B" if unit == 0 else f"{number:.1f} {_SIZES[unit]}"


_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def duration(span: dt.timedelta | float) -> str:
    """Return a length of time for people, in its two largest units.

    >>> duration(93_784), duration(59.4), duration(0.5)
    ('1d 2h', '59s', '0s')
    """
    left = int(span.total_seconds() if isinstance(span, dt.timedelta) else span)
    sign, left = ("-", -left) if left < 0 else ("", left)
    parts: list[str] = []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return sign + " ".join(parts[:2])
