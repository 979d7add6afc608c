"""The examples run, on their own terms and on bad input, and their checks can fail."""

from __future__ import annotations

import copy
import datetime as dt
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from langgraph.runtime import ExecutionInfo, Runtime

import statekeep
from examples import file_digest_worker as worker
from examples.file_digest import SERDE, Check, FanOut, cache_check, checks, sha256_of
from statekeep import Channel, Checkpoint, Item, Payload, PendingWrite
from statekeep.langgraph_shim import RepositoryStore
from tests.fenced import ROOT


@frozen
class Run:
    """What a program did."""

    status: int
    output: str
    left: list[str]


def run(program: str, *arguments: str | Path, directory: Path, blocked: str = "") -> Run:
    """Run an example without a terminal, its temporary files in ``directory``, some packages not to be imported."""
    command = [sys.executable, str(ROOT / "examples" / program)]
    if blocked:
        site = directory / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(BLOCK.format(blocked=blocked.split()), "utf-8")
    # A short path: sockets of longer ones would be elsewhere.
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as temporary:
        environment = {**os.environ, "TMPDIR": temporary, "COLUMNS": "160", "PYTHONWARNINGS": "error::UserWarning"}
        if blocked:
            environment["PYTHONPATH"] = os.pathsep.join([str(directory / "site"), str(ROOT / "src")])
        done = subprocess.run(
            [*command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
            env=environment,
            cwd=directory,
        )
        left = [*os.listdir(temporary), *processes(temporary)]
    return Run(done.returncode, done.stdout, left)


BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
"""


def processes(text: str) -> list[str]:
    """Return the command lines of processes that name ``text`` or work below it, where /proc can tell."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(entry / "cwd")
        except OSError:  # it has ended, or is another user's
            continue
        if text in line or where.startswith(text):
            found.append(line)
    return found


def checked(output: str) -> dict[str, str]:
    """Return what the table of checks says, by claim."""
    return {
        claim.strip(): verdict
        for verdict, claim in re.findall(r"^\s+(yes|NO)\s{2,}(.+?)\s{2,}.*$", output, re.MULTILINE)
    }


# -- the demonstration


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Text of many kinds, and what is no text."""
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    paragraph = "A checkpoint is kept whole or not at all, whatever happens to the program that puts it there.\n"
    (folder / "one.md").write_text(f"# One | two\n\n{paragraph}\n## Part\n\n```\n# no heading\n```\n", "utf-8")
    (folder / "deeper" / "two.txt").write_text(f"Title\n=====\n\n{paragraph}", "utf-8")
    (folder / "latin.txt").write_bytes("Überraschung für alle, die Umlaute mögen\n".encode("latin-1"))
    (folder / "wide.txt").write_bytes("in sixteen bits".encode("utf-16"))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "huge.txt").write_bytes(b"word " * 500_000)
    (folder / "brack[et] *name*.txt").write_text("name", "utf-8")
    (folder / "binary.bin").write_bytes(bytes(range(256)))
    (folder / ".hidden" / "secret.txt").write_text("secret", "utf-8")
    (folder / "link.txt").symlink_to(folder / "one.md")
    (folder / "dangling.txt").symlink_to(folder / "nothing")
    return folder


@pytest.mark.slow
def test_the_demonstration_proves_its_claims(odd_folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    done = run("file_digest.py", odd_folder, "--output", report, directory=tmp_path)
    assert done.status == 0, done.output
    assert done.left == []
    verdicts = checked(done.output)
    assert len(verdicts) == 10
    assert "7 of 7 digests came from the cache" in done.output
    assert {*verdicts.values()} == {"yes"}

    killed = re.search(r"Tasks: (\d+) stored, (\d+) cut off in the middle, (\d+) not begun. Notes: (\d+)", done.output)
    assert killed
    assert sum(map(int, killed.groups()[:3])) == 7
    assert int(killed[1]) <= int(killed[4]) <= int(killed[1]) + int(killed[2])
    assert "7 of 7" in done.output
    assert 0 < int(killed[1]) < 7

    text = report.read_text("utf-8")
    assert "7 files" in text
    assert r"One \| two" in text
    assert "no heading" not in text
    assert "read as latin-1" in text
    assert "read as utf-16" in text
    assert "first 1 MiB of 2 MiB" in text
    assert "100% alike, deeper/two.txt and one.md" in text
    assert "binary.bin: binary" in text
    assert "secret" not in text
    assert "link.txt" not in text
    assert str(sha256_of(odd_folder / "huge.txt"))[:12] in text

    assert "digest x 7" in done.output
    assert [*re.findall(r"^\s+1[\w-]{17}\s+(-?\d+)\s+(\w+)", done.output, re.MULTILINE)] == [
        ("-1", "input"),
        *((str(step), "loop") for step in range(6)),
    ]


@pytest.mark.slow
def test_one_file_has_no_middle_but_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("the only file", "utf-8")
    done = run("file_digest.py", tmp_path / "only.txt", "--answer", "reject", directory=tmp_path)
    assert done.status == 0, done.output
    assert done.left == []
    assert "Tasks: 0 stored, 1 cut off in the middle, 0 not begun" in done.output
    assert "With one file" in done.output
    assert checked(done.output)["A rejected report was not written"] == "yes"
    assert {*checked(done.output).values()} == {"yes"}


def test_a_folder_without_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "image.png").write_bytes(b"\x89PNG\0\0")
    done = run("file_digest.py", tmp_path / "folder", directory=tmp_path)
    assert done.status == 2
    assert done.left == []
    assert "no text file" in done.output
    assert "binary" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "does not exist"),
        (["--answer", "perhaps"], "perhaps"),
        (["--most", "0"], "greater than or equal to 1"),
        (["--output", "nowhere/report.md"], "does not exist"),
        (["--output", "here.md"], "exists already"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    done = run("file_digest.py", *arguments, directory=tmp_path)
    assert done.status == 2
    assert message in done.output
    assert done.left == []


def write(value: bytes) -> PendingWrite:
    return PendingWrite(task_id="t", idx=0, channel="digests", payload=Payload(encoding="raw", data=value))


def note(path: str, version: int = 1) -> Item:
    now = dt.datetime(2026, 1, 1, second=version, tzinfo=dt.UTC)
    value = {"sha256": sha256_of(Path(path))}
    return Item(namespace=("digests", "t"), key=path, value=value, created_at=now, updated_at=now, version=version)


@pytest.fixture
def evidence(tmp_path: Path) -> dict[str, Any]:
    """Two files of which one was stored at the kill and the other cut off, and a good end."""
    files = [tmp_path / "a", tmp_path / "b"]
    for path in files:
        path.write_text(path.name, "utf-8")
    paths = [str(path) for path in files]
    tasks = dict(zip(("ta", "tb"), paths, strict=True))
    notes = {path: note(path) for path in paths}
    killed = FanOut("1", paths, {"ta": [write(b"a")]}, Counter({"ta": 1, "tb": 1}), tasks, dict(notes))
    again = {**notes, paths[1]: note(paths[1], version=2)}
    stored = {"ta": [write(b"a")], "tb": [write(b"b")]}
    finished = FanOut("1", paths, stored, Counter({"ta": 1, "tb": 2}), tasks, again)
    digests = [{"path": str(path), "sha256": sha256_of(path)} for path in files]
    return {"killed": killed, "finished": finished, "digests": digests, "skipped": []}


def broken(found: list[Check]) -> set[str]:
    return {check.claim for check in found if not check.holds}


def test_a_good_end_passes_all_checks(evidence: dict[str, Any]) -> None:
    assert broken(checks(**evidence)) == set()


def test_a_second_run_of_a_stored_task_is_noticed(evidence: dict[str, Any]) -> None:
    evidence["finished"].runs["ta"] = 2
    assert broken(checks(**evidence)) == {
        "No task that was stored at the kill ran again",
        "Only tasks that were cut off ran twice",
    }


@pytest.mark.parametrize("instead", [[write(b"other")], []])
def test_a_changed_or_lost_write_is_noticed(instead: list[PendingWrite], evidence: dict[str, Any]) -> None:
    evidence["finished"].stored["ta"] = instead
    assert broken(checks(**evidence)) == {"What they had stored is unchanged, byte by byte"}


def test_a_task_that_is_not_stored_is_noticed(evidence: dict[str, Any]) -> None:
    del evidence["finished"].stored["tb"]
    assert broken(checks(**evidence)) == {"Every task ran and was stored"}


def test_a_task_whose_result_was_cached_need_not_run_again(evidence: dict[str, Any]) -> None:
    evidence["finished"].runs["tb"] = 1
    assert broken(checks(**evidence)) == set()
    del evidence["finished"].stored["tb"]
    assert broken(checks(**evidence)) == {"Every task ran and was stored"}


def test_a_task_that_ran_three_times_is_noticed(evidence: dict[str, Any]) -> None:
    evidence["finished"].runs["tb"] = 3
    assert broken(checks(**evidence)) == {"Only tasks that were cut off ran twice"}


@pytest.mark.parametrize("change", ["none", "ran", "other", "lost"])
def test_a_second_run_that_does_more_than_read_the_cache_is_noticed(change: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    digests = [{"path": "b"}, {"path": "a"}]
    with statekeep.connect("memory:") as keep:
        for thread in ("first", "second"):
            found = (
                digests if thread == "first" else {"other": [{"path": "c"}, *digests[1:]]}.get(change, digests[::-1])
            )
            channel = Channel.of(1, statekeep.dump(SERDE, found))
            if thread == "first" or change != "lost":
                keep.checkpoints.put(Checkpoint(thread_id=thread, channels={"digests": channel}))
        if change == "ran":
            log.write_text('{"task": "t", "path": "a"}\n', "utf-8")
        assert cache_check(keep.checkpoints, log, "first", "second").holds is (change == "none")


@pytest.mark.parametrize("change", ["lost", "twice"])
def test_a_result_that_is_lost_or_there_twice_is_noticed(change: str, evidence: dict[str, Any]) -> None:
    digests = evidence["digests"]
    digests[:] = digests[1:] if change == "lost" else [*digests, copy.copy(digests[0])]
    claims = {"Each file is in the result, once"}
    if change == "lost":
        claims.add("The store has a note of each digest, and no other")
    assert broken(checks(**evidence)) == claims


def test_a_wrong_checksum_is_noticed(evidence: dict[str, Any]) -> None:
    evidence["digests"][0]["sha256"] = "0" * 64
    assert broken(checks(**evidence)) == {
        "The checksums are those of the files",
        "The store has a note of each digest, and no other",
    }


@pytest.mark.parametrize("change", ["lost", "wrong", "strange"])
def test_a_note_that_is_lost_or_wrong_is_noticed(change: str, evidence: dict[str, Any]) -> None:
    notes = evidence["finished"].notes
    path = evidence["finished"].paths["tb"]
    if change == "lost":
        del notes[path]
    elif change == "wrong":
        notes[path] = notes[path].model_copy(update={"value": {"sha256": "0" * 64}})
    else:
        notes["elsewhere"] = notes[path]
    assert broken(checks(**evidence)) == {"The store has a note of each digest, and no other"}


def test_a_note_that_was_put_again_without_need_is_noticed(evidence: dict[str, Any]) -> None:
    path = evidence["finished"].paths["ta"]
    evidence["finished"].notes[path] = note(path, version=2)
    assert broken(checks(**evidence)) == {"No note of a stored task was put again"}


# -- the digest itself


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"", "utf-8-sig"),
        (b"plain", "utf-8-sig"),
        ("\ufeffé".encode(), "utf-8-sig"),
        ("éé".encode()[:-1], "utf-8-sig"),  # a character is cut in two
        ("für".encode("latin-1"), "latin-1"),
        ("wide".encode("utf-16"), "utf-16"),
        (b"\x89PNG\r\n\0", None),
        (bytes(range(1, 256)), None),
    ],
)
def test_encoding_of(head: bytes, encoding: str | None) -> None:
    assert worker.encoding_of(head) == encoding


def test_sketches_estimate_likeness() -> None:
    words = [f"word{number}" for number in range(100)]
    text = " ".join(words)
    changed = " ".join(["other", *words[1:]])
    assert worker.likeness(worker.sketch(text), worker.sketch(text)) == 1.0
    assert worker.likeness(worker.sketch(text), worker.sketch(changed)) > 0.9
    assert worker.likeness(worker.sketch(text), worker.sketch(" ".join(reversed(words)))) == 0.0
    assert worker.likeness([], []) == 0.0


def test_key_terms_are_those_of_one_file(tmp_path: Path) -> None:
    for name in ("apple", "pear"):
        (tmp_path / name).write_text(f"{name} {name} fruit fruit fruit and the of", "utf-8")
    digests = [worker.digest_of(tmp_path / name) for name in ("apple", "pear")]
    terms = worker.key_terms(digests, most=2)
    assert terms == {str(tmp_path / "apple"): ["fruit", "apple"], str(tmp_path / "pear"): ["fruit", "pear"]}


def test_versions_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def version(slowness: float = 1.0) -> str:
        return worker.version_of({"path": str(path), "slowness": slowness})

    found = [version()]
    for text in ("one", "longer", "again"):
        path.write_text(text, "utf-8")
        os.utime(path, ns=(0, len(found)))
        found.append(version())
        assert version(2.0) == found[-1]
    assert len({*found}) == 4


def test_a_note_is_kept_of_a_file_unless_it_vanished_before_its_task(tmp_path: Path) -> None:
    runtime: Any = Runtime(
        context=worker.Conditions(tmp_path / "log", 0),
        store=RepositoryStore(statekeep.connect("memory:").items),
        execution_info=ExecutionInfo(checkpoint_id="1", checkpoint_ns="", task_id="t", thread_id="thread"),
    )
    gone, there = str(tmp_path / "gone"), tmp_path / "there.txt"
    there.write_text("red blue blue", "utf-8")
    found = worker.digest({"path": gone, "slowness": 1.0}, runtime)
    assert found == {"skipped": [{"path": gone, "reason": "No such file or directory"}]}
    assert runtime.store.search(()) == []
    worker.digest({"path": str(there), "slowness": 1.0}, runtime)
    [kept] = runtime.store.search(("digests", "thread"))
    assert kept.key == str(there)
    assert kept.value == {"title": "red blue blue", "words": 3, "sha256": sha256_of(there), "terms": ["blue", "red"]}
    assert (tmp_path / "log").read_text("utf-8").count("\n") == 2


# -- the typed state


@pytest.mark.parametrize("url", ["memory:", "embedded:", "embedded:DIR"])
def test_the_typed_state_needs_no_langgraph(url: str, tmp_path: Path) -> None:
    blocked = "langgraph langchain_core langchain rich typer"
    done = run("typed_state.py", url.replace("DIR", str(tmp_path / "s")), directory=tmp_path, blocked=blocked)
    assert done.status == 0, done.output
    assert done.left == []
    lines = done.output.splitlines()
    assert lines[0] == "Stopped after sentences, before its step was stored."
    assert lines[1] == "Its successor called longest; the answer of sentences was stored."
    steps = [re.match(r"  step (\d)  id (\w+)  parent (\S+)", line) for line in lines]
    found = [(step[1], step[2], step[3]) for step in steps if step]
    assert [step for step, *_ in found] == [*"3210", *"323210", "3"]
    history, forked, pruned = found[:4], found[4:10], found[10:]
    assert [parent for _, _, parent in history] == [*(name for _, name, _ in history[1:]), "-"]
    assert forked[2:] == history
    assert forked[1][2] == history[1][1] == history[0][2]
    assert forked[0][2] == forked[1][1]
    assert pruned == [("3", forked[0][1], "-")]
    assert lines[-1] == "Threads: reader-1"


def test_blocking_blocks(tmp_path: Path) -> None:
    done = run("file_digest.py", "--help", directory=tmp_path, blocked="langgraph")
    assert done.status == 1
    assert "is blocked" in done.output
