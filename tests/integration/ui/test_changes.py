"""What ``write=True`` allows, and what it asks before."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

import statekeep
from statekeep import Checkpoint, Payload
from statekeep.contrib.ui import app
from statekeep.contrib.ui.changes.forking import fork
from statekeep.domain.errors import Conflict, InvalidInput
from statekeep.repositories.connection import Connection
from tools.ui_demo import agent, fill

from ..agentcore.emulated import Worlds
from .conftest import client


@pytest.fixture(params=["memory", "valkey", "agentcore"])
def keep(request: pytest.FixtureRequest, prefix: str) -> Iterator[Connection]:
    options: dict[str, Any] = {}
    if request.param == "valkey":
        url = f"{request.getfixturevalue('valkey_server').url}?client=valkey-py"
        options["prefix"] = prefix
    elif request.param == "agentcore":
        worlds: Worlds = request.getfixturevalue("worlds")
        worlds.set_environment(request.getfixturevalue("monkeypatch"))
        memory_id = f"ui-{uuid.uuid4().hex[:10]}"
        worlds.emulator("plain").agentcore.create_memory(memory_id=memory_id)
        url = f"agentcore://{memory_id}?region=us-west-2&actor_id=ada"
    else:
        url = "memory:"
    with statekeep.connect(url, **options) as keep:
        yield keep


@pytest.fixture
def visit(keep: Connection) -> TestClient:
    fill(keep, others=1)
    return client(app(keep, write=True))


def fields(text: str) -> dict[str, str]:
    """Return the fields of the form of a page, as they are filled in."""
    form = text.partition("<form")[2]
    return {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}


def change(visit: TestClient, action: str, *, word: str | None = "delete", **place: Any) -> Any:
    asked = visit.get("/confirm", params={"action": action, **place})
    assert asked.status_code == 200, asked.text
    answers = {} if word is None else {"word": word}
    return visit.post("/change", data=fields(asked.text) | answers)


def test_nothing_can_be_changed_unless_it_is_said(demo: Connection) -> None:
    visit = client(app(demo))
    assert visit.get("/confirm?action=delete-thread&thread=trips/ada").status_code == 404
    assert visit.post("/change", data={"place": "action=delete-thread&thread=trips/ada"}).status_code == 404
    assert "Delete…" not in visit.get("/thread?id=trips/ada").text
    for method in ("post", "put", "delete"):
        assert getattr(visit, method)("/thread?id=trips/ada").status_code == 405


def test_a_thread_is_deleted(keep: Connection, visit: TestClient) -> None:
    asked = visit.get("/confirm?action=delete-thread&thread=trips/ada").text
    assert "trips/ada" in asked
    assert "checkpoints in" in asked
    done = change(visit, "delete-thread", thread="trips/ada")
    assert (done.status_code, done.headers["location"]) == (303, "/threads?done=deleted")
    assert keep.checkpoints.get("trips/ada") is None
    assert keep.checkpoints.get("support/000") is not None
    assert "Deleted." in visit.get(done.headers["location"]).text
    assert "evil words" not in visit.get("/threads?done=evil words").text


def test_the_word_must_be_typed(keep: Connection, visit: TestClient) -> None:
    refused: Any = None
    for word in ("", "yes", "delet"):
        refused = change(visit, "delete-thread", word=word, thread="trips/ada")
        assert refused.status_code == 400
        assert "nothing was changed" in refused.text
    assert keep.checkpoints.get("trips/ada") is not None
    # The page that says so can be sent again.
    again = visit.post("/change", data=fields(refused.text) | {"word": "delete"})
    assert again.status_code == 303
    assert keep.checkpoints.get("trips/ada") is None


def test_a_form_of_another_page_is_refused(keep: Connection, visit: TestClient) -> None:
    form = fields(visit.get("/confirm?action=delete-thread&thread=trips/ada").text) | {"word": "delete"}
    other = client(app(keep, write=True))
    assert other.post("/change", data=form).status_code == 403
    assert visit.post("/change", data=form | {"token": "0" * 64}).status_code == 403
    assert visit.post("/change", data=form | {"token": "ä"}).status_code == 403
    assert visit.post("/change", data=form, headers={"origin": "http://evil.example"}).status_code == 403
    assert visit.post("/change", data=form, headers={"sec-fetch-site": "same-site"}).status_code == 403
    assert visit.post(
        "/change", data=form,
        headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ).status_code == 403  # fmt: skip
    assert visit.get("/change", params=form).status_code == 405
    assert visit.post("/change", content=b"x" * 100_000).status_code == 413
    assert visit.post("/change", content=b"\xff\xfe").status_code == 403
    visit.cookies.clear()
    assert visit.post("/change", data=form).status_code == 403
    assert keep.checkpoints.get("trips/ada") is not None


def test_wrong_places_are_refused(visit: TestClient) -> None:
    assert visit.get("/confirm?action=none").status_code == 400
    assert visit.get("/confirm?action=delete-thread").status_code == 400
    form = fields(visit.get("/confirm?action=delete-thread&thread=trips/ada").text) | {"word": "delete"}
    assert visit.post("/change", data=form | {"place": "action=delete-thread"}).status_code == 400
    assert visit.post("/change", data=form | {"place": ""}).status_code == 400


def test_a_thread_is_pruned(keep: Connection, visit: TestClient) -> None:
    form = fields(visit.get("/confirm?action=prune-thread&thread=trips/ada").text)
    assert form["keep"] == "1"
    assert visit.post("/change", data=form | {"word": "delete", "keep": "0"}).status_code == 400
    assert visit.post("/change", data=form | {"word": "delete", "keep": "3"}).status_code == 303
    assert len(list(keep.checkpoints.list("trips/ada"))) == 3


def test_a_checkpoint_is_deleted(keep: Connection, visit: TestClient) -> None:
    newest = next(keep.checkpoints.list("trips/ada")).checkpoint_id
    assert change(visit, "delete-checkpoint", thread="trips/ada", id=newest).status_code == 303
    assert keep.checkpoints.get("trips/ada", checkpoint_id=newest) is None


def test_items_logs_and_entries_are_cleared(keep: Connection, visit: TestClient) -> None:
    assert change(visit, "delete-item", namespace="users/ada", key="profile").status_code == 303
    assert keep.items.get(("users", "ada"), "profile") is None
    asked = visit.get("/confirm?action=clear-items&namespace=users/ada/places").text
    assert "3 items" in asked
    assert change(visit, "clear-items", namespace="users/ada/places").status_code == 303
    assert keep.items.list_namespaces() == [("settings",), ("users", "bob", "places")]
    if not keep.has_logs:
        refused = visit.get("/confirm?action=delete-log&name=chat/ada")
        assert refused.status_code == 400
        assert "no logs" in refused.text
        return
    assert change(visit, "delete-log", name="chat/ada").status_code == 303
    assert [log.name for log in keep.logs.list()] == [("audit",)]
    assert change(visit, "clear-cache", namespace="weather").status_code == 303
    assert [space.namespace for space in keep.cache.list_namespaces()] == [("prices", "hotels")]


def test_a_run_goes_on_from_a_fork(keep: Connection, visit: TestClient) -> None:
    history = list(agent(keep).get_state_history({"configurable": {"thread_id": "trips/ada"}}))
    [first] = [state for state in history if state.next == ("weather",) and state.metadata["step"] == 1]
    id_ = first.config["configurable"]["checkpoint_id"]
    before = [saved.checkpoint_id for saved in keep.checkpoints.list("trips/ada")]
    done = change(visit, "fork", word=None, thread="trips/ada", id=id_)
    assert done.headers["location"] == "/thread?id=trips%2Fada-fork&done=copied"
    copied = [saved.checkpoint_id for saved in keep.checkpoints.list("trips/ada-fork")]
    assert copied[0] == id_
    assert len(copied) == 3
    assert [saved.checkpoint_id for saved in keep.checkpoints.list("trips/ada")] == before
    config: Any = {"configurable": {"thread_id": "trips/ada-fork"}}
    graph = agent(keep)
    assert graph.get_state(config).values == first.values
    assert graph.get_state(config).next == ("weather",)
    graph.invoke(None, config)
    assert graph.get_state(config).next == ("book",)
    again = change(visit, "fork", word=None, thread="trips/ada", id=id_)
    assert again.status_code == 502
    assert "already" in again.text


def test_a_fork_that_waits_still_waits(keep: Connection, visit: TestClient) -> None:
    graph = agent(keep)
    waiting = graph.get_state({"configurable": {"thread_id": "trips/ada"}})
    assert waiting.interrupts
    fork(keep.checkpoints, "trips/ada", waiting.config["configurable"]["checkpoint_id"], "copy")
    assert graph.get_state({"configurable": {"thread_id": "copy"}}).interrupts == waiting.interrupts


def test_a_fork_takes_nested_graphs_and_no_later_ones(keep: Connection) -> None:
    put = keep.checkpoints.put
    for name, parent in [("1", None), ("2", "1"), ("3", "2")]:
        put(Checkpoint(thread_id="t", checkpoint_id=name, parent_id=parent))
        inner = f"1{name}"
        put(Checkpoint(thread_id="t", namespace="n:1", checkpoint_id=inner, metadata={"parents": {"": name}}))
    put(Checkpoint(thread_id="t", checkpoint_id="25", parent_id="1"))
    assert fork(keep.checkpoints, "t", "2", "u") == 3
    found = [(saved.namespace, saved.checkpoint_id) for saved in keep.checkpoints.list("u")]
    assert sorted(found) == [("", "1"), ("", "2"), ("n:1", "11")]


def test_a_fork_needs_a_place_and_a_beginning(keep: Connection) -> None:
    keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    keep.checkpoints.put(Checkpoint(thread_id="u", header=Payload(encoding="json", data=b"1")))
    for source, id_, target in [("t", "1", ""), ("t", "1", "t"), ("t", "9", "new")]:
        with pytest.raises(InvalidInput):
            fork(keep.checkpoints, source, id_, target)
    with pytest.raises(Conflict):
        fork(keep.checkpoints, "t", "1", "u")
    assert keep.checkpoints.get("new") is None
