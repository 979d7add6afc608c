"""``export`` and ``import`` over every kind of service."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import statekeep
from statekeep import archive
from statekeep.testing.servers import ValkeyServer

from .conftest import Place, put_chat


def exported(keep: statekeep.Connection) -> bytes:
    file = io.BytesIO()
    archive.export(keep, file, kinds=["checkpoints", "items"])
    return file.getvalue()


def test_out_and_in_again(filled: Place, tmp_path: Path, valkey_server: ValkeyServer, prefix: str) -> None:
    path = tmp_path / "backup.jsonl.zst"
    ended = filled.run("export", str(path))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith("2 threads, 6 checkpoints, 2 pending writes exported, ")
    assert archive.verify(path).threads == 2
    again = filled.run("export", str(path), "--json")
    assert (again.status, again.stdout) == (2, "")
    assert "is there: go on with it" in again.stderr
    assert filled.run("export", str(path), "--overwrite", "--json").json["checkpoints"] == 6
    other = Place(valkey_server.url, f"{prefix}-other")
    done = other.run("import", str(path), "--json")
    assert (done.status, done.json["threads"], done.json["ended"]) == (0, 2, 0)
    with filled.connect() as one, other.connect() as two:
        assert exported(one) == exported(two)
    assert filled.run("import", str(path)).status == 0
    assert [line[0] for line in filled.run("threads").lines] == ["other/1", "chat"]  # as they were put now


def test_some_kinds(valkey: Place, tmp_path: Path) -> None:
    with valkey.connect() as keep:
        put_chat(keep)
        keep.items.put(("n",), "k", 1)
        keep.logs.append(("n",), [1, 2])
    path = str(tmp_path / "a")
    assert valkey.run("export", path, "--kind", "items", "--kind", "logs").stdout.startswith("1 item, 1 log, 2 values")
    assert valkey.run("export", path, "--kind", "threads", "--overwrite").status == 2
    with statekeep.connect("memory:"):
        assert valkey.run("import", path, "--kind", "logs", "--json").json["items"] == 0


def test_pipes(valkey: Place, valkey_server: ValkeyServer, prefix: str) -> None:
    """From one program into the other."""
    with valkey.connect() as keep:
        put_chat(keep)
        other = Place(valkey_server.url, f"{prefix}-other")
        out = valkey.start("export", "-")
        into = other.start("import", "-", "--json", stdin=out.stdout)
        with out, into:
            assert into.wait(60) == 0
            assert out.wait(60) == 0
            assert out.stderr is not None
            assert b"1 thread, 5 checkpoints, 1 pending write exported" in out.stderr.read()
        with other.connect() as two:
            assert exported(keep) == exported(two)
    wrong = valkey.run("export", "-", "--json")
    assert (wrong.status, wrong.stdout) == (2, "")


def test_a_file_that_was_cut_off(valkey: Place, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with valkey.connect() as keep:
        put_chat(keep)
        put_chat(keep, "other")
    valkey.run("export", str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    for command in (["import", str(path)], ["import", str(path), "--check"]):
        ended = valkey.run(*command)
        assert ended.status == 1
        assert "it was cut off" in ended.stderr
    assert valkey.run("export", str(path), "--resume").status == 0
    assert path.read_bytes() == whole
    assert "and the file is whole" in valkey.run("import", str(path), "--check").stdout


@pytest.mark.parametrize(
    ("text", "status"), [("hello\n", 2), ('{"kind":"archive","format":"statekeep","version":9}\n', 2)]
)
def test_another_file(valkey: Place, tmp_path: Path, text: str, status: int) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    ended = valkey.run("import", str(path))
    assert (ended.status, ended.stdout) == (status, "")
    assert "Traceback" not in ended.stderr
    assert valkey.run("import", str(tmp_path / "no such file")).status == 1


def test_what_a_service_does_not_keep(request: pytest.FixtureRequest, valkey: Place, tmp_path: Path) -> None:
    from .conftest import made

    with valkey.connect() as keep:
        keep.logs.append(("n",), [1])
    path = str(tmp_path / "a")
    valkey.run("export", path)
    agentcore = made(request, "agentcore", "", tmp_path)
    ended = agentcore.run("import", path)
    assert ended.status == 2
    assert "keeps no logs; leave them out by kinds=" in ended.stderr
    assert agentcore.run("import", path, "--kind", "items").status == 0


def test_help(valkey: Place) -> None:
    for command in ("export", "import"):
        assert "FILE" in valkey.run(command, "--help").stdout


def test_a_file_that_was_cut_off_is_told_in_one_line(valkey: Place, tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    with valkey.connect() as keep:
        put_chat(keep)
        archive.export(keep, path)
    path.write_bytes(path.read_bytes()[:-100])
    for arguments in (["import", str(path)], ["import", str(path), "--check"]):
        ended = valkey.run(*arguments)
        assert ended.status == 1
        assert ended.stderr.count("\n") == 1
        assert "it was cut off" in ended.stderr
    assert "a damaged record" in valkey.run("import", str(path), "--debug").stderr
