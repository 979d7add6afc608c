"""Servers, key prefixes and profiles for all tests."""

from __future__ import annotations

import gc
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, settings

# Before they are imported, so that a failure in them shows the values that were compared.
pytest.register_assert_rewrite(
    *(f"statekeep.testing.{name}" for name in ("comparison", "contracts", "machines", "pairs", "under_way"))
)

from statekeep.testing.servers import ValkeyCluster, ValkeyServer  # noqa: E402

from .integration.faults.tally import summary  # noqa: E402
from .waiting import Watchdog  # noqa: E402

# quick: with every run of the tests; ci: before a merge; nightly: hours are cheap.
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]  # an example talks to real servers
settings.register_profile("quick", max_examples=10, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("ci", max_examples=100, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile(
    "nightly", max_examples=2000, stateful_step_count=80, deadline=None, suppress_health_check=_SLOW_IS_FINE
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
_IS_QUICK = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick"
_OFTEN_THE_SAME = "_contract.py|/property/|/faults/|/redis_om/|conformance|crash|slot_migration"


def pytest_configure() -> None:
    """Let programs that tests start be interrupted, also where a shell started the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _watchdog() -> Watchdog:
    """It takes milliseconds to make, and half of one to set and to call off."""
    return Watchdog()


@pytest.fixture(autouse=True)
def _no_event_loop_waits(request: pytest.FixtureRequest, _watchdog: Watchdog) -> Iterator[None]:
    """Refuse what blocks an event loop, of the test or of threads that it starts.

    To be asked at each call makes tests a fifth slower, so quick runs spare those that do the same many times over.
    """
    is_watched = not _IS_QUICK or not re.search(_OFTEN_THE_SAME, request.node.nodeid)
    with _watchdog.watching() if is_watched else nullcontext():
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """LangGraph runs on asyncio alone."""
    return "asyncio"


_shared: list[ValkeyServer | ValkeyCluster] = []


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """A standalone server, one per worker of pytest-xdist. Others use it too: never flush, kill or pause it."""
    with ValkeyServer() as server:
        _shared.append(server)
        yield server
        _shared.remove(server)


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[ValkeyCluster]:
    """Three primaries without replicas, one cluster per worker of pytest-xdist. Never flush or kill it."""
    with ValkeyCluster(primaries=3) as cluster:
        _shared.append(cluster)
        yield cluster
        _shared.remove(cluster)


@pytest.fixture(scope="module", autouse=True)
def _leave_nothing_for_the_next_module() -> Iterator[None]:
    """Those that walk the keyspace take the longer the more there is in it."""
    yield
    for server in _shared:
        with server.client() as client:
            client.flushall()


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests themselves, of which there are more than of anything else."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """For a test that recurses as deep as Python lets it: down there the destructors of what others left would fail."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


# By client: the face that is left out of contracts in quick runs; "": both.
_LEFT_OUT = {
    "memory": "blocking",
    "glide": "blocking",
    "valkey-py": "async",
    "glide-cluster": "async",
    "valkey-py-cluster": "",
    "memory, unit=1": "",
    "valkey-py, unit=2": "",
    "glide-cluster, unit=1": "",
}


# Modules of which quick runs take one kind of service and one face, and modules that wait for most of their time.
_ONCE = ("test_agentcore_contract.py", "test_agentcore_item_contract.py", "test_session_contract.py")
_PATIENT = ("test_repeated_requests.py", "test_standing_still.py")


# Long cases, or many, that differ from others of their test in a client, a face or a size.
_LONG = re.compile(
    r"""
    test_operations_may_end_between_any_two_requests\[.*-3-True\]
    | test_calls_of_reading\[1000\]
    | test_a_put_that_is_cut_off_is_not_seen\[(child-before|replaced-after|text\ ids-before)\]
    | test_a_deletion_that_is_cut_off_goes_on\[prune\ one\ namespace\]
    | test_early_writes_last_as_long_as_their_checkpoint\[(True-False|False-True)-3000
    | test_c9_a_longer_life.*\[(redis-py\ bytes|valkey-py-)
    | test_(valkey_savers|cache_graphs|item_damage)\.py::test_a_dead_server.*\[glide\]
    | test_new_connections_have_new_credentials\[cluster-(blocking-async|awaiting-blocking)-glide\]
    | test_the_caller_finds_his_own_names\[(put_writes|list|delete_runs|item\ get|item\ search|cache\ set)-glide\]
    | test_cut_connections\.py::.*\[(valkey-py-async|glide-blocking)-20
    | test_one_file_has_no_middle_but_is_not_lost
    | test_conformance\.py::.*\[(agentcore|sessions),\ (?!plain-async)
    | test_slot_migration\.py::.*\[(glide\ sync|valkey\.asyncio)-
    | test_sentinel\.py::.*\[async\ without\ libvalkey
    | /test_redis_om.*\[valkey-py\ cluster-
    """,
    re.VERBOSE,
)


def _is_left_out(nodeid: str) -> bool:
    module, _, values = nodeid.partition("[")
    name = module.partition("::")[0].rpartition("/")[2]
    if _LONG.search(nodeid) or name in _PATIENT or (name in _ONCE and values and not values.startswith("plain-async")):
        return True
    return "_contract.py" in nodeid and any(values.startswith(f"{client}-{face}") for client, face in _LEFT_OUT.items())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In quick runs go through the contracts once for each of these, not once for each of its faces."""
    if _IS_QUICK:
        taken: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            (left_out if _is_left_out(item.nodeid) else taken).append(item)
        config.hook.pytest_deselected(items=left_out)
        items[:] = taken


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults were injected, and what came of it."""
    if lines := summary([report for reports in terminalreporter.stats.values() for report in reports]):
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
