"""State of CrewAI's flows and runs, run by CrewAI itself: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("crewai"):  # or else the tests of OpenTelemetry, in the same process, would miss it
    os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false"}
pytest.importorskip("crewai", reason="crewai is not installed: `make frameworks` has it", exc_type=ImportError)

from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.flow.persistence import SQLiteFlowPersistence, persist
from crewai.state.checkpoint_config import CheckpointConfig
from crewai.state.provider.json_provider import JsonProvider
from crewai.state.runtime import RuntimeState
from pydantic import BaseModel, ValidationError

import statekeep
from statekeep import CorruptRecord, InvalidInput, Unavailable, Unsupported
from statekeep.contrib.crewai import StatekeepFlowPersistence, StatekeepProvider
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, blocks, on_server
from tests.integration.valkey.counting_proxy import CountingProxy

PAGE = ROOT / "docs" / "frameworks" / "crewai.md"

pytestmark = pytest.mark.filterwarnings("ignore")  # of CrewAI and all that it brings


class Later:
    """Asks a human, who answers some day."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Any) -> str:
        raise HumanFeedbackPending(context=context)


class Letter(BaseModel):
    """The state of a flow."""

    id: str = ""
    topic: str = "tea"
    drafts: int = 0
    answer: str = ""
    ballast: str = "x" * 20_000


def flow_of(persistence: Any, **options: Any) -> Flow[Letter]:
    @persist(persistence)
    class Writing(Flow[Letter]):  # type: ignore[misc]
        @start()  # type: ignore[untyped-decorator]
        def draft(self) -> str:
            self.state.drafts += 1
            return f"{self.state.topic}, draft {self.state.drafts}"

        @listen(draft)  # type: ignore[untyped-decorator]
        @human_feedback(message="Good?", provider=Later())  # type: ignore[untyped-decorator]
        def review(self, text: str) -> str:
            return text

        @listen(review)  # type: ignore[untyped-decorator]
        def publish(self, result: Any) -> str:
            self.state.answer = str(getattr(result, "feedback", result))
            return f"published {self.state.topic}: {self.state.answer}"

    return Writing(persistence=persistence, suppress_flow_events=True, **options)


def resume(url: str, prefix: str, flow_id: str, answer: str) -> None:
    """Resume a flow in a process of its own; print what it returns."""
    with StatekeepFlowPersistence.from_url(url, prefix=prefix) as persistence:
        flow = type(flow_of(persistence)).from_pending(flow_id, persistence, suppress_flow_events=True)
        print(json.dumps([str(flow.resume(answer)), flow.state.drafts]))


class Backwards:
    """A serializer that hides what it serializes, as one that encrypts does."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "backwards", json.dumps(obj).encode()[::-1]

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        assert data[0] == "backwards"
        return json.loads(data[1][::-1])


def context_of(flow_id: str = "f", **fields: Any) -> PendingFeedbackContext:
    return PendingFeedbackContext(
        flow_id=flow_id, flow_class="x.Y", method_name="review", method_output={"a": [1]}, message="Good?", **fields
    )


# -- the page about them


def test_the_page_runs(valkey_server: ValkeyServer, tmp_path: Path) -> None:
    """As a program: the framework wants classes of flows in modules."""
    text = "\n".join(block.text for block in blocks(PAGE, "python"))
    program = tmp_path / "page.py"
    program.write_text(on_server(text, valkey_server), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=600, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("> ")] == ["> 1 2", "> 1"]


# -- flows, as with the framework's own persistence


def scenario(persistence: Any) -> list[Any]:
    """Everything that a persistence does, and all that is seen of it but random ids and times."""
    seen: list[Any] = [persistence.load_state("nothing"), persistence.load_pending_feedback("nothing")]
    flow = flow_of(persistence)
    paused = flow.kickoff(inputs={"topic": "coffee"})
    assert isinstance(paused, HumanFeedbackPending)
    flow_id = flow.state.id

    def look() -> None:
        state, pending = persistence.load_state(flow_id), persistence.load_pending_feedback(flow_id)
        assert state.pop("id") == flow_id
        seen.append(state)
        if pending is None:
            seen.append(None)
            return
        assert pending[0].pop("id") == flow_id
        about = pending[1].to_dict()
        assert about.pop("flow_id") == flow_id
        for name in ("requested_at", "execution_uuid", "trace_context", "flow_class"):
            del about[name]
        seen.extend([pending[0], about])

    look()
    # In another program, say: it is resumed with what is stored.
    again = type(flow).from_pending(flow_id, persistence, suppress_flow_events=True)
    seen += [str(again.resume("good")), again.state.drafts]
    look()
    with pytest.raises(ValueError, match="No pending feedback"):
        type(flow).from_pending(flow_id, persistence)
    # A new flow goes on with the state of that one.
    other = flow_of(persistence)
    assert isinstance(other.kickoff(inputs={"id": flow_id}), HumanFeedbackPending)
    seen += [other.state.drafts, other.state.topic]
    look()
    persistence.clear_pending_feedback(flow_id)
    persistence.clear_pending_feedback(flow_id)
    look()
    # What JSON cannot hold, and states without a model.
    odd = {"id": "odd", "tuple": (1, {2}), "when": dt.datetime(2026, 1, 2), 3: None, "who": Letter(id="x", ballast="")}
    persistence.save_state("odd", "m", odd)
    seen.append(persistence.load_state("odd"))
    persistence.save_state("odd", "m", {"id": "odd"})
    seen.append(persistence.load_state("odd"))
    persistence.save_state("odd", "m", {})
    seen.append(persistence.load_state("odd"))
    return seen


def test_it_does_as_crewais_own(keep: statekeep.Connection, tmp_path: Path) -> None:
    mine = scenario(StatekeepFlowPersistence(keep))
    assert mine == scenario(SQLiteFlowPersistence(str(tmp_path / "flows.db")))
    assert "published coffee: good" in mine


def test_a_restart_and_other_processes(valkey_server: ValkeyServer, prefix: str) -> None:
    with StatekeepFlowPersistence.from_url(valkey_server.url, prefix=prefix) as persistence:
        flow = flow_of(persistence)
        assert isinstance(flow.kickoff(inputs={"topic": "cocoa"}), HumanFeedbackPending)
        script = "from tests.contrib.test_crewai import resume; resume(*__import__('sys').argv[1:])"
        command = [sys.executable, "-c", script, valkey_server.url, prefix, flow.state.id, "fine"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == ["published cocoa: fine", 1]
        state = persistence.load_state(flow.state.id)
        assert state is not None
        assert state["answer"] == "fine"


def test_flows_are_apart(keep: statekeep.Connection) -> None:
    ids = ["ada", "a/b", "a%2Fb", "A", "{}", ":", "*", "\x00", " ", "😀" * 100, "pending"]
    placed = [(StatekeepFlowPersistence(keep), flow_id) for flow_id in ids]
    placed += [
        (StatekeepFlowPersistence(keep, namespace=namespace), "ada") for namespace in (("crewai",), ("crewai", "x"))
    ]
    for number, (persistence, flow_id) in enumerate(placed):
        persistence.save_pending_feedback(flow_id, context_of(flow_id), {"n": number})
    for number, (persistence, flow_id) in enumerate(placed):
        assert persistence.load_state(flow_id) == {"n": number}
        pending = persistence.load_pending_feedback(flow_id)
        assert pending is not None
        assert (pending[0], pending[1].flow_id) == ({"n": number}, flow_id)


def test_the_last_writer_wins_and_states_are_whole(served: statekeep.Connection) -> None:
    persistences = [StatekeepFlowPersistence(served) for _ in range(4)]
    states = [{"n": number, "twice": number * 2, "long": f"{number}" * 5000} for number in range(40)]

    def save(number: int) -> None:
        persistences[number % 4].save_state("busy", "m", states[number])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(40)))
    assert persistences[0].load_state("busy") in states
    for number in (3, 1, 2):
        save(number)
        assert persistences[0].load_state("busy") == states[number]


def test_a_clock_that_is_behind_does_not_matter(served: statekeep.Connection) -> None:
    """What another host saved, whose clock is ahead, is followed by what is saved here."""
    ahead = "f" + statekeep.new_checkpoint_id()[1:]
    value = statekeep.Channel.of("1", statekeep.Payload(encoding="json", data=b"1"))
    for flow_id in ("f", "g"):
        served.checkpoints.put(
            statekeep.Checkpoint(thread_id=f"crewai/flows/{flow_id}", checkpoint_id=ahead, channels={"n": value})
        )
    StatekeepFlowPersistence(served).save_pending_feedback("f", context_of(), {"n": 1})
    item = served.items.get(("crewai", "flows", "pending"), "f")
    assert item is not None
    served.items.put(item.namespace, "f", {**item.value, "checkpoint": ahead})
    later = StatekeepFlowPersistence(served)
    assert later.load_pending_feedback("f") is not None
    assert later.load_state("g") == {"n": 1}
    for flow_id in ("f", "g"):
        later.save_state(flow_id, "m", {"n": 2})
        assert StatekeepFlowPersistence(served).load_state(flow_id) == {"n": 2}


def test_a_flow_is_written_down_and_read_with_its_persistence(served: statekeep.Connection) -> None:
    mine = StatekeepFlowPersistence(served, namespace=("crewai", "written down"))
    mine.save_state("f", "m", {"id": "f", "n": 1})
    plain = mine.model_dump(mode="json")
    assert plain == {"persistence_type": "StatekeepFlowPersistence", "namespace": ["crewai", "written down"]}
    again = StatekeepFlowPersistence.model_validate(plain)
    assert again.load_state("f") == {"id": "f", "n": 1}
    again.close()
    assert mine.load_state("f") is not None
    with pytest.raises(ValidationError, match="make a StatekeepFlowPersistence"):
        StatekeepFlowPersistence.model_validate({**plain, "namespace": ["nobody"]})


def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        with statekeep.connect(server.url, prefix=prefix, deadline=0.3) as keep:
            persistence, provider = StatekeepFlowPersistence(keep), StatekeepProvider(keep)
            location = provider.checkpoint("{}", "run")
            server.kill()
            calls: list[Callable[[], Any]] = [
                lambda: persistence.load_state("f"),
                lambda: persistence.save_state("f", "m", {}),
                lambda: persistence.save_pending_feedback("f", context_of(), {}),
                lambda: persistence.load_pending_feedback("f"),
                lambda: persistence.clear_pending_feedback("f"),
                lambda: provider.checkpoint("{}", "run"),
                lambda: provider.from_checkpoint(location),
                lambda: provider.prune("run", 1),
            ]
            for call in calls:
                with pytest.raises(Unavailable):
                    call()


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_round_trips(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    state = {"id": "f", "n": 0, "ballast": "x" * 20_000}
    with StatekeepFlowPersistence.from_url(url, prefix=prefix, client=client) as persistence:

        def turns(work: Callable[[], Any]) -> int:
            proxy.reset()
            work()
            return proxy.turns

        def all_of_them(number: int) -> list[int]:
            now = {**state, "n": number}
            return [
                turns(lambda: persistence.save_state("f", "m", now)),
                turns(lambda: persistence.load_state("f")),
                turns(lambda: persistence.save_pending_feedback("f", context_of(), now)),
                turns(lambda: persistence.load_pending_feedback("f")),
                turns(lambda: persistence.clear_pending_feedback("f")),
            ]

        persistence.save_state("f", "m", state)
        all_of_them(1)  # the connection is open then, and the server knows the scripts
        assert persistence.load_state("f") is not None
        assert all_of_them(2) == [1, 1, 2, 1, 1]
        proxy.reset()
        for number in range(10):
            persistence.save_state("f", "m", {**state, "n": number})
        assert proxy.sent < 20_000  # of 200,000
        # Neither loaded nor saved here before: it asks whether the long value is stored.
        assert turns(lambda: persistence.save_state("g", "m", state)) == 2


def test_ttl_and_serializers(valkey_server: ValkeyServer, prefix: str) -> None:
    options: Any = {"prefix": prefix, "ttl": 0.5, "serializer": Backwards()}
    with StatekeepFlowPersistence.from_url(valkey_server.url, **options) as persistence:
        persistence.save_pending_feedback("f", context_of(), {"n": "a secret"})
        assert persistence.load_state("f") == {"n": "a secret"}
        pending = persistence.load_pending_feedback("f")
        assert pending is not None
        assert pending[0] == {"n": "a secret"}
        with valkey_server.client() as client:
            keys = list(client.scan_iter(f"{prefix}:*", _type="hash"))
            assert keys
            assert not any(b"secret" in value for key in keys for value in client.hgetall(key).values())
        with statekeep.connect(valkey_server.url, prefix=prefix) as keep:
            plain = StatekeepFlowPersistence(keep, namespace=("crewai", "flows"))
            for load in (plain.load_state, plain.load_pending_feedback):
                with pytest.raises(InvalidInput, match="backwards"):
                    load("f")
        time.sleep(0.6)
        assert persistence.load_state("f") is None
        assert persistence.load_pending_feedback("f") is None


# -- checkpoints of what runs


def test_a_provider_does_as_crewais_own(keep: statekeep.Connection, tmp_path: Path) -> None:
    def visits(provider: Any, location: str) -> list[Any]:
        data = [json.dumps({"n": number, "text": "é\ud7ff\n" * 1000}) for number in range(5)]
        places = [provider.checkpoint(data[0], location)]
        for each in data[1:3]:
            places.append(provider.checkpoint(each, location, parent_id=provider.extract_id(places[-1])))
        places.append(provider.checkpoint(data[3], location, parent_id=provider.extract_id(places[0]), branch="fork/1"))
        ids = [provider.extract_id(place) for place in places]
        assert len(set(ids)) == 4
        seen: list[Any] = [[provider.from_checkpoint(place) for place in places]]
        seen += [provider.prune(location, 1), provider.prune(location, 1), provider.prune(location, 5, branch="fork/1")]
        for place in places[:2]:
            with pytest.raises((ValueError, FileNotFoundError)):
                provider.from_checkpoint(place)
        seen += [provider.from_checkpoint(place) for place in places[2:]]
        return [*seen, provider.prune(location, 0)]

    assert visits(StatekeepProvider(keep), "run") == visits(JsonProvider(), str(tmp_path))


def test_a_provider_in_asyncio(keep: statekeep.Connection) -> None:
    async def main() -> None:
        provider = StatekeepProvider(keep)
        place = await provider.acheckpoint('{"n": 1}', "run")
        assert await provider.afrom_checkpoint(place) == provider.from_checkpoint(place) == '{"n": 1}'
        tasks = [asyncio.ensure_future(provider.acheckpoint(f'{{"n": {n}}}', "busy")) for n in range(10)]
        for task in tasks[::2]:
            await asyncio.sleep(0)
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for place_ in done:
            if isinstance(place_, str):
                assert await provider.afrom_checkpoint(place_)
        await keep.asyncio.close()

    asyncio.run(main())


def test_a_flow_is_restored_from_a_checkpoint(served: statekeep.Connection, tmp_path: Path) -> None:
    provider = StatekeepProvider(served)
    flow = flow_of(StatekeepFlowPersistence(served))
    flow.kickoff(inputs={"topic": "coffee"})
    state = RuntimeState(root=[flow])
    state._provider = provider
    places = [state.checkpoint("run"), state.checkpoint("run")]
    assert provider.latest("run") == places[1]
    assert provider.latest("run", branch="other") is None
    stored = tmp_path / "checkpoint.json"
    stored.write_text(provider.from_checkpoint(places[1]), encoding="utf-8")
    assert json.loads(stored.read_text())["parent_id"] == provider.extract_id(places[0])
    restored = type(flow).from_checkpoint(CheckpointConfig(restore_from=stored))
    assert restored.state.topic == "coffee"
    assert isinstance(restored.persistence, StatekeepFlowPersistence)


# -- bad input, damaged records, closing


def test_bad_input(served: statekeep.Connection) -> None:
    persistence, provider = StatekeepFlowPersistence(served), StatekeepProvider(served)
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("keep", lambda: StatekeepFlowPersistence(served.checkpoints)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepFlowPersistence(namespace=("nobody",))),
        ("namespace", lambda: StatekeepFlowPersistence(served, namespace="text")),
        ("serializer", lambda: StatekeepFlowPersistence(served, serializer=json)),  # type: ignore[arg-type]
        ("url", lambda: StatekeepFlowPersistence.from_url("nowhere")),
        ("ttl", lambda: StatekeepFlowPersistence.from_url("memory:", ttl=0)),
        ("flow_uuid", lambda: persistence.load_state("")),
        ("flow_uuid", lambda: persistence.save_state(None, "m", {})),  # type: ignore[arg-type]
        ("method_name", lambda: persistence.save_state("f", "", {})),
        ("state_data", lambda: persistence.save_state("f", "m", [1])),  # type: ignore[arg-type]
        ("flow_uuid", lambda: persistence.load_pending_feedback("")),
        ("flow_uuid", lambda: persistence.save_pending_feedback("", context_of(), {})),
        ("keep", lambda: StatekeepProvider(served.items)),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepProvider(served, namespace=("",))),
        ("data", lambda: provider.checkpoint(b"{}", "run")),  # type: ignore[arg-type]
        ("location", lambda: provider.checkpoint("{}", "")),
        ("branch", lambda: provider.checkpoint("{}", "run", branch="")),
        ("parent_id", lambda: provider.checkpoint("{}", "run", parent_id="")),
        ("max_keep", lambda: provider.prune("run", -1)),
        ("location", lambda: provider.extract_id("run")),
        ("location", lambda: provider.from_checkpoint("run#1")),
    ]
    for field, call in wrong:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field, field
    with pytest.raises(Unsupported, match="no items"):
        StatekeepFlowPersistence.from_url("bedrock-sessions://?region=us-west-2")


def test_records_of_others(served: statekeep.Connection) -> None:
    served.items.put(("crewai", "flows", "pending"), "f", {"no": "context"})
    with pytest.raises(CorruptRecord):
        StatekeepFlowPersistence(served).load_pending_feedback("f")
    checkpoint = statekeep.Checkpoint(thread_id="crewai/runs/run/main")
    served.checkpoints.put(checkpoint)
    with pytest.raises(CorruptRecord):
        StatekeepProvider(served).from_checkpoint(f"crewai/runs/run/main#{checkpoint.checkpoint_id}")


def test_close(valkey_server: ValkeyServer, served: statekeep.Connection) -> None:
    with StatekeepFlowPersistence(served) as persistence, StatekeepProvider(served) as provider:
        persistence.init_db()
    assert persistence.load_state("f") is None  # the connection is not theirs
    assert provider.prune("run", 1) == 0
    for own in (StatekeepFlowPersistence.from_url(valkey_server.url), StatekeepProvider.from_url(valkey_server.url)):
        own.close()
        own.close()
        with pytest.raises(statekeep.ClientClosed):
            own.load_state("f") if isinstance(own, StatekeepFlowPersistence) else own.prune("run", 1)
