"""Pieces of the pages: conversations, lanes, charts, trees."""

from __future__ import annotations

import re
from typing import Any

import pytest

from statekeep.contrib.ui.drawing import LANES, Forks, Point, chart, lane_picture, width_of
from statekeep.contrib.ui.markup import brief, shown, tree
from statekeep.contrib.ui.messages import Call, Message, conversation, count


def only(value: Any) -> Message:
    [found] = conversation([value]) or []
    assert isinstance(found, Message)
    return found


LANGCHAIN = {"$type": "langchain_core.messages.ai.AIMessage", "type": "ai", "content": "hm", "tool_calls": [
    {"name": "look", "args": {"at": 1}, "id": "c1"}]}  # fmt: skip
OPENAI = {"role": "assistant", "content": "hm", "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}]}  # fmt: skip
ANTHROPIC = {"role": "assistant", "content": [
    {"type": "text", "text": "hm"}, {"type": "tool_use", "name": "look", "input": {"at": 1}, "id": "c1"}]}  # fmt: skip
BEDROCK = {"role": "assistant", "content": [
    {"text": "hm"}, {"toolUse": {"name": "look", "input": {"at": 1}, "toolUseId": "c1"}}]}  # fmt: skip
LC_JSON = {"lc": 1, "id": ["langchain", "schema", "AIMessage"], "kwargs": {
    "content": "hm", "tool_calls": [{"name": "look", "args": {"at": 1}, "id": "c1"}]}}  # fmt: skip
DATA = {"type": "ai", "data": {"content": "hm", "tool_calls": [{"name": "look", "args": {"at": 1}, "id": "c1"}]}}


@pytest.mark.parametrize("value", [LANGCHAIN, OPENAI, ANTHROPIC, BEDROCK, LC_JSON, DATA])
def test_messages_of_many_frameworks_are_understood(value: dict[str, Any]) -> None:
    message = only(value)
    assert (message.role, message.texts) == ("assistant", ("hm",))
    assert message.calls == (Call("look", {"at": 1}, "c1"),)
    assert message.rest == value


@pytest.mark.parametrize(
    "value",
    [
        {"role": "tool", "tool_call_id": "c1", "content": "no", "status": "error"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "no", "is_error": True}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": "no", "status": "error"}}]},
    ],
)
def test_results_of_tools_name_their_calls(value: dict[str, Any]) -> None:
    message = only(value)
    assert (message.role, message.call_id, message.is_error, message.texts) == ("tool", "c1", True, ("no",))


@pytest.mark.parametrize("value", [None, 1, [], [1], [{}], [{"role": "x", "content": 1}], [{"role": "user"}],
                                   {"messages": []}, [{"role": "user", "content": "a"}, 1]])  # fmt: skip
def test_what_is_no_conversation_is_none(value: Any) -> None:
    assert conversation(value) is None


def test_odd_fields_do_no_harm() -> None:
    odd = {"role": "user", "content": [None, 5, {"type": "image", "url": "x"}], "tool_calls": "x", "name": 5}
    message = only(odd)
    assert (message.texts, message.others, message.calls, message.name) == (
        (),
        (5, {"type": "image", "url": "x"}),
        (),
        "",
    )
    broken = only({"role": "ai", "content": "", "tool_calls": [{"function": {"arguments": "{"}}]})
    assert broken.calls == (Call("a tool", "{", ""),)


def test_messages_that_are_left_out_are_not_counted() -> None:
    message = {"role": "user", "content": "a"}
    assert count([message, message]) == 2
    assert count([message, {"$cut": "9 more items"}]) is None
    assert conversation([message, {"$cut": "9 more items"}])[1] == "9 more items"  # type: ignore[index]


def test_lanes_are_those_of_the_whole_thread_however_it_is_cut() -> None:
    thread = [("8", "6"), ("7", "3"), ("6", "5"), ("5", "2"), ("4", "3"), ("3", "2"), ("2", "1"), ("1", None)]
    whole = Forks()
    dots = [whole.dot(*step) for step in thread]
    assert [dot.lane for dot in dots] == [0, 1, 0, 0, 2, 1, 0, 0]
    assert dots[5].joined == (2,)
    assert dots[6].joined == (1,)
    assert dots[2].through == (1,)
    assert not dots[-1].goes_on
    for cut in range(1, len(thread)):
        first = Forks()
        parts = [first.dot(*step) for step in thread[:cut]]
        second = Forks(list(first.wanted))
        assert parts + [second.dot(*step) for step in thread[cut:]] == dots
    assert width_of(dots) == 3


def test_many_branches_are_drawn_in_bounded_width() -> None:
    forks = Forks()
    dots = [forks.dot(str(100 - n), "0") for n in range(100)]
    assert width_of(dots) == LANES
    assert 'width="216"' in lane_picture(dots[-1], LANES)


def test_bars_are_as_high_as_their_bytes() -> None:
    picture = chart([Point("1", 100, 0, 1), Point("2", 50, 50, 2), Point("3", 0, 50, None)])
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', picture)]
    assert heights == [0, 130, 65, 65, 65, 0]
    assert "step 2: 50 B new, 50 B reused, 2 messages" in picture
    assert chart([Point("1", 1, 1, 1)]) == ""
    assert "<b>" not in chart([Point("<b>", 1, 1, 1)] * 2)


def test_trees_show_every_kind_of_value_as_text() -> None:
    text = tree(
        {
            "a": [None, True, 1.5, "", "x" * 200],
            "<b>": {"$type": "set", "value": []},
            "c": {"$cut": "5 more", "begins": "<"},
        }
    )
    for part in ("null", "true", "1.5", "empty text", '<pre class="text">', "&lt;b&gt;", "set", "empty list",
                 "left out: 5 more", "begins with", "&lt;"):  # fmt: skip
        assert part in text
    assert "<b>" not in text
    assert "an integer of" in tree(10**5000)


def test_texts_that_look_like_marks_are_no_marks() -> None:
    assert shown("\\u202e") == "\\u202e"
    assert shown("\u202e") == '<span class="mark">\\u202e</span>'
    assert brief("a\nb") == "a b"
    assert brief(["x" * 200]).endswith("…")
