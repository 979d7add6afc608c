"""Files that are cut off, damaged, or something else: the message says where, and a resumed export goes on."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep import Checkpoint, Connection, CorruptRecord, InvalidInput, StatekeepError, Unsupported, archive
from statekeep.archive import files

from .test_round_trip import exported, fill


@pytest.fixture
def old() -> Connection:
    keep = statekeep.connect("memory:")
    fill(keep)
    return keep


def restored(data: bytes) -> Connection:
    new = statekeep.connect("memory:")
    archive.restore(io.BytesIO(data), new)
    return new


def sealed(lines: list[bytes], **counts: int) -> bytes:
    """Return an archive of these lines, with an end that fits them."""
    found = json.loads(lines[-1])["counts"] if b'"kind":"end"' in lines[-1] else {}
    body = b"".join(line for line in lines if b'"kind":"end"' not in line)
    end = {"kind": "end", "counts": found | counts, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("part", range(1, 40))
def test_a_file_that_was_cut_off(old: Connection, part: int) -> None:
    data = exported(old)
    cut = data[: len(data) * part // 40]
    for read in (lambda: archive.verify(io.BytesIO(cut)), lambda: restored(cut)):
        with pytest.raises(
            CorruptRecord, match=rf"behind line {cut.count(b'{0}'.replace(b'{0}', bytes([10])))}, .*cut off"
        ):
            read()


def test_what_comes_before_the_damage_is_restored(old: Connection) -> None:
    lines = exported(old).splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(b'{"kind":"item"')) + 1
    lines[at] = lines[at].replace(b'"version":', b'"version":-')
    new = statekeep.connect("memory:")
    with pytest.raises(CorruptRecord, match=f"line {at + 1} is damaged: Item: version"):
        archive.restore(io.BytesIO(b"".join(lines)), new)
    assert list(new.checkpoints.list("t")) == list(old.checkpoints.list("t"))


Change = Callable[[list[bytes]], list[bytes]]


def at(kind: str, change: Callable[[bytes], bytes]) -> Change:
    """Change the first line of a kind."""

    def do(lines: list[bytes]) -> list[bytes]:
        number = next(n for n, line in enumerate(lines) if line.startswith(b'{"kind":"%b"' % kind.encode()))
        return [*lines[:number], change(lines[number]), *lines[number + 1 :]]

    return do


def fields(**new: Any) -> Callable[[bytes], bytes]:
    return lambda line: json.dumps(json.loads(line) | new).encode() + b"\n"


def without(name: str) -> Callable[[bytes], bytes]:
    return lambda line: (
        json.dumps({key: value for key, value in json.loads(line).items() if key != name}).encode() + b"\n"
    )


DAMAGE: dict[str, tuple[Change, str]] = {
    "no JSON": (at("item", lambda line: b"{item\n"), "is damaged: "),
    "no UTF-8": (at("item", lambda line: b"\xff\xfe\n"), "is damaged: "),
    "an empty line": (at("item", lambda line: b"\n" + line), "is damaged: "),
    "deep": (at("item", lambda line: b"[" * 100_000 + b"\n"), "is damaged: "),
    "another kind": (at("item", fields(kind="thing")), "is no record of an archive"),
    "a list": (at("item", lambda line: b"[1]\n"), "is no record of an archive"),
    "a field less": (at("item", without("key")), "has the fields namespace, key"),
    "a field more": (at("item", fields(more=1)), "has the fields namespace, key"),
    "twice": (at("item", lambda line: line * 2), "lines are sorted, and each record is there once"),
    "a thread twice": (at("thread", lambda line: line * 2), "lines are sorted, and each record is there once"),
    "a checkpoint twice": (at("checkpoint", lambda line: line * 2), "lines are sorted, and each record is there once"),
    "a value twice": (at("value", lambda line: line * 2), "is in the thread already"),
    "a write twice": (at("write", lambda line: line * 2), "lines are sorted, and each record is there once"),
    "an entry twice": (at("entry", lambda line: line * 2), "lines are sorted, and each record is there once"),
    "the header twice": (at("archive", lambda line: line * 2), "it is the first line"),
    "another value": (at("value", fields(data="AAAA")), "has another digest"),
    "no base64": (at("value", fields(data="é")), "is damaged: "),
    "a value that is missing": (at("value", lambda line: b""), "no line of the thread before it has the value"),
    "a value of no text": (at("write", fields(value=1)), "must be a digest"),
    "channels": (at("checkpoint", fields(channels={"a": [1, False]})), "must be a digest, true or null"),
    "channels of no list": (at("checkpoint", fields(channels={"a": 1})), "is damaged: "),
    "no channels": (at("checkpoint", fields(channels=None)), "is damaged: "),
    "a version": (at("checkpoint", fields(channels={"a": [None, None]})), "is damaged: Channel: version"),
    "a time": (at("checkpoint", fields(created_at="yesterday")), "is damaged: "),
    "a time without zone": (at("checkpoint", fields(created_at="2026-01-01T00:00:00")), "must have an offset"),
    "metadata": (at("checkpoint", fields(metadata={"$keep": ["x"]})), "is damaged: "),
    "no thread": (at("thread", lambda line: b""), "stands outside of a thread"),
    "no log": (at("log", lambda line: b""), "is damaged: "),
    "a label": (at("item", fields(namespace=[""])), "a label must be text"),
    "an item's value": (at("item", fields(value={"text": 1})), "a value has json, or encoding and data"),
    "the end": (at("end", fields(sha256="0")), "have another digest"),
    "counts": (at("end", fields(counts={"items": 1})), "it counts "),
    "counts of no numbers": (at("end", fields(counts={"items": "1"})), "counts must be numbers"),
    "something behind the end": (at("end", lambda line: line * 2), "follows the last line"),
    "a changed value": (at("item", lambda line: line.replace(b'"cA=="', b'"cQ=="')), "another digest"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_lines(old: Connection, name: str) -> None:
    change, message = DAMAGE[name]
    lines = change(exported(old).splitlines(keepends=True))
    for read in (lambda: archive.verify(io.BytesIO(b"".join(lines))), lambda: restored(b"".join(lines))):
        with pytest.raises(CorruptRecord, match=r"^line \d+ ") as caught:
            read()
        assert message in str(caught.value)
        assert len(str(caught.value)) < 600


def test_lines_of_kinds_that_the_header_does_not_name(old: Connection) -> None:
    lines = exported(old).splitlines(keepends=True)
    lines[0] = lines[0].replace(b'"items",', b"")
    with pytest.raises(CorruptRecord, match="the first line says nothing of items"):
        restored(sealed(lines))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", InvalidInput, "is empty"),
        (b"\n", InvalidInput, "first line is no JSON"),
        (b"hello\n", InvalidInput, "first line is no JSON"),
        (b'{"a": 1}\n', InvalidInput, "no archive of Statekeep"),
        (b'[{"kind":"archive"}]\n', InvalidInput, "no archive of Statekeep"),
        (b'{"kind":"archive","format":"another","version":1,"kinds":[]}\n', InvalidInput, "no archive of Statekeep"),
        (b'{"kind":"archive","format":"statekeep","version":2,"more":1}\n', Unsupported, "of version 2"),
        (b'{"kind":"archive","format":"statekeep","version":true,"kinds":[]}\n', Unsupported, "of version True"),
        (b'{"kind":"archive","format":"statekeep","version":1,"kinds":["x"]}\n', CorruptRecord, "line 1 is damaged"),
        (b'{"kind":"archive","format":"statekeep","version":1}\n', CorruptRecord, "line 1 is damaged"),
        (b"x" * 10_000_000, InvalidInput, "first line is longer than 4096 bytes"),
        (gzip.compress(b"hello\n", mtime=0), InvalidInput, "first line is no JSON"),
        (b"\x1f\x8bhello", CorruptRecord, "compressed data behind line 0 is damaged"),
        (b"\x28\xb5\x2f\xfdhello hello hello", CorruptRecord, "compressed data behind line 0 is damaged"),
    ],
)
def test_files_that_are_none(data: bytes, error: type[StatekeepError], message: str) -> None:
    for read in (lambda: archive.verify(io.BytesIO(data)), lambda: restored(data)):
        with pytest.raises(error, match=message):
            read()


def test_a_line_that_is_too_long(old: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    header = exported(old).splitlines(keepends=True)[0]
    with pytest.raises(CorruptRecord, match="line 2 is damaged"):
        archive.verify(io.BytesIO(header + b"x" * 20_000_000 + b"\n"))
    monkeypatch.setattr(files, "LONGEST_LINE", 1_000_000)
    with pytest.raises(CorruptRecord, match="line 2 is longer than 1000000 bytes"):
        archive.verify(io.BytesIO(header + b"x" * 20_000_000))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_compressed_file_that_was_changed(old: Connection, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    archive.export(old, path)
    data = bytearray(path.read_bytes())
    for place in range(40, len(data), len(data) // 20):
        changed = data[:]
        changed[place] ^= 1
        with pytest.raises(StatekeepError):
            archive.verify(io.BytesIO(changed))


# -- going on


@pytest.mark.parametrize("frame", [300, 1 << 20], ids=["many frames", "one frame"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_an_export_goes_on_wherever_it_was_cut_off(
    old: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, frame: int
) -> None:
    monkeypatch.setattr(files, "FRAME", frame)
    path = tmp_path / f"a{suffix}"
    done = archive.export(old, path)
    whole = path.read_bytes()
    for cut in [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1, len(whole)]:
        path.write_bytes(whole[:cut])
        again = archive.export(old, path, resume=True)
        assert path.read_bytes() == whole
        assert again.model_copy(update={"place": done.place, "of_threads": done.of_threads}) == done
    path.unlink()
    archive.export(old, path, resume=True)
    assert path.read_bytes() == whole


def test_what_was_exported_is_not_read_again(old: Connection, tmp_path: Path) -> None:
    path = tmp_path / "a"
    archive.export(old, path)
    whole = path.read_bytes()
    second = whole.index(b'{"kind":"thread","id":"\xc3')
    old.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="9"))
    # The next record has begun, so the thread is whole: it is as it was.
    path.write_bytes(whole[: whole.index(b"\n", second) + 1])
    archive.export(old, path, resume=True)
    assert path.read_bytes() == whole
    # Nothing follows, so nobody knows whether more of it would have come.
    path.write_bytes(whole[:second])
    archive.export(old, path, resume=True)
    assert b'"id":"9"' in path.read_bytes()
    archive.verify(path)


def test_a_file_that_is_whole_is_left_alone(old: Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    archive.export(old, path)
    before = path.read_bytes()
    old.items.put(("later",), "k", 1)
    assert archive.export(old, path, resume=True).items == 3
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a", b"important", "no archive that was begun"),
        ("a", b"important\n", "first line is no JSON"),
        ("a", b'{"kind":"archive","format":"x', "no archive that was begun"),
        ("a.gz", b"important", "no archive that was begun"),
        ("a", b'{"kind":"archive","format":"statekeep","version":1,"kinds":["items"]}\n', "begun with the kinds items"),
        (
            "a.gz",
            b'{"kind":"archive","format":"statekeep","version":1,"kinds":["items"]}\n',
            "compressed in another way",
        ),
    ],
)
def test_a_file_of_something_else_is_not_touched(
    old: Connection, tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=message):
        archive.export(old, path, resume=True)
    assert path.read_bytes() == data


def test_a_failure_leaves_a_file_that_can_be_gone_on_with(
    old: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    backend = old.items.backend

    def failing(query: Any, cursor: Any) -> Any:
        yield from ()
        raise statekeep.Unavailable("away")

    with monkeypatch.context() as away:
        away.setattr(backend, "list", failing)
        with pytest.raises(statekeep.Unavailable) as caught:
            archive.export(old, path)
    assert "while the namespace () was exported; the file has what came before it" in caught.value.__notes__[0]
    with pytest.raises(CorruptRecord, match="cut off"):
        archive.verify(path)
    archive.export(old, path, resume=True)
    assert path.read_bytes() == exported(old)
