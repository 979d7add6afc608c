"""Every backend and the oracle of its kind answer alike, whatever is done to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import pytest
import valkey
from attrs import evolve
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.valkey.embedded import EmbeddedServer
from statekeep.testing.comparison import Clock, Expiry
from statekeep.testing.faces import operations_of
from statekeep.testing.machines.items import INDEX
from statekeep.testing.tally import tally, uncounted
from tests.backends import BACKENDS, ITEM_BACKENDS, Backend, embedded
from tests.small_pages import small_pages
from tests.small_pieces import small_pieces

from .kinds import KINDS, QUICK, SERVED, Kind, prefix

Face = Literal["blocking", "async"]

_QUICK_RUNS = [
    ("memory", "async"),
    ("glide", "async"),
    ("valkey-py", "blocking"),
    ("glide-cluster", "blocking"),
    ("valkey-py-cluster", "async"),
]
"""Each client, each kind of server and each face, but not all of their combinations."""

RUNS = _QUICK_RUNS if QUICK else [(name, face) for name in BACKENDS for face in ("blocking", "async")]


def check(kind: Kind, backend: Backend[Any], name: str, face: str, request: pytest.FixtureRequest, **more: Any) -> None:
    """Run the machine over a backend."""
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with backend.open(request, prefix(), **kind.options) as opened:
        kind.use(opened)
    examples = more.pop("examples", kind.examples(settings().max_examples if name == "memory" else SERVED))
    opening: Callable[..., Any] = backend.open if face == "blocking" else backend.aopen
    machine = kind.machine_for(lambda: opening(request, prefix(), **kind.options), name=f"{name}, {face}", **more)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))


@pytest.mark.parametrize(("name", "face"), RUNS)
@pytest.mark.parametrize("kind", KINDS)
def test_backend_and_oracle_agree(kind: str, name: str, face: Face, request: pytest.FixtureRequest) -> None:
    # One face with pages and pieces as they are, the other one with many.
    small = face == "async"
    with small_pages() if small else nullcontext(), small_pieces() if small else nullcontext():
        check(KINDS[kind], KINDS[kind].backends[name], name, face, request)


def test_a_backend_without_an_index_and_the_oracle_agree(request: pytest.FixtureRequest) -> None:
    check(evolve(KINDS["items"], options={}), ITEM_BACKENDS["valkey-py"], "valkey-py, no index", "blocking", request)


@pytest.mark.parametrize(("name", "face"), [("valkey-py", "blocking"), ("glide-cluster", "async")])
def test_backends_that_index_metadata_and_the_oracle_agree(
    name: str, face: Face, request: pytest.FixtureRequest
) -> None:
    one = evolve(KINDS["checkpoints"], options={"index_metadata": ["step", "run_id", "no such key"]})
    with small_pages() if face == "async" else nullcontext():
        check(one, BACKENDS[name], f"{name}, indexed", face, request)


@pytest.mark.parametrize("name", ["valkey-py", "glide-cluster"] if QUICK else ITEM_BACKENDS)
def test_backends_with_units_and_the_oracle_agree(name: str, request: pytest.FixtureRequest) -> None:
    unit = 0 if name == "valkey-py-cluster" else 1
    one = evolve(KINDS["items"], options={"index": INDEX, "unit": unit})
    check(
        one, ITEM_BACKENDS[name], f"{name}, unit={unit}", "async" if name.startswith("glide") else "blocking", request
    )


# Reading a cache entry never starts its time anew.
EXPIRING = [
    (kind, refresh_on_read) for kind in KINDS for refresh_on_read in (False, True)[: 1 if kind == "cache" else 2]
]


@pytest.mark.parametrize(("kind", "refresh_on_read"), EXPIRING)
def test_expiry_and_oracle_agree(kind: str, *, refresh_on_read: bool) -> None:
    one = KINDS[kind]
    clock = Clock()
    reading = {} if kind == "cache" else {"refresh_on_read": refresh_on_read}

    def make() -> AbstractContextManager[Any]:
        return nullcontext(one.memory(ttl=one.ttl, clock=clock, **reading, **one.options))

    machine = one.machine_for(make, name="memory, expiry", expiry=Expiry(clock, one.ttl, refresh_on_read))
    with small_pages():
        run_state_machine_as_test(machine, settings=settings(max_examples=one.examples(settings().max_examples)))


@pytest.fixture
def embedded_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server with a directory, which is killed and restarted by the test."""
    with EmbeddedServer(tmp_path) as server:
        yield server


class Restart:
    """Ends an embedded server, one time by SIGKILL and one time in order, and starts it again."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.is_killed = False

    def __call__(self) -> None:
        self.is_killed = not self.is_killed
        if not self.is_killed:
            self.server.stop()
            self.server.start()
            return
        with valkey.Valkey.from_url(self.server.url) as client:
            info: Any = client.info()
            # While the disk is busy with what was written before, the server holds back what follows,
            # two seconds at most.
            while info["aof_buffer_length"]:
                time.sleep(0.01)
                info = client.info()
        os.kill(info["process_id"], signal.SIGKILL)  # whoever keeps it starts it again


RESTARTED = [
    (kind, client, face)
    for kind in KINDS
    for client, face in (("valkey-py", "blocking"), ("glide", "async"))
    if not QUICK or (kind == "items") is (client == "glide")
]


@pytest.mark.parametrize(("kind", "client", "face"), RESTARTED)
def test_restarts_and_oracle_agree(
    kind: str, client: Literal["glide", "valkey-py"], face: Face, request: pytest.FixtureRequest
) -> None:
    restart = Restart(request.getfixturevalue("embedded_server"))
    examples = 2 if QUICK else settings().max_examples  # each restart takes a tenth of a second
    check(
        KINDS[kind],
        embedded(KINDS[kind].valkey, client),
        f"embedded, {client}",
        face,
        request,
        restart=restart,
        examples=examples,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_rule_for_every_operation(kind: str) -> None:
    one = KINDS[kind]
    machine = one.machine_for(lambda: nullcontext(one.memory(**one.options)), name="every operation")
    with uncounted():
        run_state_machine_as_test(
            machine, settings=settings(max_examples=one.examples(15), derandomize=True, database=None)
        )
        called = tally(kind, "every operation").operations
    assert set(operations_of(one.face)) == set(called)
