"""Ways in which stored bytes, and records of JSON, may be damaged; and the check of what is read nevertheless."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from statekeep import ChannelHistory, Item, SavedCheckpoint
from statekeep.domain.checkpoints import encoded_metadata
from statekeep.domain.items import item_value

ODD_BYTES: tuple[bytes, ...] = (
    b"", b"0", b"-1", b"1.5", b"nan", b"inf", b"-inf", b"1e300", b"9" * 400, b"9" * 5000, b"1_0", b" 5 ", b"+5",
    b"true", b"null", b"[]", b"{}", b'"x"', b"[1]", b'{"a":', b"\xff\xfe", b"\x00", b"[" * 100_000, b"!!", b"? ",
    b"! ", b"A", b"AA==", b" ", b":", b"a:", b":a", b"::::", b"%", b"%ff", b"{t}", b"NaN", b'{"a":NaN}',
    b"[Infinity]", b'{"a":"\\ud800"}', b"2024-02-30T00:00:00", b"2024-01-01T00:00:00", b"253402300800", b"1e18",
    "²".encode(), "٣".encode(), b'{"run_id":{}}', b'{"parents":{"":5}}', b'{"$keep":1}', b'{"$keep":["tuple"]}',
    b'{"a":{"$keep":["uuid",3]}}', b'{"a":{"$keep":["decimal",{}]}}', b'{"a":{"$keep":["dict",[[[],1]]]}}',
    b'{"$keep":["set",[[1]]]}', b'{"a":{"$keep":["timedelta",[1e30,0,0]]}}', b'{"a":{"$keep":["datetime",5]}}',
    b'{"a":{"$keep":["payload","",""]}}', b"counter:", b"counter:i1_0 ", b"counter:ix ", b"counter:fnan ",
    b"counter:z1 ", b"counter:s%ff ", b"%ff:i1 ", b"default:3", b"default:999999", b":5 ",
)  # fmt: skip
"""What is no number, no text, no base64, no JSON, no list of channels ... but nearly."""

ODD_JSON: tuple[Any, ...] = (
    None, 0, -1, 1, 2**70, 1.5, True, float("nan"), "", "x", "00001", "\ud800", "x" * 9000, [], {}, [1], [None],
    {"a": 1}, ["raw", 0], ["raw", 99], ["raw", -1], ["raw", "0"], [5, 0], ["", 0], {"value": 5, "stamp": 1},
    {"value": "x", "stamp": -1}, "earlier", "value", "2024-01-01", "2024-01-01T00:00:00", "{", '{"a":1}', "[1]",
    '{"a":{"$keep":["uuid",3]}}', '{"run_id":{}}', "[" * 100_000, "checkpoint", "index", "orphan", "writes",
    "namespace",
)  # fmt: skip
"""What a field of a record should not be."""


@st.composite
def damaged(draw: st.DrawFn, old: bytes, others: Sequence[bytes]) -> bytes:
    """Bytes in the place of ``old``: others, or these with a bit flipped, cut, or with something in between."""
    odd = draw(st.sampled_from(ODD_BYTES))
    at, end = sorted((draw(st.integers(0, len(old))), draw(st.integers(0, len(old)))))
    flipped = bytes([byte ^ 1 << draw(st.integers(0, 7)) for byte in old[at : at + 1]])
    return draw(
        st.sampled_from(
            [odd, odd, odd, *others[:3], old[:at] + flipped + old[at + 1 :], old[:at], old[at:], old[:at] + old[end:],
             old[:at] + odd + old[at:], old + odd]
        )
    )  # fmt: skip


@st.composite
def damaged_json(draw: st.DrawFn, old: Any, depth: int = 0) -> Any:
    """JSON with another value somewhere, one more, or one less."""
    if depth == 4 or not isinstance(old, (dict, list)) or not old or draw(st.integers(0, 5 + depth)) == 0:
        return draw(st.sampled_from(ODD_JSON))
    found: Any = copy.copy(old)
    place = draw(st.sampled_from(sorted(old))) if isinstance(old, dict) else draw(st.integers(0, len(old) - 1))
    if draw(st.integers(0, 5)) == 0:
        del found[place]
    else:
        found[place] = draw(damaged_json(old[place], depth + 1))
    return found


def check(found: Any) -> None:
    """Whatever is read is what the models say: of the right types, complete, and such that it could be stored."""
    if isinstance(found, (list, tuple)):
        for one in found:
            check(one)
    elif isinstance(found, dict):
        check([*found.keys(), *found.values()])
    elif isinstance(found, BaseModel):
        fields = {name: getattr(found, name) for name in type(found).model_fields}
        type(found)(**fields)
        if isinstance(found, SavedCheckpoint):
            encoded_metadata(found)
            check([*found.pending_writes, *found.channels.values(), found.header])
        elif isinstance(found, ChannelHistory):
            check([*found.writes, found.seed])
        elif isinstance(found, Item):
            assert item_value(found.value, "value") == found.value
        else:
            check([value for value in fields.values() if isinstance(value, BaseModel)])
