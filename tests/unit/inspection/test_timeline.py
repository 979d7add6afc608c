"""Steps of threads of any shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from statekeep import Channel, JsonSerializer, Payload, PendingWrite, SavedCheckpoint, dump
from statekeep.inspection import header_of, next_nodes, steps, tasks_of

SERIALIZER = JsonSerializer()


def saved(number: int, parent: int | None, versions: dict[str, int], **fields: Any) -> SavedCheckpoint:
    channels = {
        name: Channel.of(version, Payload(encoding="raw", data=b"x" * version)) for name, version in versions.items()
    }
    return SavedCheckpoint(
        thread_id="t",
        checkpoint_id=f"{number:03}",
        parent_id=None if parent is None else f"{parent:03}",
        channels=channels,
        **fields,
    )


VERSIONS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9))


@given(st.lists(st.tuples(st.integers(-1, 40), VERSIONS), max_size=12), st.data())
def test_each_step_is_compared_with_its_parent(made: list[tuple[int, dict[str, int]]], data: st.DataObject) -> None:
    """Parents may be any other checkpoint, none, or one that is not there: ids come from outside."""
    parents = [None if parent < 0 else parent for parent, _ in made]
    all_saved = [saved(number, parents[number], versions) for number, (_, versions) in enumerate(made)][::-1]
    count = data.draw(st.integers(0, len(made)))
    by_id = {found.checkpoint_id: found for found in all_saved}
    found = list(steps(all_saved[:count], lambda namespace, checkpoint_id: by_id.get(checkpoint_id)))
    assert [step.checkpoint_id for step in found] == [one.checkpoint_id for one in all_saved[:count]]
    for step in found:
        number = int(step.checkpoint_id)
        versions = made[number][1]
        parent = parents[number]
        before = made[parent][1] if parent is not None and parent < len(made) and parent != number else {}
        if parent == number:
            continue  # a checkpoint that names itself is compared with itself, or with nothing
        new = {name: version for name, version in versions.items() if before.get(name) != version}
        assert step.bytes_new == sum(new.values())
        assert step.bytes_reused == sum(versions.values()) - step.bytes_new
        assert {change.name for change in step.changes} == new.keys()


def test_steps_come_as_soon_as_their_parent_is_known() -> None:
    taken = []

    def checkpoints() -> Iterator[SavedCheckpoint]:
        for number in itertools.count():
            taken.append(number)
            yield saved(999 - number, 998 - number, {"a": 1})

    first = next(steps(checkpoints()))
    assert first.checkpoint_id == "999"
    assert len(taken) == 2


def test_without_the_parent_all_is_new() -> None:
    [step] = steps([saved(2, 1, {"a": 5})])
    assert (step.bytes_new, step.bytes_reused) == (5, 0)


def test_versions_of_other_types_are_other_versions() -> None:
    payload = Payload(encoding="raw", data=b"x")
    made = [
        SavedCheckpoint(
            thread_id="t",
            checkpoint_id=f"{number}",
            parent_id=f"{number - 1}",
            channels={"n": Channel.of(version, payload)},
        )
        for number, version in ((3, "1"), (2, 1.0), (1, 1))
    ]
    assert [step.bytes_new for step in steps(made)] == [1, 1, 1]


def write(task: str, idx: int, channel: str, value: Any, path: str = "") -> PendingWrite:
    return PendingWrite(task_id=task, task_path=path, idx=idx, channel=channel, payload=dump(SERIALIZER, value))


def test_tasks_are_told_by_what_they_wrote() -> None:
    writes = (
        write("1", 0, "log", ["x"], "~__pregel_pull, a"),
        write("1", 1, "branch:to:b", None, "~__pregel_pull, a"),
        write("2", -1, "__error__", "broken", "~__pregel_pull, with, comma"),
        write("3", -3, "__interrupt__", ["really?"], "~__pregel_push, 0000000001, 0000000000"),
        write("3", -4, "__resume__", ["yes"], "~__pregel_push, 0000000001, 0000000000"),
        write("00000000-0000-0000-0000-000000000000", 0, "__resume__", "yes"),
        write("4", -2, "__scheduled__", None, "~__pregel_push, 0000000009, x"),
        write("5", 0, "__no_writes__", None),
    )
    found = {task.task_id: task for task in tasks_of(saved(1, None, {}, pending_writes=writes))}
    assert {name: task.state.value for name, task in found.items()} == {
        "1": "done",
        "2": "failed",
        "3": "interrupted",
        "00000000-0000-0000-0000-000000000000": "other",
        "4": "other",
        "5": "done",
    }
    assert found["1"].channels == ("log", "branch:to:b")
    assert (found["1"].node, found["2"].node, found["3"].node) == ("a", "with, comma", None)
    assert found["2"].error == "broken"
    assert found["3"].interrupts == ("really?",)


def test_a_question_waits_at_the_end_of_a_branch_alone() -> None:
    asked = (write("3", -3, "__interrupt__", ["really?"]),)
    newest, answered = steps([saved(2, 1, {}, pending_writes=asked), saved(1, None, {}, pending_writes=asked)])
    assert newest.is_waiting
    assert not answered.is_waiting


def graph(channels: dict[str, tuple[int, Any]], seen: Any) -> SavedCheckpoint:
    made = {name: Channel.of(version, dump(SERIALIZER, value)) for name, (version, value) in channels.items()}
    header = dump(SERIALIZER, {"v": 4, "versions_seen": seen})
    return SavedCheckpoint(thread_id="t", header=header, channels=made)


def test_nodes_run_whose_channels_they_have_not_seen() -> None:
    branch = {"branch:to:a": (2, None)}
    assert next_nodes(graph(branch, {})) == ("a",)
    assert next_nodes(graph(branch, {"a": {"branch:to:a": 1}})) == ("a",)
    assert next_nodes(graph(branch, {"a": {"branch:to:a": 2}})) == ()
    assert next_nodes(graph(branch, {"a": {"branch:to:a": "2"}})) == ("a",)
    assert next_nodes(graph(branch, "no mapping")) == ()
    assert next_nodes(graph({"__start__": (1, {})}, {})) == ("__start__",)
    for names, wanted in [({"b"}, ()), ({"b", "c"}, ("d",))]:
        assert next_nodes(graph({"join:b+c:d": (3, names)}, {})) == wanted
    assert next_nodes(graph({"join:b+c:d": (3, [{"b", "c"}, False])}, {})) == ()
    assert next_nodes(graph({"join:b+c:d": (3, [{"b", "c"}, True])}, {})) == ("d",)


def test_headers_of_others_say_nothing() -> None:
    for payload in [None, Payload(encoding="raw", data=b"x"), dump(SERIALIZER, [1]), dump(SERIALIZER, {1: 2})]:
        one = SavedCheckpoint(thread_id="t", header=payload, channels={"branch:to:a": Channel.empty(1)})
        assert header_of(one) == {}
        assert next_nodes(one) == ()
