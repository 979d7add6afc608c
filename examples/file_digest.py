"""Kill a LangGraph program in the middle of a fan-out, start it again, and check from the records what became of it.

    python examples/file_digest.py [FILE_OR_FOLDER...] [--answer approve|reject] [--output FILE]

The program is ``file_digest_worker.py``, which makes a digest of text files. This one starts it, watches the records
that it leaves in an embedded Valkey server, ends it with SIGKILL when some files are done and others are not, starts it
again, and compares what was stored at that moment with what the next process did. Then it has the same files digested
in another thread, which finds all digests in the cache. It reads the records through ``statekeep.connect`` alone: it
does not know the graph. No network and no API key is needed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.prompt import Prompt
from rich.table import Table

import statekeep
from statekeep import CheckpointRepository, Connection, Item, PendingWrite, SavedCheckpoint

HERE = Path(__file__).resolve().parent
WORKER = HERE / "file_digest_worker.py"
PATIENCE = 120.0  # seconds for one run of the worker
PAUSES = (0.5, 2.0)  # seconds; the next one is for when the kill came too late
SERDE = JsonPlusSerializer()

console = Console()


class Answer(StrEnum):
    """What the human may say about the report."""

    APPROVE = "approve"
    REJECT = "reject"


class Failed(Exception):
    """The demonstration cannot go on."""


# What the records say


def value_of(saved: SavedCheckpoint, channel: str) -> Any:
    """Return the value of a channel, ``None`` if it has none."""
    found = saved.channels.get(channel)
    return None if found is None or found.payload is None else statekeep.load(SERDE, found.payload)


@dataclass(frozen=True)
class FanOut:
    """The step with one task per file, at one moment: what the store has, and what the log counted.

    Attributes:
        checkpoint_id: the checkpoint on which the tasks run.
        files: what the tasks were sent.
        stored: the pending writes of the finished tasks, by task id.
        runs: how often each task was begun, by task id.
        paths: the files of the tasks that were begun, by task id.
        notes: what the tasks put into the store, by path.
    """

    checkpoint_id: str
    files: list[str]
    stored: dict[str, list[PendingWrite]]
    runs: Counter[str]
    paths: dict[str, str]
    notes: dict[str, Item]

    @property
    def cut_off(self) -> set[str]:
        """The tasks that were begun and not stored."""
        return self.runs.keys() - self.stored.keys()


def entries_of(log: Path) -> list[dict[str, Any]]:
    """Return what the worker wrote down of each task that it began."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def fan_out_in(keep: Connection, log: Path, thread: str, checkpoint_id: str | None = None) -> FanOut | None:
    """Read the fan-out from its checkpoint, by default the newest; ``None`` if this is another one."""
    saved = keep.checkpoints.get(thread, checkpoint_id=checkpoint_id)
    sends: list[Send] = value_of(saved, "__pregel_tasks") or [] if saved is not None else []
    if saved is None or not sends:
        return None
    stored: defaultdict[str, list[PendingWrite]] = defaultdict(list)
    for write in saved.pending_writes:
        if write.idx >= 0:
            stored[write.task_id].append(write)
    entries = entries_of(log)
    return FanOut(
        saved.checkpoint_id,
        [send.arg["path"] for send in sends],
        dict(stored),
        Counter(entry["task"] for entry in entries),
        {entry["task"]: entry["path"] for entry in entries},
        {item.key: item for item in keep.items.list(("digests", thread))},
    )


@dataclass(frozen=True)
class Check:
    """Something that was claimed, and whether it is so."""

    claim: str
    holds: bool
    seen: str


def checks(
    killed: FanOut, finished: FanOut, digests: Sequence[Mapping[str, Any]], skipped: Sequence[Mapping[str, str]]
) -> list[Check]:
    """Compare the moment of the kill with the end.

    Args:
        killed: the fan-out when its process was dead.
        finished: the same fan-out after another process had gone on.
        digests: what the graph's state says about each file in the end.
        skipped: files that the graph could not read, and why.
    """
    kept = killed.stored.keys()
    again = sorted(finished.runs[task] for task in kept if finished.runs[task] != 1)
    same = [task for task in kept if finished.stored.get(task) == killed.stored[task]]
    ran_twice = {task for task, count in finished.runs.items() if count > 1}
    total = finished.runs.total()
    told = [file["path"] for file in [*digests, *skipped] if file["path"] in {*finished.files}]
    wrong = [digest["path"] for digest in digests if sha256_of(Path(digest["path"])) != digest["sha256"]]
    noted = {path: item.value["sha256"] for path, item in finished.notes.items()}
    known = {digest["path"]: digest["sha256"] for digest in digests}
    early = [killed.paths[task] for task in kept if killed.paths[task] in killed.notes]
    untouched = [path for path in early if finished.notes.get(path) == killed.notes[path]]
    return [
        Check(
            "No task that was stored at the kill ran again",
            not again,
            f"{len(kept) - len(again)} of {len(kept)} ran once",
        ),
        Check(
            "What they had stored is unchanged, byte by byte",
            len(same) == len(kept),
            f"{len(same)} of {len(kept)} equal",
        ),
        Check(
            "Every task ran and was stored",
            len(finished.stored) == len(finished.files) and finished.stored.keys() == finished.runs.keys(),
            f"{len(finished.stored)} of {len(finished.files)}",
        ),
        Check(
            # Not all of them have to: one may have been cut off between having its result cached and having it stored.
            "Only tasks that were cut off ran twice",
            ran_twice <= killed.cut_off and total == len(finished.files) + len(ran_twice),
            f"{total} runs = {len(finished.files)} files + {len(ran_twice)} cut off",
        ),
        Check(
            "Each file is in the result, once",
            sorted(told) == sorted(finished.files),
            f"{len({*told})} of {len(finished.files)}",
        ),
        Check(
            "The checksums are those of the files",
            not wrong,
            f"{len(digests) - len(wrong)} of {len(digests)}",
        ),
        Check(
            "The store has a note of each digest, and no other",
            noted == known,
            f"{len(noted.items() & known.items())} of {len(known)}",
        ),
        Check(
            "No note of a stored task was put again",
            len(untouched) == len(early),
            f"{len(untouched)} of {len(early)} unchanged",
        ),
    ]


def cache_check(keep: CheckpointRepository, log: Path, thread: str, again: str) -> Check:
    """Compare the end of two threads that digested the same files, the second one with what the first had cached.

    Args:
        keep: has both threads.
        log: what the worker wrote down of the second one's tasks.
        thread: id of the first thread.
        again: id of the second thread.
    """
    first, second = (
        sorted(value_of(saved, "digests") or [], key=lambda digest: str(digest["path"])) if saved is not None else None
        for saved in (keep.get(thread), keep.get(again))
    )
    files = len(first or [])
    hits = files - len(entries_of(log))
    return Check(
        "The same files again: all digests were in the cache", hits == files and first == second, f"{hits} of {files}"
    )


def sha256_of(path: Path) -> str | None:
    """Return the checksum of a file, ``None`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def history(keep: CheckpointRepository, thread: str) -> Table:
    """Return the thread's checkpoints as a table, the first one first."""
    table = Table(title=f"Checkpoints of thread {thread}", box=box.SIMPLE_HEAD)
    table.add_column("checkpoint", no_wrap=True)
    table.add_column("step", justify="right")
    table.add_column("source")
    table.add_column("next", no_wrap=True)
    table.add_column("writes", justify="right")
    table.add_column("bytes", justify="right")
    table.add_column("reused", justify="right")
    seen: set[tuple[str, Any]] = set()
    for saved in reversed(list(keep.list(thread))):
        fresh = unchanged = 0
        for name, channel in saved.channels.items():
            size = len(channel.payload.data) if channel.payload is not None else 0
            if (name, channel.version) in seen:
                unchanged += size
            else:
                fresh += size
            seen.add((name, channel.version))
        fresh += len(saved.header.data) if saved.header is not None else 0
        fresh += sum(len(write.payload.data) for write in saved.pending_writes)
        table.add_row(
            saved.checkpoint_id[:18],
            str(saved.metadata["step"]),
            saved.metadata["source"],
            ", ".join(next_of(saved)) or "-",
            str(len(saved.pending_writes)),
            f"{fresh:,}",
            f"{unchanged:,}",
        )
    table.caption = (
        "bytes: new values, header and pending writes. reused: values that an earlier checkpoint has stored, and this "
        "one refers to."
    )
    return table


def next_of(saved: SavedCheckpoint) -> Iterator[str]:
    """Yield the nodes that the channels of a checkpoint call for."""
    if value_of(saved, "__start__") is not None:
        yield "__start__"
    sends = Counter(send.node for send in value_of(saved, "__pregel_tasks") or [])
    yield from (f"{node} x {count}" for node, count in sends.items())
    for name, channel in saved.channels.items():
        if name.startswith("branch:to:") and channel.payload is not None:
            yield name.removeprefix("branch:to:")


# The worker


@dataclass(frozen=True)
class Worker:
    """How the program is started: each time in a process of its own, over the same directory."""

    directory: Path
    output: Path
    most: int

    def log(self, thread: str) -> Path:
        """Return the file in which the program counts its tasks."""
        return self.directory / f"{thread}.log"

    @contextmanager
    def running(self, thread: str, *words: str, pause: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program; it has ended when the block ends."""
        order, *rest = words
        options = [f"--state={self.directory / 'valkey'}", f"--thread={thread}", f"--log={self.log(thread)}"]
        options += [f"--output={self.output}", f"--most={self.most}", f"--pause={pause}"]
        with self._messages.open("wb") as messages:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), order, *options, "--", *rest],
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def run(self, thread: str, *words: str) -> None:
        """Run the program to its end."""
        with self.running(thread, *words) as process:
            try:
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise Failed(f"The worker did not end within {PATIENCE:g} s.") from None
            self.check(status)

    def check(self, status: int) -> None:
        """Raise ``Failed`` unless the program ended well."""
        if status != 0:
            messages = self._messages.read_text("utf-8", errors="replace").strip()
            raise Failed(f"The worker ended with status {status}:\n{messages[-3000:]}")

    @property
    def _messages(self) -> Path:
        return self.directory / "worker.txt"


def kill_midway(keep: Connection, worker: Worker, thread: str, roots: list[str], pause: float) -> FanOut | None:
    """Start the worker and kill it when some of its tasks are stored, and others not.

    Returns:
        What was stored and begun when the process was dead; ``None`` if it had got further than that.
    """
    deadline = time.monotonic() + PATIENCE
    with worker.running(thread, "start", *roots, pause=pause) as process:
        while True:
            status = process.poll()
            seen = fan_out_in(keep, worker.log(thread), thread)
            if seen is not None and enough(seen):
                break
            if status is not None:
                worker.check(status)
                break
            if time.monotonic() > deadline:
                raise Failed(f"The worker did not get to its tasks within {PATIENCE:g} s.")
            time.sleep(0.01)
        process.kill()
        process.wait()
    # Only now nothing moves any more: what the store says from here on is what the kill left.
    left = fan_out_in(keep, worker.log(thread), thread)
    if left is None or len(left.stored) == len(left.files):
        return None
    return left


def enough(seen: FanOut) -> bool:
    """Whether this is the middle. A single task has none: it is killed as soon as it was begun."""
    if len(seen.files) == 1:
        return seen.runs.total() > 0
    return len(seen.stored) >= len(seen.files) // 2


# The demonstration


def demonstrate(keep: Connection, worker: Worker, roots: list[str], answer: Answer | None) -> list[Check]:
    """Do it all, and return what was checked."""
    for attempt, pause in enumerate(PAUSES):
        keep.cache.clear()  # what an attempt before this one had digested
        thread = f"digest-{uuid.uuid4().hex[:8]}"
        console.print(f"[bold]1.[/] A worker process begins; thread {thread}.", highlight=False)
        console.print(f"   Each task sleeps up to {4 * pause:g} s, so that there is a middle in which to kill it.")
        killed = kill_midway(keep, worker, thread, roots, pause)
        if killed is not None:
            break
        saved = keep.checkpoints.get(thread)
        if saved is None or not value_of(saved, "files"):
            skipped = [] if saved is None else value_of(saved, "skipped") or []
            reasons = "".join(f"\n  {file['path']}: {file['reason']}" for file in skipped[:10])
            raise typer.BadParameter(f"there is no text file to digest in {', '.join(roots)}{reasons}")
        if attempt + 1 < len(PAUSES):
            console.print("   The kill came too late, all tasks were stored: once more, with more time.")
    else:
        raise Failed("The kill came too late each time: this machine is too busy for it.")

    waiting = len(killed.files) - len(killed.runs)
    console.print(f"[bold]2.[/] SIGKILL. Tasks: {len(killed.stored)} stored, ", end="")
    console.print(f"{len(killed.cut_off)} cut off in the middle, {waiting} not begun. Notes: {len(killed.notes)}.")
    if len(killed.files) == 1:
        console.print("   With one file nothing can be stored yet; two or more show more.")

    worker.run(thread, "resume")
    console.print("[bold]3.[/] Another process went on from the records, up to the question for a human.")
    saved = keep.checkpoints.get(thread)
    asked = [write for write in saved.pending_writes if write.channel == "__interrupt__"] if saved else []
    if not asked:
        raise Failed("The worker asked no question.")
    question = statekeep.load(SERDE, asked[0].payload)[0].value
    console.rule("the report")
    console.print(Markdown(question["report"]))
    console.rule()
    if answer is None and sys.stdin.isatty():
        answer = Answer(Prompt.ask(question["question"], choices=[*Answer], default=Answer.APPROVE, console=console))
    given = answer or Answer.APPROVE
    worker.run(thread, "answer", given)
    console.print(f"[bold]4.[/] {question['question']} {given}. A third process did as it was told.")

    again = f"{thread}-again"
    began = time.monotonic()
    worker.run(again, "start", *roots)
    hits = len(killed.files) - len(entries_of(worker.log(again)))
    console.print(f"[bold]5.[/] The same files in another thread: {hits} of {len(killed.files)} ", end="")
    console.print(f"digests came from the cache, and all took {time.monotonic() - began:.1f} s.")

    end = keep.checkpoints.get(thread)
    finished = fan_out_in(keep, worker.log(thread), thread, killed.checkpoint_id)
    if end is None or finished is None:
        raise Failed("The thread, or its fan-out, is not stored any more.")
    console.print()
    console.print(history(keep.checkpoints, thread))
    found = checks(killed, finished, value_of(end, "digests") or [], value_of(end, "skipped") or [])
    report = worker.output.read_text("utf-8") if worker.output.exists() else None
    if given is Answer.APPROVE:
        found.append(Check("The report was written as approved", report == question["report"], worker.output.name))
    else:
        found.append(Check("A rejected report was not written", report is None, worker.output.name))
    found.append(cache_check(keep.checkpoints, worker.log(again), thread, again))
    return found


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, readable=True, help="Files and folders; by default this project's documentation."),
    ] = None,
    answer: Annotated[
        Answer | None,
        typer.Option(help="Answers the question; by default you are asked, or approve without a terminal."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Keeps the report; by default it is only shown.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="How many files are digested at most.")] = 64,
) -> None:
    """Digest text files, with a worker that is killed halfway and goes on from its checkpoints."""
    if output is not None and output.exists():
        raise typer.BadParameter(f"{output} exists already", param_hint="--output")
    if output is not None and not output.absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder of {output} does not exist", param_hint="--output")
    if roots:
        chosen = [str(root.absolute()) for root in roots]
    else:
        chosen = [str(HERE.parent / name) for name in ("docs", "README.md", "CHANGELOG.md")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # clean up then, too
    directory = Path(tempfile.mkdtemp(prefix="file-digest-"))
    try:
        worker = Worker(directory, output.absolute() if output else directory / "digest.md", most)
        # This process uses the server too, so it stays when the worker dies; its data would stay in any case.
        with statekeep.connect(f"embedded:{directory / 'valkey'}") as keep:
            found = demonstrate(keep, worker, chosen, answer)
    except Failed as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    finally:
        shutil.rmtree(directory)

    table = Table(title="Checked", box=box.SIMPLE_HEAD, show_header=False)
    for check in found:
        table.add_row("[green]yes[/]" if check.holds else "[red]NO[/]", check.claim, check.seen)
    console.print(table)
    if not all(check.holds for check in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
