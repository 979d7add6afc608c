"""The results of a survey."""

from __future__ import annotations

from typing import Literal

from ...domain.items import Namespace
from ...domain.model import Model, Text
from ..valkey.keyspace import Kind

Scope = Literal["whole", "sample", "partial"]
"""``whole``: all was looked at. ``sample``: a part was, and sums are estimates. ``partial``: the survey was stopped."""


class KindStats(Model):
    """The records of one kind.

    Attributes:
        kind: of the records.
        keys: how many keys, or records, there are.
        bytes: what they take; ``None`` if the service does not say.
    """

    kind: Kind
    keys: int
    bytes: int | None


class ThreadStats(Model):
    """One of the largest threads.

    Attributes:
        thread_id: its id.
        keys: how many keys, or records, of it were looked at.
        bytes: what these take.
    """

    thread_id: Text
    keys: int
    bytes: int


class NamespaceStats(Model):
    """A large namespace of items or of cache entries, or a large log.

    Attributes:
        namespace: its labels.
        keys: how many keys, or records, of it were looked at.
        bytes: what these take.
    """

    namespace: Namespace
    keys: int
    bytes: int


class Stats(Model):
    """Sums of what is kept.

    Attributes:
        scope: whether all was looked at.
        keys: how many keys, or records, were looked at.
        of_keys: how many the server has, those of others included; ``None`` if it does not say.
        bytes: what all kinds take together; ``None`` if the service does not say.
        kinds: the sums by kind of record.
        threads: the largest threads that were found, the largest first; their sums are never estimates.
        namespaces: the same of namespaces of items.
        cache_namespaces: the same of cache entries.
        logs: the same of logs.
        slack: bytes that a thread's or namespace's sum may lack, because there are too many of them to remember.
        measured: what the bytes are: ``memory`` of the server, or ``lengths`` of the stored values.
        missing: what could not be looked at, in words.
    """

    scope: Scope
    keys: int
    of_keys: int | None = None
    bytes: int | None
    kinds: tuple[KindStats, ...]
    threads: tuple[ThreadStats, ...] = ()
    namespaces: tuple[NamespaceStats, ...] = ()
    cache_namespaces: tuple[NamespaceStats, ...] = ()
    logs: tuple[NamespaceStats, ...] = ()
    slack: int = 0
    measured: Literal["memory", "lengths"]
    missing: tuple[str, ...] = ()
