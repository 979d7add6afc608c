"""The targets of the project, and whether a run reached them. Pure functions of a report."""

from __future__ import annotations

from itertools import product

from .cold import BASE
from .contenders import GLIDE, INCUMBENT, VALKEY_PY
from .report import Report, Verdict

SHORT = "chat of 100 steps, 200 bytes each"
MANY = "1,000 messages of 1 KB, a step each"
AGENT = "an agent of 10 steps with 2 tools each"
SYNC = "; ".join(f"sync, durability {how}: steps a second" for how in ("sync", "async", "sync, TTL", "async, TTL"))
ASYNC = SYNC.replace("sync, dur", "async, dur")
SAVERS = "chat; grown; large; fan-out"

# What is wanted | the bound, of the value itself, of the share of the other's, or of how many times better than the
# other's | tables | operations | contenders | the other, langgraph-checkpoint-aws unless named. The worst counts.
TARGETS = f"""
Bytes stored, short chat of 100 steps | share <= 0.2 | stored | {SHORT} | {VALKEY_PY}
Bytes stored, 1,000 messages of 1 KB | share <= 0.06 | stored | {MANY} | {VALKEY_PY}
Bytes stored, an agent with tools | share <= 0.12 | stored | {AGENT} | {VALKEY_PY}
Bytes sent by a put at step 100 of 1 KB | value <= 6000 | costs | put at step 100 of 1 KB: bytes sent | both
Put of a 100 KB channel that grew by 1 KB, sync | times >= 2 | grown | put | both
Server CPU of put | share <= 1 | costs | put: server CPU, µs | both
Server CPU of get latest | share <= 1 | costs | get latest: server CPU, µs | both
Server CPU of get by id | share <= 1 | costs | get by id: server CPU, µs | both
Server CPU of list(10) | share <= 1 | costs | list(10): server CPU, µs | both
Server CPU of put_writes | share <= 1 | costs | put_writes: server CPU, µs | both
put, valkey-py, sync | times >= 1 | {SAVERS} | put | {VALKEY_PY}
put, valkey-py, async | times >= 1 | {SAVERS} | put, async | {VALKEY_PY}
get by id, valkey-py, sync | times >= 1 | {SAVERS} | get by id | {VALKEY_PY}
get by id, valkey-py, async | times >= 1 | {SAVERS} | get by id, async | {VALKEY_PY}
list(10), valkey-py, sync | times >= 1 | {SAVERS} | list(10) | {VALKEY_PY}
list(10), valkey-py, async | times >= 1 | {SAVERS} | list(10), async | {VALKEY_PY}
get latest, with 60 writes and 4, valkey-py, sync | times >= 1 | {SAVERS} | get latest, 60 writes; get latest | {VALKEY_PY}
get latest, with 60 writes and 4, valkey-py, async | times >= 1 | {SAVERS} | get latest, 60 writes, async; get latest, async | {VALKEY_PY}
put_writes, valkey-py, sync | times >= 1 | {SAVERS} | put_writes | {VALKEY_PY}
put_writes, valkey-py, async | times >= 1 | {SAVERS} | put_writes, async | {VALKEY_PY}
delete_thread, valkey-py, sync | times >= 1 | {SAVERS} | delete_thread | {VALKEY_PY}
delete_thread, valkey-py, async | times >= 1 | {SAVERS} | delete_thread, async | {VALKEY_PY}
Item put, valkey-py, sync | times >= 0.8 | store | put | {VALKEY_PY}
Item get, valkey-py, sync | times >= 1 | store | get | {VALKEY_PY}
Item delete, valkey-py, sync | times >= 0.8 | store | delete | {VALKEY_PY}
Item put, get and delete, valkey-py, async | times >= 1.2 | store | put, async; get, async; delete, async | {VALKEY_PY}
Scripts one after the other, put of an item of depth 3 in a cluster | value <= 2 | cluster | put; put again | {VALKEY_PY}
Steps a second of a whole agent, valkey-py, sync | times >= 1.5 | agent | {SYNC} | {VALKEY_PY}
Steps a second of a whole agent, valkey-py, async | times >= 1.8 | agent | {ASYNC} | {VALKEY_PY}
Steps a second of a whole agent, glide, sync | times >= 1.2 | agent | {SYNC} | {GLIDE}
Steps a second of a whole agent, glide, async | times >= 1 | agent | {ASYNC} | {GLIDE}
import statekeep.langgraph_shim | share <= 1.25 | cold | import | {VALKEY_PY} | {BASE.name}
Open and first put after it, ms | value <= 8 | cold | open and first put | {VALKEY_PY}
Growth of put, 10 to 10,000 steps, exponent | value < 0.05 | growth | put: exponent | both
Growth of put_writes, 10 to 10,000 steps, exponent | value < 0.05 | growth | put_writes: exponent | both
Growth of get latest, 10 to 10,000 steps, exponent | value < 0.05 | growth | get latest: exponent | both
Growth of get by id, 10 to 10,000 steps, exponent | value < 0.05 | growth | get by id: exponent | both
Growth of list(10), 10 to 10,000 steps, exponent | value < 0.05 | growth | list(10): exponent | both
Second search by meaning, no module, 10,000 x 384, ms | value <= 30 | meaning | 10,000 x 384: second search | {VALKEY_PY}
Second search by meaning, no module, 10,000 x 1,536, ms | value <= 30 | meaning | 10,000 x 1,536: second search | {VALKEY_PY}
Second search by meaning, no module, 50,000 x 384, ms | value <= 30 | meaning | 50,000 x 384: second search | {VALKEY_PY}
Recall of the nearest 10 with the search module | value >= 0.95 | recall | 20,000 x 384: found of the nearest 10, ef_runtime 50 | {VALKEY_PY}
"""  # noqa: E501


def verdicts(report: Report) -> list[Verdict]:
    """Check all targets."""
    return [_verdict(report, *line.split(" | ")) for line in TARGETS.strip().splitlines()]


def _verdict(
    report: Report, target: str, bound: str, tables: str, operations: str, contenders: str, other: str = INCUMBENT
) -> Verdict:
    kind, sign, limit = bound.split()
    rows = operations.split("; ")
    names = (VALKEY_PY, GLIDE) if contenders == "both" else (contenders,)
    found = []
    for key, operation, name in product(tables.split("; "), rows, names):
        if table := report.tables.get(key):
            value = table.median(operation, name) if kind == "value" else table.times_better(operation, name, other)
            if value is not None:
                found.append((1 / value if kind == "share" else value, f"{name}: {operation}; {key}"))
    measured, note = (min if sign == ">=" else max)(found, default=(None, ""))
    most = float(limit)
    reached = measured is not None and (
        measured >= most if sign == ">=" else measured <= most and (sign, measured) != ("<", most)
    )
    words = {"value": "", "share": " of the other's", "times": " times as good"}[kind]
    return Verdict(
        target=target,
        wanted=f"{sign} {most:,g}{words}",
        measured=measured,
        reached=reached,
        note=note if len(found) > 1 else "",
    )
