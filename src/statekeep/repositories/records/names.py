"""Names for texts of any kind, where a service takes few letters."""

from __future__ import annotations

import hashlib


def digest(*parts: str) -> str:
    """Return 40 hexadecimal digits that stand for texts.

    No two lists of texts share them.

    >>> digest("a", "b") == digest("ab", "")
    False
    """
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8")
        hashed.update(b"%d:" % len(data) + data)
    return hashed.hexdigest()[:40]
