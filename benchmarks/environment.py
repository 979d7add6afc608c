"""Where and with what a run measures."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from .report import Environment
from .servers import Servers

PACKAGES = (
    "statekeep",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-aws",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
    "valkey-glide",
    "valkey-glide-sync",
    "valkey",
    "libvalkey",
    "pydantic",
    "ormsgpack",
    "orjson",
    "boto3",
    "psycopg",
)
BUSY = 1.0
"""Load of the minute before a run from which the machine counts as busy: what ended in that minute is still in it."""


def environment(servers: Servers) -> Environment:
    """Describe this process's surroundings; the load after the run is still to be filled in."""
    load = os.getloadavg()[0]
    return Environment(
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        machine=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=(load, load),
        versions=_versions(servers),
    )


def _versions(servers: Servers) -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    with servers.valkey.client() as client:
        info = client.info("server")
        versions["Valkey"] = str(info.get("valkey_version") or info["redis_version"])
    if not isinstance(servers.postgres, str):
        versions["PostgreSQL"] = servers.postgres.version
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _commit() -> str | None:
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
