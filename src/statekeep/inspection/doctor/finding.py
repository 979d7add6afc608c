"""Findings: what a check saw, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from ...domain import StatekeepError
from ...domain.model import Model
from ...repositories.operation import Operation
from ..valkey.servers import Server, is_silent

State = Literal["ok", "unknown", "warning", "problem"]
"""``unknown``: the service does not say, or the user may not ask. A ``problem`` loses data, or keeps operations from
working; a ``warning`` may become one."""

ENDED: Final = "The check was ended by an error"
"""The beginning of what is found if a check did not come to its end."""

_ORDER: Final[Mapping[State, int]] = {"ok": 0, "unknown": 1, "warning": 2, "problem": 3}


class Finding(Model):
    """The result of one check.

    Attributes:
        name: of the check, such as ``eviction``; several findings may have one.
        state: how it is.
        found: what was found, in a sentence.
        advice: what to do, in a sentence; empty if there is nothing to do.

    Example:
        >>> Finding(name="reach", state="ok", found="It answers.").advice
        ''
    """

    name: str
    state: State
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(name=name, state="ok", found=found)


def worst(name: str, findings: Sequence[tuple[Server, Finding]]) -> Finding:
    """Return one finding for several servers: that of the worst.

    Where servers differ, it names those that are meant.

    Args:
        name: of the check.
        findings: of each server, at least one.

    Example:
        >>> a, b = Server("a:1"), Server("b:1")
        >>> both = [(a, ok("clock", "It is right.")), (b, Finding(name="clock", state="warning", found="It is slow."))]
        >>> worst("clock", both).found
        'b:1: It is slow.'
    """
    state = max((finding.state for _, finding in findings), key=_ORDER.__getitem__)
    bad = [(server, finding) for server, finding in findings if finding.state == state]
    texts = dict.fromkeys(finding.found for _, finding in bad)
    if len(bad) == len(findings) and len(texts) == 1:
        found = next(iter(texts))
    else:
        found = " ".join(f"{server.name}: {finding.found}" for server, finding in bad)
    advice = " ".join(dict.fromkeys(finding.advice for _, finding in bad if finding.advice))
    return Finding(name=name, state=state, found=found, advice=advice)


def failed(name: str, error: StatekeepError, advice: str = "") -> Finding:
    """Return the finding of a check that an error ended.

    Args:
        name: of the check.
        error: which ended it.
        advice: what to do to know more.
    """
    if is_silent(error):
        return Finding(name=name, state="unknown", found=f"This cannot be seen: {error}.", advice=advice)
    return Finding(
        name=name,
        state="problem",
        found=f"{ENDED}: {error}.",
        advice="Mend what the error says, and run the doctor again.",
    )


def guarded(name: str, check: Operation[list[Finding]], advice: str = "") -> Operation[list[Finding]]:
    """Run a check; an error becomes its finding.

    Args:
        name: of the check.
        check: its operation.
        advice: what to do to know more, if the service does not say.
    """
    try:
        return (yield from check)
    except StatekeepError as error:
        return [failed(name, error, advice)]
