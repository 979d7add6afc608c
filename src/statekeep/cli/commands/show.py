"""``show`` and ``diff``: what happened in a thread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ...domain.checkpoints import SavedCheckpoint
from ...domain.errors import InvalidInput
from ...inspection.printable import duration, size
from ..options import CheckpointNamespace, Full, Limit, Raw, ThreadId, limit_of
from ..output import Column
from ..run import Run
from ..status import Status

if TYPE_CHECKING:
    from ...inspection import Change, Differences, Limits, Step, TaskRecord
    from ...repositories.connection import Connection

CheckpointId = Annotated[
    str | None,
    typer.Option("--checkpoint", "-c", metavar="ID", show_default=False, help="Show a checkpoint with its values."),
]
State = Annotated[bool, typer.Option("--state", help="Show the newest checkpoint with its values.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-a", help="Nested graphs, too.")]
First = Annotated[str, typer.Argument(metavar="A", show_default=False, help="Id of a checkpoint.")]
Second = Annotated[
    str | None,
    typer.Argument(
        metavar="[B]", show_default=False, help="Id of another one; without it, A is compared with its parent."
    ),
]

WIDTH: Final = 200
"""Characters of a value in one line."""


def show(
    run: Run,
    thread: ThreadId,
    checkpoint: CheckpointId = None,
    state: State = False,
    namespace: CheckpointNamespace = "",
    all_namespaces: AllNamespaces = False,
    limit: Limit = 50,
    raw: Raw = False,
    full: Full = False,
) -> Status:
    """Show what happened in a thread, newest first, or one checkpoint with its values.

    Steps: forks, step, source, the nodes that run next, the channels that changed, bytes of values that are new and of
    those that it has from its parent, age, id, and tasks that failed, ask something, or are done before their step is.

    Values are decoded without executing anything: classes are shown by their names, and pickles or encrypted values by
    size and hash. Marks with "$cut" say what is left out.
    """
    if checkpoint is not None and state:
        raise InvalidInput("--state is the newest checkpoint: say it, or --checkpoint", field="state")
    if (checkpoint is not None or state) and all_namespaces:
        raise InvalidInput("--all-namespaces goes with the list of steps", field="all_namespaces")
    with run.connect() as keep:
        if checkpoint is None and not state:
            return _steps(run, keep, thread, None if all_namespaces else namespace, limit_of(limit))
        saved = keep.checkpoints.get(thread, namespace=namespace, checkpoint_id=checkpoint)
        if saved is None:
            return _missing(run, thread, namespace, checkpoint)
        from ...inspection import as_document

        document = as_document(saved, limits_of(full, people=not run.output.as_json), raw=raw)
    run.output.document(document, lambda: _lines(document))
    return Status.OK


def diff(
    run: Run, thread: ThreadId, first: First, second: Second = None, namespace: CheckpointNamespace = ""
) -> Status:
    """Show which channels of two checkpoints differ, and how.

    Lists that grew, keys of objects, texts, and messages by their ids. With one checkpoint, from its parent to it.
    """
    with run.connect() as keep:
        earlier = keep.checkpoints.get(thread, namespace=namespace, checkpoint_id=first)
        if earlier is None:
            return _missing(run, thread, namespace, first)
        if second is None:
            second = first
            if earlier.parent_id is None:
                raise InvalidInput(f"checkpoint {first} has no parent: say which other one to compare", field="B")
            parent = earlier.parent_id
            later: SavedCheckpoint | None = earlier
            earlier = keep.checkpoints.get(thread, namespace=namespace, checkpoint_id=parent)
            if earlier is None:
                return _missing(run, thread, namespace, parent)
        else:
            later = keep.checkpoints.get(thread, namespace=namespace, checkpoint_id=second)
        if later is None:
            return _missing(run, thread, namespace, second)
    from ...inspection import compare

    found = compare(earlier, later)
    run.output.document(found.model_dump(mode="json"), lambda: _differences(found))
    return Status.OK


def _missing(run: Run, thread: str, namespace: str, checkpoint: str | None) -> Status:
    where = f" in namespace {namespace!r}" if namespace else ""
    what = (
        f"thread {thread!r} has no checkpoint{where}"
        if checkpoint is None
        else (f"thread {thread!r} has no checkpoint {checkpoint!r}{where}")
    )
    run.output.note(what)
    return Status.FOUND_NOTHING


# -- steps


def _steps(run: Run, keep: Connection, thread: str, namespace: str | None, limit: int | None) -> Status:
    from ...inspection import steps
    from ..lanes import Lanes

    def find(namespace: str, checkpoint_id: str) -> SavedCheckpoint | None:
        return keep.checkpoints.get(thread, namespace=namespace, checkpoint_id=checkpoint_id)

    now = keep.now()
    columns = [
        Column("lanes", ""),
        *([Column("namespace")] if namespace is None else []),
        Column("step", right=True),
        Column("source"),
        Column("next"),
        Column("changed"),
        Column("bytes_new", "new", size, right=True),
        Column("bytes_reused", "reused", size, right=True),
        Column("created_at", "age", lambda when: duration(now - when), right=True),
        Column("checkpoint_id", "checkpoint", whole=True),
        Column("tasks"),
    ]
    found = keep.checkpoints.list(thread, namespace=namespace, limit=limit)
    lanes = Lanes()

    def rows() -> Iterator[Mapping[str, Any]]:
        for step in steps(found, find):
            if run.output.as_json:
                yield step.model_dump(mode="json")
            else:
                yield _row(step, lanes)

    if not run.output.rows(columns, rows()):
        return _missing(run, thread, namespace or "", None)
    return Status.OK


def _row(step: Step, lanes: Any) -> dict[str, Any]:
    from ...inspection import is_internal

    parent = None if step.parent_id is None else f"{step.namespace}\x00{step.parent_id}"
    return {
        "lanes": lanes.draw(f"{step.namespace}\x00{step.checkpoint_id}", parent),
        "namespace": step.namespace,
        "step": step.step,
        "source": step.source,
        "next": ",".join(step.next) or "-",
        "changed": ",".join(change.name for change in step.changes if not is_internal(change.name)) or "-",
        "bytes_new": step.bytes_new,
        "bytes_reused": step.bytes_reused,
        "created_at": step.created_at,
        "checkpoint_id": step.checkpoint_id,
        "tasks": "; ".join(_told(task, step.is_waiting) for task in _of_interest(step)) or "-",
    }


def _of_interest(step: Step) -> list[TaskRecord]:
    """Return the tasks that are told of.

    Where a step went on, one that is done is as any other.
    """
    from ...inspection import TaskState

    told = {TaskState.FAILED, TaskState.INTERRUPTED} | (set() if step.children else {TaskState.DONE})
    return [task for task in step.tasks if task.state in told]


def _told(task: TaskRecord, is_waiting: bool) -> str:
    from ...inspection import TaskState

    who = task.node or ("input" if task.task_id.startswith("00000000-") else task.task_id)
    if task.state is TaskState.FAILED:
        return f"{who} failed: {_short(task.error)}"
    if task.state is TaskState.INTERRUPTED:
        asked = ", ".join(_short(_question(question)) for question in task.interrupts)
        return f"{who} {'asks' if is_waiting else 'asked'}: {asked}"
    return f"{who} {task.state}"


def _question(interrupt: Any) -> Any:
    return interrupt["value"] if isinstance(interrupt, dict) and "value" in interrupt else interrupt


def _short(value: Any, width: int = 60) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= width else f"{text[: width - 1]}…"


# -- one checkpoint


def limits_of(full: bool, *, people: bool) -> Limits:
    """Return how much of a value is shown.

    Args:
        full: all of it.
        people: less than for a program.
    """
    from ...inspection import Limits

    if full:
        most = 2**40
        return Limits(depth=100, items=most, characters=most, values=most, bytes=most)
    return Limits(items=100, characters=2000, values=20_000) if people else Limits()


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    from ...inspection import is_internal

    for name in ("thread_id", "namespace", "checkpoint_id", "parent_id"):
        yield f"{name:14} {document[name] or '-'}"
    yield f"{'created_at':14} {document['created_at']}"
    yield f"{'next':14} {', '.join(document['next']) or '-'}"
    yield f"{'metadata':14} {json.dumps(document['metadata'], ensure_ascii=False)}"
    own = [name for name in document["channels"] if is_internal(name)]
    for name, channel in document["channels"].items():
        if name in own:
            continue
        yield ""
        yield f"channel {name}  (version {channel['version']}{_about(channel)})"
        yield from _indented(channel)
    for write in document["pending_writes"]:
        yield ""
        yield f"pending write to {write['channel']}  (task {write['task_id']}{_about(write)})"
        yield from _indented(write)
    if own:
        yield ""
        yield f"channels of the framework: {', '.join(own)}"


def _about(value: Mapping[str, Any]) -> str:
    if "encoding" not in value:
        return f", {value.get('source', 'empty')}"
    return f", {value['encoding']}, {size(value['size'])}"


def _indented(value: Mapping[str, Any]) -> Iterable[str]:
    if "problem" in value:
        yield f"  not decoded: {value['problem']}"
        yield f"  sha256 {value['sha256']}"
    elif "base64" in value:
        yield f"  {value['base64']}"
    elif "encoding" in value:
        for line in json.dumps(value["value"], ensure_ascii=False, indent=2).splitlines():
            yield f"  {line}"


# -- differences


def _differences(found: Differences) -> Iterator[str]:
    from ...inspection import is_internal

    if not found.channels and not found.metadata:
        yield "no differences"
    own = [channel.name for channel in found.channels if is_internal(channel.name)]
    for channel in found.channels:
        if channel.name in own:
            continue
        before, after = channel.before, channel.after
        sizes = " -> ".join("-" if side is None else size(side.size) for side in (before, after))
        yield f"{channel.name}  {channel.kind}, {sizes}"
        if channel.is_equal:
            yield "  the same value under another version"
        for change in channel.changes:
            yield f"  {change}"
            yield from _sides(change)
        if not channel.changes and not channel.is_equal:
            for sign, side in (("-", before), ("+", after)):
                if side is not None:
                    yield f"    {sign} {_one_line(side.value if side.problem is None else side.problem)}"
        if channel.is_cut:
            yield "  and more changes, or larger values, than are compared"
    for change in found.metadata:
        yield f"metadata {change}"
        yield from _sides(change)
    if own:
        yield f"channels of the framework: {', '.join(own)}"


def _sides(change: Change) -> Iterator[str]:
    for sign, side in (("-", change.before), ("+", change.after)):
        if side is not None:
            for item in islice(side, 5) if isinstance(side, list) else [side]:
                yield f"    {sign} {_one_line(item)}"
            if isinstance(side, list) and len(side) > 5:
                yield f"    {sign} and {len(side) - 5} more"


def _one_line(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("type"), str) and isinstance(value.get("content"), str):
        name = f" (id {value['id']})" if value.get("id") else ""
        value = f"{value['type']}{name}: {value['content']}"  # a message
    return _short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), WIDTH)
