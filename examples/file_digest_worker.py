"""A digest of text files as a LangGraph graph: the program that ``file_digest.py`` starts, kills and starts again.

It is a program of its own, kept in a Valkey server of its own (``embedded:DIR``). Nothing of its progress is anywhere
but in the checkpoints; what it found out about each file is in the store, too, as a note that outlives the thread, and
in the cache, so that no other run digests the same file again::

    plan -> digest (one task per file) -> merge -> approve (a human) -> publish

    python file_digest_worker.py start --state DIR --thread ID --log FILE --output FILE FOLDER_OR_FILE...
    python file_digest_worker.py resume --state DIR --thread ID --log FILE
    python file_digest_worker.py answer --state DIR --thread ID --log FILE approve
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import operator
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import typer
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy, Command, Send, interrupt

from statekeep.langgraph_shim import ValkeyCache, ValkeySaver, ValkeyStore

SIDE_BY_SIDE = 4  # tasks
READ_LIMIT = 1 << 20  # bytes of one file that are analysed; the checksum covers all of it
WORDS_PER_MINUTE = 220
TERMS_KEPT = 150  # most frequent terms of a file, the material of tf-idf
TERMS_NOTED = 6
PARAGRAPH_WORDS = 12  # shorter paragraphs repeat by chance
PARAGRAPHS_KEPT = 400  # of one file
SKETCH = 48  # hashes kept of a paragraph
DUPLICATE = 0.7  # estimated share of common word triples from which on two paragraphs are nearly the same

PROSE = frozenset({".md", ".markdown", ".rst", ".txt", ""})  # elsewhere a line that begins with # is a comment

STOP_WORDS = frozenset(
    word
    for line in (
        "about after all also and any are because been before being but can could does each for from had has have here",
        "how into its just like may more most not now off once one only other our out over own same should some such",
        "than that the their them then there these they this those through too under until use used was were what when",
        "where which while who why will with without would you your",
    )
    for word in line.split()
)


class Skipped(TypedDict):
    """A file that is no text, and why."""

    path: str
    reason: str


class File(TypedDict):
    """What a task of the fan-out is sent."""

    path: str
    slowness: float


class Digest(TypedDict):
    """What is known about one file."""

    path: str
    sha256: str
    size: int
    encoding: str
    truncated: bool
    title: str
    headings: list[tuple[int, str]]
    words: int
    terms: dict[str, int]
    paragraphs: list[tuple[str, list[int]]]


class Note(TypedDict):
    """What the store keeps about one file, under its path."""

    title: str
    words: int
    sha256: str
    terms: list[str]


class State(TypedDict):
    """What the graph keeps."""

    roots: list[str]
    most: int
    output: str
    files: list[str]
    left_out: int
    skipped: Annotated[list[Skipped], operator.add]
    digests: Annotated[list[Digest], operator.add]
    report: str
    answer: str


@dataclass(frozen=True)
class Conditions:
    """What belongs to a run of the program, and not to the state.

    ``pause`` is in seconds: up to four of them lie between the digest of a file and the end of its task.
    """

    log: Path
    pause: float


# What one file has to say


def encoding_of(head: bytes) -> str | None:
    """Return how a file that begins with ``head`` is to be decoded; ``None`` if it is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head:
        return None
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.end < len(head) or len(head) - error.start > 3:  # else a character is cut in two
            # Every byte is a character in Latin-1, so control characters have to tell text from binary data.
            control = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
            return "latin-1" if control * 100 < len(head) else None
    return "utf-8-sig"


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, web addresses left out."""
    return re.findall(r"[^\W_]+(?:['_-][^\W_]+)*", re.sub(r"\w+://\S+", " ", text).lower())


def headings_of(text: str) -> list[tuple[int, str]]:
    """Return (level, title) of the headings in Markdown and reStructuredText, code blocks left out."""
    found: list[tuple[int, str]] = []
    above = ""
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif fenced:
            pass
        elif marked := re.match(r"(#{1,6})\s+(.+?)\s*#*$", line):
            found.append((len(marked[1]), marked[2]))
        elif above and re.fullmatch(r"(=+|-+|~+)\s*", line) and len(line.strip()) >= max(3, len(above)):
            found.append(("=-~".index(line[0]) + 1, above))
        above = line.strip()
    return found


def paragraphs_of(text: str) -> Iterator[str]:
    """Yield the paragraphs that are long enough to be worth a comparison."""
    for paragraph in re.split(r"\n\s*\n", text):
        if len(words_of(paragraph)) >= PARAGRAPH_WORDS:
            yield " ".join(paragraph.split())


def sketch(paragraph: str) -> list[int]:
    """Return the smallest hashes of the paragraph's word triples: like paragraphs have like sketches."""
    words = words_of(paragraph)
    triples = {" ".join(words[at : at + 3]) for at in range(len(words) - 2)}
    hashes = (hashlib.blake2b(triple.encode(), digest_size=6).digest() for triple in triples)
    return sorted(int.from_bytes(digest) for digest in hashes)[:SKETCH]


def likeness(one: Sequence[int], other: Sequence[int]) -> float:
    """Estimate from two sketches which share of their word triples two paragraphs have in common, 0 to 1."""
    smallest = sorted({*one, *other})[:SKETCH]
    return len({*one} & {*other} & {*smallest}) / len(smallest) if smallest else 0.0


def digest_of(path: Path) -> Digest:
    """Read and analyse one file."""
    sha256 = hashlib.sha256()
    size = 0
    content = b""
    with path.open("rb") as file:
        while block := file.read(READ_LIMIT):
            content = content or block
            sha256.update(block)
            size += len(block)
    encoding = encoding_of(content) or "latin-1"
    text = content.decode(encoding, errors="replace").replace("\r\n", "\n")
    words = words_of(text)
    headings = headings_of(text) if path.suffix.lower() in PROSE else []
    first_line = next((line.strip() for line in text.splitlines() if line.strip()), "(empty)")
    terms = Counter(word for word in words if len(word) > 2 and word not in STOP_WORDS and not word.isdecimal())
    paragraphs = [paragraph for paragraph, _ in zip(paragraphs_of(text), range(PARAGRAPHS_KEPT), strict=False)]
    return {
        "path": str(path),
        "sha256": sha256.hexdigest(),
        "size": size,
        "encoding": encoding.removesuffix("-sig"),
        "truncated": size > len(content),
        "title": (headings[0][1] if headings else first_line)[:80],
        "headings": headings,
        "words": len(words),
        "terms": dict(terms.most_common(TERMS_KEPT)),
        "paragraphs": [(paragraph[:100], sketch(paragraph)) for paragraph in paragraphs],
    }


def note_of(digest: Digest) -> Note:
    """Return what is worth keeping of a digest."""
    terms = sorted(digest["terms"], key=lambda term: (-digest["terms"][term], term))[:TERMS_NOTED]
    return {"title": digest["title"], "words": digest["words"], "sha256": digest["sha256"], "terms": terms}


# What all files together have to say


def key_terms(digests: Sequence[Digest], most: int = 6) -> dict[str, list[str]]:
    """Return for each path the terms that are frequent there and rare elsewhere (tf-idf)."""
    spread = Counter(term for digest in digests for term in digest["terms"])
    ranked = {}
    for digest in digests:
        weights = {
            term: count * (math.log((1 + len(digests)) / (1 + spread[term])) + 1)
            for term, count in digest["terms"].items()
        }
        ranked[digest["path"]] = sorted(weights, key=lambda term: (-weights[term], term))[:most]
    return ranked


def near_duplicates(digests: Sequence[Digest]) -> list[tuple[float, str, str, str]]:
    """Return (likeness, path, other path, beginning) of paragraphs that occur twice, or nearly so; likest first."""
    paragraphs = [(digest["path"], beginning, marks) for digest in digests for beginning, marks in digest["paragraphs"]]
    holders: defaultdict[int, list[int]] = defaultdict(list)
    for position, (_, _, marks) in enumerate(paragraphs):
        for mark in marks:
            holders[mark].append(position)
    candidates = {pair for positions in holders.values() for pair in combinations(positions[:20], 2)}
    found = []
    for one, other in candidates:
        alike = likeness(paragraphs[one][2], paragraphs[other][2])
        if alike >= DUPLICATE:
            found.append((alike, paragraphs[one][0], paragraphs[other][0], paragraphs[one][1]))
    return sorted(found, key=lambda pair: (-pair[0], pair[1:]))


def minutes(words: int) -> int:
    """Return the reading time."""
    return math.ceil(words / WORDS_PER_MINUTE)


def cell(text: str) -> str:
    """Return text that means itself in Markdown, also in a table."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def report_of(digests: Sequence[Digest], skipped: Sequence[Skipped], left_out: int, common: Path) -> str:
    """Return the report as Markdown; paths are shown below ``common``."""

    def name(path: str) -> str:
        return cell(os.path.relpath(path, common))

    words = sum(digest["words"] for digest in digests)
    lines = [
        "# Digest",
        "",
        f"{len(digests)} files, {words} words, about {minutes(words)} minutes to read.",
        "",
        "| File | Title | Words | Minutes | Key terms | SHA-256 |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    terms = key_terms(digests)
    for digest in digests:
        notes = [f"read as {digest['encoding']}"] if digest["encoding"] != "utf-8" else []
        notes += [f"first {READ_LIMIT >> 20} MiB of {digest['size'] >> 20} MiB"] if digest["truncated"] else []
        about = f" ({', '.join(notes)})" if notes else ""
        columns = [name(digest["path"]) + about, cell(digest["title"]), str(digest["words"])]
        columns += [str(minutes(digest["words"])), cell(", ".join(terms[digest["path"]])), digest["sha256"][:12]]
        lines.append(f"| {' | '.join(columns)} |")
    lines += ["", "## Contents", ""]
    for digest in digests:
        lines.append(f"- {name(digest['path'])}: {cell(digest['title'])}")
        lines += [f"  - {cell(title)}" for level, title in digest["headings"][1:] if level <= 2]
    duplicates = near_duplicates(digests)
    lines += ["", "## Paragraphs that occur twice", ""]
    for alike, one, other, beginning in duplicates[:20]:
        lines.append(f"- {alike:.0%} alike, {name(one)} and {name(other)}: {cell(beginning)}")
    if not duplicates:
        lines.append("None.")
    if skipped or left_out:
        lines += ["", "## Left out", ""]
        lines += [f"- {name(file['path'])}: {file['reason']}" for file in skipped]
        lines += [f"- {left_out} more text files, beyond the limit"] if left_out else []
    return "\n".join(lines) + "\n"


# The graph


def files_below(roots: Sequence[str]) -> Iterator[Path]:
    """Yield the files of folders, in order, hidden ones and symbolic links left out; roots that are files as such."""
    for root in map(Path, roots):
        if root.is_file():
            yield root
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
            paths = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            yield from (path for path in paths if path.is_file() and not path.is_symlink())


def plan(state: State) -> dict[str, Any]:
    """Find the text files."""
    files: list[str] = []
    skipped: list[Skipped] = []
    for path in dict.fromkeys(files_below(state["roots"])):
        try:
            with path.open("rb") as file:
                encoding = encoding_of(file.read(8192))
        except OSError as error:
            skipped.append({"path": str(path), "reason": error.strerror or "cannot be read"})
            continue
        if encoding is None:
            skipped.append({"path": str(path), "reason": "binary"})
        else:
            files.append(str(path))
    return {"files": files[: state["most"]], "left_out": len(files[state["most"] :]), "skipped": skipped}


def fan_out(state: State) -> list[Send] | str:
    """Send each file to a task of its own."""
    # As many as run side by side end one after the other, and many files take not much longer than a few.
    unit = min(1.0, 10 / max(1, len(state["files"])))
    files = [File(path=path, slowness=(1 + place % SIDE_BY_SIDE) * unit) for place, path in enumerate(state["files"])]
    return [Send("digest", file) for file in files] or END


def notes_of(thread: str) -> tuple[str, ...]:
    """Return the namespace of a thread's notes."""
    return ("digests", thread)


def version_of(file: File) -> str:
    """Return what is equal as long as a file is: under this key its digest is in the cache."""
    try:
        found = Path(file["path"]).stat()
    except OSError as error:
        return f"{file['path']}: {error.strerror}"
    return f"{file['path']}: {found.st_size} bytes, {found.st_mtime_ns}"


def digest(state: File, runtime: Runtime[Conditions]) -> dict[str, Any]:
    """Digest one file, and keep a note of it. Not called for what the cache has.

    First says so in the log, so that each execution counts, also one that is cut off. A task that runs again puts the
    same note again.
    """
    assert runtime.execution_info is not None
    assert runtime.execution_info.thread_id is not None
    assert runtime.store is not None
    entry = json.dumps({"task": runtime.execution_info.task_id, "path": state["path"], "pid": os.getpid()})
    log = os.open(runtime.context.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(log, entry.encode() + b"\n")
    finally:
        os.close(log)
    try:
        found = digest_of(Path(state["path"]))
    except OSError as error:  # gone, or no longer to be read, since it was found
        return {"skipped": [Skipped(path=state["path"], reason=error.strerror or "cannot be read")]}
    runtime.store.put(notes_of(runtime.execution_info.thread_id), found["path"], dict(note_of(found)))
    time.sleep(runtime.context.pause * state["slowness"])
    return {"digests": [found]}


def merge(state: State) -> dict[str, Any]:
    """Make the report of all digests."""
    digests = sorted(state["digests"], key=lambda digest: digest["path"])
    folders = [root if Path(root).is_dir() else str(Path(root).parent) for root in state["roots"]]
    common = Path(os.path.commonpath(folders))
    return {"report": report_of(digests, state["skipped"], state["left_out"], common)}


def approve(state: State) -> dict[str, Any]:
    """Ask a human."""
    return {"answer": interrupt({"question": "Publish this report?", "report": state["report"]})}


def publish(state: State) -> dict[str, Any]:
    """Write the report, whole or not at all; to do so twice does no harm."""
    output = Path(state["output"])
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    unfinished.write_text(state["report"], "utf-8")
    unfinished.replace(output)
    return {}


def build(
    checkpointer: ValkeySaver, store: ValkeyStore, cache: ValkeyCache[Any]
) -> CompiledStateGraph[State, Conditions, State, State]:
    """Return the graph."""
    builder = StateGraph(State, context_schema=Conditions)
    builder.add_node("plan", plan)
    builder.add_node("digest", digest, input_schema=File, cache_policy=CachePolicy(key_func=version_of))
    builder.add_node("merge", merge)
    builder.add_node("approve", approve)
    builder.add_node("publish", publish)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", fan_out, ["digest", END])
    builder.add_edge("digest", "merge")
    builder.add_edge("merge", "approve")
    builder.add_conditional_edges("approve", lambda state: "publish" if state["answer"] == "approve" else END)
    builder.add_edge("publish", END)
    return builder.compile(checkpointer=checkpointer, store=store, cache=cache)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    order: Literal["start", "resume", "answer"],
    words: Annotated[list[str] | None, typer.Argument(help="files and folders to start with, or the answer")] = None,
    *,
    state: Annotated[Path, typer.Option(help="where checkpoints, notes and digests are kept")],
    thread: Annotated[str, typer.Option(help="id of the thread")],
    log: Annotated[Path, typer.Option(help="gets a line for each execution of a task")],
    output: Annotated[Path, typer.Option(help="where the report goes")] = Path("digest.md"),
    most: Annotated[int, typer.Option(min=1, help="how many files at most")] = 64,
    pause: Annotated[float, typer.Option(min=0, help="seconds by which tasks are slowed down")] = 0.0,
) -> None:
    """Run the graph: from the start, on from where it stands, or on with a human's answer."""
    given: Any
    match order, words or []:
        case "start", [_, *_] as roots:
            absolute = [str(Path(root).absolute()) for root in roots]
            given = {"roots": absolute, "most": most, "output": str(output.absolute())}
        case "resume", []:
            given = None
        case "answer", [answer]:
            given = Command(resume=answer)
        case _:
            raise typer.BadParameter("it is: start FILE_OR_FOLDER..., resume, or answer TEXT")
    asyncio.run(run(given, state, thread, Conditions(log, pause)))


async def run(given: Any, directory: Path, thread: str, conditions: Conditions) -> None:
    """Run the graph on the records in ``directory``."""
    # Nodes run in threads, so many at a time; what they wrote is stored by the event loop as soon as each has ended.
    # LangGraph's own max_concurrency would let the storing wait in one queue with the tasks.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(SIDE_BY_SIDE))
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    url = f"embedded:{directory}"  # one server for all three
    async with (
        ValkeySaver.from_conn_string(url) as saver,
        ValkeyStore.from_conn_string(url) as store,
        ValkeyCache[Any].from_conn_string(url, prefix="statekeep") as cache,  # where `statekeep.connect` has it, too
    ):
        await build(saver, store, cache).ainvoke(given, config, context=conditions)


if __name__ == "__main__":
    app()
