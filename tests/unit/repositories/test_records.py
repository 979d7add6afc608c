"""How records and channel values are written and read."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statekeep import Channel, Checkpoint, CorruptRecord, InvalidInput, Payload, PendingWrite
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys
from statekeep.repositories.valkey.checkpoints.records import (
    READ_FIELDS,
    SENT_FIELDS,
    decode_checkpoint,
    decode_lines,
    decode_value,
    decode_values,
    decode_write,
    encode_channels,
    encode_checkpoint,
    encode_value,
    encode_write,
    member,
    token,
    value_fields,
)
from statekeep.repositories.valkey.codecs import decode_bytes, decode_time, encode_bytes, encode_time
from statekeep.repositories.valkey.keys import decode_part, encode_part

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PAYLOADS = st.builds(Payload, encoding=TEXTS.filter(bool), data=st.binary())
VERSIONS = TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = namespace_keys("app", "t", "")


@given(PAYLOADS)
@example(Payload(encoding="3:a", data=b"4:"))
@example(Payload(encoding="1", data=b""))
def test_values_come_back(payload: Payload) -> None:
    assert decode_value(encode_value(payload), "key", "field") == payload


@given(PAYLOADS, st.data())
def test_values_that_are_cut_off_or_go_on_are_corrupt(payload: Payload, data: st.DataObject) -> None:
    whole = encode_value(payload)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:cut], whole + b"0"):
        with pytest.raises(CorruptRecord) as raised:
            decode_value(damaged, "key", "field")
        assert raised.value.key == "key"


@given(st.binary())
def test_no_bytes_make_another_error_than_corrupt(data: bytes) -> None:
    for decode in (lambda: decode_value(data, "key", "field"), lambda: decode_bytes(data, "key")):
        with suppress(CorruptRecord):
            decode()


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert decode_bytes(encode_bytes(data), "key") == data
    assert encode_bytes(data).isascii()


@given(st.datetimes(timezones=st.timezones() | st.just(dt.UTC)))
@example(dt.datetime.min.replace(tzinfo=dt.UTC))
@example(dt.datetime.max.replace(tzinfo=dt.UTC))
@example(dt.datetime(2026, 1, 1, 12, 0, 0, 123457, dt.timezone(dt.timedelta(hours=5, minutes=45))))
@example(dt.datetime(2016, 11, 6, 1, tzinfo=ZoneInfo("America/New_York")))
def test_times_come_back(moment: dt.datetime) -> None:
    try:
        in_utc = moment.astimezone(dt.UTC)
    except OverflowError:
        return  # such a moment is before the year 1 or after 9999, in UTC
    # In its own zone, an hour that comes twice is equal to none of another zone.
    assert decode_time(encode_time(moment)) == in_utc


@pytest.mark.parametrize("damaged", ["", "x", "nan", "inf", "1e300", "2026-13-01", "-1e300"])
def test_what_is_no_time_is_a_value_error(damaged: str) -> None:
    with pytest.raises(ValueError):
        decode_time(damaged)


def _fields(checkpoint: Checkpoint) -> dict[str, str | bytes]:
    sent = dict(zip(SENT_FIELDS, encode_checkpoint(checkpoint), strict=True))
    kept = {name: text for name, text in sent.items() if text or name in ("encoding", "header")}
    parent: dict[str, str | bytes] = {"parent_id": checkpoint.parent_id} if checkpoint.parent_id else {}
    return {"checkpoint_id": checkpoint.checkpoint_id, **parent, **kept}


def _checkpoint(row: dict[str, Any], values: dict[str, bytes], checkpoint_id: str = "c") -> Checkpoint:
    payloads = decode_values(list(values), list(values.values()), KEYS)
    own = {"pk": f"{{t}}::{encode_part(checkpoint_id)}", **row}
    fields = {name: value.encode() if isinstance(value, str) else value for name, value in own.items()}
    key = KEYS.checkpoint(checkpoint_id)
    return decode_checkpoint(
        KEYS, key, encode_part(checkpoint_id), [fields.get(name) for name in READ_FIELDS], payloads, []
    )


@given(st.dictionaries(TEXTS, st.tuples(VERSIONS, PAYLOADS | st.none()), max_size=4), PAYLOADS | st.none())
def test_checkpoints_come_back(channels: dict[str, tuple[Any, Payload | None]], header: Payload | None) -> None:
    made = Checkpoint(
        thread_id="t",
        checkpoint_id="c",
        metadata={"a": (1, b"\xff"), "step": 3, "run_id": "r"},
        header=header,
        channels={
            name: Channel.empty(version) if payload is None else Channel.of(version, payload)
            for name, (version, payload) in channels.items()
        },
    )
    letters, *args = encode_channels(made.channels)
    fields = [str(token) for token in args[: len(letters)]]
    stored = [field for letter, field in zip(str(letters), fields, strict=True) if letter == "="]
    values = dict(zip(stored, map(bytes, args[len(letters) :]), strict=True))  # type: ignore[arg-type]
    listed = "".join(f"{letter.strip('=')}{field} " for letter, field in zip(str(letters), fields, strict=True))
    saved = _checkpoint({**_fields(made), "channels": listed}, values)
    assert {name: getattr(saved, name) for name in Checkpoint.model_fields} == {
        name: getattr(made, name) for name in Checkpoint.model_fields
    }
    assert value_fields(listed.encode(), "key") == tuple(values)


def test_fields_of_a_record() -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    made = Checkpoint(
        thread_id="t", checkpoint_id="c", parent_id="p", created_at=moment, metadata={"step": 1, "run_id": "r"}
    )
    assert _fields(made) == {
        "checkpoint_id": "c",
        "parent_id": "p",
        "created_at": "1767323045.0",
        "run_id": "r",
        "step": "1",
        "metadata": '{"step":1,"run_id":"r"}',
        "encoding": "",
        "header": b"",
    }


@pytest.mark.parametrize(
    "metadata", [{"run_id": 1}, {"run_id": ""}, {"run_id": "\ud800"}, {"step": True}, {"step": "1"}, {"step": 2**60}]
)
def test_what_is_no_run_and_no_step_is_metadata_only(metadata: dict[str, Any]) -> None:
    fields = _fields(Checkpoint(thread_id="t", metadata=metadata))
    assert not {"run_id", "step"} & fields.keys()
    assert "metadata" in fields


def test_metadata_that_cannot_be_written_is_invalid_input() -> None:
    with pytest.raises(InvalidInput) as raised:
        encode_checkpoint(Checkpoint(thread_id="t", metadata={"a": object()}))
    assert raised.value.field == "metadata"


WHOLE = {**_fields(Checkpoint(thread_id="t", checkpoint_id="c")), "channels": "a:i1 "}
VALUES = {"a:i1": encode_value(Payload(encoding="raw", data=b"v"))}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, None) for field in READ_FIELDS if field != "parent_id"),
        ("checkpoint_id", "another"),
        ("pk", "{t}::another"),
        ("pk", "{bob}::c"),
        ("pk", "{t}:sub:c"),
        ("pk", ":c"),
        ("pk", b"\xff"),
        ("checkpoint_id", b"\xff"),
        ("parent_id", b"\xff"),
        ("created_at", "soon"),
        ("metadata", "[1]"),
        ("metadata", '{"a":'),
        ("metadata", '{"$keep":["nothing"]}'),
        ("metadata", "[" * 100_000),
        ("header", "AAAA"),  # and no encoding
        ("channels", "a:i1"),
        ("channels", "a:i2 "),
        ("channels", "a:i1 b:i1 "),
        ("channels", "a:x1 "),
        ("channels", "!a:ix "),
        ("channels", "!%ff:i1 "),
        ("channels", b"\xff "),
        ("channels", "? "),
    ],
)
def test_damaged_records_are_corrupt(field: str, value: str | bytes | None) -> None:
    assert _checkpoint(WHOLE, VALUES).channels["a"].payload == Payload(encoding="raw", data=b"v")
    with pytest.raises(CorruptRecord) as raised:
        _checkpoint(WHOLE | {field: value}, VALUES)
    gone = field == "channels" and value in ("a:i2 ", "a:i1 b:i1 ")
    assert raised.value.key == (KEYS.values if gone else KEYS.checkpoint("c"))


@given(VERSIONS, VERSIONS, TEXTS, TEXTS)
@example(1, 1.0, "a", "a")
@example(1, "1", "a", "a")
@example("1:a", "1", "a", "a:1")
def test_tokens_of_different_versions_differ(one: Any, other: Any, name: str, another: str) -> None:
    same = name == another and type(one) is type(other) and repr(one) == repr(other)
    assert (token(name, one) == token(another, other)) is same
    assert not set(token(name, one)) & set(" @!?\n\t")


@given(TEXTS.filter(bool), TEXTS.filter(bool), TEXTS, TEXTS, st.integers(-9, 9), PAYLOADS)
def test_writes_come_back(checkpoint: str, task: str, path: str, channel: str, idx: int, payload: Payload) -> None:
    made = PendingWrite(task_id=task, task_path=path, idx=idx, channel=channel, payload=payload)
    name = member(checkpoint, made)
    assert name.endswith(f":{idx}:{encode_part(channel)}")
    sent = encode_write(name, made)
    _, given, value = (str(arg, "ascii") if isinstance(arg, bytes) else arg for arg in sent)
    assert sent[0] == name
    path_text, encoding = (decode_part(text).encode() for text in given.split(":"))
    pk = KEYS.write(name).removeprefix(f"{KEYS.prefix}:pending_write:").encode()
    assert decode_write(KEYS, name, [path_text, channel.encode(), encoding, value.encode(), pk]) == made
    line = f"{name}:{given}:{len(value)}:{value} ".encode()
    assert decode_lines(line * 2, [encode_part(checkpoint)]) == {encode_part(checkpoint): [made] * 2}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("c:task:0:items", [b"", b"items", b"raw", None, b"{t}::c:task:0"]),
        ("c:task:0:items", [b"", b"items", None, b"AAAA", b"{t}::c:task:0"]),
        ("c:task:0:items", [b"", b"items", b"", b"AAAA", b"{t}::c:task:0"]),
        ("c:task:0:items", [b"", None, b"raw", b"AAAA", b"{t}::c:task:0"]),
        ("c:task:0:items", [None, b"items", b"raw", b"AAAA", b"{t}::c:task:0"]),
        ("c:task:0:items", [b"", b"items", b"raw", b"AAA", b"{t}::c:task:0"]),
        ("c:task:0:items", [b"", b"items", b"\xff", b"AAAA", b"{t}::c:task:0"]),
        ("c:task:0:items", [b"\xff", b"items", b"raw", b"AAAA", b"{t}::c:task:0"]),
        ("c:task:x:items", [b"", b"items", b"raw", b"AAAA", b"{t}::c:task:x"]),
        ("c:task:items", [b"", b"items", b"raw", b"AAAA", b"{t}::c:task"]),
        ("c:%ff:0:items", [b"", b"items", b"raw", b"AAAA", b"{t}::c:%ff:0"]),
        ("c:task:0:items", [b"", b"items", b"raw", b"AAAA", b"{bob}::c:task:0"]),
        ("c:task:0:items", [b"", b"items", b"raw", b"AAAA", b"{t}::c:task:1"]),
        ("c:task:0:items", [b"", b"items", b"raw", b"AAAA", None]),
    ],
)
def test_damaged_writes_are_corrupt(name: str, row: list[bytes | None]) -> None:
    assert decode_write(KEYS, "c:task:0:items", [b"", b"items", b"raw", b"AAAA", b"{t}::c:task:0"])
    with pytest.raises(CorruptRecord) as raised:
        decode_write(KEYS, name, row)
    assert raised.value.key == KEYS.write(name)


def test_a_write_that_is_gone_is_none() -> None:
    assert decode_write(KEYS, "c:task:0:items", [None] * 5) is None
