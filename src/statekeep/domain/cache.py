"""Cache entries: serialized values under a namespace and a key, kept for a while."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from .items import Namespace
from .model import Model, Text
from .payload import Payload

CacheKey = tuple[Namespace, str]
"""A namespace and a key in it: ``(("weather", "today"), "london")``."""


class CacheEntry(Model):
    """A payload under a namespace and a key.

    Attributes:
        namespace: labels from the outside in, each any text but the empty one; ``()`` is one, too.
        key: any text; unique in the namespace.
        payload: the value.
        created_at: when it was set, in UTC.
        expires_at: when it ends, to the millisecond; ``None`` for never.

    Example:
        >>> import statekeep
        >>> place = (("weather",), "london")
        >>> with statekeep.connect("memory:") as keep:
        ...     keep.cache.set({place: statekeep.Payload(encoding="json", data=b'"rain"')})
        ...     entry = keep.cache.get([place])[place]
        >>> entry.key, entry.payload.data, entry.expires_at
        ('london', b'"rain"', None)
    """

    namespace: Namespace
    key: Text
    payload: Payload
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None


class CacheNamespace(Model):
    """A namespace of cache entries, and what is in it.

    Attributes:
        namespace: exactly this one, without those below.
        entries: how many there are.
        bytes: of these entries.
        basis: what the bytes are. ``"memory"``: those that they take in the server's memory. ``"lengths"``: the lengths
            of their values, without what the service needs to keep them.

    Example:
        >>> import statekeep
        >>> cache = statekeep.connect("memory:").cache
        >>> cache.set({(("weather",), "london"): statekeep.Payload(encoding="json", data=b"1")})
        >>> [(found.namespace, found.entries) for found in cache.list_namespaces()]
        [(('weather',), 1)]
    """

    namespace: Namespace
    entries: int
    bytes: int
    basis: Literal["memory", "lengths"]
