"""redis-om's Migrator and `find` over records, with the Redis query engine itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from attrs import frozen
from redis_om import Migrator

from statekeep import CacheEntry, Checkpoint, Item, Payload, PendingWrite, connect
from statekeep.contrib.redis_om import index_commands, model_for
from statekeep.testing.servers import ValkeyServer

from .redis_om_world import Redis

MODELS = (Checkpoint, PendingWrite, Item, CacheEntry)
THREADS = ("alpha", "be ta {x}.y", "user:42")
PAYLOAD = Payload(encoding="json", data=b"1")
WRITE = PendingWrite(task_id="t", idx=0, channel="c", payload=PAYLOAD)


@frozen
class Records:
    """The models over records of a server, with indexes, and when the latter half of the records was put."""

    checkpoint: Any
    write: Any
    item: Any
    entry: Any
    noon: dt.datetime


def migrated(database: Any, prefix: str) -> None:
    Migrator(conn=database).run()


def commanded(database: Any, prefix: str) -> None:
    for model in MODELS:
        for command in index_commands(model, prefix=prefix):
            database.execute_command(*command)


@pytest.fixture(params=[migrated, commanded])
def records(
    request: pytest.FixtureRequest, redisearch_server: ValkeyServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Records]:
    monkeypatch.setattr("redis_om.model.model.model_registry", {})
    make: Callable[[Any, str], None] = request.param
    with Redis(host="127.0.0.1", port=redisearch_server.port, decode_responses=True) as database:
        checkpoint, write, item, entry = (model_for(model, database=database, prefix=prefix) for model in MODELS)
        make(database, prefix)
        with connect(redisearch_server.url, prefix=prefix) as keep:
            noon = dt.datetime.now(dt.UTC)
            for number, thread_id in enumerate(THREADS):
                if number == 2:
                    noon = dt.datetime.now(dt.UTC)
                metadata = {"step": number, "run_id": f"run-{number}"} if number else {}
                for namespace in ("", "sub:1"):
                    place = {"thread_id": thread_id, "namespace": namespace, "checkpoint_id": f"id{number}"}
                    keep.checkpoints.put(Checkpoint(**place, metadata=metadata))
                    keep.checkpoints.put_writes(thread_id, f"id{number}", [WRITE], namespace=namespace)
                keep.items.put(("users", thread_id), f"k{number}", {"n": number})
                keep.cache.set({(("users", thread_id), f"k{number}"): PAYLOAD})
        yield Records(checkpoint, write, item, entry, noon)


def found(model: Any, *expressions: Any) -> list[Any]:
    """Which of the three, one or two of each, the records found are of."""
    field = "thread_id" if "thread_id" in model.model_fields else "item_key"
    names = THREADS if field == "thread_id" else ("k0", "k1", "k2")
    return sorted({names.index(getattr(record, field)) for record in model.find(*expressions).all()})


def test_text(records: Records) -> None:
    for model in (records.checkpoint, records.write):
        for number, thread_id in enumerate(THREADS):
            assert found(model, model.thread_id == thread_id) == [number]
            assert found(model, model.thread_id != thread_id) == sorted({0, 1, 2} - {number})
        assert found(model, model.thread_id << ["alpha", "user:42"]) == [0, 2]
        assert found(model, model.thread_id >> ["alpha", "user:42"]) == [1]
        assert found(model, model.thread_id.startswith("alp")) == [0]
        assert found(model, model.thread_id == "none") == []
        inner = model.find(model.namespace == "sub:1").all()
        assert [record.namespace for record in inner] == ["sub:1"] * 3
        assert len(model.find(model.namespace << ["sub:1", "other"]).all()) == 3
    assert found(records.write, records.write.checkpoint_id == "id1") == [1]
    assert found(records.checkpoint, records.checkpoint.run_id == "run-2") == [2]
    assert found(records.checkpoint, records.checkpoint.run_id << ["run-1", "run-2"]) == [1, 2]
    for model in (records.item, records.entry):
        assert found(model, model.namespace == "users.be%20ta%20%7Bx%7D%2Ey") == [1]
        assert found(model, model.namespace << ["users.alpha", "users.user%3A42"]) == [0, 2]
        assert found(model, model.namespace.startswith("users.")) == [0, 1, 2]


def test_numbers(records: Records) -> None:
    step = records.checkpoint.step
    for expression, want in (
        (step == 1, [1]),
        (step != 1, [0, 2]),
        (step > 1, [2]),
        (step >= 1, [1, 2]),
        (step < 2, [1]),
        (step <= 2, [1, 2]),
        (step << [1, 2], [1, 2]),
        (step >> [1], [0, 2]),
    ):
        assert found(records.checkpoint, expression) == want


def test_times(records: Records) -> None:
    noon = records.noon
    for model in (records.checkpoint, records.item, records.entry):
        for name in ["created_at", "updated_at"] if model is records.item else ["created_at"]:
            field = getattr(model, name)
            assert found(model, field < noon) == found(model, field <= noon) == [0, 1]
            assert found(model, field > noon) == found(model, field >= noon) == [2]
            assert found(model, field == getattr(model.find(field > noon).all()[0], name)) == [2]


def test_and_or_not(records: Records) -> None:
    model = records.checkpoint
    assert [record.step for record in model.find((model.step > 0) & (model.namespace == "sub:1")).all()] == [1, 2]
    assert found(model, (model.thread_id == "alpha") | (model.step == 2)) == [0, 2]
    assert found(model, ~(model.thread_id == "alpha")) == [1, 2]
    assert found(model, model.step > 0, model.created_at < records.noon) == [1]


def test_sort(records: Records) -> None:
    model = records.checkpoint
    steps = [record.step for record in model.find(model.step >= 1).sort_by("-step").all()]
    assert steps == [2, 2, 1, 1]
    items = records.item.find().sort_by("-created_at").all()
    assert [record.item_key for record in items] == ["k2", "k1", "k0"]


def test_the_empty_namespace_is_what_redis_om_cannot_ask_for(records: Records) -> None:
    """It writes `{}`, which is no query: docs/key-schema.md says what to do instead."""
    model = records.checkpoint
    with pytest.raises(redis.ResponseError):
        model.find(model.namespace == "").all()
    root = [record for record in model.find(model.thread_id == "alpha").all() if record.namespace == ""]
    assert [record.checkpoint_id for record in root] == ["id0"]


def test_the_migrator_has_nothing_to_do_after_the_commands(records: Records) -> None:
    migrator = Migrator(conn=records.checkpoint._meta.database)
    migrator.detect_migrations()
    assert migrator.migrations == []
