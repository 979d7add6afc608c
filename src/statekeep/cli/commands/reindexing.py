"""``reindex``: rebuild indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import typer

from ...domain.errors import InvalidInput
from ..options import namespace_of, namespace_text
from ..output import Column
from ..run import Run
from ..status import Status

Threads = Annotated[list[str] | None, typer.Argument(metavar="[THREAD]...", show_default=False, help="Ids of threads.")]
AllThreads = Annotated[bool, typer.Option("--all-threads", help="All threads that an index knows.")]
Namespaces = Annotated[
    list[str] | None,
    typer.Option("--items", metavar="NAMESPACE", show_default=False, help="Items of a namespace; may be repeated."),
]
AllItems = Annotated[bool, typer.Option("--all-items", help="Items of all namespaces that an index knows.")]
Cache = Annotated[bool, typer.Option("--cache", help="All cache entries.")]


def reindex(
    run: Run,
    threads: Threads = None,
    all_threads: AllThreads = False,
    items: Namespaces = None,
    all_items: AllItems = False,
    cache: Cache = False,
) -> Status:
    """Rebuild what is derived from records, such as indexes.

    Needed after records were added, changed or deleted by other programs. A thread or namespace that no index knows any
    more is found by its name. If this is stopped, repeat it.
    """
    if not (threads or all_threads or items or all_items or cache):
        raise InvalidInput("say what: ids of threads, --all-threads, --items, --all-items or --cache", field="threads")
    namespaces = [namespace_of(text) for text in items or []]
    columns = [Column("kind"), Column("name"), Column("records", right=True)]
    counts: list[int] = []

    def rows() -> Iterator[Mapping[str, Any]]:
        with run.connect() as keep, run.progress("Reindexing") as progress:
            chosen = [*(threads or ())]
            if all_threads:
                chosen += [thread.thread_id for thread in keep.checkpoints.list_threads()]
            if all_items:
                namespaces.extend(keep.items.list_namespaces())
            work: list[tuple[str, str, Callable[[], int]]] = [
                ("thread", name, partial(keep.checkpoints.reindex, name)) for name in dict.fromkeys(chosen)
            ]
            work += [
                ("items", namespace_text(labels), partial(keep.items.reindex, labels))
                for labels in dict.fromkeys(namespaces)
            ]
            if cache:
                work.append(("cache", "", keep.cache.reindex))
            for done, (kind, name, rebuild) in enumerate(work):
                progress.update(done, name or kind, total=len(work))
                counts.append(rebuild())
                yield {"kind": kind, "name": name, "records": counts[-1]}

    run.output.rows(columns, rows())
    return Status.OK if counts and all(counts) else Status.FOUND_NOTHING
