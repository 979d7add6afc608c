"""Commands over every kind of service: what they print, in which form, and how they end."""

from __future__ import annotations

import json
import time

import pytest

import statekeep
from statekeep.testing.servers import ValkeyServer

from ..agentcore.emulated import Worlds
from .conftest import Place, put_chat


def test_threads_are_listed_newest_first_with_their_sizes(filled: Place) -> None:
    ended = filled.run("threads", "--json")
    assert (ended.status, ended.stderr) == (0, "")
    chat, other = ended.json_lines
    assert (chat["thread_id"], other["thread_id"]) == ("chat", "other/1")
    assert (chat["checkpoints"], chat["pending_writes"], chat["namespaces"]) == (5, 1, 1)
    assert (other["checkpoints"], other["pending_writes"]) == (1, 1)
    assert chat["bytes"] > other["bytes"] > 0
    assert chat["basis"] in ("memory", "lengths")
    assert [line[0] for line in filled.run("threads").lines] == ["chat", "other/1"]


def test_the_time_that_a_thread_has_left_is_told(valkey: Place) -> None:
    with statekeep.connect(valkey.url, prefix=valkey.key_prefix, ttl=3600) as keep:
        put_chat(keep)
    [row] = valkey.run("threads", "--json").json_lines
    assert 3500 < row["ttl"] <= 3600
    with statekeep.connect(valkey.url, prefix=valkey.key_prefix) as keep:
        put_chat(keep, "for ever")
    newest, _ = valkey.run("threads", "--json").json_lines
    assert (newest["thread_id"], newest["ttl"], newest["expires_at"]) == ("for ever", None, None)


def test_some_threads_are_chosen(filled: Place) -> None:
    assert [line[0] for line in filled.run("threads", "--prefix", "oth").lines] == ["other/1"]
    assert [line[0] for line in filled.run("threads", "--limit", "1").lines] == ["chat"]
    assert len(filled.run("threads", "--since", "1h").lines) == 2
    brief = filled.run("threads", "--brief", "--json").json_lines
    assert [sorted(row) for row in brief] == [["thread_id", "updated_at"]] * 2
    nothing = filled.run("threads", "--prefix", "nobody")
    assert (nothing.status, nothing.stdout, nothing.stderr) == (1, "", "statekeep: no threads\n")
    assert filled.run("threads", "--since", "2100-01-01T00:00Z").status == 1


def test_steps_are_shown_with_what_is_new_in_them(filled: Place) -> None:
    ended = filled.run("show", "chat", "--json")
    assert (ended.status, ended.stderr) == (0, "")
    steps = {step["checkpoint_id"]: step for step in ended.json_lines}
    assert list(steps) == sorted(steps, reverse=True)
    assert [steps[f"0000000{number}"]["step"] for number in range(4)] == [0, 1, 2, 3]
    first, second, newest = (steps[f"0000000{number}"] for number in (0, 1, 3))
    user = len(json.dumps({"name": "ada"}, separators=(",", ":")))
    assert first["source"] == "input"
    assert first["bytes_reused"] == 0
    assert [change["name"] for change in first["changes"]] == ["messages", "user"]
    assert second["bytes_reused"] == user
    assert [change["name"] for change in second["changes"]] == ["messages"]
    assert sorted(second["children"]) == ["00000001-fork", "00000002"]
    assert [(task["task_id"], task["state"], task["channels"]) for task in newest["tasks"]] == [
        ("t1", "done", ["messages"])
    ]
    assert newest["bytes_writes"] == len('["next"]')


def test_forks_are_drawn(filled: Place) -> None:
    ended = filled.run("show", "chat")
    assert [(line[0], line[-2]) for line in ended.lines] == [
        ("●", "00000003"),
        ("●", "00000002"),
        ("│ ●", "00000001-fork"),
        ("●─╯", "00000001"),
        ("●", "00000000"),
    ]


def test_a_part_of_the_steps_is_compared_with_the_parent_behind_them(filled: Place) -> None:
    [step] = filled.run("show", "chat", "--limit", "1", "--json").json_lines
    assert step["checkpoint_id"] == "00000003"
    assert [change["name"] for change in step["changes"]] == ["messages"]


def test_a_checkpoint_is_shown_with_its_values(filled: Place) -> None:
    shown = filled.run("show", "chat", "--checkpoint", "00000001", "--json").json
    assert shown["metadata"] == {"step": 1, "source": "loop"}
    assert shown["channels"]["user"]["value"] == {"name": "ada"}
    assert [message["id"] for message in shown["channels"]["messages"]["value"]] == ["m0", "m1"]
    newest = filled.run("show", "chat", "--state", "--json").json
    assert newest["checkpoint_id"] == "00000003"
    assert [(write["channel"], write["value"]) for write in newest["pending_writes"]] == [("messages", ["next"])]
    raw = filled.run("show", "chat", "--state", "--raw", "--json").json
    assert raw["channels"]["user"]["base64"] == "eyJuYW1lIjoiYWRhIn0="
    assert '"name": "ada"' in filled.run("show", "chat", "--state").stdout


def test_what_is_not_there_is_said(filled: Place) -> None:
    for arguments, message in [
        (("show", "nobody"), "thread 'nobody' has no checkpoint"),
        (("show", "chat", "--checkpoint", "9"), "thread 'chat' has no checkpoint '9'"),
        (("show", "chat", "--namespace", "inner"), "thread 'chat' has no checkpoint in namespace 'inner'"),
        (("diff", "chat", "00000001", "9"), "thread 'chat' has no checkpoint '9'"),
        (("delete", "nobody", "--yes"), "there is no thread 'nobody'"),
        (("prune", "nobody", "--keep", "1", "--yes"), "there is no thread 'nobody'"),
    ]:
        ended = filled.run(*arguments, "--json")
        assert (ended.status, ended.stdout, ended.stderr) == (1, "", f"statekeep: {message}\n"), arguments


def test_differences_are_shown(filled: Place) -> None:
    found = filled.run("diff", "chat", "00000001", "00000003", "--json").json
    [channel] = found["channels"]
    assert (found["first"], found["second"], found["same"]) == ("00000001", "00000003", 1)
    assert (channel["name"], channel["kind"], channel["changes"][0]["kind"]) == ("messages", "changed", "appended")
    assert channel["changes"][0]["count"] == 2
    lines = filled.run("diff", "chat", "00000001", "00000003").stdout
    assert "messages  changed" in lines
    assert "2 items appended" in lines
    with_parent = filled.run("diff", "chat", "00000003", "--json").json
    assert (with_parent["first"], with_parent["second"]) == ("00000002", "00000003")
    assert filled.run("diff", "chat", "00000000").status == 2


def test_nothing_is_deleted_without_a_word(filled: Place) -> None:
    for arguments in [("delete", "chat"), ("prune", "--all", "--keep", "1")]:
        ended = filled.run(*arguments)
        assert (ended.status, ended.stdout) == (2, "")
        assert "--yes" in ended.stderr
    assert len(filled.run("threads").lines) == 2


def test_threads_are_deleted(filled: Place) -> None:
    ended = filled.run("delete", "chat", "nobody", "--yes", "--json")
    assert (ended.status, ended.json) == (1, {"deleted": 1, "missing": ["nobody"]})
    assert [line[0] for line in filled.run("threads").lines] == ["other/1"]
    ended = filled.run("delete", "--prefix", "other/", "--yes")
    assert (ended.status, ended.stdout) == (0, "1 thread deleted\n")
    assert filled.run("delete", "--all", "--yes").status == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("delete",),
        ("delete", "chat", "--all"),
        ("delete", "--prefix", ""),
        ("prune", "chat"),
        ("prune", "chat", "--keep", "-1"),
        ("prune", "chat", "--older-than", "1 month"),
        ("threads", "--since", "yesterday"),
        ("threads", "--limit", "-1"),
        ("threads", "--limit", "few"),
        ("threads", "more"),
        ("show",),
        ("show", "chat", "--state", "--checkpoint", "1"),
        ("diff", "chat"),
        ("reindex",),
        ("reindex", "--items", "a//b"),
        ("no-such-command",),
        (),
    ],
)
def test_wrong_use_is_refused(valkey: Place, arguments: tuple[str, ...]) -> None:
    with valkey.connect() as keep:
        put_chat(keep)
    ended = valkey.run(*arguments, *(["--yes"] if arguments[:1] in (("delete",), ("prune",)) else []))
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(valkey.run("threads").lines) == 1


def test_threads_are_pruned(filled: Place) -> None:
    ended = filled.run("prune", "chat", "--keep", "2", "--yes", "--json")
    assert (ended.status, ended.json) == (0, {"threads": 1, "deleted": 3, "missing": []})
    assert [line[-2] for line in filled.run("show", "chat").lines] == ["00000003", "00000002"]
    again = filled.run("prune", "--all", "--keep", "1", "--older-than", "1h", "--yes", "--json")
    assert again.json == {"threads": 2, "deleted": 0, "missing": []}
    assert (
        filled.run("prune", "--prefix", "cha", "--keep", "1", "--yes").stdout == "1 checkpoint deleted, of 1 thread\n"
    )


def test_old_checkpoints_alone_are_pruned(valkey: Place) -> None:
    with valkey.connect() as keep:
        put_chat(keep, fork=False)
    time.sleep(1.1)
    with valkey.connect() as keep:
        keep.checkpoints.put(statekeep.Checkpoint(thread_id="chat", checkpoint_id="1", parent_id="00000003"))
        keep.checkpoints.put(statekeep.Checkpoint(thread_id="chat", checkpoint_id="2", parent_id="1"))
    ended = valkey.run("prune", "--all", "--older-than", "1s", "--yes", "--json")
    assert ended.json["deleted"] == 4
    assert [line[-2] for line in valkey.run("show", "chat").lines] == ["2", "1"]


def test_indexes_are_rebuilt(filled: Place) -> None:
    with filled.connect() as keep:
        keep.items.put(("users", "ada"), "tea", 1)
        ended = filled.run("reindex", "chat", "other/1", "--items", "users/ada", "--json")
        assert ended.status == 0
        assert [(row["kind"], row["name"], row["records"]) for row in ended.json_lines] == [
            ("thread", "chat", 5),
            ("thread", "other/1", 1),
            ("items", "users/ada", 1),
        ]
        assert len(filled.run("reindex", "--all-threads", "--all-items").lines) == 3
        assert filled.run("reindex", "nobody").status == 1


def test_the_cache_is_reindexed_or_not_there(filled: Place) -> None:
    ended = filled.run("reindex", "--cache")
    if filled.url.startswith("agentcore"):
        assert ended.status == 2
        assert "no cache entries" in ended.stderr
    else:
        assert ended.status == 1  # there are none
        assert ended.lines == [["cache", "", "0"]]


def test_memory_is_an_empty_place(prefix: str) -> None:
    place = Place("memory:", prefix)
    assert place.run("threads").status == 1
    assert place.run("delete", "--all", "--yes").status == 1


def test_bedrock_sessions_say_what_they_cannot_do(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.set_environment(monkeypatch)
    session_id = worlds.client("plain", "bedrock-agent-runtime").create_session()["sessionId"]
    place = Place("bedrock-sessions://?region=us-west-2", "statekeep")
    with place.connect() as keep:
        for step in range(2):
            keep.checkpoints.put(statekeep.Checkpoint(thread_id=session_id, metadata={"step": step}))
    assert [row["step"] for row in place.run("show", session_id, "--json").json_lines] == [1, 0]
    assert session_id in [row["thread_id"] for row in place.run("threads", "--limit", "0", "--json").json_lines]
    for arguments in [("prune", session_id, "--keep", "1", "--yes"), ("reindex", "--all-items")]:
        ended = place.run(*arguments)
        assert (ended.status, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended
    assert place.run("delete", session_id, "--yes").status == 0
    gone = place.run("show", session_id)
    assert (gone.status, gone.stdout) == (2, "")  # the service lets nobody choose ids
    assert "there is no session" in gone.stderr


def test_a_foreign_database_is_left_alone(valkey_server: ValkeyServer, valkey: Place) -> None:
    with valkey_server.client() as client:
        foreign = {f"session:{number}": "x" * 50 for number in range(5000)}
        client.mset(foreign)
        client.set(f"{valkey.key_prefix}:of somebody else", "x")
        assert valkey.run("threads").status == 1
        with valkey.connect() as keep:
            put_chat(keep)
        assert [line[0] for line in valkey.run("threads").lines] == ["chat"]
        assert valkey.run("delete", "--all", "--yes").status == 0
        assert client.exists(*foreign, f"{valkey.key_prefix}:of somebody else") == 5001
        client.delete(*foreign)
