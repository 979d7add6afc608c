"""Every backend and the oracle of its kind answer alike, whatever is done to them."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
import valkey
from attrs import evolve, frozen
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import Checkpoint
from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems
from statekeep.repositories.valkey import ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems
from statekeep.repositories.valkey.embedded import EmbeddedServer
from statekeep.testing.cache_machine import cache_machine_for
from statekeep.testing.comparison import Clock, Expiry
from statekeep.testing.faces import operations_of
from statekeep.testing.item_machine import INDEX, item_machine_for
from statekeep.testing.machine import machine_for
from statekeep.testing.tally import tally, uncounted
from tests.backends import BACKENDS, CACHE_BACKENDS, ITEM_BACKENDS, Backend, embedded
from tests.small_pages import small_pages

QUICK = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick"
Face = Literal["blocking", "async"]


def _use_checkpoints(backend: Any) -> None:
    keep = CheckpointRepository(backend)
    keep.put(Checkpoint(thread_id="t"))
    anyio.run(AsyncCheckpointRepository(backend).get, "t")
    keep.delete_thread("t")


def _use_items(backend: Any) -> None:
    keep = ItemRepository(backend)
    keep.setup()
    keep.put(("n",), "k", {"text": "a"})
    anyio.run(lambda: AsyncItemRepository(backend).search(query="a"))
    keep.clear(("n",))


def _use_cache(backend: Any) -> None:
    CacheRepository(backend).clear()
    anyio.run(AsyncCacheRepository(backend).get, [((), "k")])


@frozen
class Kind:
    """One kind of repository.

    Attributes:
        face: what users hold.
        machine_for: makes the machine.
        use: does something through both faces.
        backends: all of them, but those over an embedded server.
        memory: makes the one that takes a clock.
        valkey: makes the one over a client.
        ttl: seconds.
        options: what each is made with.
    """

    face: type[Any]
    machine_for: Callable[..., type[Any]]
    use: Callable[[Any], None]
    backends: dict[str, Backend[Any]]
    memory: Callable[..., Any]
    valkey: Callable[..., Any]
    ttl: float
    options: dict[str, Any]


KINDS = {
    "checkpoints": Kind(
        CheckpointRepository, machine_for, _use_checkpoints, BACKENDS, MemoryCheckpoints, ValkeyCheckpoints, 10.05, {}
    ),
    "items": Kind(
        ItemRepository,
        item_machine_for,
        _use_items,
        ITEM_BACKENDS,
        MemoryItems,
        ValkeyItems,
        1005.0,
        {"index": INDEX},
    ),
    "cache": Kind(
        CacheRepository,
        cache_machine_for,
        _use_cache,
        CACHE_BACKENDS,
        MemoryCacheEntries,
        ValkeyCacheEntries,
        10.05,
        {},
    ),
}

_QUICK_RUNS = [
    ("memory", "async"),
    ("glide", "blocking"),
    ("glide", "async"),
    ("valkey-py", "blocking"),
    ("valkey-py", "async"),
    ("glide-cluster", "blocking"),
    ("valkey-py-cluster", "async"),
]
"""Each client, each kind of server and each face, but not all of their combinations."""

RUNS = _QUICK_RUNS if QUICK else [(name, face) for name in BACKENDS for face in ("blocking", "async")]


def prefix() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


SERVED = 10 if QUICK else settings().max_examples
"""Examples over a server. The runs over all clients act on the same operations, so that they add up."""


def check(kind: Kind, backend: Backend[Any], name: str, face: str, request: pytest.FixtureRequest, **more: Any) -> None:
    """Run the machine over a backend."""
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with backend.open(request, prefix(), **kind.options) as opened:
        kind.use(opened)
    examples = more.pop("examples", settings().max_examples if name == "memory" else SERVED)
    opening: Callable[..., Any] = backend.open if face == "blocking" else backend.aopen
    machine = kind.machine_for(lambda: opening(request, prefix(), **kind.options), name=f"{name}, {face}", **more)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))


@pytest.mark.parametrize(("name", "face"), RUNS)
@pytest.mark.parametrize("kind", KINDS)
def test_backend_and_oracle_agree(kind: str, name: str, face: Face, request: pytest.FixtureRequest) -> None:
    # One face with pages as they are, the other one with many.
    with small_pages() if face == "async" else nullcontext():
        check(KINDS[kind], KINDS[kind].backends[name], name, face, request)


def test_a_backend_without_an_index_and_the_oracle_agree(request: pytest.FixtureRequest) -> None:
    check(evolve(KINDS["items"], options={}), ITEM_BACKENDS["valkey-py"], "valkey-py, no index", "blocking", request)


@pytest.mark.parametrize("refresh_on_read", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_expiry_and_oracle_agree(kind: str, *, refresh_on_read: bool) -> None:
    one = KINDS[kind]
    if kind == "cache" and refresh_on_read:
        pytest.skip("reading a cache entry never starts its time anew")
    clock = Clock()
    reading = {} if kind == "cache" else {"refresh_on_read": refresh_on_read}

    def make() -> AbstractContextManager[Any]:
        return nullcontext(one.memory(ttl=one.ttl, clock=clock, **reading, **one.options))

    machine = one.machine_for(make, name="memory, expiry", expiry=Expiry(clock, one.ttl, refresh_on_read))
    with small_pages():
        run_state_machine_as_test(machine, settings=settings())


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
            info: Any = client.info("server")
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
        run_state_machine_as_test(machine, settings=settings(max_examples=15, derandomize=True, database=None))
        called = tally(kind, "every operation").operations
    assert set(operations_of(one.face)) == set(called)
