"""State of Burr's applications, run by Burr itself: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("burr", reason="apache-burr is not installed: `make frameworks` has it", exc_type=ImportError)

from burr.core import Application, ApplicationBuilder, ApplicationContext, State, action, expr
from burr.core.parallelism import MapStates
from burr.core.persistence import AsyncInMemoryPersister, InMemoryPersister, SQLitePersister
from burr.core.state import register_field_serde
from pydantic import BaseModel

import statekeep
from statekeep import Conflict, CorruptRecord, InvalidInput, Unavailable, Unsupported
from statekeep.contrib.burr import AsyncStatekeepPersister, StatekeepPersister
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

PAGE = ROOT / "docs" / "frameworks" / "burr.md"

SCRIPT = "from tests.contrib.test_burr import count_on; count_on(*__import__('sys').argv[1:])"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Burr prints the state with each error."""
    monkeypatch.setattr(logging.getLogger("burr.core.application"), "disabled", True)


@action(reads=["n"], writes=["n"])  # type: ignore[untyped-decorator]
def count(state: State) -> State:
    return state.update(n=state["n"] + 1)


@action(reads=["n"], writes=["seen"])  # type: ignore[untyped-decorator]
def look(state: State, breaks: bool = False) -> State:
    if breaks:
        raise ZeroDivisionError("as it was told to")
    return state.append(seen=state["n"])


@action(reads=["n"], writes=["n"])  # type: ignore[untyped-decorator]
async def acount(state: State) -> State:
    return state.update(n=state["n"] + 1)


@action(reads=["n"], writes=["seen"])  # type: ignore[untyped-decorator]
async def alook(state: State, breaks: bool = False) -> State:
    if breaks:
        await asyncio.sleep(60)
    return state.append(seen=state["n"])


def builder_of(persister: Any, app_id: str = "app", **fork: Any) -> ApplicationBuilder:
    is_async = persister.is_async()
    one, other = (acount, alook) if is_async else (count, look)
    ballast = "x" * 20_000
    return (
        ApplicationBuilder()
        .with_actions(count=one, look=other)
        .with_transitions(("count", "look"), ("look", "count"))
        .with_identifiers(app_id=app_id, partition_key="ada")
        .initialize_from(
            persister,
            resume_at_next_action=True,
            default_state={"n": 0, "seen": [], "ballast": ballast},
            default_entrypoint="count",
            **fork,
        )
        .with_state_persister(persister)
    )


def app_of(persister: Any, app_id: str = "app", **fork: Any) -> Application:
    return builder_of(persister, app_id, **fork).build()


def count_on(url: str, prefix: str, app_id: str) -> None:
    """Take two steps in a process of its own; print the state."""
    with StatekeepPersister.from_url(url, prefix=prefix) as persister:
        app = app_of(persister, app_id)
        app.step()
        app.step()
        print(json.dumps([app.sequence_id, app.state["n"], app.state["seen"]]))


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, capsys: Any) -> None:
    run_page(PAGE, valkey_server)
    assert capsys.readouterr().out.splitlines() == ["3 2", "['app-1']", "4 3"]


# -- as the framework's own persisters do


def plain(loaded: Any) -> Any:
    """Return what was loaded without what is random."""
    if loaded is None:
        return None
    return {**loaded, "state": loaded["state"].get_all(), "created_at": None}


def scenario(persister: Any) -> list[Any]:
    """Everything that a persister does, and all that is seen of it."""
    seen: list[Any] = [persister.load("ada", "app"), persister.list_app_ids("bob"), persister.load("ada", "app", 3)]
    app = app_of(persister)
    app.step()
    app.step()
    app.step()
    with pytest.raises(ZeroDivisionError):
        app.step(inputs={"breaks": True})
    seen.append(plain(persister.load("ada", "app")))
    # Begun anew: it goes on with the action that failed.
    app = app_of(persister)
    seen.append([app.get_next_action().name, app.sequence_id])
    app.run(halt_after=["count"])
    seen += [plain(persister.load("ada", "app", number)) for number in (None, 0, 1, 3, 5, 6)]
    # Another application goes on from an earlier step of it.
    fork = app_of(persister, "fork", fork_from_app_id="app", fork_from_partition_key="ada", fork_from_sequence_id=1)
    fork.step()
    seen += [plain(persister.load("ada", "fork")), sorted(persister.list_app_ids("ada")), persister.list_app_ids("bob")]
    return seen


def sqlite(tmp_path: Path) -> SQLitePersister:
    persister = SQLitePersister(str(tmp_path / "burr.db"), connect_kwargs={"check_same_thread": False})
    persister.initialize()
    return persister


def test_it_does_as_burrs_own(keep: statekeep.Connection, tmp_path: Path) -> None:
    mine = scenario(StatekeepPersister(keep))
    assert mine == scenario(InMemoryPersister())
    with sqlite(tmp_path) as theirs:
        assert mine == scenario(theirs)
    assert mine[3]["status"] == "failed"
    assert mine[4] == ["look", 3]


@pytest.mark.anyio
async def test_it_does_as_burrs_own_in_asyncio(akeep: statekeep.AsyncConnection) -> None:
    async def visits(persister: Any) -> list[Any]:
        seen: list[Any] = [await persister.load("ada", "app"), await persister.list_app_ids("bob")]
        app = await builder_of(persister).abuild()
        for _ in range(3):
            await app.astep()
        app = await builder_of(persister).abuild()
        await app.arun(halt_after=["count"])
        seen += [plain(await persister.load("ada", "app", number)) for number in (None, 0, 2, 9)]
        return [*seen, app.state["seen"], await persister.list_app_ids("ada")]

    mine = await visits(AsyncStatekeepPersister(akeep))
    assert mine == await visits(AsyncInMemoryPersister())
    assert mine[-2] == [1, 2]


def test_partitions_and_applications_are_apart(keep: statekeep.Connection) -> None:
    ids = ["ada", "", "a/b", "a%2Fb", "A", "{}", ":", "*", "\x00", " ", "😀" * 100]
    placed = [(StatekeepPersister(keep), partition, app_id) for partition in ids for app_id in ids if app_id]
    placed += [
        (StatekeepPersister(keep, namespace=namespace), "ada", "ada")
        for namespace in (("burr", "ada"), ("burr", "x"), ("tenant",))
    ]
    placed.append((StatekeepPersister(keep, namespace=("burr", "ada")), "", "ada"))
    for number, (persister, partition, app_id) in enumerate(placed):
        persister.save(partition, app_id, 0, "count", State({"n": number}), "completed")
    for number, (persister, partition, app_id) in enumerate(placed):
        found = persister.load(partition, app_id)
        assert found is not None
        assert (found["partition_key"], found["app_id"], found["state"]["n"]) == (partition, app_id, number)
    persister = placed[0][0]
    for partition in ids:
        assert sorted(persister.list_app_ids(partition)) == sorted(filter(None, ids))
    assert persister.list_app_ids(None) == persister.list_app_ids("")
    assert plain(persister.load(None, "ada")) == plain(persister.load("", "ada"))


def test_the_latest_application(keep: statekeep.Connection) -> None:
    persister = StatekeepPersister(keep)
    assert persister.load("ada", None) is None
    for app_id in ("one", "two", "one"):
        app_of(persister, app_id).step()
        found = persister.load("ada", None)
        assert found is not None
        assert found["app_id"] == app_id
    assert persister.list_app_ids("ada") == ["one", "two"]
    # That of a longer namespace is none of the partition.
    StatekeepPersister(keep, namespace=("burr", "ada")).save("", "three", 0, "count", State({}), "completed")
    found = persister.load("ada", None)
    assert found is not None
    assert found["app_id"] == "one"


class Mood(BaseModel):
    """A value of a user's own type."""

    name: str


class Opaque:
    """A value that has a serializer of its own field."""

    def __init__(self, text: str) -> None:
        self.text = text


def test_values_of_all_kinds(keep: statekeep.Connection) -> None:
    import burr.integrations.serde.pydantic

    register_field_serde("opaque", lambda value, **_: {"text": value.text}, lambda value, **_: Opaque(value["text"]))
    state = State(
        {
            "mood": Mood(name="fine"),
            "opaque": Opaque("x"),
            "odd": [float("-inf"), None, True, {"": {"a": 1.5}}, "\ud800", "😀\x00"],
            "": "no name",
            "$keep": {"$keep": [1]},
            "numbers": {"1": 10**30},
        }
    )
    persister = StatekeepPersister(keep, serde_kwargs={"allowlist": ["tests"]})
    persister.save("ada", "app", 0, "count", state, "completed")
    found = persister.load("ada", "app")
    assert found is not None
    values, expected = found["state"].get_all(), state.get_all()
    assert values.pop("opaque").text == expected.pop("opaque").text
    assert values == expected
    persister.set_serde_kwargs({"allowlist": ["other"]})
    with pytest.raises(ValueError, match="allowlist"):
        persister.load("ada", "app")
    assert burr.integrations.serde.pydantic


# -- parallel parts of an application


@action(reads=["item"], writes=["square"])  # type: ignore[untyped-decorator]
def square(state: State) -> State:
    return state.update(square=state["item"] ** 2)


class Squares(MapStates):  # type: ignore[misc]
    """Squares each item in an application of its own."""

    def action(self, state: State, inputs: dict[str, Any]) -> Any:
        return square

    def states(self, state: State, context: ApplicationContext, inputs: dict[str, Any]) -> Iterator[State]:
        for item in state["items"]:
            yield state.update(item=item)

    def reduce(self, state: State, states: Iterator[State]) -> State:
        return state.update(squares=[each["square"] for each in states])

    @property
    def reads(self) -> list[str]:
        return ["items"]

    @property
    def writes(self) -> list[str]:
        return ["squares"]


def test_parallel_parts(keep: statekeep.Connection) -> None:
    persister = StatekeepPersister(keep)
    app = (
        ApplicationBuilder()
        .with_actions(squares=Squares(), count=count)
        .with_transitions(("squares", "count", expr("True")))
        .with_identifiers(app_id="parent", partition_key="ada")
        .initialize_from(
            persister,
            resume_at_next_action=True,
            default_state={"items": list(range(8)), "n": 0},
            default_entrypoint="squares",
        )
        .with_state_persister(persister)
        .with_parallel_executor(lambda: ThreadPoolExecutor(4))
        .build()
    )
    _, _, state = app.run(halt_after=["count"])
    assert state["squares"] == [n * n for n in range(8)]
    ids = persister.list_app_ids("ada")
    assert len(ids) == 9
    assert ids[0] == "parent"
    parts = [persister.load("ada", app_id) for app_id in ids[1:]]
    assert sorted(part["state"]["square"] for part in parts if part is not None) == [n * n for n in range(8)]


# -- restarts, processes, stale writers


def test_a_restart_and_other_processes(valkey_server: ValkeyServer, prefix: str) -> None:
    def run() -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, prefix, "two processes"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run() == [1, 1, [1]]
    assert run() == [3, 2, [1, 2]]
    with StatekeepPersister.from_url(valkey_server.url, prefix=prefix) as persister:
        app = app_of(persister, "two processes")
        app.step()
        assert (app.sequence_id, app.state["n"], app.state["seen"]) == (4, 3, [1, 2])


def test_stale_writers(keep: statekeep.Connection) -> None:
    """Whoever was overtaken is told so, in this process and in others, and changes nothing."""
    mine, theirs = StatekeepPersister(keep), StatekeepPersister(keep)
    first = app_of(mine)
    first.step()
    elsewhere, here = app_of(theirs), app_of(mine)
    elsewhere.step()
    for stale in (first, here, here):
        with pytest.raises(Conflict):
            stale.step()
    elsewhere.step()
    # In one process, where the persister knows what others saved since.
    late, again = app_of(mine), app_of(mine)
    again.step()
    assert again.sequence_id == 3
    for stale in (late, elsewhere):
        with pytest.raises(Conflict):
            stale.step()
    assert plain(mine.load("ada", "app")) == plain(theirs.load("ada", "app"))
    assert [each["state"]["n"] for number in range(4) if (each := mine.load("ada", "app", number))] == [1, 1, 2, 2]
    # An application of this id is there already.
    with pytest.raises(Conflict):
        StatekeepPersister(keep).save("ada", "app", 0, "count", State({"n": 9}), "completed")
    with pytest.raises(Conflict):
        StatekeepPersister(keep).save("ada", "app", 3, "count", State({"n": 9}), "completed")
    # To go on from an older step takes another id.
    with pytest.raises(Conflict):
        mine.save("ada", "app", 1, "count", State({"n": 9}), "completed")


def test_a_step_whose_answer_was_lost(keep: statekeep.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be saved again, or the next one, whether it was stored or not; others are noticed all the same."""
    put = type(keep.checkpoints.backend).put
    fails = ""

    def unsure(self: Any, *args: Any) -> Any:
        if fails == "before":
            raise Unavailable("no answer")
        yield from put(self, *args)
        if fails == "behind":
            raise Unavailable("no answer")

    monkeypatch.setattr(type(keep.checkpoints.backend), "put", unsure)
    for place, when in enumerate(("before", "behind")):
        for first in (0, 5):
            for following in (first, first + 1):
                persister, app_id = StatekeepPersister(keep), f"{place} {first} {following}"
                fails = ""
                for number in range(first):
                    persister.save("ada", app_id, number, "count", State({"n": number}), "completed")
                fails = when
                with pytest.raises(Unavailable):
                    persister.save("ada", app_id, first, "count", State({"n": first}), "completed")
                fails = ""
                persister.save("ada", app_id, following, "count", State({"n": following}), "completed")
                found = persister.load("ada", app_id)
                assert found is not None
                assert (found["sequence_id"], found["state"]["n"]) == (following, following)
    # Somebody else came in between.
    persister, other = StatekeepPersister(keep), StatekeepPersister(keep)
    for when in ("before", "behind"):
        fails = ""
        persister.save("bob", when, 0, "count", State({"n": 0}), "completed")
        fails = when
        with pytest.raises(Unavailable):
            persister.save("bob", when, 1, "count", State({"n": 1}), "completed")
        fails = ""
        assert other.load("bob", when) is not None
        other.save("bob", when, 2, "count", State({"n": 2}), "completed")
        for number in (1, 2, 3):
            with pytest.raises(Conflict):
                persister.save("bob", when, number, "count", State({"n": 3}), "completed")


def test_an_application_that_was_deleted_does_not_come_back(keep: statekeep.Connection) -> None:
    persister = StatekeepPersister(keep)
    app = app_of(persister)
    app.step()
    keep.checkpoints.delete_thread("burr/ada/app")
    with pytest.raises(Conflict):
        app.step()
    assert persister.load("ada", "app") is None
    app_of(persister).step()
    assert persister.load("ada", "app") is not None


def test_both_steps_stay_without_detection(keep: statekeep.Connection) -> None:
    persister, other = (StatekeepPersister(keep, detect_conflicts=False) for _ in range(2))
    first, second = app_of(persister), app_of(other)
    first.step()
    second.step()
    second.step()
    first.step()
    found = persister.load("ada", "app")
    assert found is not None
    assert found["sequence_id"] == 1
    persister.save("ada", "app", 1, "count", State({"n": 7}), "completed")
    assert len([saved for saved in keep.checkpoints.list("burr/ada/app") if saved.metadata["step"] == 1]) == 3


def test_many_applications_at_once(served: statekeep.Connection) -> None:
    persister = StatekeepPersister(served)

    def run(number: int) -> int:
        app = app_of(persister, f"app {number}")
        app.run(halt_after=["look"])
        return int(app.state["n"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(run, range(40))) == [1] * 40
    assert len(persister.list_app_ids("ada")) == 40

    # Of those that take the same step of one application at once, one does.
    def step(app: Application) -> bool:
        try:
            app.step()
        except Conflict:
            return False
        return True

    apps = [app_of(StatekeepPersister(served), "app 1") for _ in range(8)]
    for number, app in enumerate(apps):
        app.update_state(app.state.update(n=number * 10))
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(step, apps)) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("delay", [0, 0.0005, 0.002, 0.02])
async def test_a_save_that_is_cancelled_is_done_when_that_is_told(
    valkey_server: ValkeyServer, prefix: str, delay: float
) -> None:
    async with AsyncStatekeepPersister.from_url(valkey_server.url, prefix=prefix) as persister:
        for number in range(5):
            state = State({"n": number, "long": f"{number}" * 100_000})
            task = asyncio.ensure_future(persister.save("ada", "app", number, "count", state, "completed"))
            await asyncio.sleep(delay)
            was_done = task.done()
            task.cancel()
            if not was_done:
                with pytest.raises(asyncio.CancelledError):
                    await task
            there = plain(await persister.load("ada", "app"))
            await asyncio.sleep(0.02)
            assert plain(await persister.load("ada", "app")) == there


@pytest.mark.anyio
async def test_an_application_that_is_cancelled_can_go_on(akeep: statekeep.AsyncConnection) -> None:
    async def visits(persister: Any) -> list[Any]:
        app = await builder_of(persister).abuild()
        await app.astep()
        run = asyncio.ensure_future(app.astep(inputs={"breaks": True}))
        await asyncio.sleep(0.05)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        # Burr says of such a step that it is completed.
        seen = [plain(await persister.load("ada", "app"))]
        app = await builder_of(persister).abuild()
        await app.arun(halt_after=["look"])
        return [*seen, app.state["seen"], plain(await persister.load("ada", "app"))]

    assert await visits(AsyncStatekeepPersister(akeep)) == await visits(AsyncInMemoryPersister())


def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        with StatekeepPersister.from_url(server.url, prefix=prefix, deadline=0.3) as persister:
            app = app_of(persister)
            app.step()
            server.kill()
            with pytest.raises(Unavailable):
                app.step()
            calls: list[Callable[[], Any]] = [
                lambda: persister.load("ada", "app"),
                lambda: persister.load("ada", "app", 0),
                lambda: persister.load("ada", None),
                lambda: persister.list_app_ids("ada"),
            ]
            for call in calls:
                with pytest.raises(Unavailable):
                    call()


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_round_trips(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    state = State({"n": 0, "ballast": "x" * 20_000})
    with StatekeepPersister.from_url(url, prefix=prefix, client=client) as persister:

        def turns(work: Callable[[], Any]) -> int:
            proxy.reset()
            work()
            return proxy.turns

        def all_of_them(app_id: str) -> list[int]:
            app = app_of(persister, app_id)
            return [
                turns(app.step),
                turns(app.step),
                turns(lambda: persister.load("ada", app_id)),
                turns(lambda: persister.load("ada", app_id, 0)),
                turns(lambda: persister.load("ada", None)),
                turns(lambda: persister.list_app_ids("ada")),
                turns(lambda: persister.save("ada", f"{app_id} new", 0, "count", state, "completed")),
            ]

        all_of_them("warm")  # the connection is open then, and the server knows the scripts
        assert all_of_them("app") == [1, 1, 1, 1, 4, 3, 1]
    with StatekeepPersister.from_url(url, prefix=prefix, client=client) as persister:
        persister.load("ada", "nothing")
        # Neither loaded nor saved here before.
        assert turns(lambda: persister.save("ada", "app", 2, "count", state, "completed")) == 2
        assert turns(lambda: persister.save("ada", "app", 3, "count", state.update(n=1), "completed")) == 1


def test_values_that_did_not_change_are_not_sent(proxy: CountingProxy, prefix: str) -> None:
    with StatekeepPersister.from_url(f"valkey://127.0.0.1:{proxy.port}", prefix=prefix) as persister:
        app = app_of(persister)
        app.step()
        proxy.reset()
        for _ in range(10):
            app.step()
        assert proxy.sent < 20_000  # of 200,000
        found = persister.load("ada", "app")
        assert found is not None
        assert found["state"]["ballast"] == "x" * 20_000


# -- time to live, serializers, copies, bad input


def test_ttl(valkey_server: ValkeyServer, prefix: str) -> None:
    with StatekeepPersister.from_url(valkey_server.url, prefix=prefix, ttl=0.5) as persister:
        app = app_of(persister)
        app.step()
        time.sleep(0.3)
        app.step()
        time.sleep(0.3)
        assert persister.load("ada", "app", 0) is None
        found = persister.load("ada", "app")
        assert found is not None
        assert len(found["state"]["ballast"]) == 20_000
        time.sleep(0.3)
        assert persister.load("ada", "app") is None
        assert persister.list_app_ids("ada") == []


class Backwards:
    """A serializer that hides what it serializes, as one that encrypts does."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "backwards", json.dumps(obj).encode()[::-1]

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        assert data[0] == "backwards"
        return json.loads(data[1][::-1])


def test_serializers(served: statekeep.Connection, valkey_server: ValkeyServer, prefix: str) -> None:
    persister = StatekeepPersister(served, serializer=Backwards())
    persister.save("ada", "app", 0, "count", State({"n": "a secret"}), "completed")
    found = persister.load("ada", "app")
    assert found is not None
    assert found["state"]["n"] == "a secret"
    with valkey_server.client() as client:
        keys = list(client.scan_iter(f"{prefix}:*", _type="hash"))
        assert keys
        assert not any(b"secret" in value for key in keys for value in client.hgetall(key).values())
    with pytest.raises(InvalidInput, match="backwards") as caught:
        StatekeepPersister(served).load("ada", "app")
    assert caught.value.field == "serializer"


def test_a_persister_can_be_copied(valkey_server: ValkeyServer, prefix: str) -> None:
    """As executors that run parallel parts in other processes do it."""
    with StatekeepPersister.from_url(valkey_server.url, prefix=prefix) as persister:
        app_of(persister).step()
        for twin in (pickle.loads(pickle.dumps(persister)), copy.deepcopy(persister)):
            with twin:
                app_of(twin).step()
        found = persister.load("ada", "app")
        assert found is not None
        assert found["sequence_id"] == 2


def test_bad_input(served: statekeep.Connection) -> None:
    persister = StatekeepPersister(served)
    save = persister.save
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("keep", lambda: StatekeepPersister(served.items)),  # type: ignore[arg-type]
        ("keep", lambda: AsyncStatekeepPersister(None)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepPersister("memory:")),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepPersister(served, namespace="text")),
        ("namespace", lambda: StatekeepPersister(served, namespace=("",))),
        ("serde_kwargs", lambda: StatekeepPersister(served, serde_kwargs=["x"])),  # type: ignore[arg-type]
        ("serializer", lambda: StatekeepPersister(served, serializer=json)),  # type: ignore[arg-type]
        ("detect_conflicts", lambda: StatekeepPersister(served, detect_conflicts=1)),  # type: ignore[arg-type]
        ("url", lambda: StatekeepPersister.from_url("nowhere")),
        ("ttl", lambda: AsyncStatekeepPersister.from_url("memory:", ttl=0)),
        ("namespace", lambda: StatekeepPersister.from_url("embedded:", namespace=("",))),
        ("partition_key", lambda: persister.load(3, "app")),  # type: ignore[arg-type]
        ("app_id", lambda: persister.load("ada", "")),
        ("app_id", lambda: save("ada", None, 0, "count", State(), "completed")),  # type: ignore[arg-type]
        ("app_id", lambda: save("ada", "x" * 9000, 0, "count", State(), "completed")),
        ("sequence_id", lambda: persister.load("ada", "app", -1)),
        ("sequence_id", lambda: save("ada", "app", None, "count", State(), "completed")),  # type: ignore[arg-type]
        ("sequence_id", lambda: save("ada", "app", 10**12, "count", State(), "completed")),
        ("position", lambda: save("ada", "app", 0, "", State(), "completed")),
        ("state", lambda: save("ada", "app", 0, "count", {"n": 1}, "completed")),
        ("status", lambda: save("ada", "app", 0, "count", State(), "done")),  # type: ignore[arg-type]
    ]
    for field, call in wrong:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field, field
    assert persister.list_app_ids("ada") == []


def test_agentcore_cannot_detect_conflicts() -> None:
    with AwsEmulator() as aws:
        url = f"agentcore://{aws.agentcore.create_memory()}"
        options: Any = {"endpoint_url": aws.endpoint_url, "region_name": "us-west-2"}
        keys: Any = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        with statekeep.connect(url, **options, **keys) as keep:
            with pytest.raises(Unsupported):
                app_of(StatekeepPersister(keep)).step()
            assert scenario(StatekeepPersister(keep, detect_conflicts=False)) == scenario(InMemoryPersister())


def test_checkpoints_of_others(served: statekeep.Connection) -> None:
    served.checkpoints.put(statekeep.Checkpoint(thread_id="burr/ada/app"))
    with pytest.raises(CorruptRecord, match="no persister"):
        StatekeepPersister(served).load("ada", "app")


def test_close(valkey_server: ValkeyServer, served: statekeep.Connection) -> None:
    with StatekeepPersister(served) as persister:
        assert persister.is_initialized()
        persister.initialize()
        assert persister.load("ada", "app") is None
    persister.close()
    assert persister.load("ada", "app") is None  # the connection is not the persister's
    own = StatekeepPersister.from_url(valkey_server.url)
    assert own.load("ada", "app") is None
    own.close()
    own.close()
    with pytest.raises(statekeep.ClientClosed):
        own.load("ada", "app")
