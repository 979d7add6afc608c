"""All checks of a connection to Valkey, in their order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ....domain import InvalidInput, StatekeepError
from ....repositories.faces import pinged
from ....repositories.operation import Operation
from ....repositories.valkey.backend import ValkeyBackend
from ....repositories.valkey.checkpoints.backend import ValkeyCheckpoints
from ....repositories.valkey.items.backend import ValkeyItems
from ....repositories.valkey.items.keys import unit_keys
from ....repositories.valkey.items.unit import Unit
from ....repositories.valkey.requests import Ask, Commands
from ...valkey.servers import Server, is_silent, servers
from .. import general
from ..finding import ENDED, Finding, guarded, worst
from . import records, rights, search, settings

SLOW: Final = 0.010
"""Seconds from which on a round trip is slow."""

CLOCKS: Final = 2.0
"""Seconds that the clocks may be apart."""

_SETTINGS: Final = ("save", "appendfsync")
_OUTSIDE: Final = "Permit the command to the user of the doctor, or look into the service's console."


@frozen
class Subject:
    """A connection to Valkey.

    Attributes:
        checkpoints: the backend of checkpoints; all others have its client and prefix.
        items: that of items.
        is_ours: whether the server is an embedded one.
    """

    checkpoints: ValkeyCheckpoints
    items: ValkeyItems | None
    is_ours: bool

    @property
    def prefix(self) -> str:
        """The first part of all keys."""
        return self.checkpoints.prefix


def examined(subject: Subject) -> Operation[list[Finding]]:
    """Check everything.

    It takes about 25 round trips, and 4 for each further primary of a cluster.

    Args:
        subject: the connection.
    """
    backend: ValkeyBackend = subject.checkpoints
    try:
        findings = yield from general.reach(backend, SLOW)
        found = yield from servers(backend.client.cluster)
    except StatekeepError as error:
        return [general.unreachable(error)]
    if backend.client.cluster:
        slots = yield from guarded("slots", _slots(found), _OUTSIDE)
        findings += slots
        if any(finding.state == "problem" for finding in slots):
            return findings  # each other check would wait for servers that are away
    for name, check in _checks(subject, found):
        if name in _WRITING and any(finding.name == "role" and finding.state == "problem" for finding in findings):
            continue
        some = yield from guarded(name, check, _OUTSIDE)
        findings += some
        if any(finding.found.startswith(ENDED) for finding in some):
            try:
                yield from pinged(backend)
            except StatekeepError as error:
                return [*findings, general.unreachable(error)]
    return findings


_WRITING: Final = frozenset({"scripts"})
"""Checks that a replica would refuse, and that would wait for it to become a primary."""


def _checks(subject: Subject, found: Sequence[Server]) -> Iterator[tuple[str, Operation[list[Finding]]]]:
    """Return the checks in their order, with their names."""
    client, items = subject.checkpoints.client, subject.items
    yield "settings", _told(found, subject.is_ours, client.cluster)
    yield "clock", _clocks(found)
    yield "scripts", rights.scripts(subject.prefix)
    yield "rights", rights.outside_scripts(found[0])
    if items is not None:
        yield "unit", _unit(items)
        yield "search", search.checked(subject.prefix, items.index, found[0], client.cluster)
    yield "ttl", _lives(subject.checkpoints)
    yield "keys", records.checked(subject.prefix, found)


def _lives(backend: ValkeyCheckpoints) -> Operation[list[Finding]]:
    """Tell of the TTLs, which are known here."""
    yield from ()
    return [general.lives(backend.ttl, backend.refresh_on_read)]


def _slots(found: Sequence[Server]) -> Operation[list[Finding]]:
    """Ask a server about the whole cluster: a round trip."""
    return [settings.covered(found, settings.lines_of((yield Ask(["CLUSTER", "INFO"]))))]


def _alone() -> Operation[list[Finding]]:
    """Ask the one server of a URL for others beside it: a round trip."""
    return settings.alone(settings.lines_of((yield Ask(["CLUSTER", "INFO"]))))


def _told(found: Sequence[Server], is_ours: bool, by_cluster: bool) -> Operation[list[Finding]]:
    """Ask each server for what it says of itself: two round trips for each."""
    infos: list[tuple[Server, Mapping[str, str]]] = []
    given: list[Mapping[str, str] | None] = []
    for server in found:
        infos.append((server, settings.lines_of((yield Ask(["INFO"], near=server.near)))))
        given.append((yield from _settings(server)))
    findings = settings.checked(infos, given, is_ours)
    if not by_cluster and infos[0][1].get("cluster_enabled") == "1":
        findings += yield from guarded("slots", _alone(), _OUTSIDE)
    return findings


def _settings(server: Server) -> Operation[Mapping[str, str] | None]:
    """Return settings of a server; ``None`` where they are not to be seen.

    Many managed services do not show them.
    """
    try:
        return settings.settings_of((yield Ask(["CONFIG", "GET", *_SETTINGS], near=server.near)))
    except StatekeepError as error:
        if not is_silent(error):
            raise
        return None


def _clocks(found: Sequence[Server]) -> Operation[list[Finding]]:
    each: list[tuple[Server, Finding]] = []
    for server in found:
        before, began = time.time(), time.monotonic()
        seconds, microseconds = yield Ask(["TIME"], near=server.near)
        took = time.monotonic() - began
        there = int(seconds) + int(microseconds) / 1_000_000
        each.append((server, general.compared("clock", there - (before + took / 2), took / 2, CLOCKS)))
    return [worst("clock", each)]


def _unit(items: ValkeyItems) -> Operation[list[Finding]]:
    """Compare the connection's unit with that of the stored items: a round trip."""
    probe: Any = Commands([("EXISTS", unit_keys(items.prefix, items.unit)[1])])
    try:
        yield from Unit(items.unit).compared(items.prefix, probe)
    except InvalidInput as error:
        return [
            Finding(
                name="unit",
                state="problem",
                found=f"{error}.",
                advice="Open the connection with the unit of the programs that put the items.",
            )
        ]
    return []
