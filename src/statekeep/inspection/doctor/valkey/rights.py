"""Permission for the commands of operations, tried where nothing comes of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Final

from ....domain import AccessDenied, ClientClosed, StatekeepError, Throttled, Unavailable, Unsupported
from ....repositories.operation import Operation
from ....repositories.valkey.requests import Ask, Call, Script
from ...valkey.servers import Server, is_silent
from ..finding import Finding, ok

KEY: Final = "$1"
OTHER: Final = "$2"

FINDING: Final[Mapping[str, Sequence[str]]] = {
    "COPY": (KEY, OTHER),
    "EXISTS": (KEY,),
    "GET": (KEY,),
    "HDEL": (KEY, "a"),
    "HEXISTS": (KEY, "a"),
    "HGET": (KEY, "a"),
    "HKEYS": (KEY,),
    "HLEN": (KEY,),
    "HMGET": (KEY, "a"),
    "HSTRLEN": (KEY, "a"),
    "LINDEX": (KEY, "0"),
    "LLEN": (KEY,),
    "LRANGE": (KEY, "0", "0"),
    "LTRIM": (KEY, "0", "0"),
    "MEMORY|USAGE": (KEY,),
    "PERSIST": (KEY,),
    "PEXPIRE": (KEY, "1"),
    "PEXPIREAT": (KEY, "1"),
    "PEXPIRETIME": (KEY,),
    "PTTL": (KEY,),
    "SCARD": (KEY,),
    "SMEMBERS": (KEY,),
    "SREM": (KEY, "a"),
    "TIME": (),
    "TYPE": (KEY,),
    "UNLINK": (KEY,),
    "ZCARD": (KEY,),
    "ZCOUNT": (KEY, "-inf", "+inf"),
    "ZLEXCOUNT": (KEY, "-", "+"),
    "ZMSCORE": (KEY, "a"),
    "ZRANGE": (KEY, "0", "0"),
    "ZRANGEBYLEX": (KEY, "-", "+"),
    "ZRANGEBYSCORE": (KEY, "-inf", "+inf"),
    "ZREM": (KEY, "a"),
    "ZREMRANGEBYLEX": (KEY, "-", "+"),
    "ZREVRANGE": (KEY, "0", "0"),
    "ZREVRANGEBYLEX": (KEY, "+", "-"),
    "ZREVRANGEBYSCORE": (KEY, "+inf", "-inf"),
    "ZSCORE": (KEY, "a"),
}
"""Commands that find nothing and change nothing where there is no key, with their arguments. DEL is tried besides."""

MAKING: Final[Mapping[str, Sequence[str]]] = {
    "HSET": (KEY, "a", "1"),
    "RPUSH": (KEY, "1"),
    "SADD": (KEY, "1"),
    "SET": (KEY, "1"),
    "ZADD": (KEY, "0", "1"),
}
"""Commands that make a key, which is deleted within the same script."""

PLAIN: Final[Mapping[str, Sequence[str]]] = {
    "SCAN": ("0", "COUNT", "1"),
    "SCRIPT|LOAD": ("return 1",),
}
"""Commands that no script runs."""

MEASURING: Final = frozenset({"HSTRLEN", "MEMORY|USAGE"})
"""Commands without which all works but for sizes, which are then lengths, or are missing."""

SEARCHING: Final[Mapping[str, Sequence[str]]] = {
    "FT._LIST": (),
    "FT.CREATE": (),
    "FT.INFO": ("statekeep-doctor-no-index",),
    "FT.SEARCH": ("statekeep-doctor-no-index", "*"),
}
"""Commands of the search module. FT.CREATE lacks its arguments here, so that it makes nothing."""


_LINES: Final = files(__package__).joinpath("rights.lua").read_text("utf-8").splitlines()
SCRIPT: Final = Script("rights", "\n".join(line for line in _LINES if not line.startswith("--")) + "\n")


def _commands(table: Mapping[str, Sequence[str]]) -> str:
    return json.dumps([(name, [*name.split("|"), *words]) for name, words in table.items()])


def scripts(prefix: str) -> Operation[list[Finding]]:
    """Run a script, and find out what it may do: one round trip.

    Args:
        prefix: of all keys.
    """
    tag = f"{prefix}:doctor-{{{secrets.token_hex(8)}}}"
    call = Call(SCRIPT, [f"{tag}:1", f"{tag}:2"], [_commands(FINDING), _commands(MAKING)])
    try:
        reply = yield call
    except StatekeepError as error:
        if not is_silent(error):
            raise
        return [
            Finding(
                name="scripts",
                state="problem",
                found=f"The server runs no scripts for this user: {error}.",
                advice="Permit EVAL and EVALSHA, and the keys of the prefix: every operation is a script.",
            )
        ]
    texts = [word.decode(errors="replace") for word in reply]
    refused = dict(zip(texts[::2], texts[1::2], strict=True))
    runs = ok("scripts", "The server runs scripts, by EVALSHA and EVAL.")
    if not refused:
        return [runs, ok("rights", f"The user may run all {len(FINDING) + len(MAKING) + 1} commands of the scripts.")]
    return [runs, _refused(refused, f"~{prefix}:*")]


def _refused(refused: Mapping[str, str], keys: str) -> Finding:
    first = next(iter(refused.values()))
    rules = " ".join(f"+{name.lower()}" for name in sorted(refused))
    about_keys = all("access a key" in text for text in refused.values())
    if refused.keys() <= MEASURING:
        return Finding(
            name="rights",
            state="warning",
            found=f"{_listed(refused)} is refused: sizes of records are lengths, or are not known.",
            advice=f"Permit {rules} to the user if sizes are wanted.",
        )
    return Finding(
        name="rights",
        state="problem",
        found=f"{len(refused)} commands are refused, {_listed(refused)}: {first.strip()}",
        advice=f"Permit the keys {keys} to the user (ACL SETUSER)." if about_keys else f"Permit {rules} to the user.",
    )


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def outside_scripts(server: Server) -> Operation[list[Finding]]:
    """Try the commands that no script runs: a round trip each.

    Args:
        server: which answers.
    """
    refused = yield from _tried(PLAIN, server.near)
    if not refused:
        return []
    scan_alone = set(refused) == {"SCAN"}
    return [
        Finding(
            name="rights",
            state="warning" if scan_alone else "problem",
            found=f"{_listed(refused)} is refused: {next(iter(refused.values()))}.",
            advice="Permit +scan to the user if reindex, stats and the sample of this doctor are wanted."
            if scan_alone
            else f"Permit {' '.join(f'+{name.lower()}' for name in sorted(refused))} to the user.",
        )
    ]


def for_search(server: Server) -> Operation[list[Finding]]:
    """Try the commands of the search module: a round trip each.

    Args:
        server: which answers.
    """
    refused = yield from _tried(SEARCHING, server.near)
    if not refused:
        return []
    return [
        Finding(
            name="rights",
            state="problem",
            found=f"{_listed(refused)} of the search module are refused: {next(iter(refused.values()))}.",
            advice=f"Permit {' '.join(f'+{name.lower()}' for name in sorted(refused))} to the user.",
        )
    ]


def _tried(table: Mapping[str, Sequence[str]], near: str) -> Operation[dict[str, str]]:
    refused: dict[str, str] = {}
    for name, words in table.items():
        try:
            yield Ask([*name.split("|"), *words], near=near)
        except (AccessDenied, Unsupported) as error:
            refused[name] = str(error)
        except StatekeepError as error:
            # There is no such index, or arguments are missing: the command itself is permitted.
            if not _is_an_answer(error):
                raise
    return refused


def _is_an_answer(error: StatekeepError) -> bool:
    return not isinstance(error, Unavailable | Throttled | ClientClosed)
