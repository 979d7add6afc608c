"""Checkpoints in SQLite: a complete backend. docs/writing-a-backend.md explains it part by part."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import statekeep as sk
from statekeep.domain import tagged_json
from statekeep.domain.lineage import Link, too_late, with_sources
from statekeep.repositories.checkpoint_backend import ExpectedHead, Supply, needed, overtaken
from statekeep.repositories.operation import Operation, Page

SCHEMA = """
CREATE TABLE IF NOT EXISTS threads (thread TEXT PRIMARY KEY, updated_at TEXT);
CREATE TABLE IF NOT EXISTS checkpoints (thread TEXT, namespace TEXT, id TEXT, parent TEXT, document TEXT,
    PRIMARY KEY (thread, namespace, id));
CREATE TABLE IF NOT EXISTS writes (thread TEXT, namespace TEXT, id TEXT, task TEXT, idx INTEGER, document TEXT,
    PRIMARY KEY (thread, namespace, id, task, idx));
"""
PAGE = 20
Database = sqlite3.Connection
Request = Callable[[Database], Any]
Texts = Sequence[str]
Writes = Sequence[sk.PendingWrite]


class SqliteCheckpoints:
    """Keeps checkpoints in a file, or in memory. A request is a function of the database: one transaction."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(SCHEMA)

    def execute(self, request: Request) -> Any:
        try:
            with self._lock, self._db:  # the database commits in the end, or rolls back
                self._db.execute("BEGIN IMMEDIATE")
                return request(self._db)
        except sqlite3.OperationalError as error:
            raise sk.Unavailable(f"SQLite: {error}") from error

    async def aexecute(self, request: Request) -> Any:
        return await asyncio.to_thread(self.execute, request)

    def ping(self) -> Operation[None]:
        yield lambda db: db.execute("SELECT 1")

    def now(self) -> Operation[Any]:
        return (yield lambda db: dt.datetime.now(dt.UTC))  # SQLite has no clock of its own

    def close(self) -> None:
        self._db.close()

    async def aclose(self) -> None:
        self.close()

    def put(
        self, checkpoint: sk.Checkpoint, supply: Supply | None, expected_head: ExpectedHead = sk.ANY
    ) -> Operation[None]:
        tagged_json.dumps(checkpoint.metadata)  # what cannot be kept is refused before anybody is asked for values
        supplied: dict[str, sk.Channel] = {}
        while missing := (yield lambda db: try_put(db, checkpoint, supplied, expected_head)):
            if supply is None:
                raise sk.MissingChannels(missing)
            payloads = supply(frozenset(missing))  # code of the user's, so not within the transaction
            for name in missing:
                at = checkpoint.channels[name].version
                supplied[name] = sk.Channel.of(at, payloads[name]) if name in payloads else sk.Channel.empty(at)

    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: Writes) -> Operation[None]:
        yield lambda db: store_writes(db, (thread_id, namespace, checkpoint_id), writes)

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[Any]:
        return (yield lambda db: next(read(db, thread_id, namespace, checkpoint_id), None))

    def list(self, query: sk.CheckpointQuery, cursor: Any) -> Operation[Any]:
        if cursor is None:
            every = [] if query.thread_id else (yield from self.list_threads("", None, None)).items
            cursor = ([query.thread_id] if query.thread_id else [one.thread_id for one in every], None, query.limit)
        return (yield lambda db: page_of(db, query, *cursor))

    def ancestors(self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Texts) -> Operation[Any]:
        stored = yield lambda db: {saved.checkpoint_id: saved for saved in read(db, thread_id, namespace)}
        chain = list(ancestors_of(stored, checkpoint_id or max(stored, default="")))
        return {name: history(name, chain) for name in channels}

    def list_threads(self, prefix: str, after: sk.Thread | None, limit: int | None) -> Operation[Page[sk.Thread]]:
        every = "SELECT * FROM threads WHERE thread IN (SELECT thread FROM checkpoints)"
        rows = yield lambda db: db.execute(f"{every} ORDER BY updated_at DESC, thread DESC").fetchall()
        threads = [sk.Thread(thread_id=name, updated_at=dt.datetime.fromisoformat(at)) for name, at in rows]
        top = (after.updated_at, after.thread_id) if after else (dt.datetime.max.replace(tzinfo=dt.UTC), "")
        found = [one for one in threads if one.thread_id.startswith(prefix) and (one.updated_at, one.thread_id) < top]
        page = found[:limit]
        return Page(page, page[-1] if page and len(page) < len(found) else None)

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
        return bool((yield lambda db: delete_one(db, thread_id, namespace, checkpoint_id)))

    def delete_thread(self, thread_id: str) -> Operation[None]:
        yield lambda db: delete(db, thread_id)

    def delete_runs(self, run_ids: Texts) -> Operation[None]:
        def delete_all(db: Database) -> None:
            for thread, namespace in db.execute("SELECT DISTINCT thread, namespace FROM checkpoints").fetchall():
                others = [one for one in read(db, thread, namespace) if one.metadata.get("run_id") not in run_ids]
                keep_only(db, thread, namespace, [saved.checkpoint_id for saved in others])

        yield delete_all

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        def copy_all(db: Database) -> None:
            for saved in list(read(db, source_id)):
                store(db, saved.model_copy(update={"thread_id": target_id}))
            for at in db.execute("SELECT DISTINCT namespace, id FROM writes WHERE thread = ?", [source_id]).fetchall():
                store_writes(db, (target_id, *at), read_writes(db, source_id, *at))

        if source_id != target_id:
            yield copy_all

    def prune(self, thread_ids: Texts, policy: sk.PrunePolicy, namespace: str | None = None) -> Operation[int]:
        deleted = 0
        for thread_id in thread_ids:
            deleted += yield lambda db, id_=thread_id: prune(db, id_, policy, namespace)
        return deleted

    def reindex(self, thread_id: str) -> Operation[int]:
        yield lambda db: delete_late_writes(db, thread_id)
        return len((yield lambda db: list(read(db, thread_id))))


def read(db: Database, *where: str | None) -> Iterator[sk.SavedCheckpoint]:
    """Read checkpoints, newest first: of a thread, a namespace, with an id, up to an id; each may be left out."""
    rows = db.execute(
        "SELECT thread, namespace, id, parent, document FROM checkpoints"
        " WHERE thread = ?1 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR id <= ?4)"
        " ORDER BY id DESC, namespace",
        (*where, None, None, None)[:4],
    )
    for *place, parent, document in rows:
        fields = tagged_json.loads(document)
        channels = fields["channels"].items()
        fields["channels"] = {name: sk.Channel(version=v, payload=p, carry=c) for name, (v, p, c) in channels}
        fields["created_at"] = dt.datetime.fromisoformat(fields["created_at"])
        fields |= {"thread_id": place[0], "namespace": place[1], "checkpoint_id": place[2], "parent_id": parent}
        yield sk.SavedCheckpoint(**fields, pending_writes=read_writes(db, *place))


def read_writes(db: Database, *place: str) -> tuple[sk.PendingWrite, ...]:
    rows = db.execute("SELECT task, idx, document FROM writes WHERE (thread, namespace, id) = (?, ?, ?)", place)
    writes = [sk.PendingWrite(task_id=task, idx=idx, **tagged_json.loads(document)) for task, idx, document in rows]
    return tuple(sorted(writes, key=lambda write: write.order))


def try_put(
    db: Database, put: sk.Checkpoint, supplied: Mapping[str, sk.Channel], expected_head: ExpectedHead
) -> Collection[str]:
    """Store a checkpoint, or return the names of the channels whose values are missing."""
    newest = next((saved.checkpoint_id for saved in read(db, put.thread_id, put.namespace)), None)
    if expected_head is not sk.ANY and newest not in (expected_head, put.checkpoint_id):
        raise overtaken(put, expected_head, newest)
    looked_for = {name: channel for name, channel in put.channels.items() if channel.carry not in ("value", "empty")}
    stored = list(read(db, put.thread_id, put.namespace)) if looked_for else []
    stored.sort(key=lambda saved: saved.checkpoint_id == put.parent_id)  # the parent's value counts before all others
    channels, missing = dict(put.channels), []
    for name, channel in looked_for.items():
        found = [saved.channels[name] for saved in stored if name in saved.channels]
        values = [one for one in found if one.payload and repr(one.version) == repr(channel.version)]
        if values or name in supplied:
            channels[name] = values[-1] if values else supplied[name]
        elif channel.carry == "earlier-if-any":
            channels[name] = sk.Channel.empty(channel.version)
        elif channel.carry == "earlier":
            missing.append(name)
    if not missing:
        store(db, put.model_copy(update={"channels": channels}))
    return missing


def store(db: Database, put: sk.Checkpoint) -> None:
    fields = {"created_at": put.created_at.isoformat(), "metadata": put.metadata, "header": put.header}
    channels = {name: (channel.version, channel.payload, channel.carry.value) for name, channel in put.channels.items()}
    place = (put.thread_id, put.namespace, put.checkpoint_id, put.parent_id)
    document = tagged_json.dumps(fields | {"channels": channels})
    db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)", (*place, document))
    db.execute("INSERT OR REPLACE INTO threads VALUES (?, ?)", (put.thread_id, dt.datetime.now(dt.UTC).isoformat()))


def store_writes(db: Database, place: tuple[str, str, str], writes: Writes) -> None:
    for write in writes:
        fields = {"task_path": write.task_path, "channel": write.channel, "payload": write.payload}
        row = (*place, write.task_id, write.idx, tagged_json.dumps(fields))
        db.execute(f"INSERT OR {'IGNORE' if write.idx >= 0 else 'REPLACE'} INTO writes VALUES (?, ?, ?, ?, ?, ?)", row)


def page_of(db: Database, query: sk.CheckpointQuery, threads: Texts, last: Any, left: int | None) -> Page[Any]:
    """Read a page behind the place ``last`` of the first of these threads."""
    found: list[sk.SavedCheckpoint] = []
    size = PAGE if left is None else min(PAGE, left)
    for at, thread in enumerate(threads):
        for saved in read(db, thread, query.namespace, query.checkpoint_id, last and last[0]):
            behind = last is None or saved.checkpoint_id < last[0] or saved.namespace > last[1]
            early = query.before is None or saved.checkpoint_id < query.before
            if behind and early and query.matches(saved.metadata):
                if len(found) == size:
                    return Page(found, None if size == left else (threads[at:], last, left and left - size))
                found.append(saved)
                last = (saved.checkpoint_id, saved.namespace)
        last = None
    return Page(found)


def ancestors_of(stored: Mapping[str, sk.SavedCheckpoint], id_: str) -> Iterator[sk.SavedCheckpoint]:
    seen = {id_}
    while id_ in stored and (parent := stored[id_].parent_id) in stored and parent not in seen:  # it may be a circle
        seen.add(id_ := str(parent))
        yield stored[id_]


def history(name: str, chain: Sequence[sk.SavedCheckpoint]) -> sk.ChannelHistory:
    writes: tuple[sk.PendingWrite, ...] = ()
    for saved in chain:
        writes = (*(write for write in saved.pending_writes if write.channel == name), *writes)
        if name in saved.channels and saved.channels[name].payload is not None:
            return sk.ChannelHistory(writes=writes, seed=saved.channels[name].payload)
    return sk.ChannelHistory(writes=writes)


def delete(db: Database, *place: str) -> None:
    """Delete a thread, a namespace or one checkpoint, with their pending writes."""
    condition = " AND ".join(f"{column} = ?" for column in ("thread", "namespace", "id")[: len(place)])
    for table in ("checkpoints", "writes"):
        db.execute(f"DELETE FROM {table} WHERE {condition}", place)


def keep_only(db: Database, thread: str, namespace: str, wanted: Texts) -> None:
    """Delete all checkpoints but these, and the ancestors from which their replayed channels are rebuilt."""
    links = {saved.checkpoint_id: Link.of(saved.parent_id, saved.channels) for saved in read(db, thread, namespace)}
    for id_ in links.keys() - with_sources(wanted, links.get):
        delete(db, thread, namespace, id_)
        orphans = "UPDATE checkpoints SET parent = NULL WHERE (thread, namespace, parent) = (?, ?, ?)"
        db.execute(orphans, (thread, namespace, id_))


def delete_late_writes(db: Database, thread: str, only: str | None = None) -> None:
    """Delete pending writes whose checkpoint is not there and would be older than the newest."""
    places = db.execute("SELECT DISTINCT namespace, id FROM writes WHERE thread = ?", [thread]).fetchall()
    for namespace, id_ in places:
        stored = [saved.checkpoint_id for saved in read(db, thread, namespace)]
        if only in (None, namespace) and too_late([id_], stored):
            delete(db, thread, namespace, id_)


def delete_one(db: Database, thread: str, namespace: str, id_: str) -> bool:
    stored = {saved.checkpoint_id for saved in read(db, thread, namespace)}
    keep_only(db, thread, namespace, sorted(stored - {id_}))
    if list(read(db, thread, namespace, id_)):
        raise needed(id_)
    return id_ in stored


def prune(db: Database, thread: str, policy: sk.PrunePolicy, only: str | None) -> int:
    before = len(list(read(db, thread)))
    if only is not None:
        delete_late_writes(db, thread, only)
        made = {saved.checkpoint_id: saved.created_at for saved in read(db, thread, only)}
        keep_only(db, thread, only, policy.kept(made, made.__getitem__))
    elif policy.is_deletion:
        delete(db, thread)
    else:
        prune_thread(db, thread, policy)
    return before - len(list(read(db, thread)))


def prune_thread(db: Database, thread: str, policy: sk.PrunePolicy) -> None:
    delete_late_writes(db, thread)
    roots = {saved.checkpoint_id for saved in read(db, thread, "")}
    for namespace in sorted({saved.namespace for saved in read(db, thread)}):  # the root comes first
        gone = roots - {saved.checkpoint_id for saved in read(db, thread, "")}
        newest_first = list(read(db, thread, namespace))
        parents = newest_first[0].metadata.get("parents")
        if ":" in namespace and isinstance(parents, dict) and parents.get("") in gone:
            delete(db, thread, namespace)
        else:
            made = {saved.checkpoint_id: saved.created_at for saved in newest_first}
            keep_only(db, thread, namespace, policy.kept(made, made.__getitem__))
