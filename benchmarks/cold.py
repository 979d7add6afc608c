"""From the start of a program to its first checkpoint, in fresh processes that take turns."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

from attrs import frozen

from .comparison import race
from .report import Table
from .savers import GLIDE, IN_MEMORY, INCUMBENT, MEMORY, POSTGRES, SQLITE, VALKEY_PY
from .servers import Servers
from .suite import Suite

TIMEOUT = 60.0  # seconds

PROGRAM = """
import time
began, spent = time.perf_counter(), time.process_time()
{imports}
imported = time.perf_counter()
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
import json
print(json.dumps([imported - began, put - imported, time.process_time() - spent]))
"""


@frozen
class Beginning:
    """How a program begins.

    Attributes:
        imports: its import line.
        opened: the expression that makes the saver, by the servers.
        setup: what must be done before the first put.
    """

    imports: str
    opened: Callable[[Servers], str]
    setup: str = "pass"

    def program(self, servers: Servers) -> str:
        """Return its source."""
        return PROGRAM.format(imports=self.imports, opened=self.opened(servers), setup=self.setup)


_SHIM = "from statekeep.langgraph_shim import ValkeySaver"
_MEMORY = """
from contextlib import nullcontext
import statekeep
from statekeep.langgraph_shim import RepositorySaver
"""

BEGINNINGS = {
    INCUMBENT: Beginning(
        "from langgraph_checkpoint_aws import ValkeySaver",
        lambda servers: f"ValkeySaver.from_conn_string({servers.valkey_url!r})",
    ),
    GLIDE: Beginning(_SHIM, lambda servers: f"ValkeySaver.from_conn_string('{servers.valkey_url}?client=glide')"),
    VALKEY_PY: Beginning(
        _SHIM, lambda servers: f"ValkeySaver.from_conn_string('{servers.valkey_url}?client=valkey-py')"
    ),
    MEMORY: Beginning(_MEMORY, lambda _: "nullcontext(RepositorySaver(statekeep.connect('memory:').checkpoints))"),
    IN_MEMORY: Beginning("from langgraph.checkpoint.memory import InMemorySaver", lambda _: "InMemorySaver()"),
    SQLITE: Beginning(
        "from langgraph.checkpoint.sqlite import SqliteSaver",
        lambda servers: f"SqliteSaver.from_conn_string({str(servers.new_file())!r})",
    ),
    POSTGRES: Beginning(
        "from langgraph.checkpoint.postgres import PostgresSaver",
        lambda servers: f"PostgresSaver.from_conn_string({servers.postgres_url!r})",
        "saver.setup()",
    ),
}


def cold(suite: Suite) -> None:
    """Start programs that import a saver, open it and put one checkpoint."""
    table = Table(title="Cold start: from a new process to the first put", unit="ms", baseline=INCUMBENT)
    names = [name for name in BEGINNINGS if suite.takes(name)]
    for turn in race(suite, table, names, rounds=25, seconds=100):
        with turn:
            program = BEGINNINGS[turn.contender].program(suite.servers)
            began = time.perf_counter()
            ended = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(program)],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            elapsed = time.perf_counter() - began
            if ended.returncode:
                raise RuntimeError(f"the program failed: {ended.stderr.strip()[-300:]}")
            importing, putting, processor = json.loads(ended.stdout.splitlines()[-1])
            for operation, seconds in (
                ("import", importing),
                ("open and first put", putting),
                ("CPU time", processor),
                ("whole process", elapsed),
            ):
                turn.watch.samples[operation].append(seconds * 1000)
    suite.publish("cold", table)
