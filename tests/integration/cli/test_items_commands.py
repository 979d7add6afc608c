"""Commands for items, logs, cache entries and copies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep import Channel, Checkpoint, InvalidInput, Payload, connect
from statekeep.inspection.labels import decode_labels, encode_labels
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .commands import Ended, ran
from .test_doctor import agentcore_url

NASTY = ("a/b", "100 %", "-x", "[1]", "é", "red \x1b[31m", "$(true)", "\u202eabc", "tab\t")


@pytest.fixture
def place(prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STATEKEEP_KEY_PREFIX", prefix)
    return prefix


@pytest.fixture(params=["valkey-py", "glide", "cluster"])
def url(
    request: pytest.FixtureRequest,
    valkey_server: ValkeyServer,
    valkey_cluster: ValkeyCluster,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The URL of a server, which commands find in their environment."""
    cluster = request.param == "cluster"
    found = valkey_cluster.url if cluster else f"{valkey_server.url}?client={request.param}"
    monkeypatch.setenv("STATEKEEP_URL", found)
    return found


@pytest.fixture
def keep(url: str, prefix: str) -> Iterator[statekeep.Connection]:
    with connect(url, prefix=prefix) as keep:
        yield keep


def keys(ended: Ended) -> list[str]:
    assert ended.status == 0, ended.err
    return [row["key"] for row in ended.rows]


def put_some(keep: statekeep.Connection) -> None:
    keep.items.put(("users", "ada"), "theme", {"color": "dark", "size": 3})
    keep.items.put(("users", "ada"), "draft-1", "a", ttl=1000)
    keep.items.put(("users", "ada"), "draft-2", Payload(encoding="json", data=b'{"a":1}'))
    keep.items.put(("users", "bob"), "theme", {"color": "light", "size": 5})
    keep.items.put((), "root", 1)


def test_listing(keep: statekeep.Connection) -> None:
    put_some(keep)
    rows = ran("items", "users/ada", "--json").rows
    assert [(row["key"], row["value"]) for row in rows] == [
        ("draft-1", "a"),
        ("draft-2", {"encoding": "json", "size": 7, "value": {"a": 1}, "is_cut": False}),
        ("theme", {"color": "dark", "size": 3}),
    ]
    assert rows[0]["namespace"] == "users/ada"
    assert rows[0]["labels"] == ["users", "ada"]
    assert 900 < rows[0]["ttl"] <= 1000
    assert rows[2]["ttl"] is rows[2]["expires_at"] is None
    assert keys(ran("items", '["users","ada"]', "--prefix", "draft-", "--limit", "1", "--json")) == ["draft-1"]
    assert keys(ran("items", "users/ada", "--newest", "--json")) == ["draft-2", "draft-1", "theme"]
    assert keys(ran("items", "users/ada", "--keys", "--json")) == ["draft-1", "draft-2", "theme"]
    assert ran("items", "users/ada", "--keys").out == "draft-1\ndraft-2\ntheme\n"
    assert keys(ran("items", "/", "--json")) == ["root"]
    found = ran("items", "users", "--below", "--filter", '{"size":{"$gt":3}}', "--json").rows
    assert [(row["namespace"], row["key"]) for row in found] == [("users/bob", "theme")]
    assert keys(ran("items", "users/ada", "--filter", '{"color":"dark"}', "--json")) == ["theme"]
    ended = ran("items", "users/ada")
    assert [line[0] for line in ended.lines] == ["draft-1", "draft-2", "theme"]
    ended = ran("items", "users/eve")
    assert (ended.status, ended.out) == (1, "")
    assert "users/eve" in ended.err


def test_looking_starts_no_ttl_anew(url: str, prefix: str) -> None:
    with connect(url, prefix=prefix, refresh_on_read=True) as keep:
        before = keep.items.put(("users",), "a", 1, ttl=1000)
        keep.logs.append(("users",), [1], ttl=1000)
        [log] = keep.logs.list()
        for command in (["items", "users"], ["item", "users", "a"], ["logs", "users"], ["items", "users", "--below"]):
            assert ran(*command).status == 0
        after = keep.items.get(("users",), "a", refresh=False)
        assert after is not None
        assert after.expires_at == before.expires_at
        assert list(keep.logs.list()) == [log]


def test_one_item(keep: statekeep.Connection) -> None:
    put_some(keep)
    document = ran("item", "users/ada", "theme", "--json").document
    assert document["value"] == {"color": "dark", "size": 3}
    assert document["version"] == 1
    ended = ran("item", "users/ada", "theme")
    assert ended.out.endswith('{\n  "color": "dark",\n  "size": 3\n}\n')
    assert ran("item", "users/ada", "draft-2", "--json").document["value"]["value"] == {"a": 1}
    raw = ran("item", "users/ada", "draft-2", "--raw", "--json").document["value"]
    assert raw == {"encoding": "json", "size": 7, "base64": "eyJhIjoxfQ=="}
    ended = ran("item", "users/ada", "none")
    assert (ended.status, ended.out) == (1, "")


def test_pickles_stay_closed(keep: statekeep.Connection) -> None:
    keep.items.put(("p",), "k", Payload(encoding="pickle", data=b"cos\nsystem\n(S'exit 1'\ntR."))
    document = ran("item", "p", "k", "--json").document
    assert "value" not in document["value"]
    assert len(document["value"]["sha256"]) == 64


def test_namespaces(keep: statekeep.Connection) -> None:
    put_some(keep)
    keep.items.put(("users",), "x", 1)
    rows = ran("namespaces", "--json").rows
    assert [(row["namespace"], row["items"]) for row in rows] == [
        ("/", 1), ("users", 1), ("users/ada", 3), ("users/bob", 1),
    ]  # fmt: skip
    assert all(row["bytes"] > 0 for row in rows)
    assert [row["namespace"] for row in ran("namespaces", "users", "--json").rows] == [
        "users",
        "users/ada",
        "users/bob",
    ]
    assert ran("namespaces", "--depth", "1").out.splitlines() == ["/", "users"]
    assert ran("namespaces", "users/ada", "--no-counts", "--json").rows == [
        {"namespace": "users/ada", "labels": ["users", "ada"]}
    ]
    assert ran("namespaces", "none").status == 1
    assert ran("namespaces", "*").status == 1


def test_nasty_labels_and_keys(keep: statekeep.Connection) -> None:
    keep.items.put(NASTY, "key\x1b]0;title\x07", {"\x9b31m": "\x1b[31m"})
    [line] = ran("namespaces").lines
    assert decode_labels(line[0]) == NASTY
    ended = ran("items", line[0])
    assert ended.status == 0
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(ended.out)
    assert ran("item", line[0], "key\x1b]0;title\x07", "--json").document["value"] == {"\x9b31m": "\x1b[31m"}
    assert ran("items", json.dumps(NASTY), "--json").rows[0]["labels"] == list(NASTY)


def test_a_large_value(valkey_server: ValkeyServer, place: str) -> None:
    with connect(valkey_server.url, prefix=place) as keep:
        keep.items.put(("big",), "k", "x" * 50_000_000)
    ended = ran("items", "big", "--url", valkey_server.url)
    assert ended.status == 0
    assert len(ended.out) < 200
    document = ran("item", "big", "k", "--url", valkey_server.url, "--json").document
    assert document["bytes"] == 50_000_002
    assert document["value"]["$cut"] == "a text of 50,000,000 characters"
    assert len(ran("item", "big", "k", "--url", valkey_server.url, "--json", "--full").document["value"]) == 50_000_000


def test_units_are_found(url: str, prefix: str) -> None:
    with connect(url, prefix=prefix, unit=1) as keep:
        keep.items.put(("users", "ada"), "theme", 1)
    assert keys(ran("items", "users/ada", "--json")) == ["theme"]
    assert ran("namespaces").status == 0


EMBEDDING = """
def embed(texts):
    return [[float(text.count("a")), float(text.count("b")), 1.0] for text in texts]
"""


def test_search_by_meaning(url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vectors_of_mine.py").write_text(EMBEDDING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "vectors_of_mine", raising=False)
    from importlib import import_module

    index = {"dims": 3, "embed": import_module("vectors_of_mine").embed, "fields": ["text"]}
    assert ran("items", "x", "--query", "a", "--embed", "vectors_of_mine:embed").status == 2  # no vectors yet
    with connect(url, prefix=prefix, index=index) as keep:
        keep.items.setup()
        keep.items.put(("docs",), "of a", {"text": "aaaa"})
        keep.items.put(("docs",), "of b", {"text": "bbbb"})
    query = ("items", "docs", "--json", "--embed", "vectors_of_mine:embed", "--query")
    assert keys(ran(*query, "aaa")) == ["of a", "of b"]
    assert keys(ran(*query, "bbb")) == ["of b", "of a"]
    assert ran(*query, "bbb").rows[0]["score"] > 0.9
    assert ran("items", "docs", "--query", "a").status == 2
    for place in ("vectors_of_mine", "vectors_of_mine:nothing", "nothing_of_mine:embed"):
        ended = ran("items", "docs", "--query", "a", "--embed", place)
        assert ended.status == 2
        assert "--embed" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["items"],
        ["items", "users//ada"],
        ["items", "[1]"],
        ["items", "%ff"],
        ["items", "a", "--filter", "{"],
        ["items", "a", "--filter", "[]"],
        ["items", "a", "--filter", '{"a":{"$regex":"x"}}'],
        ["items", "a", "--keys", "--newest"],
        ["items", "a", "--embed", "a:b"],
        ["items", "a", "--below", "--prefix", "x"],
        ["items", "a", "--limit", "-1"],
        ["logs", "--last"],
        ["logs", "a", "--prefix", "b"],
        ["logs", "a", "--last", "--after", "1"],
        ["cache", "--list", "a", "--clear"],
        ["cache", "--namespace", "a"],
        ["copy", "memory:", "memory:"],
        ["copy", "memory:", "embedded:", "--kind", "cache"],
    ],
)
def test_wrong_use(arguments: list[str]) -> None:
    ended = ran(*arguments, "--url", "memory:")
    assert (ended.status, ended.out) == (2, "")


# -- logs


def test_logs(keep: statekeep.Connection) -> None:
    assert ran("logs").status == 1
    keep.logs.append(("chat", "ada"), [f"message {number}" for number in range(1200)], ttl=1000)
    keep.logs.append(("chat", "b/ob"), [{"role": "user"}, Payload(encoding="json", data=b"[1]")])
    rows = ran("logs", "--json").rows
    assert [(row["log"], row["labels"], row["count"]) for row in rows] == [
        ("chat/ada", ["chat", "ada"], 1200),
        ("chat/b%2Fob", ["chat", "b/ob"], 2),
    ]
    assert rows[0]["bytes"] > 12_000
    assert 900 < rows[0]["ttl"] <= 1000
    assert ran("logs", "--prefix", "chat/ada", "--no-bytes").lines[0][:2] == ["chat/ada", "1200"]
    values = [row["value"] for row in ran("logs", "chat/b%2Fob", "--json").rows]
    assert values == [{"role": "user"}, {"encoding": "json", "size": 3, "value": [1], "is_cut": False}]
    assert ran("logs", "chat/b%2Fob", "--raw", "--json").rows[1]["value"]["base64"] == "WzFd"
    first = ran("logs", "chat/ada", "--limit", "2", "--json").rows
    assert [row["value"] for row in first] == ["message 0", "message 1"]
    behind = ran("logs", "chat/ada", "--after", str(first[1]["position"]), "--limit", "0", "--json").rows
    assert [row["value"] for row in behind] == [f"message {number}" for number in range(2, 1200)]
    last = ran("logs", "chat/ada", "--last", "--limit", "2", "--json").rows
    assert [row["value"] for row in last] == ["message 1198", "message 1199"]
    assert len(ran("logs", "chat/ada", "--last", "--limit", "0").lines) == 1200
    assert ran("logs", "chat/eve").status == 1


# -- cache entries


def test_cache(keep: statekeep.Connection) -> None:
    assert ran("cache").status == 1
    value = Payload(encoding="json", data=b'{"rain":true}')
    keep.cache.set({(("weather", "to/day"), "london"): (value, 1000), (("weather",), "paris"): value, ((), "x"): value})
    rows = ran("cache", "--json").rows
    assert [(row["namespace"], row["labels"], row["entries"]) for row in rows] == [
        ("/", [], 1),
        ("weather", ["weather"], 1),
        ("weather/to%2Fday", ["weather", "to/day"], 1),
    ]
    assert all(row["bytes"] > 0 for row in rows)
    [row] = ran("cache", "--list", "weather/to%2Fday", "--json").rows
    assert (row["key"], row["value"]["value"], row["bytes"]) == ("london", {"rain": True}, 13)
    assert 900 < row["ttl"] <= 1000
    assert ran("cache", "--list", "none").status == 1
    ended = ran("cache", "--clear")
    assert ended.status == 2
    assert "--yes" in ended.err
    assert len(ran("cache", "--json").rows) == 3
    assert ran("cache", "--clear", "--namespace", "weather", "--yes", "--json").document == {"deleted": 1}
    assert [row["namespace"] for row in ran("cache", "--json").rows] == ["/", "weather/to%2Fday"]
    assert ran("cache", "--clear", "-y").out == "2 cache entries deleted\n"
    assert ran("cache").status == 1


# -- what AWS can do


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID"])
def test_agentcore(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with AwsEmulator() as aws:
        monkeypatch.setenv("STATEKEEP_URL", agentcore_url(aws))
        with connect(agentcore_url(aws), index={"fields": ["text"]}) as keep:
            keep.items.put(("users", "ada"), "a", {"text": "tea"})
            keep.items.put(("users", "ada"), "b", {"text": "coffee"})
        assert keys(ran("items", "users/ada", "--json")) == ["a", "b"]
        assert ran("item", "users/ada", "a", "--json").document["value"] == {"text": "tea"}
        [row] = ran("namespaces", "--json").rows
        assert (row["namespace"], row["items"]) == ("users/ada", 2)
        assert set(keys(ran("items", "users", "--query", "tea", "--json"))) == {"a", "b"}
        assert ran("items", "users", "--query", "tea", "--embed", "a:b").status == 2
        for command in (["logs"], ["cache"], ["cache", "--clear", "--yes"]):
            ended = ran(*command)
            assert ended.status == 2
            assert "no logs" in ended.err or "no cache entries" in ended.err


# -- copies


def fill(keep: statekeep.Connection) -> None:
    keep.items.put(("users", "ada"), "theme", "dark")
    keep.logs.append(("chat",), [1, 2])
    for number in range(3):
        value = Payload(encoding="json", data=b"[%d]" % number)
        keep.checkpoints.put(
            Checkpoint(thread_id="t", checkpoint_id=f"{number}", channels={"c": Channel.of(number, value)})
        )


def test_copies(url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"embedded:{tmp_path}/target"
    with connect(url, prefix=prefix, unit=1) as keep:
        fill(keep)
    monkeypatch.delenv("STATEKEEP_URL")
    expected = {"threads": 1, "checkpoints": 3, "pending_writes": 0, "namespaces": 1, "items": 1, "logs": 1}
    document = ran("copy", url, target, "--json").document
    assert document == {**expected, "complete": True}
    document = ran("copy", url, target, "--json").document
    assert document == {**expected, "items": 0, "logs": 0, "complete": True}
    with connect(target, prefix=prefix, unit=1) as keep:
        assert len(list(keep.checkpoints.list("t"))) == 3
        assert keep.items.get(("users", "ada"), "theme") is not None
        assert [log.count for log in keep.logs.list()] == [2]
    some = ran("copy", url, "memory:", "--kind", "logs", "--kind", "checkpoints", "--json").document
    assert (some["checkpoints"], some["items"], some["logs"]) == (3, 0, 1)
    with connect(url, prefix=f"{prefix}-other") as keep:
        assert ran("copy", url, url, "--target-key-prefix", f"{prefix}-other").status == 0
        assert len(list(keep.checkpoints.list("t"))) == 3


def test_a_copy_that_is_stopped(valkey_server: ValkeyServer, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from statekeep.cli.progress import Progress

    with connect(valkey_server.url, prefix=place) as keep:
        fill(keep)

    def stop(self: Progress, done: int, text: str = "", *, total: int | None = None) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "update", stop)
    ended = ran("copy", valkey_server.url, "memory:", "--json")
    assert ended.status == 130
    assert ended.document["complete"] is False
    assert ended.document["checkpoints"] == 2
    assert "may be repeated" in ended.err


def test_a_copy_with_vectors(
    valkey_server: ValkeyServer, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vectors_to_copy.py").write_text(EMBEDDING)
    monkeypatch.syspath_prepend(str(tmp_path))
    from importlib import import_module

    index: dict[str, Any] = {"dims": 3, "embed": import_module("vectors_to_copy").embed, "fields": ["text"]}
    with connect(valkey_server.url, prefix=place, index=index) as keep:
        keep.items.setup()
        keep.items.put(("docs",), "of a", {"text": "aaaa"})
    target = ("--target-key-prefix", f"{place}-target")
    ended = ran("copy", valkey_server.url, valkey_server.url, "--target-key-prefix", f"{place}-without")
    assert ended.status == 0
    assert "--embed" in ended.err
    ended = ran("copy", valkey_server.url, valkey_server.url, *target, "--embed", "vectors_to_copy:embed")
    assert ended.status == 0
    assert "--embed" not in ended.err
    with connect(valkey_server.url, prefix=f"{place}-target", index=index) as keep:
        assert [found.score is not None for found in keep.items.search(("docs",), query="aa")] == [True]


def test_a_target_that_is_away(valkey_server: ValkeyServer, place: str) -> None:
    ended = ran("copy", valkey_server.url, "valkey://ada:secret-of-ada@127.0.0.1:1/?deadline=0.2&connect_timeout=0.2")
    assert ended.status == 1
    assert "secret-of-ada" not in ended.err


# -- the notation


@pytest.mark.parametrize(
    "labels", [(), ("a",), ("-x", "-y"), NASTY, ("*", "?", "~", "=a"), ("日本", "हिन्दी"), ("%2F",)]
)
def test_labels_come_back(labels: tuple[str, ...]) -> None:
    text = encode_labels(labels)
    assert decode_labels(text) == labels
    assert decode_labels(json.dumps(labels)) == labels
    assert text.isprintable()
    assert not set(text) & set(" \t$`'\"\\!*?[]{}()<>|&;#~=")
    assert not text.startswith("-")


@pytest.mark.parametrize("text", ["a//b", "/a", "a/", "[", "[1]", '[""]', "%ff"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_labels(text, "PREFIX")
    assert caught.value.field == "PREFIX"
