"""What is logged: retries, connections that come again, slow requests and damaged records, and never a value."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

import statekeep
from statekeep import Channel, Checkpoint, CorruptRecord, InvalidInput, Payload
from statekeep.langgraph_shim import RepositorySaver
from statekeep.repositories.aws import AwsCall, AwsSettings, open_client
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.process import notices
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.testing.aws import AwsEmulator, server_error, slow
from statekeep.testing.servers import ValkeyServer
from tests.notices import all_notices

DRIVERS = ("glide", "valkey-py")
SECRET = "the-secret-of-ada"
QUICK: Any = {"request_timeout": 0.5, "connect_timeout": 0.5, "deadline": 60}
CHECKPOINT = Checkpoint(
    thread_id="chat-1",
    metadata={"a": SECRET},
    channels={"a": Channel.of(1, Payload(encoding="x", data=SECRET.encode()))},
)


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, "statekeep")
    with all_notices():
        yield


def _logged(caplog: pytest.LogCaptureFixture, name: str) -> list[tuple[str, str]]:
    assert SECRET not in caplog.text
    assert "s3cret" not in caplog.text
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == name]


def _one(caplog: pytest.LogCaptureFixture, name: str, *parts: str) -> str:
    """Return the level of the one message that has all these parts."""
    [level] = {level for level, text in _logged(caplog, name) if all(part in text for part in parts)}
    return level


class _Restart(logging.Handler):
    """Kills a server, and restarts it when a request was tried in vain."""

    def __init__(self, server: ValkeyServer) -> None:
        super().__init__()
        server.kill()
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[server])
        self._thread.start()
        logging.getLogger("statekeep.valkey").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if "is tried again" in record.getMessage():
            self._failed.set()

    def _run(self, server: ValkeyServer) -> None:
        self._failed.wait(30)
        server.restart()

    def end(self) -> None:
        self._thread.join()
        logging.getLogger("statekeep.valkey").removeHandler(self)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("awaits", [False, True])
def test_retries(caplog: pytest.LogCaptureFixture, driver: Any, awaits: bool) -> None:
    async def put(url: str) -> None:
        async with statekeep.aconnect(url, client=driver, **QUICK) as keep:
            await keep.checkpoints.put(CHECKPOINT)
            restart = _Restart(server)
            await keep.checkpoints.put(CHECKPOINT)
            await asyncio.to_thread(restart.end)

    with ValkeyServer(requirepass="s3cret") as server:
        if awaits:
            asyncio.run(put(server.url))
        else:
            with statekeep.connect(server.url, client=driver, **QUICK) as keep:
                keep.checkpoints.put(CHECKPOINT)
                restart = _Restart(server)
                keep.checkpoints.put(CHECKPOINT)
                restart.end()
        retries = [
            (level, text) for level, text in _logged(caplog, "statekeep.valkey") if "is tried again, for up to" in text
        ]
        assert retries
        assert [level for level, _ in retries] == ["WARNING"] + ["DEBUG"] * (len(retries) - 1)
        assert f"127.0.0.1:{server.port}: the server " in retries[0][1]
        assert "; the script put of 'statekeep:head:{chat-1}:' is tried" in retries[0][1]
        assert _one(caplog, "statekeep.valkey", "is answered after ", "failed attempts") == "INFO"
        if driver == "valkey-py":
            assert _one(caplog, "statekeep.valkey", "connected again") == "WARNING"


def test_retries_of_a_client_of_the_user(caplog: pytest.LogCaptureFixture) -> None:
    with ValkeyServer() as server, valkey.Valkey(port=server.port) as client:
        keep = CheckpointRepository(ValkeyCheckpoints(client_for(client, deadline=60)))
        keep.put(CHECKPOINT)
        restart = _Restart(server)
        keep.put(CHECKPOINT)
        restart.end()
        assert _one(caplog, "statekeep.valkey", "is answered after ", "failed attempts") == "INFO"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("awaits", [False, True])
def test_slow_requests(
    caplog: pytest.LogCaptureFixture, valkey_server: ValkeyServer, prefix: str, driver: Any, awaits: bool
) -> None:
    async def put(url: str, **options: Any) -> None:
        async with statekeep.aconnect(url, client=driver, prefix=prefix, **options) as keep:
            await keep.checkpoints.put(CHECKPOINT)

    def do(url: str, **options: Any) -> None:
        if awaits:
            asyncio.run(put(url, **options))
        else:
            with statekeep.connect(url, client=driver, prefix=prefix, **options) as keep:
                keep.checkpoints.put(CHECKPOINT)

    def warned() -> bool:
        return any("slow: " in text for _, text in _logged(caplog, "statekeep.valkey"))

    do(valkey_server.url)
    do(valkey_server.url, slow_request=1000)
    assert not warned()
    do(f"{valkey_server.url}?slow_request=1e-9")
    assert _one(caplog, "statekeep.valkey", "slow: the script put of", "seconds, for ", "bytes sent") == "WARNING"


@pytest.mark.parametrize("wrong", [0, -1, "soon", True, float("nan")])
def test_wrong_thresholds(wrong: Any) -> None:
    for url in ("valkey://localhost", "agentcore://notes-Ab12Cd34Ef?region=us-west-2"):
        with pytest.raises(InvalidInput) as caught:
            statekeep.connect(url, slow_request=wrong)
        assert caught.value.field == "slow_request"


@pytest.mark.parametrize("awaits", [False, True])
def test_damaged_records(
    caplog: pytest.LogCaptureFixture, valkey_server: ValkeyServer, prefix: str, awaits: bool
) -> None:
    async def get(url: str) -> None:
        async with statekeep.aconnect(url, prefix=prefix) as keep:
            await keep.items.get(("users",), "ada")

    with statekeep.connect(valkey_server.url, prefix=prefix) as keep, valkey_server.client() as raw:
        keep.items.put(("users",), "ada", {})
        key = f"{prefix}:item:{{users}}:ada"
        raw.hset(key, "value", f'{{"{SECRET}')
        with pytest.raises(CorruptRecord):
            if awaits:
                asyncio.run(get(valkey_server.url))
            else:
                keep.items.get(("users",), "ada")
    assert _logged(caplog, "statekeep.records") == [("ERROR", f"get found a damaged record: {key!r}")]


def test_damaged_values_of_langgraph(caplog: pytest.LogCaptureFixture) -> None:
    keep = statekeep.connect("memory:").checkpoints
    keep.put(Checkpoint(thread_id="t", header=Payload(encoding="msgpack", data=SECRET.encode())))
    with pytest.raises(CorruptRecord):
        RepositorySaver(keep).get_tuple({"configurable": {"thread_id": "t"}})
    assert [level for level, _ in _logged(caplog, "statekeep.records")] == ["ERROR"]


def test_aws(caplog: pytest.LogCaptureFixture) -> None:
    with AwsEmulator() as aws:
        call = AwsCall("ListSessions", {"memoryId": aws.memory_id, "actorId": SECRET})
        keys: Any = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s3cret", "region_name": "us-east-1"}
        options: Any = {"endpoint_url": aws.endpoint_url, **keys}
        client = open_client("bedrock-agentcore", **options)
        with aws.failing(server_error(times=2)):
            client.execute(call)
        failed = [level for level, text in _logged(caplog, "statekeep.aws") if "ServiceException; attempt" in text]
        assert failed == ["WARNING", "INFO"]
        assert _one(caplog, "statekeep.aws", "bedrock-agentcore ListSessions is answered after 2 failed") == "INFO"
        client.close()
        boto = aws.client("bedrock-agentcore")
        made: list[Callable[[], Any]] = [
            lambda: open_client("bedrock-agentcore", slow_request=0.2, **options),
            lambda: open_client("bedrock-agentcore", AwsSettings(client=boto, slow_request=0.2)),
        ]
        for make in made:
            client = make()
            with aws.failing(slow(0.3)):
                client.execute(call)
            assert _one(caplog, "statekeep.aws", "bedrock-agentcore: slow: ListSessions took 0.") == "WARNING"
            caplog.clear()
            client.close()
        boto.close()


def test_warnings_come_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("statekeep.repositories.process.notices.time.monotonic", lambda: now)
    for _ in range(3):
        notices.sometimes(notices.valkey_logger, "a", "%s failed", "a")
    notices.sometimes(notices.valkey_logger, "b", "%s failed", "b", otherwise=logging.DEBUG)
    now += 59
    notices.sometimes(notices.valkey_logger, "b", "%s failed", "b", otherwise=logging.DEBUG)
    now += 1
    notices.sometimes(notices.valkey_logger, "a", "%s failed", "a")
    assert _logged(caplog, "statekeep.valkey") == [
        *(("WARNING", "a failed"), ("INFO", "a failed"), ("INFO", "a failed"), ("WARNING", "b failed")),
        *(("DEBUG", "b failed"), ("WARNING", "a failed")),
    ]


@pytest.mark.parametrize("place", ["memory", "valkey", "agentcore", "bedrock-sessions"])
def test_values_that_are_stored_anew(
    caplog: pytest.LogCaptureFixture, valkey_server: ValkeyServer, prefix: str, place: str
) -> None:
    with AwsEmulator() as aws:
        options: dict[str, Any] = {} if place == "memory" else {"session": aws.session()}
        urls = {
            "memory": "memory:",
            "valkey": valkey_server.url,
            "agentcore": f"agentcore://{aws.memory_id}?actor_id=ada",
            "bedrock-sessions": "bedrock-sessions://",
        }
        options = {"prefix": prefix} if place == "valkey" else options
        with statekeep.connect(urls[place], **options) as keep:
            backend: Any = keep.checkpoints.backend
            thread_id = backend.create_thread() if place == "bedrock-sessions" else "chat-1"
            gone = {"a": Channel.earlier(1), "b": Channel.earlier(1), "c": Channel.earlier(1, required=False)}
            payload = Payload(encoding="x", data=SECRET.encode())
            checkpoint = Checkpoint(thread_id=thread_id, checkpoint_id="1", channels=gone)
            keep.checkpoints.put(checkpoint, supply=lambda names: {"a": payload})
            later = {"checkpoint_id": "2", "parent_id": "1", "channels": {"a": gone["a"]}}
            keep.checkpoints.put(checkpoint.model_copy(update=later))
            [(level, text)] = _logged(caplog, "statekeep.records")
            assert level == "WARNING"
            assert text.startswith(f"thread {thread_id!r}: values that the checkpoint '1' builds on were not stored")
            assert text.endswith("channels: 'a'")
