"""Namespaces, and names of logs, as people read and write them.

Labels stand behind each other with a ``/`` between them: ``users/ada``. What means something to the notation or to a
shell, and what cannot be seen, is percent-encoded as in URLs, so that what is printed can be pasted: the labels ``a/b``
and ``100 %`` are ``a%2Fb/100%20%25``. ``/`` alone is the namespace without labels. A JSON list of texts is understood,
too: ``["users","ada"]``.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

from ..domain.errors import InvalidInput
from ..domain.shown import shown

ROOT: Final = "/"

_PLAIN: Final = frozenset("-_.:@+,")
_CATEGORIES: Final = frozenset("LNM")
"""Letters, numbers and marks, as Unicode has them; all others are encoded."""


def encode_labels(labels: Sequence[str]) -> str:
    """Write a namespace for people.

    >>> encode_labels(("users", "ada")), encode_labels(("a/b", "100 %")), encode_labels(())
    ('users/ada', 'a%2Fb/100%20%25', '/')
    """
    return "/".join(map(_encoded, labels)) or ROOT


def _encoded(label: str) -> str:
    text = "".join(map(_encoded_character, label))
    # It would be taken for an option.
    return f"%2D{text[1:]}" if text.startswith("-") else text


def _encoded_character(character: str) -> str:
    if character in _PLAIN or unicodedata.category(character)[0] in _CATEGORIES:
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())


def decode_labels(text: str, name: str = "NAMESPACE") -> tuple[str, ...]:
    """Read a namespace as people write it.

    Args:
        text: what the user wrote.
        name: of the argument, for the error.

    Raises:
        InvalidInput: it is none; ``field`` is the name.

    Example:
        >>> decode_labels("users/ada"), decode_labels("a%2Fb"), decode_labels('["a/b"]'), decode_labels("/")
        (('users', 'ada'), ('a/b',), ('a/b',), ())
    """
    if text in ("", ROOT):
        return ()
    if text.startswith("["):
        return _of_json(text, name)
    parts = text.split("/")
    if "" in parts:
        raise InvalidInput(
            f"{name} must have no empty labels, as in {shown(text)}: write users/ada, and %2F for a / in a label",
            field=name,
        )
    try:
        return tuple(unquote(part, errors="strict") for part in parts)
    except UnicodeDecodeError:
        raise InvalidInput(f"{name} must be UTF-8 where it is percent-encoded, got {shown(text)}", field=name) from None


def _of_json(text: str, name: str) -> tuple[str, ...]:
    try:
        labels: Any = json.loads(text)
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise InvalidInput(
            f'{name} must be a JSON list of texts, such as ["users","ada"], if it begins with [, got {shown(text)}; '
            "write %5B for a [ at the beginning of a label",
            field=name,
        )
    return tuple(labels)


def named(labels: Sequence[str]) -> dict[str, Any]:
    """Return the values of a row that name a namespace, as text and as a list.

    >>> named(("users", "ada"))
    {'namespace': 'users/ada', 'labels': ['users', 'ada']}
    """
    return {"namespace": encode_labels(labels), "labels": list(labels)}
