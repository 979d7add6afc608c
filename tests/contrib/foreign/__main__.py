"""Fetch the tests of the framework that is installed, and run them.

``python -m foreign strands [options of pytest]``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from .suite import suite_of

HERE = Path(__file__).resolve().parent


def fetched(distribution: str) -> Path:
    """Return the folder with the tests of exactly the version that is installed, in its environment.

    They are downloaded if they are not there. pip asks the distribution for its metadata, and builds nothing else.
    """
    release = version(distribution)
    folder = Path(sys.prefix) / "suites" / f"{distribution}-{release}"
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory() as downloads:
        command = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", distribution]
        subprocess.run(
            [sys.executable, "-m", "pip", *command, "--dest", downloads, f"{distribution}=={release}"], check=True
        )
        [archive] = Path(downloads).iterdir()
        unpack(archive, folder)
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the tests of a source distribution into a new folder."""
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked, tarfile.open(archive) as tar:
        tar.extractall(unpacked, members=_tests(tar), filter="data")
        (Path(unpacked) / "suite").rename(folder)


def _tests(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the files below ``tests``; whatever the first folder is called, it becomes ``suite``."""
    for member in tar:
        parts = Path(member.name).parts
        if len(parts) > 2 and parts[1] == "tests" and member.isfile():
            yield member.replace(name=str(Path("suite", *parts[1:])))


def main(name: str, *options: str) -> int:
    """Run the suite of a framework; return pytest's exit code."""
    module = f"{__package__}.of_{name.replace('-', '_')}"
    suite = suite_of(module)
    folder = fetched(suite.distribution)
    paths = os.pathsep.join([str(HERE.parent), str(folder)])
    command = ["-c", str(HERE / "pytest.ini"), "--rootdir", str(folder), "--confcutdir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command, "-p", "foreign.plugin", "--suite", module, *options, *suite.modules],
        cwd=folder,
        env={**os.environ, **suite.environment, "PYTHONPATH": paths},
        check=False,
    )
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
