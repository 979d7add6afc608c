"""Large threads and values: clear answers in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ormsgpack import packb
from pydantic_core import to_json

from statekeep import Channel, Checkpoint, JsonSerializer, Payload, dump

from .conftest import Place

MEBIBYTE = 1024 * 1024

# Not getrusage: its maximum begins with that of the process that started this one.
MEASURED = """
import re, sys
from statekeep.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    with open("/proc/self/status") as status:
        print(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1], file=sys.stderr)
    raise
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")


def mebibytes(place: Place, output: Path, *arguments: str) -> float:
    """Return how much memory a command took at most, all in all, and leave what it printed in a file."""
    with output.open("wb") as stdout:
        run = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=os.environ | place.environment,
            check=False,
            timeout=120,
        )
    assert run.returncode == 0, run.stderr
    return int(run.stderr.split()[-1]) / 1024


@pytest.mark.slow
def test_a_thread_of_many_steps(valkey: Place, tmp_path: Path) -> None:
    state = dump(JsonSerializer(), {"text": "x" * 10_000})
    with valkey.connect() as keep:

        def put(number: int) -> None:
            channel = {name: Channel.of(number, state) for name in ("a", "b")}
            parent = f"{number - 1:08}" if number else None
            keep.checkpoints.put(
                Checkpoint(thread_id="t", checkpoint_id=f"{number:08}", parent_id=parent, channels=channel)
            )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(3000)))
    few = mebibytes(valkey, tmp_path / "few", "show", "t", "--json", "--limit", "200")
    many = mebibytes(valkey, tmp_path / "many", "show", "t", "--json", "--limit", "0")
    assert (tmp_path / "many").read_bytes().count(b"\n") == 3000
    assert many < few + 20, "there are 60 MB of values"


ROW = {"n": 7, "text": "x" * 1000}
ROWS = 48_000

LARGE = {
    "json": b'{"rows":[' + b",".join([to_json(ROW)] * ROWS) + b'],"end":true}',
    "msgpack": b"\x82\xa4rows\xdd" + ROWS.to_bytes(4, "big") + packb(ROW) * ROWS + b"\xa3end\xc3",
}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", LARGE)
def test_a_value_of_fifty_megabytes(valkey: Place, tmp_path: Path, encoding: str) -> None:
    payload = Payload(encoding=encoding, data=LARGE[encoding])
    assert len(payload.data) > 48_000_000
    patient = Place(f"{valkey.url}?request_timeout=60&deadline=60", valkey.key_prefix)
    with patient.connect() as keep:
        keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", channels={"state": Channel.of(1, payload)}))
    small = mebibytes(patient, tmp_path / "small", "threads")
    most = small + 5 * len(payload.data) / MEBIBYTE
    assert mebibytes(patient, tmp_path / "large", "show", "t", "--state", "--json") < most
    assert (tmp_path / "large").stat().st_size < 5_000_000
    found = json.loads((tmp_path / "large").read_text())["channels"]["state"]
    assert (found["is_cut"], found["size"]) == (True, len(payload.data))
    if encoding == "msgpack":
        assert found["value"] == {"rows": [ROW] * 1000 + [{"$cut": "47,000 more items"}], "end": True}
