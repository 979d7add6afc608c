"""Checks of what a server says of itself: ``INFO``, and perhaps ``CONFIG GET``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...valkey.servers import SLOTS, Server
from ..finding import Finding, ok, worst

Info = Mapping[str, str]
"""The lines of ``INFO``, by name."""

FULL: Final = 0.9
NEARLY_FULL: Final = 0.75
"""Parts of ``maxmemory`` in use."""

CROWDED: Final = 0.8
"""Part of ``maxclients`` in use."""

OLDEST: Final[Mapping[str, tuple[int, int]]] = {"valkey": (7, 2), "redis": (7, 0)}
"""The oldest versions that can run the scripts."""


def lines_of(reply: bytes) -> dict[str, str]:
    r"""Return the lines of ``INFO``, by name.

    >>> lines_of(b"# Server\r\nredis_version:7.2.4\r\n")
    {'redis_version': '7.2.4'}
    """
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def settings_of(reply: Sequence[bytes]) -> dict[str, str]:
    """Return the reply to ``CONFIG GET``, by name.

    >>> settings_of([b"save", b"3600 1", b"appendfsync", b"everysec"])
    {'save': '3600 1', 'appendfsync': 'everysec'}
    """
    texts = [word.decode(errors="replace") for word in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def number(info: Info, name: str) -> int | None:
    """Return a number of ``INFO``; ``None`` if the server does not say it."""
    text = info.get(name, "")
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def version(info: Info) -> Finding:
    """Check that the server can run the scripts."""
    kind = "valkey" if "valkey_version" in info else "redis"
    text = info.get("valkey_version") or info.get("redis_version") or ""
    parts = re.match(r"([0-9]+)\.([0-9]+)", text)
    for other in ("dragonfly_version", "kvrocks_version", "garnet_version", "keydb_version"):
        if other in info:
            name = other.partition("_")[0].capitalize()
            return Finding(
                name="version",
                state="unknown",
                found=f"The server is {name} {info[other]}, with which Statekeep is not tested.",
                advice="Take Valkey 7.2 or newer, or try all that you need there.",
            )
    if parts is None:
        return Finding(
            name="version",
            state="unknown",
            found="The server does not say its version.",
            advice="Make sure that it is as new as Valkey 7.2 or Redis 7.0.",
        )
    if (int(parts[1]), int(parts[2])) < OLDEST[kind]:
        return Finding(
            name="version",
            state="problem",
            found=f"The server is {kind.capitalize()} {text}, which lacks scripts with flags and PEXPIRETIME.",
            advice="Take Valkey 7.2 or newer, or Redis 7.0 or newer.",
        )
    return ok("version", f"The server is {kind.capitalize()} {text}.")


def role(info: Info) -> Finding:
    """Check that the server takes writes."""
    if info.get("role") == "slave":
        return Finding(
            name="role",
            state="problem",
            found=f"The server is a replica, which takes no writes; its primary is {info.get('master_host', '?')}.",
            advice="Let the URL name the primary, or the sentinels with valkey+sentinel://.",
        )
    if info.get("loading", "0") != "0":
        return Finding(
            name="role",
            state="warning",
            found="The server is loading its data.",
            advice="Wait until it has loaded all, and run the doctor again.",
        )
    return ok("role", "The server is a primary, which takes writes.")


def eviction(info: Info) -> Finding:
    """Check that the server removes no records by itself."""
    policy, evicted = info.get("maxmemory_policy"), number(info, "evicted_keys") or 0
    if policy is None:
        return Finding(
            name="eviction",
            state="unknown",
            found="The server does not say its maxmemory-policy.",
            advice="Make sure in the service's console that it is noeviction.",
        )
    so_far = f" It has evicted {evicted} keys since it started." if evicted else ""
    if policy != "noeviction":
        return Finding(
            name="eviction",
            state="problem",
            found=f"maxmemory-policy is {policy}: when memory is full, the server removes parts of threads and items."
            f"{so_far}",
            advice="Set maxmemory-policy to noeviction, unless this server keeps cache entries alone.",
        )
    if evicted:
        return Finding(
            name="eviction",
            state="warning",
            found=f"maxmemory-policy is noeviction now.{so_far}",
            advice="Run reindex for the threads that matter: parts of some may be gone.",
        )
    return ok("eviction", "maxmemory-policy is noeviction: the server removes nothing by itself.")


def memory(info: Info, is_ours: bool = False) -> Finding:
    """Check how full the memory is.

    Args:
        info: of the server.
        is_ours: whether it is an embedded one.
    """
    used, most = number(info, "used_memory"), number(info, "maxmemory")
    if used is None or most is None:
        return Finding(
            name="memory",
            state="unknown",
            found="The server does not say how full its memory is.",
            advice="Look into the service's console.",
        )
    if most == 0:
        system = number(info, "total_system_memory")
        of = f" of {_size(system)} that the machine has" if system else ""
        text = f"{_size(used)} are in use{of}, and maxmemory sets no limit."
        if is_ours:
            return ok("memory", text)
        return Finding(
            name="memory",
            state="warning",
            found=text,
            advice="Set maxmemory: a full server then refuses writes, and is not ended by the operating system.",
        )
    text = f"{_size(used)} of {_size(most)} are in use, {used / most:.0%}."
    if used < NEARLY_FULL * most:
        return ok("memory", text)
    return Finding(
        name="memory",
        state="problem" if used >= FULL * most else "warning",
        found=text,
        advice="Raise maxmemory, set a TTL, or prune threads: a full server refuses writes with QuotaExceeded.",
    )


def persistence(info: Info, settings: Mapping[str, str] | None, is_ours: bool = False) -> Finding:
    """Check what is left after a restart.

    Args:
        info: of the server.
        settings: those of ``CONFIG GET``; ``None`` if they are not to be seen.
        is_ours: whether it is an embedded one.
    """
    for name, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if info.get(name, "ok") != "ok":
            return Finding(
                name="persistence",
                state="problem",
                found=f"The last write of the {what} failed.",
                advice="Look into the server's log, and at its disk: it may be full.",
            )
    if info.get("aof_enabled") == "1":
        fsync = (settings or {}).get("appendfsync")
        if fsync == "no":
            return Finding(
                name="persistence",
                state="warning",
                found="The append-only file is on, and appendfsync is no: a crash of the machine loses half a minute.",
                advice="Set appendfsync to everysec.",
            )
        return ok("persistence", f"The append-only file is on{f', appendfsync is {fsync}' if fsync else ''}.")
    if is_ours:
        return ok("persistence", "The embedded server keeps its data in memory; it is gone with its last program.")
    if settings is None or "aof_enabled" not in info:
        return Finding(
            name="persistence",
            state="unknown",
            found="The append-only file is off, and whether there are snapshots is not to be seen.",
            advice="Look into the service's console whether it keeps replicas and backups.",
        )
    if settings.get("save"):
        return Finding(
            name="persistence",
            state="warning",
            found=f"There are snapshots (save {settings['save']}) and no append-only file: a crash loses what came "
            "after the last one.",
            advice="Set appendonly to yes.",
        )
    return Finding(
        name="persistence",
        state="warning",
        found="Nothing is written to disk: a restart of the server loses everything.",
        advice="Set appendonly to yes, unless this server may lose what it keeps.",
    )


def replicas(info: Info, is_ours: bool = False) -> Finding:
    """Check that somebody can take over.

    Args:
        info: of the server.
        is_ours: whether it is an embedded one.
    """
    count = number(info, "connected_slaves")
    if is_ours:
        return ok("replicas", "An embedded server has no replicas.")
    if count is None:
        return Finding(
            name="replicas",
            state="unknown",
            found="The server does not say whether it has replicas.",
            advice="Look into the service's console.",
        )
    if not count:
        return Finding(
            name="replicas",
            state="warning",
            found="The server has no replica: nobody takes over when its machine fails.",
            advice="Add a replica, or keep backups with statekeep export.",
        )
    lagging = [
        name for name, value in info.items() if re.fullmatch(r"slave[0-9]+", name) and "state=online" not in value
    ]
    if lagging:
        return Finding(
            name="replicas",
            state="warning",
            found=f"{len(lagging)} of {count} replicas are not online.",
            advice="Look into the replicas' logs.",
        )
    return ok("replicas", f"It has {count} replica{'s' if count > 1 else ''}, and all are online.")


def connections(info: Info) -> Finding:
    """Check whether there is room for more clients."""
    count, most = number(info, "connected_clients"), number(info, "maxclients")
    rejected = number(info, "rejected_connections") or 0
    if count is None:
        return Finding(
            name="connections",
            state="unknown",
            found="The server does not say how many clients it has.",
            advice="Look into the service's console.",
        )
    of = f" of {most}" if most else ""
    text = f"{count}{of} connections are open."
    if rejected or (most and count >= CROWDED * most):
        more = f" It has rejected {rejected} since it started." if rejected else ""
        return Finding(
            name="connections",
            state="warning",
            found=text + more,
            advice="Raise maxclients, or lower pool_size of your programs.",
        )
    return ok("connections", text)


def checked(
    infos: Sequence[tuple[Server, Info]], settings: Sequence[Mapping[str, str] | None], is_ours: bool
) -> list[Finding]:
    """Return the findings about what all servers say.

    Args:
        infos: ``INFO`` of each.
        settings: ``CONFIG GET`` of each, in the same order.
        is_ours: whether it is an embedded one.
    """
    checks: Sequence[tuple[str, Callable[[Info, Mapping[str, str] | None], Finding]]] = (
        ("version", lambda info, _: version(info)),
        ("role", lambda info, _: role(info)),
        ("eviction", lambda info, _: eviction(info)),
        ("memory", lambda info, _: memory(info, is_ours)),
        ("persistence", lambda info, given: persistence(info, given, is_ours)),
        ("replicas", lambda info, _: replicas(info, is_ours)),
        ("connections", lambda info, _: connections(info)),
    )
    return [
        worst(name, [(server, check(info, given)) for (server, info), given in zip(infos, settings, strict=True)])
        for name, check in checks
    ]


def alone(info: Info) -> list[Finding]:
    """Check that the one server of a URL is not one of several.

    Args:
        info: what it says of its cluster, ``CLUSTER INFO``.
    """
    primaries = number(info, "cluster_size") or 1
    if primaries == 1:
        return []
    return [
        Finding(
            name="slots",
            state="problem",
            found=f"The server is one of a cluster of {primaries} primaries, and the URL names it as if it were alone.",
            advice="Begin the URL with valkey+cluster:// (valkeys+cluster:// with TLS).",
        )
    ]


def covered(servers: Sequence[Server], info: Info) -> Finding:
    """Check that all slots of a cluster are served.

    Args:
        servers: the primaries.
        info: what one of them says of the cluster, ``CLUSTER INFO``.
    """
    slots = sum(server.slots for server in servers)
    served = min(slots, number(info, "cluster_slots_ok") or 0) if "cluster_slots_ok" in info else slots
    if served < SLOTS or info.get("cluster_state", "ok") != "ok":
        return Finding(
            name="slots",
            state="problem",
            found=f"The cluster is {info.get('cluster_state', 'ok')}: {SLOTS - served} of its {SLOTS} slots have no "
            "server that answers.",
            advice="Bring back the primary that failed, or let valkey-cli --cluster fix give its slots to others, and "
            "run the doctor again.",
        )
    return ok("slots", f"All slots are served, by {len(servers)} primaries.")


def _size(count: int) -> str:
    number, unit = float(count), 0
    while number >= 1000 and unit < 4:
        number, unit = number / 1000, unit + 1
    return f"{count} B" if unit == 0 else f"{number:.1f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}"
