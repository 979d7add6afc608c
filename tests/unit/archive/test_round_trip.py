"""What is exported and restored is the same, and makes the same file."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep import (
    CacheEntry,
    Channel,
    Checkpoint,
    Connection,
    InvalidInput,
    Item,
    LogEntry,
    Payload,
    PendingWrite,
    Unsupported,
    archive,
)
from statekeep.archive import restoring
from statekeep.archive.lines import FIELDS
from statekeep.repositories.connection import Backends
from statekeep.repositories.memory import MemoryCheckpoints
from tests.fenced import ROOT

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC)


def payload(text: str, encoding: str = "json") -> Payload:
    return Payload(encoding=encoding, data=text.encode())


def fill(keep: Connection) -> None:
    """Store some of everything."""
    large = payload("x" * 500)
    first = Checkpoint(
        thread_id="t",
        checkpoint_id="1",
        created_at=NOW,
        metadata={"step": -1, "z": (1, b"\xff"), "a": {"b": float("inf")}},
        header=payload("{}"),
        channels={
            "large": Channel.of(1, large),
            "text version": Channel.of("1", payload("2")),
            "float version": Channel.of(1.0, payload("")),
            "empty": Channel.empty(7),
            "replayed": Channel.replayed("7"),
        },
    )
    keep.checkpoints.put(first)
    again = Channel.earlier(1)
    for number in range(2, 6):
        keep.checkpoints.put(
            Checkpoint(
                thread_id="t",
                checkpoint_id=str(number),
                parent_id=str(number - 1),
                created_at=NOW,
                channels={"large": again, "n": Channel.of(number, payload(str(number)))},
            )
        )
    fork = {"large": Channel.of(1, payload("another value of the same version"))}
    keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="6", parent_id="1", created_at=NOW, channels=fork))
    keep.checkpoints.put(Checkpoint(thread_id="t", namespace="sub:1", checkpoint_id="1", created_at=NOW, channels=fork))
    writes = [
        PendingWrite(task_id="b", task_path="p", idx=0, channel="large", payload=large),
        PendingWrite(task_id="a", idx=-1, channel="error", payload=payload("oh")),
        PendingWrite(task_id="a", idx=1, channel="n", payload=payload("oh")),
    ]
    keep.checkpoints.put_writes("t", "5", writes)
    keep.checkpoints.put(Checkpoint(thread_id="é/😀", checkpoint_id="1", created_at=NOW))
    keep.items.restore(
        [
            Item(namespace=("a", "b"), key="k", value={"z": 1, "a": [1.5]}, created_at=NOW, updated_at=NOW, version=3),
            Item(namespace=(), key="", value=payload("p"), created_at=NOW, updated_at=NOW, version=1),
            Item(namespace=("a",), key="\x00", value="\ud800", created_at=NOW, updated_at=NOW, version=2,
                 expires_at=NOW.replace(year=2150)),
        ]
    )  # fmt: skip
    entries = [LogEntry(position=number, value={"n": number} if number % 2 else payload("raw")) for number in (1, 5, 6)]
    keep.logs.restore(("chat", "ada"), entries, expires_at=NOW.replace(year=2150))
    keep.logs.restore((), entries[:1])
    cached = [
        CacheEntry(namespace=("w",), key="b", payload=payload("1"), created_at=NOW),
        CacheEntry(namespace=("w",), key="a", payload=payload("1"), created_at=NOW, expires_at=NOW.replace(year=2150)),
        CacheEntry(namespace=(), key="c", payload=payload("1"), created_at=NOW),
    ]
    keep.cache.restore(cached)


def exported(keep: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    archive.export(keep, file, **options)
    return file.getvalue()


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
def old() -> Connection:
    keep = statekeep.connect("memory:")
    fill(keep)
    return keep


@pytest.fixture
def new() -> Connection:
    return statekeep.connect("memory:")


class Pipe(io.RawIOBase):
    """A stream that cannot be sought in, and gives and takes a few bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        some, self.data = self.data[: min(len(buffer), 7)], self.data[min(len(buffer), 7) :]
        buffer[: len(some)] = some
        return len(some)

    def write(self, data: Any) -> int:
        self.data += bytes(data[:7])
        return min(7, len(data))


def test_everything_is_the_same(old: Connection, new: Connection) -> None:
    data = exported(old)
    done = archive.restore(io.BytesIO(data), new)
    assert list(new.checkpoints.list("t")) == list(old.checkpoints.list("t"))
    assert [one.thread_id for one in new.checkpoints.list_threads()] == ["é/😀", "t"]
    for namespace in old.items.list_namespaces():
        assert list(new.items.list(namespace)) == list(old.items.list(namespace))
    assert list(new.logs.list()) == list(old.logs.list())
    assert new.logs.read(("chat", "ada")) == old.logs.read(("chat", "ada"))
    assert list(new.cache.list()) == list(old.cache.list())
    assert exported(new) == data
    counts = {"threads": 2, "checkpoints": 8, "pending_writes": 3, "items": 3, "logs": 2, "entries": 4}
    assert done.model_dump() == counts | {
        "cache_entries": 3, "of_threads": None, "ended": 0, "endless": 0, "bytes": len(data), "place": ("w",)
    }  # fmt: skip


def test_a_restore_may_be_repeated(old: Connection, new: Connection) -> None:
    data = exported(old)
    for _ in range(2):
        archive.restore(io.BytesIO(data), new)
        assert exported(new) == data


def test_the_order_of_storing_does_not_matter(old: Connection, new: Connection) -> None:
    data = exported(old)
    new.cache.restore(list(old.cache.list())[::-1])
    new.items.restore([item for name in reversed(old.items.list_namespaces()) for item in old.items.list(name)][::-1])
    for log in list(old.logs.list())[::-1]:
        new.logs.restore(log.name, old.logs.read(log.name), expires_at=log.expires_at)
    only = ("items", "logs", "cache")
    assert exported(new, kinds=only) == exported(old, kinds=reversed(only))
    archive.restore(io.BytesIO(data), new)
    assert exported(new) == data


def test_a_value_is_written_once(old: Connection) -> None:
    data = exported(old)
    assert data.count(b"eHh4eHh4eHh4") > 0
    values = [line for line in lines(data) if line["kind"] == "value"]
    assert len({line["digest"] for line in values}) == len(values)
    assert sum(len(line["data"]) > 600 for line in values) == 1
    # Each stands before the first line that names it.
    seen: set[str] = set()
    for line in lines(data):
        match line["kind"]:
            case "value":
                seen.add(line["digest"])
            case "write":
                assert line["value"] in seen
            case "checkpoint":
                assert {value for _, value in line["channels"].values() if isinstance(value, str)} <= seen


def test_values_that_are_not_kept_are_read_from_the_target(
    old: Connection, new: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "KEPT_BYTES", 0)
    monkeypatch.setattr(restoring, "PARENTS", 1)
    data = exported(old)
    archive.restore(io.BytesIO(data), new)
    assert exported(new) == data


def test_a_target_that_lost_values_is_supplied_with_them(
    old: Connection, new: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = new.checkpoints.backend
    asked = []
    put = type(backend).put

    def losing(self: Any, checkpoint: Checkpoint, supply: Any, *expected: Any) -> Any:
        referred = [name for name, channel in checkpoint.channels.items() if channel.carry == "earlier"]
        if referred:
            asked.append(supply(referred))
        return put(self, checkpoint, supply, *expected)

    monkeypatch.setattr(MemoryCheckpoints, "put", losing)
    for kept in (0, 1 << 20):
        monkeypatch.setattr(restoring, "KEPT_BYTES", kept)
        archive.restore(io.BytesIO(exported(old)), new)
    assert len(asked) >= 4
    assert all(found["large"].data == b"x" * 500 for found in asked)


def test_one_repository(old: Connection, new: Connection) -> None:
    for name in ("checkpoints", "items", "logs", "cache"):
        data = exported(getattr(old, name))
        assert lines(data)[0]["kinds"] == [name]
        assert data == exported(old, kinds=[name])
        archive.restore(io.BytesIO(data), getattr(new, name))
    assert exported(new) == exported(old)


def test_some_kinds_of_a_file(old: Connection, new: Connection) -> None:
    archive.restore(io.BytesIO(exported(old)), new, kinds=["items", "cache"])
    assert exported(new, kinds=["items", "cache"]) == exported(old, kinds=["items", "cache"])
    assert list(new.checkpoints.list_threads()) == []
    assert list(new.logs.list()) == []


def test_what_the_source_or_the_target_does_not_keep(old: Connection) -> None:
    poor = Connection(Backends(MemoryCheckpoints()))
    with pytest.raises(Unsupported, match="the source keeps no items"):
        archive.export(poor, io.BytesIO(), kinds=["items"])
    with pytest.raises(Unsupported, match="keeps no items; leave them out by kinds="):
        archive.restore(io.BytesIO(exported(old)), poor)
    assert lines(exported(poor))[0]["kinds"] == ["checkpoints"]
    assert exported(poor) == exported(old.checkpoints)


def test_a_cache_that_cannot_be_listed(old: Connection) -> None:
    class Plain:
        """A backend that has only what it must have."""

    plain: Any = Connection(Backends(MemoryCheckpoints(), cache=Plain()))  # type: ignore[arg-type]
    file = io.BytesIO()
    with pytest.raises(Unsupported, match="cannot list its cache entries; leave them out by kinds="):
        archive.export(plain, file)
    assert file.getvalue() == b""
    assert archive.export(plain, file, kinds=["checkpoints"]).threads == 0


def test_event_loops(old: Connection, new: Connection) -> None:
    async def main() -> bytes:
        file = io.BytesIO()
        assert (await archive.aexport(old.asyncio, file)).threads == 2
        await archive.arestore(io.BytesIO(file.getvalue()), new.asyncio)
        return file.getvalue()

    assert asyncio.run(main()) == exported(old) == exported(new)


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_files_do_not_hold_up_event_loops(old: Connection, new: Connection, tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    async def main() -> None:
        await archive.aexport(old.asyncio, path)
        await archive.arestore(path, new.asyncio)
        with pytest.raises(InvalidInput):
            await archive.aexport(old.asyncio, path)
        done = await archive.aexport(old.asyncio, path, resume=True)
        assert done.threads == 2

    asyncio.run(main())
    assert exported(new) == exported(old)


def test_pipes(old: Connection, new: Connection) -> None:
    pipe = Pipe()
    archive.export(old, pipe)
    assert pipe.data == exported(old)
    archive.restore(pipe, new)
    assert exported(new) == exported(old)
    assert not pipe.closed


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_files(old: Connection, new: Connection, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    done = archive.export(old, path)
    assert done.bytes == path.stat().st_size
    assert path.read_bytes().startswith({".jsonl": b"{", ".gz": b"\x1f\x8b", ".zst": b"\x28\xb5"}[path.suffix])
    assert archive.verify(str(path)).checkpoints == 8
    with path.open("rb") as stream:
        assert archive.restore(stream, new).bytes == done.bytes
        assert not stream.closed
    assert exported(new) == exported(old)
    with pytest.raises(InvalidInput, match=r"is there: go on with it \(resume\), or replace it \(overwrite\)"):
        archive.export(old, path)
    before = path.read_bytes()
    archive.export(old, path, overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
def test_directories_are_no_files(old: Connection, tmp_path: Path, options: Any) -> None:
    with pytest.raises(InvalidInput, match=r"file must be the path of a file, and .* is a directory"):
        archive.export(old, tmp_path, **options)
    for read in (archive.verify, lambda file: archive.restore(file, old)):
        with pytest.raises(InvalidInput, match="is a directory"):
            read(str(tmp_path))


def test_ends(old: Connection) -> None:
    clock = [time.time()]
    new = statekeep.connect("memory:", ttl=30, clock=lambda: clock[0])
    assert old.checkpoints.expire("t", 3600)
    old.items.put(("soon",), "k", 1, ttl=0.05)
    old.logs.append(("soon",), [1], ttl=0.05)
    old.cache.set({(("soon",), "k"): (payload("1"), 0.05)})
    old.checkpoints.put(Checkpoint(thread_id="soon", checkpoint_id="1"))
    data = exported(old)
    text = data.replace(b'{"kind":"thread","id":"soon","expires_at":null}',
                        b'{"kind":"thread","id":"soon","expires_at":"2020-01-01T00:00:00.000000+00:00"}')  # fmt: skip
    assert text != data
    time.sleep(0.1)
    with pytest.raises(statekeep.CorruptRecord, match="have another digest"):
        archive.restore(io.BytesIO(text), new)
    assert new.checkpoints.get("soon") is None
    assert list(new.items.list(("soon",))) == []
    assert [log.name for log in new.logs.list()] == [(), ("chat", "ada")]
    # Without an end in the file there is none, though the repository has a TTL of its own.
    clock[0] += 1000
    assert {one.thread_id for one in new.checkpoints.list_threads()} == {"t", "é/😀"}
    clock[0] += 3000
    assert {one.thread_id for one in new.checkpoints.list_threads()} == {"é/😀"}


def test_progress(old: Connection, new: Connection) -> None:
    seen: list[archive.ArchiveProgress] = []
    file = io.BytesIO()
    done = archive.export(old, file, progress=seen.append)
    assert (seen[0].threads, seen[0].of_threads, seen[0].place) == (1, 2, "t")
    assert seen[-1].model_copy(update={"bytes": done.bytes}) == done
    seen.clear()
    assert archive.restore(io.BytesIO(file.getvalue()), new, progress=seen.append) == seen[-1]
    assert [one.checkpoints for one in seen if one.place == "t"][:3] == [1, 2, 3]


def test_bounded_memory() -> None:
    """A thread of 40 MB, of which each checkpoint has a value of its own, and all have one of 4 MB."""
    keep = statekeep.connect("memory:")
    keep.checkpoints.put(
        Checkpoint(thread_id="t", checkpoint_id="000", channels={"shared": Channel.of(1, payload("s" * (4 << 20)))})
    )
    for number in range(1, 200):
        own = Channel.of(number, payload(f"{number:06}" * 35_000))
        keep.checkpoints.put(
            Checkpoint(
                thread_id="t",
                checkpoint_id=f"{number:03}",
                parent_id=f"{number - 1:03}",
                channels={"shared": Channel.earlier(1), "own": own},
            )
        )
    sent = 0

    class Counting(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            nonlocal sent
            sent += len(data)
            return len(data)

    tracemalloc.start()
    try:
        archive.export(keep, Counting())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 55_000_000 < sent < 65_000_000
    assert peak < 48_000_000


loose: Any = archive
"""Takes arguments of any type."""


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda keep: loose.export(1, io.BytesIO()), "source"),
        (lambda keep: loose.export(keep.asyncio, io.BytesIO()), "source"),
        (lambda keep: loose.export(keep, io.StringIO()), "file"),
        (lambda keep: loose.export(keep, 5), "file"),
        (lambda keep: loose.export(keep, io.BytesIO(), kinds="items"), "kinds"),
        (lambda keep: loose.export(keep, io.BytesIO(), kinds=["threads"]), "kinds"),
        (lambda keep: loose.export(keep, io.BytesIO(), resume=True), "resume"),
        (lambda keep: loose.export(keep, io.BytesIO(), resume=1), "resume"),
        (lambda keep: loose.export(keep, io.BytesIO(), overwrite="yes"), "overwrite"),
        (lambda keep: loose.export(keep, io.BytesIO(), progress=1), "progress"),
        (lambda keep: loose.restore(io.BytesIO(), "memory:"), "target"),
        (lambda keep: loose.restore(io.BytesIO(), keep), "file"),
        (lambda keep: loose.verify(None), "file"),
    ],
)
def test_wrong_arguments(old: Connection, call: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(old)
    assert caught.value.field == field


def test_the_document_has_all_fields() -> None:
    text = (ROOT / "docs/backup.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE))
    assert {kind: tuple(re.findall(r"`(\w+)`", row)) for kind, row in rows.items()} == FIELDS
