"""How often each operation goes to the server and back, on every client library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TypeVar

import pytest
import valkey

from statekeep import Channel, Checkpoint
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.requests import Call, Commands, Reply, Request
from statekeep.testing.servers import ValkeyServer

from .counting_proxy import CountingProxy
from .valkey_kinds import KINDS, chain, open_repository, payload, write

pytestmark = pytest.mark.anyio

ResultT = TypeVar("ResultT")


class Turns:
    """A repository behind a proxy that counts."""

    def __init__(self, proxy: CountingProxy, repository: AsyncCheckpointRepository, prefix: str) -> None:
        self.proxy = proxy
        self.repository = repository
        self.prefix = prefix

    async def of(self, operation: Awaitable[ResultT]) -> tuple[int, ResultT]:
        """Run an operation; return how many round trips it took, and its result."""
        self.proxy.reset()
        result = await operation
        return self.proxy.turns, result


@pytest.fixture(scope="module", params=["standalone"])
def proxy(valkey_server: ValkeyServer) -> Iterator[CountingProxy]:
    with CountingProxy(valkey_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def filled(valkey_server: ValkeyServer) -> Iterator[str]:
    """The prefix of keys under which these threads are: ``long``, of 1,000 checkpoints, and ``nested``."""
    prefix = "round-trips"
    with valkey.Valkey(port=valkey_server.port) as client:
        repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))
        for checkpoint in chain("long", 1000):
            repository.put(checkpoint)
            repository.put_writes("long", checkpoint.checkpoint_id, [write("task", 0)])
        for namespace in ("", "child:1", "child:2"):
            for checkpoint in chain("nested", 5, namespace):
                repository.put(checkpoint)
                repository.put_writes("nested", checkpoint.checkpoint_id, [write("task", 0)], namespace=namespace)
        yield prefix


@pytest.fixture(params=KINDS)
async def turns(request: pytest.FixtureRequest, proxy: CountingProxy, filled: str, prefix: str) -> AsyncIterator[Turns]:
    async with open_repository(request.param, proxy.port, prefix=filled) as repository:
        # Afterwards the connection is open and the server knows the scripts.
        for checkpoint in chain(prefix, 3):
            await repository.put(checkpoint)
            await repository.put_writes(prefix, checkpoint.checkpoint_id, [write("task", 0)])
        assert await repository.get(prefix)
        assert len([saved async for saved in repository.list(prefix, metadata={"step": 1})]) == 1
        assert len([thread async for thread in repository.list_threads(prefix=prefix)]) == 1
        await repository.ancestors(prefix, ["items"])
        await repository.expire(prefix, 1000)
        await repository.delete_thread(prefix)
        yield Turns(proxy, repository, prefix)
        await repository.delete_thread(prefix)


async def collect(listing: AsyncIterator[ResultT]) -> list[ResultT]:
    return [item async for item in listing]


async def test_the_proxy_counts_what_waits_for_answers(proxy: CountingProxy) -> None:
    with valkey.Valkey(port=proxy.port) as client:
        client.ping()
        proxy.reset()
        client.ping()
        client.ping()
        assert proxy.turns == 2
        proxy.reset()
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(10):
                pipeline.ping()
            assert pipeline.execute() == [True] * 10
        assert proxy.turns == 1
        proxy.reset()
        client.set("round-trips-large", bytes(5_000_000))
        assert proxy.turns == 1
        assert proxy.sent > 5_000_000
        client.delete("round-trips-large")


async def test_ping_and_now_are_one_round_trip(turns: Turns) -> None:
    for question in (turns.repository.ping(), turns.repository.now()):
        count, _ = await turns.of(question)
        assert count == 1


async def test_put_is_one_round_trip(turns: Turns) -> None:
    for checkpoint in chain(turns.prefix, 4, run_id="run"):
        count, _ = await turns.of(turns.repository.put(checkpoint))
        assert count == 1


async def test_put_of_many_large_channels_is_one_round_trip(turns: Turns) -> None:
    channels = {f"channel {number}": Channel.of(1, payload(bytes(20_000))) for number in range(100)}
    count, _ = await turns.of(turns.repository.put(Checkpoint(thread_id=turns.prefix, channels=channels)))
    assert count == 1
    count, saved = await turns.of(turns.repository.get(turns.prefix))
    assert saved
    assert saved.channels == channels
    assert count == 1


async def test_put_after_its_writes_is_one_round_trip(turns: Turns, valkey_server: ValkeyServer) -> None:
    first, second = chain(turns.prefix, 2)
    await turns.repository.put(first)
    await turns.repository.put_writes(turns.prefix, "00001", [write("task", 0), write("task", 1)])
    await turns.repository.put_writes(turns.prefix, "00001", [write("other", 0)])
    assert (await turns.of(turns.repository.put(second)))[0] == 1
    # Those of another process take one more.
    with valkey.Valkey(port=valkey_server.port) as client:
        other = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix="round-trips"))
        other.put_writes(turns.prefix, "00002", [write("task", 0)])
    assert (await turns.of(turns.repository.put(chain(turns.prefix, 3)[2])))[0] == 2
    assert (saved := await turns.repository.get(turns.prefix))
    assert len(saved.pending_writes) == 1


async def test_put_that_heals_is_two_round_trips(turns: Turns) -> None:
    checkpoint = Checkpoint(thread_id=turns.prefix, channels={"gone": Channel.earlier(1)})
    count, _ = await turns.of(
        turns.repository.put(checkpoint, supply=lambda names: dict.fromkeys(names, payload(b"v")))
    )
    assert count == 2


@pytest.mark.parametrize("number", [1, 10, 1000])
async def test_put_writes_of_any_number_is_one_round_trip(turns: Turns, number: int) -> None:
    await turns.repository.put(chain(turns.prefix, 1)[0])
    writes = [write(f"task {index % 7}", index) for index in range(number)]
    count, _ = await turns.of(turns.repository.put_writes(turns.prefix, "00000", writes))
    assert count == 1
    saved = await turns.repository.get(turns.prefix)
    assert saved
    assert len(saved.pending_writes) == number


async def test_put_writes_of_none_asks_nobody(turns: Turns) -> None:
    count, _ = await turns.of(turns.repository.put_writes(turns.prefix, "00000", []))
    assert count == 0


@pytest.mark.parametrize("checkpoint_id", [None, "00002"])
async def test_get_is_one_round_trip(turns: Turns, checkpoint_id: str | None) -> None:
    for checkpoint in chain(turns.prefix, 3):
        await turns.repository.put(checkpoint)
    count, saved = await turns.of(turns.repository.get(turns.prefix, checkpoint_id=checkpoint_id))
    assert saved
    assert saved.channels["constant"].payload == payload(b"constant")
    assert saved.channels["counter"].payload == payload(b"2")
    assert count == 1

    await turns.repository.put_writes(turns.prefix, "00002", [write("task", index) for index in range(60)])
    count, saved = await turns.of(turns.repository.get(turns.prefix, checkpoint_id=checkpoint_id))
    assert saved
    assert len(saved.pending_writes) == 60
    assert count == 1


async def test_large_pending_writes_are_one_more_round_trip(turns: Turns) -> None:
    await turns.repository.put(chain(turns.prefix, 1)[0])
    for idx, size in enumerate((49_152, 49_153)):
        writes = [write("task", idx, bytes(size)), write("task", -1 - idx, bytes(size))]
        await turns.repository.put_writes(turns.prefix, "00000", writes)
        count, saved = await turns.of(turns.repository.get(turns.prefix))
        assert saved
        assert {len(made.payload.data) for made in saved.pending_writes if made.idx in (idx, -1 - idx)} == {size}
        assert count == idx + 1


async def test_get_of_nothing_is_one_round_trip(turns: Turns) -> None:
    assert await turns.of(turns.repository.get("nobody")) == (1, None)
    assert await turns.of(turns.repository.get("nobody", checkpoint_id="1")) == (1, None)


@pytest.mark.parametrize("namespace", [None, ""])
async def test_list_of_ten_is_two_round_trips(turns: Turns, namespace: str | None) -> None:
    count, found = await turns.of(collect(turns.repository.list("long", namespace=namespace, limit=10)))
    assert [saved.checkpoint_id for saved in found] == [f"{number:05}" for number in range(999, 989, -1)]
    assert all(saved.channels["constant"].payload and len(saved.pending_writes) == 1 for saved in found)
    assert count == 2


@pytest.mark.parametrize("namespace", [None, ""])
async def test_list_of_checkpoints_that_were_put_or_listed_here_is_one_round_trip(
    turns: Turns, valkey_server: ValkeyServer, namespace: str | None
) -> None:
    async def listed(limit: int = 10, before: str | None = None) -> tuple[int, list[str]]:
        found = turns.repository.list(turns.prefix, namespace=namespace, limit=limit, before=before)
        count, checkpoints = await turns.of(collect(found))
        assert all(saved.channels["constant"].payload for saved in checkpoints)
        return count, [saved.checkpoint_id for saved in checkpoints]

    made = list(chain(turns.prefix, 12))
    ids = [checkpoint.checkpoint_id for checkpoint in reversed(made)]
    for checkpoint in (made[0], *made[5:11], *made[1:5]):
        await turns.repository.put(checkpoint)
    assert await listed() == (1, ids[1:11])
    assert await listed(limit=3) == (1, ids[1:4])
    assert await listed(limit=30) == (1, ids[1:])
    assert await listed(limit=3, before=ids[4]) == (1, ids[5:8])
    with valkey.Valkey(port=valkey_server.port) as client:
        other = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix="round-trips"))
        other.put(made[11])
        assert await listed() == (2, ids[:10])
        assert await listed() == (1, ids[:10])
        other.prune([turns.prefix], keep=2)
        assert await listed() == (2, ids[:2])
        assert await listed() == (1, ids[:2])
        other.delete_thread(turns.prefix)
        assert await listed() == (1, [])
        other.put(made[0])
        assert await listed() == (2, ids[-1:])


async def test_list_over_namespaces_is_three_round_trips(turns: Turns) -> None:
    # The first finds out which there are.
    count, found = await turns.of(collect(turns.repository.list("nested", limit=10)))
    assert [saved.namespace for saved in found] == ["", "child:1", "child:2"] * 3 + [""]
    assert count == 3


async def test_list_behind_an_id_is_two_round_trips(turns: Turns) -> None:
    count, found = await turns.of(collect(turns.repository.list("long", namespace="", before="00500", limit=10)))
    assert found[0].checkpoint_id == "00499"
    assert len(found) == 10
    assert count == 2


async def test_list_of_one_id_is_one_round_trip(turns: Turns) -> None:
    count, found = await turns.of(collect(turns.repository.list("long", namespace="", checkpoint_id="00500")))
    assert [saved.checkpoint_id for saved in found] == ["00500"]
    assert count == 1


@pytest.mark.parametrize("namespace", [None, ""])
@pytest.mark.parametrize("step", [0, 500, 999])
async def test_list_with_a_filter_that_one_of_a_thousand_passes_is_three_round_trips(
    turns: Turns, namespace: str | None, step: int
) -> None:
    listing = turns.repository.list("long", namespace=namespace, metadata={"step": step}, limit=1)
    count, [saved] = await turns.of(collect(listing))
    assert saved.metadata["step"] == step
    assert count == 3


async def test_list_reads_page_by_page(turns: Turns) -> None:
    listing = turns.repository.list("long", namespace="")
    turns.proxy.reset()
    for _ in range(20):
        await anext(listing)
    assert turns.proxy.turns == 2
    await anext(listing)
    assert turns.proxy.turns == 4


async def test_list_threads_is_two_round_trips(turns: Turns) -> None:
    count, found = await turns.of(collect(turns.repository.list_threads(limit=10)))
    assert {thread.thread_id for thread in found} >= {"long", "nested"}
    assert count == 2
    count, found = await turns.of(collect(turns.repository.list_threads(prefix="lon", limit=10)))
    assert [thread.thread_id for thread in found] == ["long"]
    assert count == 3


async def test_ancestors_are_two_round_trips_a_page(turns: Turns) -> None:
    histories = await turns.repository.ancestors("long", ["items"], checkpoint_id="00300")
    assert len(histories["items"].writes) == 300
    # Two for each of two pages, and one for the writes.
    count, _ = await turns.of(turns.repository.ancestors("long", ["items"], checkpoint_id="00300"))
    assert count == 5
    # A page, and one for the writes and the value at which the walk ends.
    count, histories = await turns.of(turns.repository.ancestors("long", ["items", "counter"], checkpoint_id="00100"))
    assert len(histories["items"].writes) == 100
    assert histories["counter"].seed == payload(b"99")
    assert count == 3


@pytest.mark.parametrize(("metadata", "trips"), [({}, 2), ({"run_id": "run"}, 3)])
async def test_delete_thread_is_two_round_trips_and_one_for_runs(
    turns: Turns, metadata: dict[str, str], trips: int
) -> None:
    for checkpoint in chain(turns.prefix, 10, **metadata):
        await turns.repository.put(checkpoint)
        writes = [write("task", index) for index in range(4)]
        await turns.repository.put_writes(turns.prefix, checkpoint.checkpoint_id, writes)
    count, _ = await turns.of(turns.repository.delete_thread(turns.prefix))
    assert await collect(turns.repository.list(turns.prefix)) == []
    assert count == trips
    count, _ = await turns.of(turns.repository.delete_thread(turns.prefix))
    assert count == 2


async def test_delete_thread_with_several_namespaces_is_three_round_trips(turns: Turns) -> None:
    for namespace in ("", *(f"child:{number}" for number in range(19))):
        for checkpoint in chain(turns.prefix, 4, namespace):
            await turns.repository.put(checkpoint)
            await turns.repository.put_writes(
                turns.prefix, checkpoint.checkpoint_id, [write("task", 0)], namespace=namespace
            )
    count, _ = await turns.of(turns.repository.delete_thread(turns.prefix))
    assert await collect(turns.repository.list(turns.prefix)) == []
    assert count == 3


@pytest.mark.parametrize(("metadata", "trips"), [({}, 5), ({"run_id": "run"}, 7)])
def test_delete_thread_in_a_cluster_is_five_round_trips_and_two_for_runs(
    valkey_server: ValkeyServer, prefix: str, metadata: dict[str, str], trips: int
) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        recording = Recording(client)
        recording.cluster = True
        repository = CheckpointRepository(ValkeyCheckpoints(recording, prefix=prefix))
        for checkpoint in chain("t", 10, **metadata):
            repository.put(checkpoint)
        recording.requests.clear()
        repository.delete_thread("t")
        assert len(recording.requests) == trips
        assert not list(client.scan_iter(f"{prefix}:*"))


async def test_measure_is_three_round_trips(turns: Turns) -> None:
    names = [f"{turns.prefix}-{number}" for number in range(5)]
    for name in names:
        for checkpoint in chain(name, 3):
            await turns.repository.put(checkpoint)
    count, found = await turns.of(turns.repository.measure([*names, "none"]))
    assert [one.checkpoints for one in found.values()] == [3] * 5
    assert count == 3
    for name in names:
        await turns.repository.delete_thread(name)


@pytest.mark.parametrize(("metadata", "trips"), [({}, 8), ({"run_id": "run"}, 10)])
async def test_expire_is_eight_round_trips_and_two_for_runs(turns: Turns, metadata: dict[str, str], trips: int) -> None:
    for checkpoint in chain(turns.prefix, 10, **metadata):
        await turns.repository.put(checkpoint)
        await turns.repository.put_writes(turns.prefix, checkpoint.checkpoint_id, [write("task", 0)])
    count, is_there = await turns.of(turns.repository.expire(turns.prefix, 100))
    assert is_there
    assert count == trips
    count, is_there = await turns.of(turns.repository.expire(turns.prefix, None))
    assert is_there
    assert count == trips - 1


ERASING = ("erase", "adopt", "clear_parent", "collect")


class Recording:
    """A client that notes the requests, and no other."""

    def __init__(self, client: valkey.Valkey) -> None:
        self.cluster = False
        self.client = client_for(client)
        self.requests: list[Request] = []

    def execute(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.client.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def test_long_deletions_go_in_bounded_steps(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        recording = Recording(client)
        repository = CheckpointRepository(ValkeyCheckpoints(recording, prefix=prefix))
        for thread in ("deleted", "pruned", "runs"):
            for checkpoint in chain(thread, 2000, run_id=f"of {thread}"):
                repository.put(checkpoint)
            repository.put_writes(thread, "01000", [write("task", index) for index in range(1200)])
        for number in range(45):
            for checkpoint in chain("nested", 30, f"child:{number}", run_id=f"of child {number}"):
                repository.put(checkpoint)
        recording.requests.clear()
        repository.delete_thread("deleted")
        repository.delete_thread("nested")
        repository.prune(["pruned"])
        repository.delete_runs(["of runs"])
        keys = [len(request.keys) for request in recording.requests if isinstance(request, Call)]
        commands = [len(request.commands) for request in recording.requests if isinstance(request, Commands)]
        values = [len(request.args) for request in recording.requests if isinstance(request, Call)]
        assert len(keys) + len(commands) == len(recording.requests)
        assert max(keys) <= 1000  # reading
        calls = [request for request in recording.requests if isinstance(request, Call)]
        # 500 records, seven keys of each of 20 namespaces, and the thread index.
        assert max(len(call.keys) for call in calls if call.script.name in ERASING) <= 643
        assert max(values) <= 1010
        assert max(commands, default=0) <= 500
        kept = {key.decode() for key in client.scan_iter(f"{prefix}:*") if b"{pruned}" not in key}
        assert kept == {f"{prefix}:thread-index:{{threads}}:{order}" for order in ("time", "name")} | {
            f"{prefix}:run-index:of%20pruned"
        }
        assert len(list(repository.list("pruned"))) == 1


def test_long_threads_end_in_bounded_steps(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        recording = Recording(client)
        repository = CheckpointRepository(ValkeyCheckpoints(recording, prefix=prefix))
        for checkpoint in chain("t", 2000, run_id="run"):
            repository.put(checkpoint)
        repository.put_writes("t", "01000", [write("task", index) for index in range(1200)])
        recording.requests.clear()
        assert repository.expire("t", 1000)
        assert repository.measure(["t"])["t"].pending_writes == 1200
        calls = [request for request in recording.requests if isinstance(request, Call)]
        assert max(len(call.keys) for call in calls) <= 7 + 3 * 200
        assert max(len(call.args) for call in calls) <= 1010
        commands = [len(request.commands) for request in recording.requests if isinstance(request, Commands)]
        assert max(commands) <= 1000
        assert len(recording.requests) < 60
        recording.requests.clear()
        assert repository.measure(["t"])["t"].checkpoints == 2000
        # The namespaces, five pages of indexes, and the records.
        assert len(recording.requests) == 1 + 5 + 7
        repository.delete_thread("t")


def test_no_operation_walks_the_keyspace_or_watches(prefix: str) -> None:
    with ValkeyServer() as server, valkey.Valkey(port=server.port) as client:
        repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))
        client.config_resetstat()
        for checkpoint in chain("t", 30, run_id="run"):
            repository.put(checkpoint)
            repository.put_writes("t", checkpoint.checkpoint_id, [write("task", 0), write("task", -1)])
        assert repository.get("t")
        assert repository.get("t", checkpoint_id="00003")
        assert len(list(repository.list("t", metadata={"step": 3}))) == 1
        assert len(list(repository.list())) == 30
        assert [thread.thread_id for thread in repository.list_threads(prefix="t")] == ["t"]
        repository.ancestors("t", ["items"])
        repository.copy_thread("t", "copy")
        assert repository.measure(["t"])["t"].checkpoints == 30
        assert repository.expire("t", 100)
        repository.prune(["copy"], keep=2)
        repository.delete_runs(["run"])
        repository.delete_thread("copy")
        used = {name.removeprefix("cmdstat_").upper() for name in client.info("commandstats")}
        assert {"EVALSHA", "HSET", "ZADD"} <= used
        forbidden = {"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "WATCH", "MULTI", "EXEC", "HGETALL", "FLUSHDB", "SORT"}
        assert used & forbidden == set()
        # The walk of `reindex` shows that the statistics would tell.
        repository.reindex("t")
        assert "cmdstat_scan" in client.info("commandstats")
