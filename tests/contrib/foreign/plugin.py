"""The plugin of pytest that a foreign suite is run with: ``-p foreign.plugin --suite MODULE``.

It puts our classes in the place of the framework's before any test is imported, gives each test a connection to a real
server, and knows which tests cannot hold. One of these that passes, or is not there any more, fails the run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from statekeep.testing.servers import ValkeyServer

from .suite import Suite, connected, suite_of

_KEY = pytest.StashKey[Suite]()
_USED = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", required=True, help="the module that says what is run")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = suite_of(config.getoption("--suite"))
    config.stash[_USED] = set()


def pytest_sessionstart(session: pytest.Session) -> None:
    for name, replacement in session.config.stash[_KEY].replacements().items():
        module_name, _, attribute = name.rpartition(".")
        module = importlib.import_module(module_name)
        if not hasattr(module, attribute):
            raise pytest.UsageError(f"there is no {name} any more")
        setattr(module, attribute, replacement)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    suite = config.stash[_KEY]
    listed = {*suite.cannot, *suite.left_out}
    names = [item.nodeid if item.nodeid in listed else item.nodeid.partition("[")[0] for item in items]
    if gone := listed - set(names):
        raise pytest.UsageError("listed, but not in the suite any more: " + ", ".join(sorted(gone)))
    for item, name in zip(items, names, strict=True):
        if name in suite.cannot:
            item.add_marker(pytest.mark.xfail(reason=suite.cannot[name], strict=True))
    left = [item for item, name in zip(items, names, strict=True) if name in suite.left_out]
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def _foreign_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _foreign_connection(_foreign_server: ValkeyServer, request: pytest.FixtureRequest) -> Iterator[None]:
    with connected(_foreign_server.url) as current:
        yield
        if current.keep is not None:
            request.config.stash[_USED].add(request.node.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used = config.stash[_USED]
    passed = sum(report.nodeid in used for report in terminalreporter.stats.get("passed", ()) if report.when == "call")
    terminalreporter.write_line(f"{len(used)} tests used classes of Statekeep, {passed} of them passed")
