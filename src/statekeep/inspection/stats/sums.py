"""Sums of a survey while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import define, field

from ...domain.items import Namespace
from ..valkey.keyspace import KINDS, Kind
from .models import KindStats, NamespaceStats, Scope, Stats, ThreadStats
from .tally import Tally


@define
class Sums:
    """Keys and bytes so far.

    Attributes:
        measured: what the bytes are.
        looked: keys that were looked at, those of others included.
        of_keys: how many there are; ``None`` if that is not known.
        has_bytes: whether the service says how many bytes a record has.
        is_done: whether the survey came to its end.
        factor: by which what was found is to be multiplied for an estimate of all.
        missing: what could not be looked at.
    """

    measured: Literal["memory", "lengths"]
    looked: int = 0
    of_keys: int | None = None
    has_bytes: bool = True
    is_done: bool = False
    is_sample: bool = False
    factor: float = 1.0
    missing: list[str] = field(factory=list)
    keys: dict[Kind, int] = field(factory=dict)
    sizes: dict[Kind, int] = field(factory=dict)
    threads: Tally[str] = field(factory=Tally)
    namespaces: Tally[Namespace] = field(factory=Tally)
    cache_namespaces: Tally[Namespace] = field(factory=Tally)
    logs: Tally[Namespace] = field(factory=Tally)

    def add(self, kind: Kind, place: Mapping[str, object], size: int, *, of_cache: bool = False) -> None:
        """Count a record.

        Args:
            kind: of the record.
            place: what it is about, as errors and keys name it.
            size: its bytes.
            of_cache: whether a namespace is one of the cache, and not of items.
        """
        self.keys[kind] = self.keys.get(kind, 0) + 1
        self.sizes[kind] = self.sizes.get(kind, 0) + size
        thread_id, log, namespace = place.get("thread_id"), place.get("log"), place.get("namespace")
        if isinstance(thread_id, str):
            self.threads.add(thread_id, size, length=len(thread_id))
        elif isinstance(log, tuple):
            self.logs.add(log, size, length=_length(log))
        elif isinstance(namespace, tuple):
            tally = self.cache_namespaces if of_cache else self.namespaces
            tally.add(namespace, size, length=_length(namespace))

    def stats(self, largest: int) -> Stats:
        """Return the sums so far.

        Args:
            largest: how many threads, namespaces and logs are named at most.
        """
        scope: Scope = "partial" if not self.is_done else "sample" if self.is_sample else "whole"
        factor = self.factor if scope == "sample" else 1.0
        kinds = tuple(
            KindStats(
                kind=kind,
                keys=round(self.keys[kind] * factor),
                bytes=round(self.sizes[kind] * factor) if self.has_bytes else None,
            )
            for kind in KINDS
            if kind in self.keys
        )
        tallies: tuple[Tally[Namespace], ...] = (self.namespaces, self.cache_namespaces, self.logs)
        return Stats(
            scope=scope,
            keys=self.looked,
            of_keys=self.of_keys,
            bytes=sum(kind.bytes or 0 for kind in kinds) if self.has_bytes else None,
            kinds=kinds,
            threads=tuple(
                ThreadStats(thread_id=name, keys=keys, bytes=size) for name, keys, size in self.threads.largest(largest)
            ),
            namespaces=_named(self.namespaces, largest),
            cache_namespaces=_named(self.cache_namespaces, largest),
            logs=_named(self.logs, largest),
            slack=max(self.threads.slack, *(tally.slack for tally in tallies)),
            measured=self.measured,
            missing=tuple(self.missing),
        )


def _length(labels: Iterable[object]) -> int:
    return sum(len(str(label)) for label in labels)


def _named(tally: Tally[Namespace], largest: int) -> tuple[NamespaceStats, ...]:
    return tuple(NamespaceStats(namespace=name, keys=keys, bytes=size) for name, keys, size in tally.largest(largest))
