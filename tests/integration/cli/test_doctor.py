"""The doctor: each finding, on the service that it is about."""

from __future__ import annotations

import datetime as dt
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep import Channel, Checkpoint, InvalidInput, Payload, PendingWrite, aconnect, connect
from statekeep.inspection.doctor import Finding, aexamine, examine
from statekeep.inspection.doctor.valkey import rights
from statekeep.repositories.agentcore import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.connection import Backends
from statekeep.repositories.valkey import requests
from statekeep.testing.aws import AwsEmulator, Clock, throttle
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from ..valkey.search_responder import SearchResponder
from .commands import ran

DOCUMENT = Path(__file__).parents[3] / "docs" / "key-schema.md"


def documented(what: str) -> list[str]:
    """The words of the ACL rule in the document that starts with the comment ``# what``."""
    [block] = re.findall(rf"```text\n# {what}.*?\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return str(block).replace("\\\n", " ").split()


def states(findings: Sequence[Finding]) -> dict[str, str]:
    """The state of each check; that of the worst finding, if it has several."""
    order = ("ok", "unknown", "warning", "problem")
    found: dict[str, str] = {}
    for finding in findings:
        found[finding.name] = max(found.get(finding.name, "ok"), finding.state, key=order.index)
    return found


def one(findings: Sequence[Finding], name: str) -> Finding:
    [found] = [finding for finding in findings if finding.name == name]
    return found


def fill(keep: statekeep.Connection) -> None:
    """Put one of everything."""
    value = Payload(encoding="json", data=b"[1]")
    keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", channels={"c": Channel.of(1, value)}))
    keep.checkpoints.put_writes("t", "1", [PendingWrite(task_id="task", idx=0, channel="c", payload=value)])
    keep.items.put(("users", "ada"), "theme", "dark", ttl=1000)
    keep.cache.set({(("weather",), "london"): (value, 1000)})
    keep.logs.append(("chat", "ada"), [1, 2])


@pytest.fixture(params=["standalone", "cluster"])
def server(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> ValkeyServer | ValkeyCluster:
    return valkey_cluster if request.param == "cluster" else valkey_server


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_a_server_as_it_should_be(server: ValkeyServer | ValkeyCluster, client: Any, prefix: str) -> None:
    with connect(server.url, client=client, prefix=prefix) as keep:
        fill(keep)
        before = keys_of(server, prefix)
        findings = examine(keep)
    assert keys_of(server, prefix) == before
    found = states(findings)
    # That of a test server: it has no limit of memory, no replicas, and forgets everything.
    expected = dict.fromkeys(found, "ok") | dict.fromkeys(("memory", "persistence", "replicas"), "warning")
    assert found == expected
    assert set(found) >= {
        "libraries", "reach", "version", "role", "eviction", "connections", "clock", "scripts", "rights", "search",
        "ttl", "keys", "records", "indexes", "lives",
    }  # fmt: skip
    assert ("slots" in found) == isinstance(server, ValkeyCluster)
    assert f"The client is {client}." in one(findings, "libraries").found
    assert one(findings, "lives").found == "3 of 5 records of a sample have no end."
    assert re.fullmatch(r"The indexes know all 4 records of a sample\.", one(findings, "records").found)
    assert all(finding.advice for finding in findings if finding.state != "ok")


def keys_of(server: ValkeyServer | ValkeyCluster, prefix: str) -> set[bytes]:
    nodes = list(server.nodes.values()) if isinstance(server, ValkeyCluster) else [server]
    found: set[bytes] = set()
    for node in nodes:
        with node.client() as client:
            found |= set(client.scan_iter(match=f"{prefix}:*"))
    return found


@pytest.mark.anyio
async def test_from_an_event_loop(valkey_server: ValkeyServer, prefix: str) -> None:
    async with aconnect(valkey_server.url, prefix=prefix) as keep:
        found = states(await aexamine(keep))
    assert found["scripts"] == found["eviction"] == found["rights"] == "ok"
    with pytest.raises(InvalidInput):
        await aexamine("keep")  # type: ignore[arg-type]


def test_round_trips_are_few(valkey_server: ValkeyServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(valkey_server.url, prefix=prefix) as keep:
        fill(keep)
        client: Any = keep.checkpoints.backend.client  # type: ignore[attr-defined]
        asked: list[requests.Request] = []
        execute: Callable[[Any], Any] = client.execute

        def noted(request: requests.Request) -> Any:
            asked.append(request)
            return execute(request)

        monkeypatch.setattr(client, "execute", noted)
        examine(keep)
    assert len(asked) <= 25 + 10  # and one for each thousand keys of others, ten at most


def test_eviction_and_full_memory(prefix: str) -> None:
    with (
        ValkeyServer(maxmemory="30mb", maxmemory_policy="allkeys-lru") as server,
        connect(server.url, prefix=prefix) as keep,
    ):
        found = one(examine(keep), "eviction")
        assert found.state == "problem"
        assert "allkeys-lru" in found.found
        assert "noeviction" in found.advice
        ended = ran("doctor", "--url", server.url, "--key-prefix", prefix)
        assert ended.status == 1
        assert "problem\teviction\t" in ended.out
        with server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            for number in range(11):
                client.set(f"{prefix}-other-{number}", "x" * 2_400_000)
        findings = examine(keep)
        assert one(findings, "eviction").state == "ok"
        assert one(findings, "memory").state in ("warning", "problem")
        with server.client() as client:
            client.config_set("maxmemory", client.info("memory")["used_memory"] - 1)
        # A full server still answers; what cannot be tried is no fault of the user's rights.
        findings = examine(keep)
        assert one(findings, "memory").state == "problem"
        assert states(findings)["scripts"] == "ok"


@contextmanager
def user_of(server: ValkeyServer, *words: str) -> Iterator[str]:
    """The URL of a server with a user that has these rules."""
    name = f"user-{uuid.uuid4().hex}"
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", name, "on", ">secret-of-tests", "resetkeys", *words)
        yield server.url.replace("://", f"://{name}:secret-of-tests@")
        client.execute_command("ACL", "DELUSER", name)


def rules_of(what: str, prefix: str) -> list[str]:
    """The rules that the document gives, without the user's name and password."""
    words = documented(what)
    return [word.replace("~statekeep:*", f"~{prefix}:*") for word in words if word[0] in "+-~"]


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_the_documented_user_may_do_all(valkey_server: ValkeyServer, client: Any, prefix: str) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix)]
    with user_of(valkey_server, *words) as url, connect(url, client=client, prefix=prefix) as keep:
        fill(keep)
        findings = examine(keep)
    found = states(findings)
    assert found["rights"] == found["scripts"] == found["keys"] == found["eviction"] == "ok"
    # CONFIG is not among what it may do.
    assert found["persistence"] == "unknown"
    assert "problem" not in found.values()


def test_the_table_of_rights_is_the_document() -> None:
    tried = {*rights.FINDING, *rights.MAKING, *rights.PLAIN, "DEL", "EVAL", "EVALSHA"}
    assert tried == {word.removeprefix("+").upper() for word in documented("the user") if word.startswith("+")}


@pytest.mark.parametrize(
    ("less", "names"),
    [
        (["-zadd", "-hset", "-pexpiretime"], ["HSET", "PEXPIRETIME", "ZADD"]),
        (["-del"], ["DEL"]),
        (["-script|load"], ["SCRIPT|LOAD"]),
    ],
)
def test_missing_rights_are_named(valkey_server: ValkeyServer, prefix: str, less: list[str], names: list[str]) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix), *less]
    with user_of(valkey_server, *words) as url:
        ended = ran("doctor", "--url", url, "--key-prefix", prefix, "--json")
        assert keys_of(valkey_server, prefix) == set()
    assert ended.status == 1
    [found] = [row for row in ended.rows if row["name"] == "rights" and row["state"] == "problem"]
    for name in names:
        assert name in found["found"]
        assert f"+{name.lower()}" in found["advice"]
    assert "secret-of-tests" not in ended.out + ended.err


def test_without_scan_only_reindex_is_missing(valkey_server: ValkeyServer, prefix: str) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix), "-scan"]
    with user_of(valkey_server, *words) as url, connect(url, prefix=prefix) as keep:
        findings = examine(keep)
    found = states(findings)
    assert found["rights"] == "warning"
    assert found["keys"] == "unknown"


def test_without_the_right_to_measure_only_sizes_are_missing(valkey_server: ValkeyServer, prefix: str) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix), "-memory|usage"]
    with user_of(valkey_server, *words) as url, connect(url, prefix=prefix) as keep:
        found = one(examine(keep), "rights")
    assert found.state == "warning"
    assert "+memory|usage" in found.advice


def test_keys_of_others(valkey_server: ValkeyServer, prefix: str) -> None:
    words = [*rules_of("the user", f"{prefix}-other"), *rules_of("clients", prefix)]
    with user_of(valkey_server, *words) as url, connect(url, prefix=prefix) as keep:
        found = [finding for finding in examine(keep) if finding.state == "problem"]
    assert next(finding.name for finding in found) in ("scripts", "rights")
    assert any(f"~{prefix}:*" in finding.advice or "keys of the prefix" in finding.advice for finding in found)


def test_without_scripts(valkey_server: ValkeyServer, prefix: str) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix), "-eval", "-evalsha"]
    with user_of(valkey_server, *words) as url, connect(url, prefix=prefix) as keep:
        findings = examine(keep)
    assert one(findings, "scripts").state == "problem"
    assert "EVALSHA" in one(findings, "scripts").advice


def test_what_a_managed_service_hides_is_unknown(valkey_server: ValkeyServer, prefix: str) -> None:
    words = [*rules_of("the user", prefix), *rules_of("clients", prefix), "-info", "-config"]
    with user_of(valkey_server, *words) as url, connect(url, client="valkey-py", prefix=prefix) as keep:
        findings = examine(keep)
    assert one(findings, "settings").state == "unknown"
    assert "problem" not in states(findings).values()


def test_wrong_password_and_no_server(valkey_server: ValkeyServer) -> None:
    with user_of(valkey_server, "+@all", "~*") as url:
        ended = ran("doctor", "--url", url.replace("secret-of-tests", "another-secret"))
    assert ended.status == 1
    assert "problem\treach\t" in ended.out
    assert "password" in ended.out
    assert "another-secret" not in ended.out + ended.err
    ended = ran("doctor", "--url", "valkey://127.0.0.1:1/?deadline=0.2&connect_timeout=0.2", "--json")
    assert ended.status == 1
    assert [(row["name"], row["state"]) for row in ended.rows] == [("libraries", "ok"), ("reach", "problem")]
    assert "host and port" in ended.rows[1]["advice"]


@pytest.mark.parametrize("url", ["", "vallkey://localhost", "valkey://localhost:port"])
def test_wrong_use(url: str) -> None:
    ended = ran("doctor", *(["--url", url] if url else []))
    assert ended.status == 2
    assert ended.out == ""
    assert "url" in ended.err.lower()


def test_one_server_of_a_cluster(valkey_cluster: ValkeyCluster) -> None:
    port = next(iter(valkey_cluster.nodes))
    ended = ran("doctor", "--url", f"valkey://127.0.0.1:{port}?client=valkey-py")
    assert ended.status == 1
    assert "valkey+cluster://" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_a_cluster_without_one_of_its_primaries(client: Any, prefix: str) -> None:
    with ValkeyCluster(node_timeout=500) as cluster, connect(cluster.url, client=client, deadline=3) as keep:
        assert one(examine(keep), "slots").state == "ok"
        first, second, third = cluster.nodes.values()
        second.kill()
        for node in (first, third):
            with node.client() as raw:
                while raw.execute_command("CLUSTER INFO")["cluster_state"] == "ok":
                    time.sleep(0.05)
        findings = examine(keep)
    assert [finding.name for finding in findings] == ["libraries", "reach", "slots"]
    assert findings[2].state == "problem"
    assert re.search(r"The cluster is fail: 546[0-9] of its 16384 slots", findings[2].found)


def test_a_server_that_goes_away_meanwhile(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ValkeyServer() as server, connect(server.url, prefix=prefix, deadline=0.3) as keep:
        client: Any = keep.checkpoints.backend.client  # type: ignore[attr-defined]
        execute: Callable[[Any], Any] = client.execute

        def kills(request: requests.Request) -> Any:
            if isinstance(request, requests.Ask) and request.command[0] == "TIME":
                server.kill()
            return execute(request)

        monkeypatch.setattr(client, "execute", kills)
        findings = examine(keep)
    assert [finding.name for finding in findings][-3:] == ["connections", "clock", "reach"]
    assert [finding.state for finding in findings[-2:]] == ["problem", "problem"]


def test_a_replica(valkey_server: ValkeyServer, prefix: str) -> None:
    with (
        ValkeyServer(replicaof=f"127.0.0.1 {valkey_server.port}") as replica,
        connect(replica.url, prefix=prefix, deadline=1) as keep,
    ):
        findings = examine(keep)
        assert one(findings, "role").state == "problem"
        assert "primary" in one(findings, "role").advice
        assert "scripts" not in states(findings)
        with connect(valkey_server.url, prefix=prefix) as primary:
            assert one(examine(primary), "replicas").state in ("ok", "warning")
            assert "1" in one(examine(primary), "replicas").found


def test_data_of_others(valkey_server: ValkeyServer, prefix: str) -> None:
    with connect(valkey_server.url, prefix=prefix) as keep, valkey_server.client() as raw:
        raw.set(f"{prefix}-not-under-the-prefix", "x")
        fill(keep)
        assert one(examine(keep), "keys").state == "ok"
        raw.set(f"{prefix}:session:\x1b[31m", "x")
        found = one(examine(keep), "keys")
        assert found.state == "warning"
        assert "none of Statekeep's" in found.found
        assert "\x1b" not in found.found
        raw.set(f"{prefix}:item:{{users}}:x", "a text")
        found = one(examine(keep), "keys")
        assert found.state == "problem"
        assert "a string" in found.found


def test_indexes_of_another_type_are_named(valkey_server: ValkeyServer, prefix: str) -> None:
    """A check that looks into them would end with an error."""
    with connect(valkey_server.url, prefix=prefix) as keep, valkey_server.client() as raw:
        fill(keep)
        names = [name for name in raw.scan_iter(f"{prefix}:*-index:*") if raw.type(name) in (b"zset", b"set")]
        for name in names:
            raw.delete(name)
            raw.set(name, "of another program")
        found = one(examine(keep), "keys")
        assert found.state == "problem"
        assert f"{len(names)} of " in found.found
        assert "hold another type of value" in found.found


def test_records_and_indexes_that_do_not_know_each_other(
    valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    with connect(valkey_server.url, prefix=prefix) as keep, valkey_server.client() as raw:
        fill(keep)
        keep.items.put(("users", "ada"), "soon", 1, ttl=0.001)
        keep.cache.set({(("weather",), "soon"): (Payload(encoding="json", data=b"1"), 0.001)})
        raw.wait(0, 5)
        # What ended is no loss.
        assert one(examine(keep), "indexes").state == "ok"
        for record in (
            f"{prefix}:checkpoint:{{t}}::1",
            f"{prefix}:item:{{users.ada}}:theme",
            *raw.scan_iter(match=f"{prefix}:cache_entry:*"),
        ):
            raw.delete(record)
        found = one(examine(keep), "indexes")
        assert found.state == "warning"
        assert found.found.startswith("3 of ")
        assert "1 of checkpoint-index" in found.found
        assert "1 of item-index" in found.found
        assert "1 of cache_entry-index" in found.found
        fill(keep)
        assert one(examine(keep), "records").state == one(examine(keep), "indexes").state == "ok"
        for index in ("checkpoint-index:{t}:", "item-index:{users.ada}"):
            raw.delete(f"{prefix}:{index}")
        for index in (*raw.scan_iter(match=f"{prefix}:cache_entry-index:*"), *raw.scan_iter(match=f"{prefix}:log-*")):
            raw.delete(index)
        found = one(examine(keep), "records")
        assert found.state == "warning"
        assert found.found.startswith("4 of 4 ")
        assert "reindex" in found.advice


def test_former_indexes(valkey_server: ValkeyServer, prefix: str) -> None:
    with connect(valkey_server.url, prefix=prefix) as keep, valkey_server.client() as raw:
        raw.zadd(f"{prefix}:item-recency:{{users}}", {"x": 1})
        findings = examine(keep)
    assert one(findings, "former indexes").state == "warning"
    assert one(findings, "keys").state == "ok"


def test_another_unit(valkey_server: ValkeyServer, prefix: str) -> None:
    with connect(valkey_server.url, prefix=prefix, unit=1) as keep:
        keep.items.put(("users", "ada"), "theme", 1)
        assert "unit" not in states(examine(keep))
    with connect(valkey_server.url, prefix=prefix) as keep:
        assert one(examine(keep), "unit").state == "problem"
    ended = ran("doctor", "--url", valkey_server.url, "--key-prefix", prefix, "--json")
    assert ended.status == 0
    assert "unit" not in {row["name"] for row in ended.rows}


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def test_the_search_module(valkey_server: ValkeyServer, search_server: SearchResponder, prefix: str) -> None:
    index = {"dims": 2, "embed": embed, "fields": ["text"]}
    with connect(valkey_server.url, prefix=prefix, index=index) as keep:
        assert one(examine(keep), "search").found.startswith("There is no search module, ")
    with connect(search_server.url, prefix=prefix, index=index, client="valkey-py") as keep:
        found = one(examine(keep), "search")
        assert (found.state, found.advice.split(" ")[:2]) == ("warning", ["Call", "items.setup()"])
        keep.items.setup()
        assert "The search module has the index" in one(examine(keep), "search").found or (
            one(examine(keep), "search").state == "warning"
        )


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_the_redis_query_engine(redisearch_server: ValkeyServer, client: Any, prefix: str) -> None:
    index = {"dims": 2, "embed": embed, "fields": ["text"]}
    with connect(redisearch_server.url, prefix=prefix, index=index, client=client) as keep:
        assert "has no index" in one(examine(keep), "search").found
        keep.items.setup()
        keep.items.put(("a",), "b", {"text": "tea"})
        while not keep.items.setup().is_ready:
            pass
        found = one(examine(keep), "search")
        assert (found.state, found.advice) == ("ok", "")


def test_encrypted_metadata_is_looked_through(valkey_server: ValkeyServer, prefix: str) -> None:
    class Cipher:
        def dumps_typed(self, obj: str) -> tuple[str, bytes]:
            return "flipped", bytes(byte ^ 255 for byte in obj.encode())

        def loads_typed(self, data: tuple[str, bytes]) -> str:
            return bytes(byte ^ 255 for byte in data[1]).decode()

    with connect(valkey_server.url, prefix=prefix, encrypt_metadata=True, metadata_serializer=Cipher()) as keep:
        assert one(examine(keep), "version").state == "ok"


@pytest.mark.parametrize("directory", ["", "data"])
def test_embedded(tmp_path: Path, directory: str) -> None:
    ended = ran("doctor", "--url", f"embedded:{tmp_path / directory if directory else ''}", "--json")
    assert ended.status == 0
    assert {row["state"] for row in ended.rows} == {"ok"}
    assert "all is well" in ended.err


def test_wrong_arguments() -> None:
    with pytest.raises(InvalidInput) as caught:
        examine("memory:")  # type: ignore[arg-type]
    assert caught.value.field == "keep"


# -- AWS


def agentcore_url(aws: AwsEmulator, memory_id: str = "") -> str:
    return f"agentcore://{memory_id or aws.memory_id}?region=us-east-1&endpoint_url={aws.endpoint_url}"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.mark.usefixtures("credentials")
def test_agentcore() -> None:
    with AwsEmulator() as aws:
        with connect(agentcore_url(aws), index={"fields": ["text"]}) as keep, aws.record() as calls:
            findings = examine(keep)
        assert states(findings) == {name: "unknown" if name == "writing" else "ok" for name in states(findings)}
        assert {"region", "memory", "clock", "rights", "throttling", "ttl"} <= set(states(findings))
        assert "90 days" in one(findings, "memory").found
        assert "CreateEvent" not in calls.operations
        for name in ("DeleteEvent", "ListSessions", "RetrieveMemoryRecords", "BatchDeleteMemoryRecords"):
            assert name in one(findings, "rights").found
        with connect(agentcore_url(aws)) as keep, aws.record() as calls:
            findings = examine(keep, write=True)
        assert "writing" not in states(findings)
        assert "CreateEvent" in one(findings, "rights").found
        assert calls.operations["CreateEvent"] == calls.operations["DeleteEvent"] == 1
        session = {"memoryId": aws.memory_id, "actorId": "statekeep-doctor", "sessionId": "statekeep-doctor"}
        assert aws.client("bedrock-agentcore").list_events(**session)["events"] == []


@pytest.mark.usefixtures("credentials")
def test_agentcore_without_rights() -> None:
    allowed = ("bedrock-agentcore:ListActors", "bedrock-agentcore:ListEvents")
    with AwsEmulator(allowed=allowed) as aws:
        ended = ran("doctor", "--url", agentcore_url(aws), "--write", "--json")
    assert ended.status == 1
    [found] = [row for row in ended.rows if row["name"] == "rights"]
    assert found["state"] == "problem"
    for name in ("ListSessions", "CreateEvent", "DeleteEvent"):
        assert f"bedrock-agentcore:{name}" in found["advice"]
    assert "ListEvents" not in found["advice"]
    [found] = [row for row in ended.rows if row["name"] == "memory"]
    assert found["state"] == "unknown"
    assert "bedrock-agentcore:GetMemory" in found["advice"]


@pytest.mark.usefixtures("credentials")
def test_agentcore_with_other_settings() -> None:
    clock = Clock(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    with AwsEmulator(clock=clock) as aws:
        memory_id = aws.agentcore.create_memory(event_expiry_days=7)
        with connect(agentcore_url(aws, memory_id)) as keep:
            findings = examine(keep)
        assert one(findings, "memory").state == "warning"
        assert "event_expiry_days=7" in one(findings, "memory").advice
        assert one(findings, "clock").state == "warning"
        with connect(agentcore_url(aws, memory_id), renewal=30 * 86400.0) as keep:
            assert one(examine(keep), "memory").state == "problem"
        ended = ran("doctor", "--url", agentcore_url(aws, "absent-0123456789"))
        assert ended.status == 1
        assert "there is no such memory" in ended.out
        with aws.failing(throttle("ListEvents", times=1)), connect(agentcore_url(aws)) as keep:
            assert one(examine(keep), "throttling").state == "warning"


def test_agentcore_with_a_client_of_the_user() -> None:
    with AwsEmulator() as aws:
        client = open_client("bedrock-agentcore", client=aws.client("bedrock-agentcore"))
        keep = statekeep.Connection(Backends(AgentCoreCheckpoints(client, aws.memory_id)))
        assert one(examine(keep), "memory").state == "unknown"


@pytest.mark.usefixtures("credentials")
def test_bedrock_sessions() -> None:
    with AwsEmulator() as aws:
        url = f"bedrock-sessions://?region=us-east-1&endpoint_url={aws.endpoint_url}"
        with connect(url) as keep:
            findings = examine(keep)
        assert states(findings) == {name: "unknown" if name == "writing" else "ok" for name in states(findings)}
        for name in ("PutInvocationStep", "DeleteSession", "UpdateSession"):
            assert name in one(findings, "rights").found
        ended = ran("doctor", "--url", url, "--write")
        assert ended.status == 0
        assert aws.client("bedrock-agent-runtime").list_sessions()["sessionSummaries"] == []
    with AwsEmulator(allowed=("bedrock:List*",)) as aws:
        ended = ran("doctor", "--url", f"bedrock-sessions://?region=us-east-1&endpoint_url={aws.endpoint_url}")
    assert ended.status == 1
    assert "bedrock:PutInvocationStep" in ended.out


def test_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    ended = ran("doctor", "--url", "agentcore://notes-0123456789?region=us-east-1&endpoint_url=http://127.0.0.1:9")
    assert ended.status == 1
    assert "found no AWS credentials" in ended.out
