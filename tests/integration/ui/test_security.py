"""What keeps others out, and what is stored from doing anything."""

from __future__ import annotations

import json
import re
import time

import pytest
from starlette.testclient import TestClient

import statekeep
from statekeep import Channel, Checkpoint, InvalidInput, Payload
from statekeep.contrib.ui import app
from statekeep.repositories.connection import Connection

from .conftest import client

TOKEN = "a-token-of-more-than-16-characters"


def test_every_answer_has_strict_headers(demo: Connection) -> None:
    visit = client(app(demo))
    for path in ("/", "/thread?id=trips/ada", "/thread?id=none", "/none", "/static/live.js", "/threads/state"):
        headers = visit.get(path).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert client(app(demo)).get("/").headers["cache-control"] == "no-store"


def test_pages_have_nothing_inline_and_nothing_from_elsewhere(demo: Connection) -> None:
    visit = client(app(demo, write=True))
    newest = next(demo.checkpoints.list("trips/ada")).checkpoint_id
    for path in ("/", "/thread?id=trips/ada", f"/checkpoint?thread=trips/ada&id={newest}", "/items", "/cache",
                 "/confirm?action=delete-thread&thread=trips/ada"):  # fmt: skip
        text = visit.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
        assert re.findall(r"<script([^>]*)>", text)
        assert all("src=" in tag for tag in re.findall(r"<script([^>]*)>", text))
        assert all(address.startswith(("/", "#")) for address in re.findall(r'(?:href|src|action)="([^"]*)"', text))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "127.0.0.2", "", "a@localhost", "localhost:x"],
)
def test_other_hosts_are_refused(demo: Connection, host: str) -> None:
    answer = client(app(demo)).get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "trips/ada" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:8000", "[::1]:8000"])
def test_names_of_this_machine_are_served(demo: Connection, host: str) -> None:
    assert client(app(demo)).get("/", headers={"host": host}).status_code == 200


def test_hosts_can_be_chosen(demo: Connection) -> None:
    assert client(app(demo, hosts=["Example.com"]), base_url="http://example.com").get("/").status_code == 200
    assert client(app(demo, hosts=["Example.com"])).get("/").status_code == 421
    assert client(app(demo, hosts=None), base_url="http://anything.example").get("/").status_code == 200
    for wrong in ("example.com", ["example.com:80"], [1]):
        with pytest.raises(InvalidInput) as caught:
            app(demo, hosts=wrong)  # type: ignore[arg-type]
        assert caught.value.field == "hosts"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
    ],
)
def test_other_origins_are_refused(demo: Connection, headers: dict[str, str], status: int) -> None:
    assert client(app(demo)).get("/", headers=headers).status_code == status


def test_a_token_opens_the_door_once_and_for_all(demo: Connection) -> None:
    visit = client(app(demo, token=TOKEN))
    assert visit.get("/").status_code == 401
    assert "trips/ada" not in visit.get("/thread?id=trips/ada").text
    assert visit.get("/?token=wrong").status_code == 401
    assert visit.get(f"/?token={TOKEN}&token={TOKEN}").status_code == 401
    assert visit.get("/static/style.css").status_code == 401
    opened = visit.get(f"/thread?id=trips/ada&token={TOKEN}")
    assert opened.status_code == 303
    assert opened.headers["location"] == "/thread?id=trips%2Fada"
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie
    assert visit.get(opened.headers["location"]).status_code == 200
    # The same after a restart; and by a program.
    again = client(app(demo, token=TOKEN), cookies=dict(visit.cookies))
    assert again.get("/").status_code == 200
    assert client(app(demo, token=TOKEN + "x"), cookies=dict(visit.cookies)).get("/").status_code == 401
    program = client(app(demo, token=TOKEN))
    assert program.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert program.get("/", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert program.get("/", headers={b"cookie": "statekeep_ui=ä".encode()}).status_code == 401


def test_a_token_leads_nowhere_else(demo: Connection) -> None:
    visit = client(app(demo, token=TOKEN))
    answer = visit.get(f"http://localhost:8000//evil.example/?token={TOKEN}")
    assert answer.status_code == 303
    assert not answer.headers["location"].startswith(("//", "http"))


@pytest.mark.parametrize("token", ["short", "", 5])
def test_a_token_must_be_long(demo: Connection, token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        app(demo, token=token)
    assert caught.value.field == "token"


def test_something_else_than_a_connection_is_refused(demo: Connection) -> None:
    with pytest.raises(InvalidInput):
        app(demo.checkpoints)  # type: ignore[arg-type]


def test_no_secret_of_the_url_is_shown() -> None:
    url = "valkey://ada:s3cret-word@127.0.0.1:1?client=valkey-py&deadline=0.2"
    with statekeep.connect(url) as keep:
        visit = client(app(keep, urls=[url]))
        for path in ("/", "/thread?id=t", "/items", "/cache", "/logs"):
            answer = visit.get(path)
            assert answer.status_code >= 400
            assert "s3cret-word" not in answer.text
    with statekeep.connect("memory:") as keep:
        visit = client(app(keep, urls=[url]))
        assert "s3cret-word" not in visit.get("/items?namespace=a&filter=s3cret-word").text.partition("<main")[
            2
        ].replace('value="', "")


HOSTILE = {
    "tag": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)" x="',
    "image": "<img src=x onerror=alert(1)>",
    "svg": "<svg onload=alert(1)>",
    "link": "javascript:alert(1)",
    "html link": '<a href="javascript:alert(1)">x</a>',
    "template": "{{ 7 * 7777 }}{% raw %}",
    "comment": "<!--",
    "entity": "&lt;b&gt;",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_shown_as_text_wherever_they_stand(keep: Connection, text: str) -> None:
    message = {
        "role": "user",
        "name": text,
        "content": text,
        "tool_calls": [{"name": text, "args": {text: text}, "id": text}],
    }
    channels = {
        text: Channel.of(1, Payload(encoding="json", data=json.dumps({text: [text]}).encode())),
        "messages": Channel.of(1, Payload(encoding="json", data=json.dumps([message]).encode())),
    }
    keep.checkpoints.put(
        Checkpoint(
            thread_id=text, checkpoint_id=text, channels=channels, metadata={"step": text, "source": text, text: text}
        )
    )
    keep.checkpoints.put(
        Checkpoint(thread_id=text, checkpoint_id=text + "~", parent_id=text, metadata={"source": text})
    )
    keep.items.put((text,), text, {text: text})
    keep.logs.append((text,), [message])
    keep.cache.set({((text,), text): Payload(encoding="json", data=json.dumps(text).encode())})
    visit = client(app(keep, write=True))
    from statekeep.inspection.labels import encode_labels

    space = encode_labels((text,))
    pages = [
        visit.get("/"),
        visit.get("/threads", params={"prefix": text}),
        visit.get("/thread", params={"id": text}),
        visit.get("/checkpoint", params={"thread": text, "id": text}),
        visit.get("/checkpoint", params={"thread": text, "id": text + "~"}),
        visit.get("/value", params={"thread": text, "id": text, "channel": text}),
        visit.get("/items", params={"namespace": space, "filter": json.dumps({text: text})}),
        visit.get("/item", params={"namespace": space, "key": text}),
        visit.get("/log", params={"name": space}),
        visit.get("/cache/entries", params={"namespace": space}),
        visit.get("/confirm", params={"action": "delete-thread", "thread": text}),
        visit.get("/confirm", params={"action": "fork", "thread": text, "id": text}),
        visit.get("/thread", params={"id": text + " none"}),
        visit.get("/items", params={"filter": text}),
    ]
    assert [page.status_code for page in pages] == [200] * 12 + [404, 400]
    for page in pages:
        for raw in ("<script>alert", "<img src=x", "<svg onload", '<a href="javascript', "<!--", ' onmouseover="'):
            assert raw not in page.text
        assert not re.search(r'(?:href|src|action)="\s*javascript:', page.text)
        assert "54439" not in page.text


UNSEEN = "a\x00b\x1b[31mc\u202ed\u2066e\u200bf\ufeffg\x9bh"


def test_what_cannot_be_seen_is_made_visible(keep: Connection, visit: TestClient) -> None:
    keep.checkpoints.put(
        Checkpoint(
            thread_id="t",
            checkpoint_id="1",
            channels={"c": Channel.of(1, Payload(encoding="json", data=json.dumps(UNSEEN).encode()))},
            metadata={"source": UNSEEN},
        )
    )
    keep.items.put(("n",), UNSEEN, UNSEEN)
    for path in ("/thread?id=t", "/checkpoint?thread=t&id=1", "/items?namespace=n"):
        text = visit.get(path).text
        assert not set("\x00\x1b\u202e\u2066\u200b\ufeff\x9b") & set(text)
        assert '<span class="mark">\\u202e</span>' in text
        assert '<span class="mark">\\x00</span>' in text
    assert visit.get("/item", params={"namespace": "n", "key": UNSEEN}).status_code == 200


def test_lone_surrogates_and_odd_addresses_do_no_harm(keep: Connection, visit: TestClient) -> None:
    keep.checkpoints.put(
        Checkpoint(
            thread_id="t",
            checkpoint_id="1",
            channels={"c": Channel.of(1, Payload(encoding="json", data=b'"\\ud800"'))},
        )
    )
    assert "\\ud800" in visit.get("/checkpoint?thread=t&id=1").text
    for path in ("/thread?id=%00", "/thread?id=%ff%fe", "/threads?after=x&at=y", "/threads?after=x&at=2026-01-01",
                 "/items?namespace=//", "/items?namespace=a&offset=x", "/log?name=a&after=-1", "/cache?offset=%C2%B2",
                 "/thread", "/checkpoint?thread=t", "/value?thread=t&id=1", "/download?thread=t&kind=x",
                 "/thread?id=" + "x" * 9000,
                 "/items?namespace=%5B1%5D", "/items?filter=" + "%5B" * 5000):  # fmt: skip
        answer = visit.get(path)
        assert answer.status_code in (200, 400, 404), (path, answer.text)
        assert "fault" not in answer.text


def test_large_values_are_cut_and_opened_on_demand(keep: Connection, visit: TestClient) -> None:
    text = "x" * 10_000_000
    deep = b"[" * 200 + b"]" * 200
    channels = {
        "long": Channel.of(1, Payload(encoding="json", data=json.dumps(text).encode())),
        "many": Channel.of(1, Payload(encoding="json", data=json.dumps(list(range(100_000))).encode())),
        "deep": Channel.of(1, Payload(encoding="json", data=deep)),
    }
    keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", channels=channels))
    began = time.monotonic()
    page = visit.get("/checkpoint?thread=t&id=1").text
    assert time.monotonic() - began < 5
    assert len(page) < 200_000
    assert "deeper than 40 levels" in page
    assert "99,800 more items" in page
    for name, least in [("long", 200_000), ("many", 100_000), ("deep", 1000)]:
        more = visit.get(f"/value?thread=t&id=1&channel={name}").text
        assert least < len(more) < 2_000_000
    whole = visit.get("/download?kind=value&thread=t&id=1&channel=long")
    assert whole.json()["value"] == text
    assert whole.headers["content-disposition"].startswith("attachment")
    assert visit.get("/download?kind=raw&thread=t&id=1&channel=deep").json()["size"] == 400


def test_many_channels_make_no_endless_page(keep: Connection, visit: TestClient) -> None:
    data = json.dumps(["x" * 1000] * 100).encode()
    channels = {f"c{n:03}": Channel.of(1, Payload(encoding="json", data=data)) for n in range(300)}
    keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", channels=channels))
    page = visit.get("/checkpoint?thread=t&id=1").text
    assert len(page) < 12_000_000
    assert page.count("Open <code>") == 290


def test_an_error_that_nobody_expected_is_logged_and_not_shown(
    keep: Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("an inner secret")

    monkeypatch.setattr(keep.checkpoints, "list_threads", broken)
    answer = client(app(keep)).get("/")
    assert answer.status_code == 500
    assert "KeyError" in answer.text
    assert "inner secret" not in answer.text
    assert "an inner secret" in caplog.text
