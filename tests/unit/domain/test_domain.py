"""Models, ids and errors."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

import statekeep.domain as domain
from statekeep.domain import (
    Channel,
    Checkpoint,
    CheckpointQuery,
    InvalidInput,
    MissingChannels,
    MissingDependency,
    Payload,
    PendingWrite,
    StatekeepError,
    Thread,
    ValueSource,
    WrongEventLoop,
)
from statekeep.testing.strategies import NASTY_TEXTS

X = Payload(encoding="raw", data=b"x")


def make_write(**fields: Any) -> PendingWrite:
    return PendingWrite(**{"task_id": "t", "idx": 0, "channel": "c", "payload": X} | fields)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Checkpoint(thread_id=""), "thread_id"),
        (lambda: Checkpoint(thread_id=1), "thread_id"),
        (lambda: Checkpoint(thread_id="\ud800"), "thread_id"),
        (lambda: Checkpoint(thread_id="t", checkpoint_id=""), "checkpoint_id"),
        (lambda: Checkpoint(thread_id="t", parent_id=""), "parent_id"),
        (lambda: Checkpoint(thread_id="t", namespace=None), "namespace"),
        (lambda: Checkpoint(thread_id="t", namespace="\ud800"), "namespace"),
        (lambda: Checkpoint(thread_id="t", created_at=dt.datetime(2024, 1, 1)), "created_at"),
        (lambda: Checkpoint(thread_id="t", metadata={1: 1}), "metadata"),
        (lambda: Checkpoint(thread_id="t", channels={"\ud800": Channel.empty(1)}), "channels"),
        (lambda: Checkpoint(thread_id="t", channels={"a": X}), "channels"),
        (lambda: Checkpoint(thread_id="t", header=b"x"), "header"),
        (lambda: Checkpoint(thread_id="t", thread="t"), "thread"),  # type: ignore[call-arg]
        (lambda: Channel.empty(True), "version"),
        (lambda: Channel.empty(None), "version"),  # type: ignore[arg-type]
        (lambda: Channel.empty(float("nan")), "version"),
        (lambda: Channel.empty("\ud800"), "version"),
        (lambda: Channel.of(1, None), "Channel"),  # type: ignore[arg-type]
        (lambda: Channel(version=1, payload=X), "Channel"),
        (lambda: Channel(version=1, payload=X, carry=ValueSource.STORED), "Channel"),
        (lambda: Payload(encoding=None, data=b""), "encoding"),
        (lambda: Payload(encoding="\ud800", data=b""), "encoding"),
        (lambda: make_write(task_id=""), "task_id"),
        (lambda: make_write(idx=True), "idx"),
        (lambda: make_write(idx="1"), "idx"),
        (lambda: make_write(channel=None), "channel"),
        (lambda: make_write(payload=b"x"), "payload"),
        (lambda: CheckpointQuery(thread_id=""), "thread_id"),
        (lambda: CheckpointQuery(limit=-1), "limit"),
        (lambda: CheckpointQuery(limit=True), "limit"),
        (lambda: CheckpointQuery(limit=1.0), "limit"),
        (lambda: CheckpointQuery(before=""), "before"),
        (lambda: CheckpointQuery(metadata=[]), "metadata"),
        (lambda: Thread(thread_id="t", updated_at=dt.datetime(2024, 1, 1)), "updated_at"),
    ],
)
def test_bad_fields_are_named(make: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.field == field
    assert field in str(caught.value)
    str(caught.value).encode()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, StatekeepError)


@pytest.mark.parametrize("text", [*NASTY_TEXTS])
def test_any_other_text_is_an_id(text: str) -> None:
    checkpoint = Checkpoint(
        thread_id=text,
        namespace=text,
        checkpoint_id=text,
        parent_id=text,
        metadata={text: text},
        channels={text: Channel.empty(text)},
    )
    assert checkpoint.thread_id == checkpoint.namespace == checkpoint.checkpoint_id == checkpoint.parent_id == text
    assert (checkpoint.metadata, checkpoint.channels) == ({text: text}, {text: Channel.empty(text)})


def test_models_are_frozen() -> None:
    checkpoint: Any = Checkpoint(thread_id="t")
    with pytest.raises(ValueError, match="frozen"):
        checkpoint.thread_id = "u"


def test_versions_keep_their_types() -> None:
    for version in (1, "1", 1.0):
        assert type(Channel.empty(version).version) is type(version)


def test_channels() -> None:
    assert Channel.of(1, X).carry is ValueSource.VALUE
    assert Channel.empty(1).carry is ValueSource.EMPTY
    assert Channel.earlier(1).carry is ValueSource.STORED
    assert Channel.earlier(1, required=False).carry is ValueSource.STORED_IF_ANY
    assert Channel.replayed(1).carry is ValueSource.REPLAYED


def test_order_of_writes() -> None:
    writes = [make_write(task_path="b"), make_write(idx=-1), make_write(task_id="s", idx=5), make_write(idx=10)]
    assert [write.order for write in sorted(writes, key=lambda write: write.order)] == [
        ("", "s", 5),
        ("", "t", -1),
        ("", "t", 10),
        ("b", "t", 0),
    ]


def test_query_matches_metadata() -> None:
    metadata = {"a": 1, "n": None, "t": (1, 2)}
    assert CheckpointQuery().matches(metadata)
    assert CheckpointQuery(metadata={}).matches(metadata)
    assert CheckpointQuery(metadata={"a": 1, "n": None, "absent": None}).matches(metadata)
    assert CheckpointQuery(metadata={"t": (1, 2)}).matches(metadata)
    assert not CheckpointQuery(metadata={"t": [1, 2]}).matches(metadata)
    assert not CheckpointQuery(metadata={"a": None}).matches(metadata)
    assert not CheckpointQuery(metadata={"a": 1, "b": 2}).matches(metadata)


def test_errors_are_one_tree() -> None:
    kinds = [kind for kind in vars(domain).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 12
    assert all(issubclass(kind, StatekeepError) for kind in kinds)
    assert issubclass(MissingDependency, ImportError)
    assert issubclass(WrongEventLoop, RuntimeError)


def test_error_texts() -> None:
    assert str(StatekeepError("m")) == "m"
    assert str(StatekeepError("m", key="k")) == "m (key='k')"
    assert str(StatekeepError("m", operation="put", key="k")) == "m (operation='put', key='k')"
    assert str(MissingDependency("glide", "valkey")) == "glide is not installed; run: pip install 'statekeep[valkey]'"
    missing = MissingChannels({"b", "a"})
    assert "'a', 'b'" in str(missing)
    assert missing.channels == {"a", "b"}


def test_everything_public_is_exported() -> None:
    assert len(set(domain.__all__)) == len(domain.__all__)
    assert all(hasattr(domain, name) for name in domain.__all__)
