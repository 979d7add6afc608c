"""A plugin of pytest that sums up the state machines at the end.

It does so over all processes of pytest-xdist.

Load it with ``pytest -p statekeep.testing.pytest_plugin``, or in ``addopts``.
"""

from __future__ import annotations

from typing import Any

import pytest

from .tally import Tallies, dump, load, table, tallies

_KEY = "statekeep_tallies"
_of_workers: Tallies = {}


class _Collector:
    """Registered only where pytest-xdist is: elsewhere the hook would be unknown."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the counts of a worker."""
        load(_of_workers, getattr(node, "workeroutput", {}).get(_KEY, []))


def pytest_configure(config: pytest.Config) -> None:
    """Listen to workers, if there are any."""
    config.pluginmanager.register(_Collector(), "statekeep-tallies")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker, send the counts."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = dump(tallies())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the table, if machines ran."""
    load(_of_workers, dump(tallies()))
    if _of_workers:
        terminalreporter.section("state machines")
        for line in table(_of_workers):
            terminalreporter.write_line(line)
        failed = {name for one in _of_workers.values() for name in one.divergences}
        if failed:
            terminalreporter.write_line(f"checks that failed: {', '.join(sorted(failed))}")
