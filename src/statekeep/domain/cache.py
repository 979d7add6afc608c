"""Cache entries: serialized values under a namespace and a key, kept for a while."""

from __future__ import annotations

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
