"""Every page, over every kind of service."""

from __future__ import annotations

import asyncio
import html
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

import statekeep
from statekeep import Channel, Checkpoint, Payload, PendingWrite
from statekeep.contrib.ui import app
from statekeep.repositories.connection import Connection
from statekeep.testing.embedding import DIMS, letter_counts
from statekeep.testing.servers import ValkeyCluster, ValkeyServer
from tools.ui_demo import fill

from ..agentcore.emulated import Worlds
from .conftest import client


def number(n: int) -> str:
    return f"{n:06}"


def put(keep: Connection, thread: str, steps: int, data: bytes = b"[1]") -> None:
    for n in range(1, steps + 1):
        channel = Channel.of(n, Payload(encoding="json", data=data))
        parent = number(n - 1) if n > 1 else None
        keep.checkpoints.put(
            Checkpoint(
                thread_id=thread,
                checkpoint_id=number(n),
                parent_id=parent,
                channels={"state": channel},
                metadata={"step": n, "source": "loop"},
            )
        )


def links(text: str, beginning: str) -> list[str]:
    """Return the addresses of a page that begin so."""
    found = map(html.unescape, re.findall(r'href="([^"]*)"', text))
    return [link for link in found if link.startswith(beginning)]


@pytest.fixture(params=["memory", "valkey-py", "glide", "cluster", "agentcore"])
def place(request: pytest.FixtureRequest, prefix: str) -> Iterator[Connection]:
    kind = request.param
    url: str
    options: dict[str, Any]
    if kind == "memory":
        url, options = "memory:", {}
    elif kind == "agentcore":
        worlds: Worlds = request.getfixturevalue("worlds")
        worlds.set_environment(request.getfixturevalue("monkeypatch"))
        memory_id = f"ui-{uuid.uuid4().hex[:10]}"
        worlds.emulator("plain").agentcore.create_memory(memory_id=memory_id)
        url, options = f"agentcore://{memory_id}?region=us-west-2&actor_id=ada", {}
    elif kind == "cluster":
        cluster: ValkeyCluster = request.getfixturevalue("valkey_cluster")
        url, options = cluster.url, {"prefix": prefix}
    else:
        server: ValkeyServer = request.getfixturevalue("valkey_server")
        url, options = f"{server.url}?client={kind}", {"prefix": prefix}
    with statekeep.connect(url, **options) as keep:
        yield keep


def test_every_page_of_every_service(place: Connection) -> None:
    fill(place, others=1)
    visit = client(app(place, write=True))
    seen: set[str] = set()
    waiting = ["/", *(["/items?namespace=users/ada"] if place.has_items else [])]
    pages: dict[str, str] = {}
    while waiting and len(pages) < 30:
        path = waiting.pop(0)
        answer = visit.get(path)
        assert answer.status_code == 200, (path, answer.text)
        pages[path] = answer.text
        if answer.headers["content-type"].startswith("text/html"):
            kinds = {each.partition("?")[0] for each in pages}
            for link in links(answer.text, "/"):
                is_new = link.partition("?")[0] not in kinds
                if link not in seen and (is_new or "=trips" in link) and "confirm" not in link:
                    seen.add(link)
                    waiting.insert(0 if is_new else len(waiting), link)
    text = "".join(pages.values())
    assert "trips/ada" in text
    assert "waits for an answer" in text
    assert '<span class="badge">fork</span>' in text
    assert "Shall I book it?" in text
    assert "Calls <code>weather</code>" in text
    kinds = {each.partition("?")[0] for each in pages}
    assert {"/thread", "/checkpoint", "/download"} <= kinds
    if place.has_items:
        assert {"/items", "/item"} <= kinds
    if place.has_logs:
        assert {"/logs", "/log"} <= kinds


def test_threads_are_searched_and_paged(keep: Connection, visit: TestClient) -> None:
    for n in range(120):
        put(keep, f"a/{n:03}", 1)
    put(keep, "b/1", 1)
    path, seen = "/threads?prefix=a/", []
    for _ in range(3):
        text = visit.get(path).text
        seen += re.findall(r">(a/\d{3}|b/1)</a>", text)
        path = next(iter(links(text, "/threads?prefix=a%2F&after")), "")
    assert path == ""
    assert seen == [f"a/{n:03}" for n in reversed(range(120))]
    assert "No thread begins with “zz”." in visit.get("/threads?prefix=zz").text


def test_sizes_come_after_the_page_and_as_far_as_there_is_time(
    keep: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(25):
        put(keep, f"t{n:02}", n + 1)
    asked: list[int] = []
    measure = keep.checkpoints.measure

    def slowly(ids: list[str]) -> Any:
        asked.append(len(ids))
        time.sleep(0.6)
        return measure(ids)

    monkeypatch.setattr(keep.checkpoints, "measure", slowly)
    visit = client(app(keep))

    def shown(path: str) -> list[str]:
        return re.findall(r'data-name="Steps">(\d+)<', visit.get(path).text)

    first = visit.get("/").text
    assert asked == []
    [fill] = re.findall(r'data-fill="([^"]*)"', first)
    assert shown(html.unescape(fill)) == [str(n) for n in range(25, 5, -1)]
    assert asked == [10, 10]
    assert shown(links(first, "/threads?sizes=all")[0]) == [str(n) for n in range(25, 0, -1)]


def test_a_long_thread_is_paged_with_its_forks(keep: Connection, visit: TestClient) -> None:
    put(keep, "t", 120)
    # A branch that leaves the line on the third page, and whose newest step is on the first one.
    keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="000119x", parent_id=number(5)))
    path, ids, forks = "/thread?id=t", [], []
    while path:
        text = visit.get(path).text
        ids += [re.search(r"[?&]id=([0-9x]+)", link)[1] for link in links(text, "/checkpoint")]  # type: ignore[index]
        forks += re.findall(r"id=(\w+)[^<]*<span class=\"number\">[^<]*</span> <span>loop</span></a>\s*"
                            r'<span class="badge">fork', text)  # fmt: skip
        path = next(iter(links(text, "/thread?id=t&before")), "")
    assert ids == [number(120), "000119x", *map(number, range(119, 0, -1))]
    assert forks == [number(5)]


def test_a_branch_that_went_on_on_another_page_does_not_wait(keep: Connection, visit: TestClient) -> None:
    put(keep, "t", 60)
    question = PendingWrite(
        task_id="x", idx=-3, channel="__interrupt__", payload=Payload(encoding="json", data=b'[{"value": "why?"}]')
    )
    keep.checkpoints.put_writes("t", number(10), [question])
    second = links(visit.get("/thread?id=t").text, "/thread?id=t&before")[0]
    text = visit.get(second).text
    assert "asked" in text
    assert "why?" in text
    assert "waits for an answer" not in text


def test_sizes_are_compared_with_a_parent_on_the_next_page(keep: Connection, visit: TestClient) -> None:
    for n in range(1, 61):
        channel = Channel.of(1, Payload(encoding="json", data=b"12345")) if n == 1 else Channel.earlier(1)
        parent = number(n - 1) if n > 1 else None
        keep.checkpoints.put(
            Checkpoint(thread_id="t", checkpoint_id=number(n), parent_id=parent, channels={"state": channel})
        )
    text = visit.get("/thread?id=t").text
    assert text.count("· 0 B new, 5 B reused") == 50


def test_the_mark_of_a_page_changes_with_its_records(keep: Connection, visit: TestClient) -> None:
    put(keep, "t", 1)
    for page, state in [("/", "/threads/state"), ("/thread?id=t", "/thread/state?id=t")]:
        [mark] = re.findall(r'data-mark="(\w+)"', visit.get(page).text)
        assert visit.get(state).text == mark == visit.get(state).text
    marks = visit.get("/threads/state").text, visit.get("/thread/state?id=t").text
    put(keep, "t", 2)
    assert visit.get("/threads/state").text != marks[0]
    assert visit.get("/thread/state?id=t").text != marks[1]
    with_write = visit.get("/thread/state?id=t").text
    write = PendingWrite(task_id="x", idx=0, channel="state", payload=Payload(encoding="json", data=b"1"))
    keep.checkpoints.put_writes("t", number(2), [write])
    assert visit.get("/thread/state?id=t").text != with_write


def test_items_are_filtered_searched_and_paged(valkey_server: ValkeyServer, prefix: str) -> None:
    index = {"dims": DIMS, "embed": letter_counts, "fields": ["text"]}
    with statekeep.connect(valkey_server.url, prefix=prefix, index=index) as keep:
        for n in range(60):
            keep.items.put(("notes", "ada"), f"{n:02}", {"text": f"note {n}", "n": n}, ttl=1000)
        keep.items.put(("notes",), "above", {"text": "tea", "n": 3})
        visit = client(app(keep))
        first = visit.get("/items?namespace=notes/ada").text
        second = visit.get(links(first, "/items?namespace=notes%2Fada&after")[0]).text
        keys = [re.findall(r">(\d\d)</a>", text) for text in (first, second)]
        assert keys == [[f"{n:02}" for n in range(50)], [f"{n:02}" for n in range(50, 60)]]
        found = visit.get("/items", params={"namespace": "notes", "below": "1", "filter": '{"n": {"$lt": 4}}'}).text
        assert sorted(re.findall(r'scope="row"><a[^>]*>(\w+)</a>', found)) == ["00", "01", "02", "03", "above"]
        near = visit.get("/items", params={"namespace": "notes", "q": "tea"}).text
        assert re.findall(r'scope="row"><a[^>]*>(\w+)</a>', near)[0] == "above"
        assert "1.000" in near
        wrong = visit.get("/items", params={"namespace": "notes", "filter": "{"})
        assert wrong.status_code == 400
        assert "must be a JSON object" in wrong.text
    with statekeep.connect(valkey_server.url, prefix=prefix) as keep:
        answer = client(app(keep)).get("/items", params={"namespace": "notes", "q": "tea"})
        assert answer.status_code == 400
        assert "no index" in answer.text


def test_looking_lets_no_ttl_begin_anew(keep: Connection) -> None:
    with statekeep.connect("memory:", ttl=1000, refresh_on_read=True) as keep:
        keep.items.put(("n",), "k", 1)
        keep.logs.append(("l",), [1])
        before = keep.items.get(("n",), "k", refresh=False), list(keep.logs.list())
        visit = client(app(keep))
        for path in ("/items?namespace=n", "/item?namespace=n&key=k", "/items?namespace=n&below=1", "/log?name=l",
                     "/log?name=l&last=1"):  # fmt: skip
            assert visit.get(path).status_code == 200
        assert (keep.items.get(("n",), "k", refresh=False), list(keep.logs.list())) == before


def test_a_connection_for_asyncio_is_shown(keep: Connection) -> None:
    put(keep, "t", 1)
    assert ">t</a>" in client(app(keep.asyncio)).get("/").text


def test_a_server_that_is_away_is_named_and_looked_for_again() -> None:
    with ValkeyServer() as server:
        url = f"{server.url}?client=valkey-py&deadline=0.5"
        with statekeep.connect(url) as keep:
            put(keep, "t", 1)
            visit = client(app(keep, urls=[url]))
            assert visit.get("/").status_code == 200
            server.stop()
            away = visit.get("/")
            assert away.status_code == 503
            assert "Unavailable" in away.text
            assert "<nav" in away.text
            server.start()
            assert ">t</a>" in visit.get("/").text or visit.get("/thread?id=t").status_code == 404


def test_what_is_damaged_is_named_and_the_rest_is_shown(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(f"{valkey_server.url}?client=valkey-py", prefix=prefix) as keep:
        put(keep, "t", 6)
        with valkey_server.client() as server:
            server.hset(f"{prefix}:checkpoint:{{t}}::{number(4)}", "created_at", "damage")
        visit = client(app(keep))
        text = visit.get("/thread?id=t").text
        shown = [re.search(r"[?&]id=(\d+)", link)[1] for link in links(text, "/checkpoint")]  # type: ignore[index]
        assert shown == [number(n) for n in (6, 5, 3, 2, 1)]
        assert "A step cannot be read" in text
        assert "CorruptRecord" in text
        one = visit.get(f"/checkpoint?thread=t&id={number(4)}")
        assert one.status_code == 500
        assert "CorruptRecord" in one.text
        child = visit.get(f"/checkpoint?thread=t&id={number(5)}").text
        assert "Its parent cannot be read" in child
        assert ">t</a>" in visit.get("/").text


def test_records_of_others_are_shown_as_far_as_they_can_be(keep: Connection, visit: TestClient) -> None:
    channels = {
        "pickled": Channel.of(1, Payload(encoding="pickle", data=b"cos\nsystem\n(S'false'\ntR.")),
        "cipher": Channel.of(1, Payload(encoding="msgpack+aes", data=b"\x00\x01")),
        "odd": Channel.of(1, Payload(encoding="of-somebody", data=b"\xff")),
        "broken": Channel.of(1, Payload(encoding="json", data=b"{")),
        "nothing": Channel.empty(1),
    }
    keep.checkpoints.put(
        Checkpoint(thread_id="t", checkpoint_id="1", channels=channels, metadata={"step": "x", "source": ["odd"]})
    )
    text = visit.get("/checkpoint?thread=t&id=1").text
    for words in ("a pickle, which would have to be executed", "encrypted with", "does not know", "damaged: "):
        assert words in text
    assert "Checkpoint" in visit.get("/thread?id=t").text
    assert visit.get("/download?kind=raw&thread=t&id=1&channel=odd").json()["base64"] == "/w=="


def test_an_application_is_mounted_into_another_one(demo: Connection) -> None:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount

    class Door:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            names = dict(scope.get("headers", ()))
            inner = self.inner if names.get(b"x-who") == b"ada" else Response("who are you?", 401)
            await inner(scope, receive, send)

    asked: Any = {}
    outer = Starlette(routes=[Mount("/inner/look", Door(app(demo, hosts=["example.com"], write=True)))])
    visit = client(outer, base_url="https://example.com", headers={"x-who": "ada"}, root_path="/proxy")
    assert visit.get("/proxy/inner/look/", headers={"x-who": "eve"}).status_code == 401
    text = visit.get("/proxy/inner/look/").text
    assert all(link.startswith("/proxy/inner/look/") for link in links(text, "/"))
    for path in ("thread?id=trips/ada", "confirm?action=delete-thread&thread=trips/ada"):
        answer = visit.get(f"/proxy/inner/look/{path}")
        assert answer.status_code == 200
        found = re.findall(r'(?:href|src|action|data-live)="(/[^"]*)"', answer.text)
        assert found
        assert all(link.startswith("/proxy/inner/look/") for link in found)
        asked = answer.headers
    assert "Path=/proxy/inner/look" in asked["set-cookie"]


def test_both_faces_of_a_loop_go_on_while_a_page_is_made(demo: Connection) -> None:
    """A page is made in a worker thread: nothing of it blocks the loop, which the watchdog of all tests looks at."""
    import httpx

    async def main() -> list[int]:
        transport = httpx.ASGITransport(app(demo))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as visit:
            answers = await asyncio.gather(*(visit.get("/thread?id=trips/ada") for _ in range(4)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(main()) == [200] * 4
