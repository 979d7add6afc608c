"""docs/key-schema.md says what is stored."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from struct import unpack
from typing import Any
from zlib import crc32

import pytest

import statekeep
from statekeep import VectorIndex
from statekeep.contrib.redis_om.schema import RECORD_TYPES, RecordType
from statekeep.repositories.valkey import ValkeyCacheEntries, ValkeyItems, ValkeyLogs
from statekeep.repositories.valkey.cache.keys import index_keys, keys_of
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys, run_key, thread_index_keys, thread_key
from statekeep.repositories.valkey.checkpoints.metadata.tags import MetadataKeys
from statekeep.repositories.valkey.items.keys import clock_key, item_keys, namespace_index_keys, unit_keys
from statekeep.repositories.valkey.items.search.index import create_command, definition_key
from statekeep.repositories.valkey.keys import encode_namespace, ordered
from statekeep.repositories.valkey.logs.keys import log_keys
from statekeep.testing.servers import ValkeyServer

DOCUMENT = (Path(__file__).parents[3] / "docs" / "key-schema.md").read_text("utf-8")
TYPES = {str: "text", int: "integer", float: "number", bytes: "bytes", dt.datetime: "time"}


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
    metadata = MetadataKeys("statekeep", "NAME")
    expected = {
        keys.checkpoint("CID"),
        keys.write("CID:TASK:IDX:CHANNEL"),
        *keys.derived,
        thread_key("statekeep", "T"),
        *thread_index_keys("statekeep"),
        run_key("statekeep", "RUN"),
        *metadata.written,
        metadata.rest,
        metadata.until,
    }
    assert {row[0].strip("`") for row in table(section("Keys"))} == expected


def test_keys_of_items() -> None:
    keys = item_keys("statekeep", ("N",))
    assert keys.index == "statekeep:item-index:{N}"
    expected = {
        keys.record("K"),
        keys.vector("COLL", "K:I"),
        keys.vectors("COLL"),
        keys.changes("COLL"),
        keys.index,
        keys.recency,
        keys.expiry,
        keys.sequence,
        keys.state,
        clock_key("statekeep"),
        *namespace_index_keys("statekeep"),
        *namespace_index_keys("statekeep", 1),
        unit_keys("statekeep", 1)[1],
        "statekeep:item-call:{N}:CALL",
        definition_key("statekeep", "COLL"),
    }
    rows = list(table(section("Keys of items")))
    assert {row[0].strip("`") for row in rows} == expected
    types = {row[0].split(":")[1]: row[1].lower().encode() for row in rows}
    assert types == ValkeyItems.types


def test_keys_of_cache_entries() -> None:
    keys = index_keys("statekeep", "S", "N")
    rows = list(table(section("Keys of cache entries")))
    assert {row[0].strip("`") for row in rows} == {keys.record("K"), keys.index, keys.namespaces}
    types = {row[0].split(":")[1]: row[1].lower().encode() for row in rows}
    assert types == ValkeyCacheEntries.types
    assert keys_of("", (("users", "ada"), "theme")).shard == f"{crc32(b'users.ada:theme') % 64:02x}"


def test_keys_of_logs() -> None:
    keys = log_keys("statekeep", ("N",))
    rows = list(table(section("Keys of logs")))
    expected = {keys.values, keys.life, *keys.indexes, keys.clock, f"{keys.call}CALL"}
    assert {row[0].strip("`").replace("{S}", f"{{{keys.shard}}}") for row in rows} == expected
    types = {row[0].split(":")[1]: row[1].lower().encode() for row in rows}
    assert types == ValkeyLogs.types
    assert log_keys("", ("users", "ada")).shard == f"{crc32(b'users.ada') % 64:02x}"


def test_namespaces_of_items() -> None:
    """The two encodings, in the words of the document."""
    assert encode_namespace(("users", "ada")) == "users.ada"
    assert encode_namespace(()) == "."
    assert ordered(("\x00", "\x01")) == "\x01\x01\x00\x01\x02"
    assert "users" < ordered(("users", "x")) < "users\x01" < ordered(("userz",))
    assert "users\x00" < ordered(("users", "\x00")) < ordered(("users", "\x01")) < "users\x01"
    text = section("Keys of items")
    for words in (r"is `\x01\x01`", r"and `\x01` is `\x01\x02`", r"between `users\x00` and `users\x01`"):
        assert words in " ".join(text.split())


def test_units_of_items() -> None:
    keys = item_keys("statekeep", ("users", "ada", "notes"), 1)
    text = section("Units of several namespaces")
    assert f"`{keys.record('K')}`" in text
    assert item_keys("statekeep", ("users", "ada"), 0).record("K") == "statekeep:item:{.}.users.ada:K"
    assert "`{.}.users.ada`" in text
    assert item_keys("statekeep", ("users",), 2).tag == "{users}"


def test_vectors_of_items() -> None:
    text = section("Vectors of items")
    hnsw, flat = (block.replace("\\\n", " ").split() for block in blocks(text, "text"))
    index = VectorIndex(dims=384, embed=list)
    assert hnsw == create_command("statekeep", index)
    other = create_command("statekeep", index.model_copy(update={"index_type": "flat"}))
    assert flat == other[-len(flat) :]
    assert flat[0] == "vector"
    assert other[: -len(flat)] == hnsw[: hnsw.index("vector")]


TIMES = ("created_at", "updated_at", "expires_at")


def shown(name: str, value: bytes) -> str:
    if name == "vector":
        return str(list(unpack(f"<{len(value) // 4}f", value)))
    return value.decode()


def dump(client: Any, prefix: str, times: Collection[str] = ()) -> str:
    """All keys with their values; times, which are never the same twice, as ``(time)``."""
    lines: list[str] = []
    for key in sorted(key.decode() for key in client.scan_iter(match=f"{prefix}:*")):
        kind = client.type(key).decode()
        lines.append(f"{key}  ({kind})".replace(prefix, "statekeep", 1))
        if kind == "hash":
            pairs = {name.decode(): shown(name.decode(), value) for name, value in client.hgetall(key).items()}
        elif kind == "zset":
            pairs = {name.decode(): f"{score:g}" for name, score in client.zrange(key, 0, -1, withscores=True)}
        elif kind == "string":
            pairs = {"(answer)" if "-call:" in key else client.get(key).decode(): ""}
        elif kind == "list":
            pairs = {element.decode(): "" for element in client.lrange(key, 0, -1)}
        else:
            pairs = dict.fromkeys(sorted(name.decode() for name in client.smembers(key)), "")
        if re.search(r":(expiry-index|item-ends|item-recent|cache_\w+-index):|\}:(time|end)$", key):
            pairs = dict.fromkeys(pairs, "(time)")
        pairs |= dict.fromkeys(pairs.keys() & set(times), "(time)")
        if ":item-state:" in key:
            pairs = {name: value if value in "01" else "(time)" for name, value in pairs.items()}
        if "generation" in pairs:
            pairs["generation"] = "(number)"
        lines += [f"    {name:<14} {value}".rstrip() for name, value in sorted(pairs.items())]
    text = "\n".join(lines) + "\n"
    # Numbers of appended values, and names of calls.
    text = re.sub(r"\b0000\d{16}\b|(?<=\s)\d{16}(?=[ \n])", "(number)", text, flags=re.MULTILINE)
    return re.sub(r"\b[0-9a-f]{24}\b", "(call)", text).replace("\0", r"\x00")


def test_example(valkey_server: ValkeyServer, prefix: str) -> None:
    text = section("A worked example")
    [program] = blocks(text, "python")
    [expected] = blocks(text, "text")
    with (
        statekeep.connect(valkey_server.url, prefix=prefix, ttl=3600) as keep,
        valkey_server.client() as client,
    ):
        exec(compile(program, "key-schema.md", "exec"), {"keep": keep})
        assert dump(client, prefix) == expected


def test_example_of_items(valkey_server: ValkeyServer, prefix: str) -> None:
    text = section("A worked example of items")
    [program] = blocks(text, "python")
    [expected] = blocks(text, "text")
    exec(compile(program, "key-schema.md", "exec"), {"url": valkey_server.url, "prefix": prefix})
    with valkey_server.client() as client:
        assert dump(client, prefix, TIMES) == expected
        [vector] = client.scan_iter(match=f"{prefix}:item-vector:*")
        fields = [row[0].strip("`").encode() for row in table(section("Vectors of items"))]
        assert set(client.hgetall(vector)) == set(fields)


def test_example_of_cache_entries(valkey_server: ValkeyServer, prefix: str) -> None:
    text = section("A worked example of cache entries")
    [program] = re.findall(r"With `(.*?)`,\s", text, re.DOTALL)
    [expected] = blocks(text, "text")
    with (
        statekeep.connect(valkey_server.url, prefix=prefix) as keep,
        valkey_server.client() as client,
    ):
        exec(program, {"keep": keep, "Payload": statekeep.Payload})
        assert dump(client, prefix, TIMES) == expected


def test_example_of_logs(valkey_server: ValkeyServer, prefix: str) -> None:
    text = section("A worked example of logs")
    [program] = re.findall(r"With `(.*?)`,\s", text, re.DOTALL)
    [expected] = blocks(text, "text")
    with (
        statekeep.connect(valkey_server.url, prefix=prefix) as keep,
        valkey_server.client() as client,
    ):
        exec(program, {"keep": keep, "Payload": statekeep.Payload})
        assert dump(client, prefix) == expected
