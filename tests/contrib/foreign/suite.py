"""What is run of a framework's tests, and the connection of the test that runs."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from attrs import field, frozen

import statekeep


@frozen
class Suite:
    """A part of a framework's tests.

    Attributes:
        distribution: whose source distribution has them.
        modules: files and folders in it.
        replacements: returns our classes by the dotted names that the tests import theirs by.
        cannot: why a test cannot hold, by its id, without parameters for all of them. Each has to fail.
        left_out: why a test is not run at all, likewise.
        environment: variables that are set for it.
    """

    distribution: str
    modules: Sequence[str]
    replacements: Callable[[], Mapping[str, type]]
    cannot: Mapping[str, str] = field(factory=dict)
    left_out: Mapping[str, str] = field(factory=dict)
    environment: Mapping[str, str] = field(factory=dict)


def suite_of(module: str) -> Suite:
    """Return the ``SUITE`` of a module, such as ``foreign.of_strands``."""
    suite: Suite = importlib.import_module(module).SUITE
    return suite


_numbers = itertools.count()


class Current:
    """What the test that runs has: the server's URL, and its connection once it asked for it."""

    url: str | None = None
    keep: statekeep.Connection | None = None


def connection() -> statekeep.Connection:
    """Return the connection of the test that runs."""
    if Current.url is None:
        raise RuntimeError("no test runs")
    if Current.keep is None:
        Current.keep = statekeep.connect(Current.url, prefix=f"suite-{next(_numbers)}")
    return Current.keep


def fresh() -> str:
    """Return a label that nobody else has."""
    return f"fresh {next(_numbers)}"


@contextmanager
def connected(url: str) -> Iterator[type[Current]]:
    """Have a connection for one test, with a prefix of its own."""
    Current.url = url
    try:
        yield Current
    finally:
        keep, Current.url, Current.keep = Current.keep, None, None
        if keep is not None:
            keep.close()
