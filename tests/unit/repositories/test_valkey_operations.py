"""What the operations ask for and make of the answers. The answers are given by hand: nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from statekeep import Channel, Checkpoint, CheckpointQuery, CorruptRecord, MissingChannels, Payload, PendingWrite
from statekeep.repositories.operation import Operation, run
from statekeep.repositories.valkey import ValkeyCheckpoints
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys, thread_index_keys
from statekeep.repositories.valkey.checkpoints.records import READ_FIELDS, SENT_FIELDS, encode_checkpoint, encode_value
from statekeep.repositories.valkey.requests import Call, Commands, Reply, Request

KEYS = namespace_keys("statekeep", "t", "")
VALUE = Payload(encoding="raw", data=b"v")


class Script:
    """Answers requests with replies in order; an exception among them is raised."""

    cluster = False

    def __init__(self, *replies: Any) -> None:
        self.requests: list[Request] = []
        self._replies = list(replies)

    def execute(self, request: Request) -> Reply:
        self.requests.append(request)
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [
            request.script.name if isinstance(request, Call) else type(request).__name__ for request in self.requests
        ]

    def call(self, index: int) -> Call:
        request = self.requests[index]
        assert isinstance(request, Call)
        return request


def perform(script: Script, operation: Operation[Any]) -> Any:
    result = run(operation, script.execute)
    assert script._replies == []
    return result


def row(checkpoint: Checkpoint, channels: str = "") -> list[bytes | None]:
    sent = dict(zip(SENT_FIELDS, encode_checkpoint(checkpoint), strict=True))
    keys = namespace_keys("statekeep", checkpoint.thread_id, checkpoint.namespace)
    pk = keys.checkpoint_pk(checkpoint.checkpoint_id)
    fields = {**sent, "checkpoint_id": checkpoint.checkpoint_id, "channels": channels, "pk": pk}
    found = [fields.get(name) for name in READ_FIELDS]
    return [value.encode() if isinstance(value, str) else value for value in found]


MADE = Checkpoint(thread_id="t", checkpoint_id="c", channels={"a": Channel.of(1, VALUE), "b": Channel.earlier(2)})


def test_put_declares_every_key_it_touches() -> None:
    script = Script([])
    made = Checkpoint(thread_id="t", checkpoint_id="c", parent_id="p", metadata={"run_id": "r"})
    perform(script, ValkeyCheckpoints(script).put(made, None))
    assert script.call(0).keys == [
        *KEYS.derived,
        "statekeep:checkpoint:{t}::c",
        "statekeep:checkpoint:{t}::p",
        *thread_index_keys("statekeep"),
        "statekeep:run-index:r",
    ]


def test_put_in_a_cluster_indexes_first() -> None:
    script = Script([b"1", None], 1, [])
    script.cluster = True
    made = Checkpoint(thread_id="t", checkpoint_id="c", metadata={"run_id": "r"})
    perform(script, ValkeyCheckpoints(script, ttl=2).put(made, None))
    assert script.names == ["touch_thread", "add_run", "put"]
    assert script.call(2).keys == [*KEYS.derived, KEYS.checkpoint("c"), KEYS.checkpoint("")]


def test_put_sends_what_is_missing_again_with_all_else() -> None:
    asked: list[list[str]] = []

    def supply(names: Any) -> dict[str, Payload]:
        asked.append(list(names))
        return {"b": VALUE}

    script = Script([1], [])
    perform(script, ValkeyCheckpoints(script).put(MADE, supply))
    assert asked == [["b"]]
    assert script.call(0).args[-4:] == ["=^", "a:i1", "b:i2", encode_value(VALUE)]
    assert script.call(1).args[-5:] == ["==", "a:i1", "b:i2", encode_value(VALUE), encode_value(VALUE)]


def test_put_makes_what_is_not_supplied_empty() -> None:
    script = Script([1], [])
    perform(script, ValkeyCheckpoints(script).put(MADE, lambda names: {}))
    assert script.call(1).args[-4:] == ["=!", "a:i1", "b:i2", encode_value(VALUE)]


def test_put_without_supply_names_what_is_missing() -> None:
    script = Script([1])
    with pytest.raises(MissingChannels) as raised:
        perform(script, ValkeyCheckpoints(script).put(MADE, None))
    assert raised.value.channels == {"b"}
    assert raised.value.key == KEYS.values


def test_ttl_is_rounded_up_to_milliseconds() -> None:
    script = Script([])
    perform(script, ValkeyCheckpoints(script, ttl=0.0001).put(MADE, None))
    assert script.call(0).args[1] == "1"


def write(idx: int) -> PendingWrite:
    return PendingWrite(task_id="task", idx=idx, channel="items", payload=VALUE)


def test_put_writes_of_none_asks_nothing() -> None:
    script = Script()
    perform(script, ValkeyCheckpoints(script).put_writes("t", "", "c", []))


def test_put_writes_refreshes_those_behind_and_the_run() -> None:
    script = Script([b"r", b"c:task:0:items"], 1, b"")
    perform(script, ValkeyCheckpoints(script, ttl=1).put_writes("t", "", "c", [write(1)]))
    assert script.names == ["put_writes", "add_run", "refresh"]
    assert script.call(0).keys == [*KEYS.derived, KEYS.checkpoint("c"), "statekeep:pending_write:{t}::c:task:1"]
    assert script.call(1).keys == ["statekeep:run-index:r"]
    assert script.call(2).keys == [*KEYS.derived, KEYS.checkpoint("c"), "statekeep:pending_write:{t}::c:task:0"]


LINES = b"c:task:1:items::raw:4:djE= c:task:0:items:a%2Cb:raw:4:djA= "


def test_get_reads_pending_writes_with_the_same_call() -> None:
    script = Script([row(MADE, "a:i1 "), [encode_value(VALUE)], LINES, []])
    saved = perform(script, ValkeyCheckpoints(script).get("t", "", None))
    assert script.call(0).keys == [KEYS.values, KEYS.checkpoints, KEYS.writes, KEYS.expiry, KEYS.pending, KEYS.head]
    assert saved.channels == {"a": Channel.of(1, VALUE)}
    found = [(made.task_path, made.idx, made.payload.data) for made in saved.pending_writes]
    assert found == [("", 1, b"v1"), ("a,b", 0, b"v0")]


def test_get_reads_the_records_of_pending_writes_that_have_no_line() -> None:
    found = [
        row(MADE, "a:i1 "),
        [encode_value(VALUE)],
        LINES[: LINES.index(b" ") + 1],
        [b"c:task:0:items"],
    ]
    script = Script(found, [[b"", b"items", b"raw", b"djA=", b"{t}::c:task:0"], []])
    saved = perform(script, ValkeyCheckpoints(script).get("t", "", None))
    assert script.call(1).keys[1:] == ["statekeep:pending_write:{t}::c:task:0"]
    assert [(made.idx, made.payload.data) for made in saved.pending_writes] == [(0, b"v0"), (1, b"v1")]


@pytest.mark.parametrize(
    "damaged",
    [
        LINES[:-1],
        LINES[1:],
        LINES.replace(b"djE=", b"djE"),
        LINES.replace(b"djE=", b"d E="),
        LINES.replace(b"djE=", b"d!!="),
        LINES.replace(b":0:", b":x:"),
        LINES.replace(b"%2C", b"%FF"),
        LINES + b"\xff ",
        LINES.replace(b" c", b" d"),
    ],
)
def test_get_reads_the_records_of_pending_writes_if_a_line_is_damaged(damaged: bytes) -> None:
    found = [row(MADE, "a:i1 "), [encode_value(VALUE)], damaged, []]
    rows = [b"", b"items", b"raw", b"djE=", b"{t}::c:task:1", b"", b"items", b"raw", b"djA=", b"{t}::c:task:0"]
    script = Script(found, [b"c:task:1:items", b"c:task:0:items"], [rows, []])
    saved = perform(script, ValkeyCheckpoints(script).get("t", "", None))
    assert script.names == ["get", "members", "writes"]
    assert script.call(1).args == ["of", "c"]
    assert script.call(2).keys[1:] == [f"statekeep:pending_write:{{t}}::c:task:{idx}" for idx in (1, 0)]
    assert [(made.idx, made.payload.data) for made in saved.pending_writes] == [(0, b"v0"), (1, b"v1")]


def test_get_of_a_missing_id_is_none_at_once() -> None:
    script = Script(7)
    assert perform(script, ValkeyCheckpoints(script).get("t", "", "c")) is None
    assert script.names == ["get"]


def test_get_makes_the_copy_of_the_newest_again_until_it_is_there() -> None:
    gone = [3, [[b"x", b"c"]], b"c", [1, []]]  # no copy; two ids; the newest has no record; the index forgets it
    again = [3, [[b"c"]], b"c"]  # another client deleted the copy: no copy; one id; the copy is made
    found = [row(MADE), [], b"", []]
    script = Script(*gone, [[b"c"]], b"c", *again, found)
    saved = perform(script, ValkeyCheckpoints(script).get("t", "", None))
    assert saved.checkpoint_id == "c"
    assert script.names == [
        "get",
        "ids",
        "rebuild_head",
        "adopt",
        "ids",
        "rebuild_head",
        "get",
        "ids",
        "rebuild_head",
        "get",
    ]


def test_get_of_a_thread_whose_index_names_nothing_that_exists() -> None:
    script = Script(1, [[b"x"]], None, [0, []], [[]], 1)
    assert perform(script, ValkeyCheckpoints(script).get("t", "", None)) is None
    assert script.names == ["get", "ids", "rebuild_head", "adopt", "ids", "mark_empty"]


@pytest.mark.parametrize("pk", [b"{t}::other", b"", None, b"\xff"])
def test_a_copy_of_the_newest_whose_key_is_damaged_is_corrupt(pk: bytes | None) -> None:
    script = Script([[*row(MADE)[:-1], pk], [], b"", []])
    with pytest.raises(CorruptRecord) as raised:
        perform(script, ValkeyCheckpoints(script).get("t", "", None))
    assert raised.value.key == KEYS.head


def listing(script: Script, **query: Any) -> Sequence[Any]:
    page = perform(script, ValkeyCheckpoints(script).list(CheckpointQuery(**query), None))
    assert page.cursor is None
    found: Sequence[Any] = page.items
    return found


def test_list_of_nothing_asks_nothing() -> None:
    assert listing(Script(), thread_id="t", limit=0) == ()


@pytest.mark.parametrize(
    ("copy", "names"), [([[b"c"]], ["fields"]), ([[None], [[b"c"]], b"c"], ["fields", "ids", "rebuild_head"])]
)
def test_list_drops_from_the_index_what_is_gone(copy: list[Any], names: list[str]) -> None:
    reply = [[[row(MADE), [None] * len(READ_FIELDS)], [], b"", []]]
    # Two ids, of which one has no record: the index forgets it, and the copy of the newest is looked for.
    script = Script([[b"c", b"b"], [], []], reply, [0, [b"b"]], *copy)
    page = perform(script, ValkeyCheckpoints(script).list(CheckpointQuery(thread_id="t", namespace="", limit=2), None))
    assert [saved.checkpoint_id for saved in page.items] == ["c"]
    assert script.names == ["page", "records", "adopt", *names]
    assert script.call(2).args == ["c", "", "b"]


def test_list_merges_namespaces_by_id() -> None:
    nested = Checkpoint(thread_id="t", namespace="n", checkpoint_id="d")
    script = Script(
        [[b"c"], [b"", b"n"], []],  # the root's ids, and the namespaces
        [[b"c"], [b"d"]],
        [[[row(MADE)], [], b"", []], [[row(nested)], [], b"", []]],
    )
    assert [saved.checkpoint_id for saved in listing(script, thread_id="t")] == ["d", "c"]
    assert script.names == ["page", "ids", "records"]


def test_delete_thread_goes_on_until_nothing_is_left() -> None:
    ids = [b"%03d" % number for number in range(500)]
    script = Script(
        *(
            [ids, [], [b""]],
            [b"r"],
        ),  # a full page of ids, no pending writes, the namespaces; the runs of what was erased
        *([[], []], []),
        1,  # the indexes of threads and of the run forget it
    )
    perform(script, ValkeyCheckpoints(script).delete_thread("t"))
    assert script.names == ["contents", "erase", "contents", "erase", "forget"]
    assert len(script.call(1).keys) == 510
    assert script.call(4).keys == [KEYS.namespaces, *thread_index_keys("statekeep"), "statekeep:run-index:r"]


def test_delete_thread_looks_again_at_the_namespace_in_which_a_page_ends() -> None:
    names = [b"%03d" % number for number in range(499)]
    script = Script(
        [[], [], 0, [b"", b"a", b"b"]],
        *([[b"c"], [], 0, names, [], 0], []),  # full before the pending writes of "a"
        *([[], [b"c:task:0:items"], 0, [b"c"], [], 0], []),
    )
    perform(script, ValkeyCheckpoints(script).delete_thread("t"))
    assert script.names == ["contents", "contents", "erase", "contents", "erase"]
    a, b = namespace_keys("statekeep", "t", "a"), namespace_keys("statekeep", "t", "b")
    shared = [(keys.checkpoints, keys.writes, keys.head, keys.values, keys.pending) for keys in (a, b)]
    assert script.call(3).keys == [*shared[0], *shared[1]]
    assert script.call(4).args == ["t", "1", "a", "0", "1", "c:task:0:items", "b", "1", "0", "c"]


def test_delete_thread_in_a_cluster() -> None:
    script = Script(
        b"1000",  # when the thread was updated
        *([[b"c"], [], 0, [b""]], [b"r"]),
        1,  # the index forgets it
        0,  # nobody put a checkpoint meanwhile
        [1],  # nor does the run know it
        [],
    )
    script.cluster = True
    perform(script, ValkeyCheckpoints(script).delete_thread("t"))
    assert script.names == ["read", "contents", "erase", "unindex_threads", "read", "Commands", "read"]
    assert script.call(2).keys == [*KEYS.derived, KEYS.checkpoint("c")]
    assert Commands([("SREM", "statekeep:run-index:r", "t")]) in script.requests


def test_an_error_of_the_client_ends_the_operation() -> None:
    error = CorruptRecord("wrong type")
    script = Script(error)
    with pytest.raises(CorruptRecord) as raised:
        perform(script, ValkeyCheckpoints(script).get("t", "", None))
    assert raised.value is error
    assert raised.value.operation == "get"


def test_the_key_of_another_type_is_found() -> None:
    script = Script(CorruptRecord("wrong type", key="first"), [b"hash", b"zset", b"string", b"hash"])
    backend = ValkeyCheckpoints(script)
    with pytest.raises(CorruptRecord) as raised:
        run(backend.get("t", "", None), backend.execute)
    assert raised.value.key == KEYS.writes
    assert script.requests[1] == Commands([("TYPE", key) for key in script.call(0).keys])
