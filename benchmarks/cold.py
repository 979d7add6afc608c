"""From the start of a program to its first checkpoint, in fresh processes that take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from .contenders import INCUMBENT, SAVERS, Contender, Servers
from .report import Table
from .running import Suite

TIMEOUT = 60.0  # seconds
BASE = Contender("langgraph.checkpoint.base alone", None, ("langgraph.checkpoint.base:", ""))

IMPORT = """
import time
began, spent = time.perf_counter(), time.process_time()
import {module}
imported = put = time.perf_counter()
{first_put}
import json
print(json.dumps([imported - began, put - imported, time.process_time() - spent]))
"""
FIRST_PUT = """
from {module} import {name}
with {opened} as saver:
    {setup}
    config = {{"configurable": {{"thread_id": "cold", "checkpoint_ns": ""}}}}
    checkpoint = {{
        "v": 4, "id": "1f0000000000600080000000000000" + str(time.time_ns()), "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {{"x": "y"}}, "channel_versions": {{"x": "1"}}, "versions_seen": {{}},
        "updated_channels": ["x"],
    }}
    saver.put(config, checkpoint, {{"source": "loop", "step": 0, "parents": {{}}}}, {{"x": "1"}})
    put = time.perf_counter()
"""


def _program(contender: Contender, servers: Servers) -> str:
    module, _, name = contender.paths[0].partition(":")
    opened, setup, first_put = f"{name}()", "saver.setup()" if contender.setup else "pass", ""
    if contender.arguments is not None:
        where, options = contender.arguments(servers, None)
        opened = f"{name}.from_conn_string({where!r}, **{options!r})"
    if name:
        first_put = FIRST_PUT.format(module=module, name=name, opened=opened, setup=setup)
    return IMPORT.format(module=module, first_put=first_put)


def cold(suite: Suite) -> None:
    """Start programs that import a saver's module, open the saver and put one checkpoint."""
    table = Table(title="From a new process to the first put", unit="ms", baseline=INCUMBENT)
    chosen = suite.chosen(SAVERS) | {BASE.name: BASE}
    # What is installed is compiled already, and what is not is from the first round on.
    compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for turn in suite.race(table, chosen, rounds=20, seconds=70):
        with turn:
            program = [sys.executable, "-c", _program(chosen[turn.contender], suite.servers)]
            began = time.perf_counter()
            ended = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=compiling)
            elapsed = time.perf_counter() - began
            if ended.returncode:
                raise RuntimeError(f"the program failed: {ended.stderr.strip()[-300:]}")
            importing, putting, processor = json.loads(ended.stdout.splitlines()[-1])
            turn.note("import", importing * 1000)
            if turn.contender != BASE.name:
                turn.note("open and first put", putting * 1000)
            turn.note("CPU time", processor * 1000)
            turn.note("whole process", elapsed * 1000)
    suite.publish("cold", table)
