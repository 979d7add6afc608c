"""Slots of a cluster on their way to another node: nothing acknowledged is lost, and reads answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from attrs import frozen

import statekeep
from statekeep import AsyncConnection, Channel, Checkpoint, GetItem, ListItems, Unavailable
from statekeep.repositories.valkey.cache.keys import keys_of
from statekeep.repositories.valkey.keys import shard_of
from statekeep.repositories.valkey.logs.keys import log_keys
from statekeep.testing.faces import awaited
from statekeep.testing.servers import ValkeyCluster

from .item_kinds import INDEX, texts
from .slot_migration import SlotMigration
from .valkey_kinds import chain, payload, write

pytestmark = pytest.mark.anyio

KINDS: Final = ("glide sync", "glide async", "valkey-py", "valkey.asyncio")

PLACE: Final = (("c",), "x")
LOG: Final = ("chat", "ada")

SHORT: Final = 0.3
"""Deadline of writes that may be refused for as long as the slot is under way, in seconds."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    """A cluster whose slots no other module moves."""
    with ValkeyCluster() as cluster:
        yield cluster


@frozen
class Keep:
    """Repositories, called as the async face is."""

    checkpoints: Any
    items: Any
    cache: Any
    logs: Any
    prefix: str


Opener = Callable[..., Any]


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, cluster: ValkeyCluster, prefix: str) -> Opener:
    """Opens repositories over a client of a kind."""
    library = "glide" if "glide" in request.param else "valkey-py"

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Keep]:
        options = {
            "client": library,
            "prefix": prefix,
            "ttl": 3600,
            "index": INDEX,
            "refresh_on_read": False,
            **options,
        }
        keep: Any
        if request.param in ("glide async", "valkey.asyncio"):
            async with statekeep.aconnect(cluster.url, **options) as keep:
                assert isinstance(keep, AsyncConnection)
                yield Keep(keep.checkpoints, keep.items, keep.cache, keep.logs, prefix)
        else:
            with statekeep.connect(cluster.url, **options) as keep:
                face = awaited(keep.checkpoints), awaited(keep.items), awaited(keep.cache), awaited(keep.logs)
                yield Keep(*face, prefix)

    return opened


async def listed(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


# -- what is written


async def look_at_thread(keep: Keep) -> Any:
    """What can be read of a thread, in several ways."""
    checkpoints = await listed(keep.checkpoints.list("t"))
    newest = await keep.checkpoints.get("t")
    by_id = [await keep.checkpoints.get("t", checkpoint_id=found.checkpoint_id) for found in checkpoints]
    return checkpoints, newest, by_id


async def put_thread(keep: Keep) -> None:
    for checkpoint in chain("t", 3, run_id="run"):
        await keep.checkpoints.put(checkpoint)
    await keep.checkpoints.put_writes("t", "00002", [write("task", 0), write("task", -1, b"old", "__error__")])


async def put_again(keep: Keep) -> None:
    last = chain("t", 3)[-1]
    values = {name: getattr(last, name) for name in Checkpoint.model_fields}
    await keep.checkpoints.put(Checkpoint(**values | {"metadata": {"is": "new"}}))


async def put_writes(keep: Keep) -> None:
    await keep.checkpoints.put_writes("t", "00002", [write("task", -1, b"new", "__interrupt__")])


async def put_growing(keep: Keep) -> None:
    """A value in pieces, of which the second version has some of the first."""
    await put_thread(keep)
    for number in (3, 4):
        await keep.checkpoints.put(growing(number))


async def put_grown(keep: Keep) -> None:
    await keep.checkpoints.get("t")  # what this client knows then is what it puts the new version together of
    await keep.checkpoints.put(growing(5))


def growing(number: int) -> Checkpoint:
    channels = {"log": Channel.of(number, payload(random.Random(0).randbytes(4000 + 300 * number)))}
    where = {"thread_id": "t", "checkpoint_id": f"{number:05}", "parent_id": f"{number - 1:05}"}
    return Checkpoint(**where, channels=channels)


async def put_large_writes(keep: Keep) -> None:
    await keep.checkpoints.put_writes("t", "00002", [write("task", -1, b"new" * 30_000, "__error__")])


async def delete_thread(keep: Keep) -> None:
    await keep.checkpoints.delete_thread("t")


async def measured(keep: Keep) -> Any:
    """The sizes of the thread, but for the bytes, which depend on the node; and whether it ends within half a day."""
    found = (await keep.checkpoints.measure(["t", "none"]))["t"]
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=12)
    return found.checkpoints, found.pending_writes, found.namespaces, found.expires_at and found.expires_at < soon


async def end_thread(keep: Keep) -> None:
    assert await keep.checkpoints.expire("t", 86_400)


async def look_at_cache(keep: Keep) -> Any:
    return {place: entry.payload for place, entry in (await keep.cache.get([PLACE])).items()}


async def set_entry(keep: Keep) -> None:
    await keep.cache.set({PLACE: payload(b"old")})


async def set_again(keep: Keep) -> None:
    await keep.cache.set({PLACE: (payload(b"new"), None)})


async def delete_entry(keep: Keep) -> None:
    await keep.cache.delete([PLACE])


async def look_at_items(keep: Keep) -> Any:
    by_name = {item.key: item.value for item in await listed(keep.items.list(("log",), refresh=False))}
    one = await keep.items.get(("log",), "cfg", refresh=False)
    assert (one and one.value) == by_name.get("cfg")
    found = await keep.items.search((), query="ab", refresh=False)
    by_meaning = {item.key: item.value for item in found}
    # What is appended has no vectors.
    assert by_meaning.keys() <= by_name.keys()
    assert all(by_name[key] == value for key, value in by_meaning.items())
    return by_name


async def put_items(keep: Keep) -> None:
    """All keys that the script of a put declares are there then."""
    await keep.items.append(("log",), ["first", "second"])
    await keep.items.put(("log",), "cfg", texts(4))
    await keep.items.put(("log",), "gone", texts(1))
    await keep.items.delete(("log",), "gone")


async def put_item(keep: Keep) -> None:
    await keep.items.put(("log",), "cfg", texts(4, "b"))


async def append(keep: Keep) -> None:
    await keep.items.append(("log",), ["third"])


async def pop(keep: Keep) -> None:
    await keep.items.pop(("log",))


async def delete_item(keep: Keep) -> None:
    await keep.items.delete(("log",), "cfg")


async def look_at_log(keep: Keep) -> Any:
    found = [entry.value for entry in await keep.logs.read(LOG, refresh=False)]
    assert await keep.logs.count(LOG) == len(found)
    return found


async def fill_log(keep: Keep) -> None:
    await keep.logs.append(LOG, ["first", "second", "third"])


async def append_to_log(keep: Keep) -> None:
    await keep.logs.append(LOG, ["fourth", "fifth"])


async def pop_from_log(keep: Keep) -> None:
    await keep.logs.pop(LOG, 2)


Step = Callable[[Keep], Awaitable[None]]


@frozen
class Case:
    """A write over something, and what shows whether it was done."""

    tag: str
    setup: Step
    write: Step
    look: Callable[[Keep], Awaitable[Any]]
    succeeds: bool = False
    """Whether it is done while all keys are at the source still."""

    def __repr__(self) -> str:
        return self.write.__name__


THREAD: Final = ("t", put_thread)
ITEMS: Final = ("log", put_items)
CASES: Final = [
    Case(*THREAD, put_again, look_at_thread, succeeds=True),
    Case(*THREAD, put_writes, look_at_thread, succeeds=True),
    Case(*THREAD, put_large_writes, look_at_thread, succeeds=True),
    Case("t", put_growing, put_grown, look_at_thread),
    Case(*THREAD, delete_thread, look_at_thread, succeeds=True),
    Case(*THREAD, end_thread, measured, succeeds=True),
    Case("", set_entry, set_again, look_at_cache, succeeds=True),
    Case("", set_entry, delete_entry, look_at_cache),
    Case(*ITEMS, put_item, look_at_items, succeeds=True),
    Case(*ITEMS, append, look_at_items),
    Case(*ITEMS, pop, look_at_items),
    Case(shard_of("chat.ada"), fill_log, append_to_log, look_at_log),
    Case(shard_of("chat.ada"), fill_log, pop_from_log, look_at_log),
]


def moving(cluster: ValkeyCluster, keep: Keep, tag: str) -> SlotMigration:
    record = keys_of(keep.prefix, PLACE).record(PLACE[1])
    return SlotMigration(cluster, tag or record[record.index("{") + 1 : record.index("}")])


async def refusal(step: Step, keep: Keep) -> Unavailable | None:
    try:
        await step(keep)
    except Unavailable as error:
        return error
    return None


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("moved", [0, 2], ids=["none", "half"])
async def test_a_write_is_done_or_nothing_is_lost(
    cluster: ValkeyCluster, opened: Opener, case: Case, moved: int
) -> None:
    async with opened() as keep, opened(deadline=SHORT) as hurried:
        await case.setup(keep)
        old = await case.look(keep)
        with moving(cluster, keep, case.tag) as migration:
            if moved:
                migration.move(*migration.keys()[::moved])
            refused = await refusal(case.write, hurried)
        found = await case.look(keep)
        if refused is None:
            assert found != old
            return
        assert moved or not case.succeeds
        assert type(refused) is Unavailable
        # On a busy machine the last attempt may have no time for an answer.
        reasons = ("slot of the keys is on its way to another node", "did not answer in time")
        assert any(reason in str(refused) for reason in reasons)
        # Nobody was told that the entry is gone, and it may be.
        assert found == old or (case.write is delete_entry and not found)
        await case.write(keep)
        assert (await case.look(keep)) != old


# -- what is read


async def put_everything(keep: Keep) -> None:
    """Some keys that scripts declare are not there: nothing is pending in the namespace ``sub``, or ends."""
    await put_thread(keep)
    for checkpoint in chain("t", 2, namespace="sub"):
        await keep.checkpoints.put(checkpoint)
    await keep.checkpoints.put(
        Checkpoint(thread_id="t", checkpoint_id="00003", parent_id="00002", channels={"items": Channel.replayed(4)})
    )
    await keep.items.put(("log",), "plain", {"n": 1})
    await put_items(keep)
    await set_entry(keep)
    await fill_log(keep)


async def read_thread(keep: Keep) -> dict[str, Any]:
    checkpoints = keep.checkpoints
    return {
        "newest": await checkpoints.get("t"),
        "by id": await checkpoints.get("t", checkpoint_id="00002"),
        "no namespace": await checkpoints.get("t", namespace="none"),
        "all": await listed(checkpoints.list("t")),
        "by metadata": await listed(checkpoints.list("t", metadata={"step": 1})),
        "ancestors": await checkpoints.ancestors("t", ["items", "counter"]),
        "counts": await measured(keep),
    }


async def read_items(keep: Keep) -> dict[str, Any]:
    items = keep.items
    return {
        "one": await items.get(("log",), "plain", refresh=False),
        "none": await items.get(("log",), "none", refresh=False),
        "all": await listed(items.list(("log",), refresh=False)),
        "keys": await listed(items.keys(("log",))),
        "by time": await listed(items.list(("log",), order="updated", offset=1, refresh=False)),
        "in a batch": await items.batch(
            [
                GetItem(namespace=("log",), key="plain", refresh=False),
                ListItems(namespace=("log",), refresh=False, limit=3),
                ListItems(namespace=("log",), refresh=False, order="updated", prefix="p"),
            ]
        ),
        "newest": await items.search(("log",), refresh=False),
        "by meaning": await items.search(("log",), query="ab", refresh=False),
        "namespaces": await items.list_namespaces(),
    }


async def read_cache(keep: Keep) -> dict[str, Any]:
    entries = await listed(keep.cache.list())
    assert entries == await listed(keep.cache.list(PLACE[0]))
    sizes = [(found.namespace, found.entries) for found in await listed(keep.cache.list_namespaces())]
    return {"entries": entries, "sizes": sizes, "found": await keep.cache.get([PLACE, (("c",), "none")])}


async def read_log(keep: Keep) -> dict[str, Any]:
    logs = keep.logs
    entries = await logs.read(LOG, refresh=False)
    return {
        "entries": entries,
        "behind": await logs.read(LOG, after=entries[0].position, refresh=False),
        "last": await logs.last(LOG, refresh=True),
        "count": await logs.count(LOG),
        "none": await logs.read((*LOG, "none"), refresh=True),
        "names": [log.name for log in await listed(logs.list())],
    }


READS: Final = {"t": read_thread, "log": read_items, "": read_cache, shard_of("chat.ada"): read_log}


def moves(migration: SlotMigration, stage: str) -> None:
    keys = migration.keys()
    migration.move(*{"none": [], "even": keys[::2], "odd": keys[1::2], "all": keys}[stage])


@pytest.mark.parametrize("tag", READS)
@pytest.mark.parametrize(
    ("stage", "ttl"), [("none", None), ("none", 3600), ("even", 3600), ("odd", None), ("all", 3600)]
)
async def test_reads_answer_as_before(
    cluster: ValkeyCluster, opened: Opener, tag: str, stage: str, ttl: float | None
) -> None:
    async with opened(ttl=ttl) as keep:
        await put_everything(keep)
        expected = await READS[tag](keep)
        assert all(
            expected.get(name) for name in ("newest", "by id", "ancestors", "one", "by meaning") if name in expected
        )
        with moving(cluster, keep, tag) as migration:
            moves(migration, stage)
            found = await READS[tag](keep)
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.mark.parametrize("stage", ["odd", "all"])
async def test_a_read_lets_a_log_live_anew(cluster: ValkeyCluster, opened: Opener, stage: str) -> None:
    async with opened(ttl=1000) as keep:
        await fill_log(keep)
        keys = log_keys(keep.prefix, LOG)
        with cluster.nodes[cluster.primary_of(keys.values)].client() as node:
            node.pexpire(keys.values, 500_000)
            node.pexpire(keys.life, 500_000)
            with SlotMigration(cluster, keys.shard) as migration:
                moves(migration, stage)
                assert [entry.value for entry in await keep.logs.last(LOG, refresh=True)] == ["third"]
            assert node.pttl(keys.values) > 900_000
            assert node.pttl(keys.life) > 900_000
            # A key that is moved lives a few milliseconds longer; the index forgets it a minute after its end.
            assert node.zscore(keys.indexes[1], keys.member) > node.pexpiretime(keys.values) - 50_000


@pytest.mark.parametrize("stage", ["none", "even", "odd", "all"])
async def test_a_read_lets_a_checkpoint_live_anew(cluster: ValkeyCluster, opened: Opener, stage: str) -> None:
    async with opened(ttl=1000) as keep, opened(ttl=2000, refresh_on_read=True) as refreshing:
        await put_thread(keep)
        with cluster.nodes[cluster.primary_of("{t}")].client() as node:
            keys = sorted(node.scan_iter(f"{keep.prefix}:*{{t}}*"))
            with SlotMigration(cluster, "t") as migration:
                moves(migration, stage)
                assert (await refreshing.checkpoints.get("t")).checkpoint_id == "00002"
            long = {key.decode().removeprefix(f"{keep.prefix}:") for key in keys if node.pttl(key) > 1_500_000}
            [expiry] = (key for key in keys if b":expiry-index:" in key)
            least = float(node.zscore(expiry, "c00000")) + 900_000
            ends = {name for name, end in node.zrange(expiry, 0, -1, withscores=True) if end > least}
    assert long == {
        "head:{t}:",
        "channel-values:{t}:",
        "checkpoint-index:{t}:",
        "pending_write-index:{t}:",
        "expiry-index:{t}:",
        "namespace-index:{t}",
        "pending-values:{t}:",
        "checkpoint:{t}::00002",
        "pending_write:{t}::00002:task:0",
        "pending_write:{t}::00002:task:-1",
    }
    assert {name for name in ends if name[:1] != b"r"} == {
        b"c00002",
        b"vconstant:i1",
        b"vcounter:i3",
        b"w00002:task:0:items",
        b"w00002:task:-1:__error__",
    }


@pytest.mark.parametrize("tag", ["log", "."])
@pytest.mark.parametrize("stage", ["none", "even", "odd", "all"])
async def test_a_read_lets_items_live_anew(cluster: ValkeyCluster, opened: Opener, tag: str, stage: str) -> None:
    async with opened(ttl=1000) as keep:
        await put_items(keep)
        await keep.items.put(("log",), "many", texts(7))
        before: dict[bytes, Any] = {}
        nodes: list[Any] = [cluster.nodes[cluster.primary_of(f"{{{tag}}}")].client() for tag in ("log", ".")]
        for node in nodes:
            for key in node.scan_iter(f"{keep.prefix}:*"):
                if node.pttl(key) > 0:
                    node.pexpire(key, 300_000)
                    before[key] = node
                    if b":item-ends:" in key:
                        node.zadd(key, dict.fromkeys(node.zrange(key, 0, -1), time.time() * 1000 + 300_000))
        with SlotMigration(cluster, tag) as migration:
            moves(migration, stage)
            for name in ("cfg", "many", "00000000000000000000", "gone"):
                item = await keep.items.get(("log",), name, refresh=True)
                assert item is None or item.expires_at.timestamp() > time.time() + 900
            read = await listed(keep.items.list(("log",), refresh=True))
            assert all(item.expires_at.timestamp() > time.time() + 900 for item in read)
            assert len(read) == 4
        short = [key for key, node in before.items() if node.pttl(key) < 900_000]
        ends = [
            end
            for key, node in before.items()
            if b":item-ends:" in key
            for _, end in node.zrange(key, 0, -1, withscores=True)
        ]
        for node in nodes:
            node.close()
        assert all(b":item-call:" in key for key in short)
        assert min(ends) > (time.time() + 900) * 1000
        assert (await listed(keep.items.list(("log",), refresh=False))) == read


# -- how it ends


async def test_a_write_that_waits_is_done_when_the_slot_has_arrived(cluster: ValkeyCluster, opened: Opener) -> None:
    async with opened(deadline=60) as keep:
        await put_everything(keep)
        with SlotMigration(cluster, "t") as migration:
            # In a thread: a blocking client holds up the event loop.
            finish = threading.Timer(0.2, migration.finish)
            finish.start()
            for checkpoint in chain("t", 6)[3:]:
                await keep.checkpoints.put(checkpoint)
            await keep.checkpoints.put_writes("t", "00005", [write("task", 0)])
            await asyncio.to_thread(finish.join)
        newest = await keep.checkpoints.get("t")
        assert newest.checkpoint_id == "00005"
        assert len(newest.pending_writes) == 1
        assert len(await listed(keep.checkpoints.list("t"))) == 8


async def test_scripts_that_the_server_forgets_are_sent_again(cluster: ValkeyCluster, opened: Opener) -> None:
    ended = threading.Event()

    def forget() -> None:
        with cluster.nodes[cluster.primary_of("{t}")].client() as node:
            while not ended.is_set():
                node.script_flush()

    async with opened() as keep:
        await put_thread(keep)
        forgetting = threading.Thread(target=forget)
        forgetting.start()
        try:
            for number in range(200):
                await keep.checkpoints.put_writes("t", "00002", [write("task", -1, b"%d" % number)])
        finally:
            ended.set()
            forgetting.join()
        newest = await keep.checkpoints.get("t")
        assert [found.payload.data for found in newest.pending_writes if found.idx < 0] == [b"199"]


def refusals(cluster: ValkeyCluster) -> int:
    """How often the nodes sent somebody elsewhere, or asked him to try again."""
    total = 0
    for port in cluster.ports:
        with cluster.nodes[port].client() as raw:
            errors: Any = raw.info("errorstats")
        for name in ("errorstat_ASK", "errorstat_TRYAGAIN"):
            found = errors.get(name, "count=0")
            total += int(found["count"] if isinstance(found, dict) else found.partition("=")[2])
    return total


async def test_a_read_meanwhile_is_not_sent_around(opened: Opener, cluster: ValkeyCluster) -> None:
    async with opened() as keep:
        await put_thread(keep)
        with SlotMigration(cluster, "t") as slot:
            slot.move(*slot.keys()[:2])
            before = refusals(cluster)
            assert await keep.checkpoints.get("t")
            # Each of a few requests is sent on once, and tried again twice.
            assert refusals(cluster) - before <= 10
