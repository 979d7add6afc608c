"""Large threads and values: clear answers in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import statekeep
from statekeep import Channel, Checkpoint, JsonSerializer, MsgpackSerializer, dump

from .conftest import Place

MEBIBYTE = 1024 * 1024

MEASURED = """
import resource, sys
from statekeep.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
    raise
"""


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
def test_a_thread_of_ten_thousand_steps(valkey: Place, tmp_path: Path) -> None:
    serializer = JsonSerializer()
    state = dump(serializer, {"text": "x" * 2000})
    with valkey.connect() as keep:

        def put(number: int) -> None:
            channel = {name: Channel.of(number, state) for name in ("a", "b")}
            parent = f"{number - 1:08}" if number else None
            keep.checkpoints.put(
                Checkpoint(thread_id="t", checkpoint_id=f"{number:08}", parent_id=parent, channels=channel)
            )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(10_000)))
    few = mebibytes(valkey, tmp_path / "few", "show", "t", "--json", "--limit", "100")
    many = mebibytes(valkey, tmp_path / "many", "show", "t", "--json", "--limit", "0")
    assert (tmp_path / "many").read_bytes().count(b"\n") == 10_000
    assert many < few + 40, "40 MB of values"
    assert mebibytes(valkey, tmp_path / "threads", "threads") < few + 20


@pytest.mark.slow
@pytest.mark.parametrize("serializer", [JsonSerializer(), MsgpackSerializer()], ids=["json", "msgpack"])
def test_a_value_of_fifty_megabytes(valkey: Place, tmp_path: Path, serializer: statekeep.Serializer) -> None:
    value = {"rows": [{"n": number, "text": "x" * 80} for number in range(450_000)], "end": True}
    payload = dump(serializer, value)
    assert len(payload.data) > 40_000_000
    with statekeep.connect(f"{valkey.url}?request_timeout=60&deadline=60", prefix=valkey.key_prefix) as keep:
        keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", channels={"state": Channel.of(1, payload)}))
    small = mebibytes(valkey, tmp_path / "small", "version")
    for arguments in [("show", "t"), ("show", "t", "--state", "--json")]:
        assert mebibytes(valkey, tmp_path / "large", *arguments) < small + 5 * len(payload.data) / MEBIBYTE
        assert (tmp_path / "large").stat().st_size < 5_000_000
    found = valkey.run("show", "t", "--state", "--json").json["channels"]["state"]
    assert found["is_cut"]
    assert found["size"] == len(payload.data)
