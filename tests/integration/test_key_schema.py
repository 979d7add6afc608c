"""docs/key-schema.md says what is stored."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep.repositories.valkey.keys import namespace_keys, run_key, thread_index_keys, thread_key
from statekeep.repositories.valkey.records import RECORD_TYPES, RecordType
from statekeep.testing.servers import ValkeyServer

DOCUMENT = (Path(__file__).parents[2] / "docs" / "key-schema.md").read_text("utf-8")
TYPES = {str: "text", int: "integer", bytes: "bytes", dt.datetime: "time"}


def section(title: str) -> str:
    """What stands under a heading."""
    _, _, rest = DOCUMENT.partition(f"## {title}\n")
    assert rest, f"there is no section {title!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> Iterator[list[str]]:
    """The rows of a table, without its head."""
    for line in [line for line in text.splitlines() if line.startswith("|")][2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda record_type: record_type.name)
def test_fields(record_type: RecordType) -> None:
    rows = [row[:4] for row in table(section(f"The record `{record_type.name}`"))]
    expected = [["`pk`", "text", "yes", "no"]] + [
        [
            f"`{field.name}`",
            TYPES[field.type],
            "yes" if field.indexed else "no",
            "yes" if field.optional else "no",
        ]
        for field in record_type.fields
    ]
    assert rows == expected


def test_keys() -> None:
    keys = namespace_keys("statekeep", "T", "NS")
    expected = {
        keys.checkpoint("CID"),
        keys.write("CID:TASK:IDX:CHANNEL"),
        *keys.derived,
        thread_key("statekeep", "T"),
        *thread_index_keys("statekeep"),
        run_key("statekeep", "RUN"),
    }
    assert {row[0].strip("`") for row in table(section("Keys"))} == expected


def dump(client: Any, prefix: str) -> str:
    """All keys with their values; times, which are never the same twice, as ``(time)``."""
    lines: list[str] = []
    for key in sorted(key.decode() for key in client.scan_iter(match=f"{prefix}:*")):
        kind = client.type(key).decode()
        lines.append(f"{key}  ({kind})".replace(prefix, "statekeep", 1))
        if kind == "hash":
            pairs = {name.decode(): value.decode() for name, value in client.hgetall(key).items()}
        elif kind == "zset":
            pairs = {name.decode(): f"{score:g}" for name, score in client.zrange(key, 0, -1, withscores=True)}
        else:
            pairs = dict.fromkeys(sorted(name.decode() for name in client.smembers(key)), "")
        if key.endswith("}:time") or ":expiry-index:" in key:
            pairs = dict.fromkeys(pairs, "(time)")
        if "generation" in pairs:
            pairs["generation"] = "(number)"
        lines += [f"    {name:<14} {value}".rstrip() for name, value in sorted(pairs.items())]
    return "\n".join(lines) + "\n"


def test_example(valkey_server: ValkeyServer, prefix: str) -> None:
    text = section("A worked example")
    [program] = blocks(text, "python")
    [shown] = blocks(text, "text")
    with (
        statekeep.connect(valkey_server.url, prefix=prefix, ttl=3600) as keep,
        valkey_server.client() as client,
    ):
        exec(compile(program, "key-schema.md", "exec"), {"keep": keep})
        assert dump(client, prefix) == shown
