"""Statistics: what is counted, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

import statekeep
from statekeep import Channel, Checkpoint, InvalidInput, Payload, PendingWrite, aconnect, connect
from statekeep.cli.progress import Progress
from statekeep.inspection.stats import Stats, Survey
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .commands import ran
from .test_doctor import agentcore_url, rules_of, user_of

LARGE = 50_000_000


def put_thread(keep: statekeep.Connection, thread_id: str, size: int) -> None:
    value = Payload(encoding="raw", data=b"x" * size)
    keep.checkpoints.put(Checkpoint(thread_id=thread_id, checkpoint_id="1", channels={"c": Channel.of(1, value)}))
    keep.checkpoints.put_writes(
        thread_id, "1", [PendingWrite(task_id="task", idx=0, channel="c", payload=Payload(encoding="raw", data=b"y"))]
    )


def fill(keep: statekeep.Connection) -> None:
    """Put something of each kind."""
    put_thread(keep, "large", 100_000)
    put_thread(keep, "small", 10)
    keep.items.put(("users", "ada"), "theme", "x" * 5000)
    keep.items.put(("users", "bob"), "theme", 1)


def fill_more(keep: statekeep.Connection) -> None:
    keep.cache.set({(("weather", "today"), "london"): Payload(encoding="raw", data=b"z" * 3000)})
    keep.logs.append(("chat", "ada"), ["x" * 2000, 2])


@pytest.fixture(params=["standalone", "cluster"])
def server(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> ValkeyServer | ValkeyCluster:
    return valkey_cluster if request.param == "cluster" else valkey_server


def kinds(stats: Stats) -> dict[str, tuple[int, int | None]]:
    return {kind.kind: (kind.keys, kind.bytes) for kind in stats.kinds}


def measured(server: ValkeyServer | ValkeyCluster, prefix: str) -> tuple[int, int]:
    """Keys under the prefix, and their bytes, as the server says."""
    nodes = list(server.nodes.values()) if isinstance(server, ValkeyCluster) else [server]
    keys = size = 0
    for node in nodes:
        with node.client() as client:
            for key in client.scan_iter(match=f"{prefix}:*", count=1000):
                keys, size = keys + 1, size + client.memory_usage(key, samples=0)
    return keys, size


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_valkey(server: ValkeyServer | ValkeyCluster, client: Any, prefix: str) -> None:
    with connect(server.url, client=client, prefix=prefix) as keep, connect(server.url, prefix=f"{prefix}x") as other:
        fill(keep)
        fill_more(keep)
        fill(other)
        stats = Survey(keep).run()
    found = kinds(stats)
    keys, size = measured(server, prefix)
    assert (stats.scope, stats.measured, stats.slack, stats.missing) == ("whole", "memory", 0, ())
    assert (sum(kind.keys for kind in stats.kinds), stats.bytes) == (keys, size)
    assert {name: count for name, (count, _) in found.items() if name != "indexes"} == {
        "checkpoints": 4,
        "values": 2,
        "pending writes": 4,
        "items": 2,
        "cache entries": 1,
        "logs": 1,
    }
    assert found["values"][1] is not None
    assert found["values"][1] > 100_000
    assert [(thread.thread_id, thread.bytes > 100_000) for thread in stats.threads] == [
        ("large", True),
        ("small", False),
    ]
    assert [found.namespace for found in stats.namespaces] == [("users", "ada"), ("users", "bob")]
    assert [found.namespace for found in stats.cache_namespaces] == [("weather", "today")]
    assert [(found.namespace, found.bytes > 2000) for found in stats.logs] == [(("chat", "ada"), True)]


@pytest.mark.anyio
async def test_from_an_event_loop(valkey_server: ValkeyServer, prefix: str) -> None:
    async with aconnect(valkey_server.url, prefix=prefix) as keep:
        await keep.items.put(("a",), "b", 1)
        told: list[tuple[int, int | None]] = []
        stats = await Survey(keep).arun(lambda done, total: told.append((done, total)))
    assert kinds(stats)["items"][0] == 1
    assert told[-1][0] == told[-1][1]


def write_threads(server: ValkeyServer, prefix: str, count: int) -> None:
    """Write channel values as they are stored, which is faster than putting checkpoints."""
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            value = "x" * (200_000 if number == 77 else 100)
            pipeline.hset(f"{prefix}:channel-values:{{thread-{number}}}:", "c:i1", value)
        pipeline.execute()


def test_many_threads_and_a_sample(prefix: str) -> None:
    with ValkeyServer() as server:
        write_threads(server, prefix, 6000)
        with connect(server.url, prefix=prefix) as keep:
            whole = Survey(keep, largest=1).run()
            assert [thread.thread_id for thread in whole.threads] == ["thread-77"]
            assert kinds(whole)["values"][0] == 6000
            sample = Survey(keep, sample=2000).run()
        assert sample.scope == "sample"
        assert 2000 <= sample.keys < 4000
        assert sample.of_keys == 6000
        assert sum(kind.keys for kind in sample.kinds) == pytest.approx(6000, rel=0.01)
        assert kinds(sample)["values"][1] is not None
        ended = ran("stats", "--url", server.url, "--key-prefix", prefix, "--sample", "2000")
        assert ended.status == 0
        assert "estimated from" in ended.err


def test_stopping_shows_what_was_found(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Progress, done: int, text: str = "", *, total: int | None = None) -> None:
        if done >= 2000:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "update", stop)
    with ValkeyServer() as server:
        write_threads(server, prefix, 6000)
        ended = ran("stats", "--url", server.url, "--key-prefix", prefix, "--json")
    assert ended.status == 130
    assert ended.document["scope"] == "partial"
    assert 1000 <= ended.document["kinds"][0]["keys"] < 6000
    assert "stopped" in ended.err


def test_without_the_right_to_measure(valkey_server: ValkeyServer, prefix: str) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix), "-memory|usage"]
    with user_of(valkey_server, *words) as url, connect(url, prefix=prefix) as keep:
        fill(keep)
        stats = Survey(keep).run()
        ended = ran("stats", "--url", url, "--key-prefix", prefix)
    assert stats.bytes is None
    assert stats.of_keys is None
    assert kinds(stats)["items"] == (2, None)
    assert "bytes" in stats.missing[0]
    assert ended.status == 0
    assert "not counted: bytes" in ended.err
    assert "secret-of-tests" not in ended.out + ended.err


def test_a_foreign_database(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey_server.client() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(3000):
            pipeline.set(f"{prefix}-other:{number}", "x")
        pipeline.set(f"{prefix}:another program", "y" * 1000)
        pipeline.execute()
    with connect(valkey_server.url, prefix=prefix) as keep:
        stats = Survey(keep).run()
    assert kinds(stats).keys() == {"other keys"}
    assert kinds(stats)["other keys"][0] == 1
    ended = ran("stats", "--url", valkey_server.url, "--key-prefix", f"{prefix}-nothing", "--json")
    assert (ended.status, ended.document["kinds"]) == (0, [])


def test_a_large_value_and_hostile_names(valkey_server: ValkeyServer, prefix: str) -> None:
    with connect(valkey_server.url, prefix=prefix) as keep:
        put_thread(keep, "red \x1b[31m\n", LARGE)
        keep.items.put(("$(rm -rf ~)", "a/b"), "k", 1)
    arguments = ("stats", "--url", valkey_server.url, "--key-prefix", prefix)
    ended = ran(*arguments)
    assert ended.status == 0
    assert "\x1b" not in ended.out
    assert [line[0] for line in ended.lines if line[0].startswith("red")] == ["red \\x1b[31m\\n"]
    assert "%24%28rm%20-rf%20%7E%29/a%2Fb" in ended.out
    document = ran(*arguments, "--json").document
    assert document["threads"][0]["thread_id"] == "red \x1b[31m\n"
    assert document["threads"][0]["bytes"] > LARGE
    assert document["namespaces"][0]["labels"] == ["$(rm -rf ~)", "a/b"]


def test_memory() -> None:
    with connect("memory:") as keep:
        fill(keep)
        fill_more(keep)
        stats = Survey(keep).run()
        assert (stats.scope, stats.measured) == ("whole", "lengths")
        assert kinds(stats)["values"] == (2, 100_010)
        assert kinds(stats)["items"] == (2, 5002 + 1)
        assert kinds(stats)["cache entries"] == (1, 3000)
        assert kinds(stats)["logs"] == (2, 2002 + 1)
        assert kinds(stats)["pending writes"] == (2, 2)
        assert stats.bytes == sum(kind.bytes or 0 for kind in stats.kinds)
        # Two checkpoints with one value have it once.
        keep.checkpoints.put(
            Checkpoint(thread_id="large", checkpoint_id="2", parent_id="1", channels={"c": Channel.earlier(1)})
        )
        assert kinds(Survey(keep).run())["values"] == (2, 100_010)
        sample = Survey(keep, sample=1).run()
        assert (sample.scope, len(sample.threads), len(sample.namespaces)) == ("sample", 1, 1)


@pytest.mark.usefixtures("credentials")
def test_agentcore() -> None:
    with AwsEmulator() as aws:
        with connect(agentcore_url(aws)) as keep:
            fill(keep)
        ended = ran("stats", "--url", agentcore_url(aws), "--json")
        assert ended.status == 0
        assert [(row["kind"], row["keys"]) for row in ended.document["kinds"]] == [
            ("checkpoints", 2),
            ("values", 2),
            ("pending writes", 2),
            ("items", 2),
        ]
        assert ended.document["threads"][0]["thread_id"] == "large"
        assert ended.document["measured"] == "lengths"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def test_what_a_service_cannot_list_is_said() -> None:
    with connect("memory:") as keep:
        cache: Any = keep.backends.cache
        listed = type(cache).list
        del type(cache).list
        try:
            assert "cache entries" in Survey(keep).run().missing[0]
        finally:
            type(cache).list = listed


def test_a_stopped_survey_may_run_again(valkey_server: ValkeyServer, prefix: str) -> None:
    with connect(valkey_server.url, prefix=prefix) as keep:
        fill(keep)
        survey = Survey(keep)
        with pytest.raises(RuntimeError):
            survey.run(_stop)
        scopes = [survey.so_far.scope]
        assert survey.run() == survey.so_far
        assert [*scopes, survey.so_far.scope] == ["partial", "whole"]


def _stop(done: int, total: int | None) -> None:
    raise RuntimeError


@pytest.mark.parametrize(
    ("options", "field"), [({"sample": 0}, "sample"), ({"largest": -1}, "largest"), ({"sample": "x"}, "sample")]
)
def test_wrong_arguments(options: dict[str, Any], field: str) -> None:
    with connect("memory:") as keep, pytest.raises(InvalidInput) as caught:
        Survey(keep, **options)
    assert caught.value.field == field
    with pytest.raises(InvalidInput):
        Survey("memory:")  # type: ignore[arg-type]


def test_wrong_use() -> None:
    assert ran("stats", "--url", "memory:", "--largest", "-1").status == 2
    assert ran("stats", "--url", "valkey://127.0.0.1:1/?deadline=0.2&connect_timeout=0.2").status == 1
    assert ran("stats").status == 2
