"""The program itself: exit statuses, streams, signals, terminals and secrets."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import statekeep
from statekeep.testing.servers import ValkeyServer

from .conftest import SECONDS, Ended, Place, all_on_terminal, program, put_chat, read

SECRET = "s3cr3t-pass"
HOSTILE = "chat \x1b]0;owned\x07\x1b[31m\x9b2J \u202egnp\u202c \u200b\r\nb\t漢字 🙂 é\u0301"


def ended(arguments: Sequence[str], env: dict[str, str] | None = None) -> Ended:
    with program(arguments, env) as process:
        stdout, stderr = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, stdout.decode(), stderr.decode())


def on_terminal(
    place: Place, *arguments: str, answer: str = "", environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a command whose streams are a terminal, and return its status and what the terminal got."""
    leader, follower = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), follower)
    process = place.start(*arguments, **streams, env=place.environment | {"TERM": "xterm"} | (environment or {}))
    os.close(follower)
    if answer:
        os.write(leader, answer.encode())
    shown = read(leader)
    return process.wait(SECONDS), shown


@pytest.fixture
def chat(valkey: Place) -> Place:
    with valkey.connect() as keep:
        put_chat(keep)
    return valkey


def test_the_url_is_an_option_or_in_the_environment(chat: Place) -> None:
    prefix = ["--key-prefix", chat.key_prefix]
    for arguments in [
        ["--url", chat.url, *prefix, "threads", "--brief"],
        ["--url", "valkey://127.0.0.1:1", *prefix, "threads", "--brief", "--url", chat.url],
    ]:
        found = ended(arguments)
        assert (found.status, found.stderr) == (0, "")
        assert [line[0] for line in found.lines] == ["chat"]


def test_without_a_url_it_says_what_to_do() -> None:
    found = ended(["threads"])
    assert (found.status, found.stdout) == (2, "")
    assert "--url" in found.stderr
    assert "STATEKEEP_URL" in found.stderr
    assert found.stderr.count("\n") == 1


def _errors(stderr: str) -> list[str]:
    """Return what is said, but for the warnings of attempts that are made again."""
    return [line for line in stderr.splitlines() if not line.startswith("statekeep: warning: ")]


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        (f"valkey://:{SECRET}@127.0.0.1:1/0?deadline=0.3", 1, "127.0.0.1:1"),
        (f"valkey+cluster://ada:{SECRET}@127.0.0.1:1?deadline=0.3", 1, "127.0.0.1:1"),
        (f"valky://:{SECRET}@127.0.0.1:1", 2, "url must start with"),
        (f"valkey://:{SECRET}@127.0.0.1:port", 2, "port must be"),
        (f"valkey://127.0.0.1:1?pasword={SECRET}", 2, "pasword"),
        (f"ada:{SECRET}@127.0.0.1:1", 2, "url must start with"),
        (f"valkey://127.0.0.1:1?deadline=soon&password={SECRET}", 2, "deadline"),
        ("agentcore://", 2, "memory_id"),
        ("embedded:/proc/nowhere", 2, "/proc"),
    ],
)
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_an_error_is_one_line_without_secrets(url: str, status: int, said: str, debug: list[str]) -> None:
    if "cluster" in url:  # glide writes to the process's standard error
        found = ended(["threads", *debug], {"STATEKEEP_URL": url})
    else:
        found = Place(url, "statekeep").run("threads", *debug)
    assert (found.status, found.stdout) == (status, "")
    assert said in found.stderr
    assert SECRET not in found.stderr
    assert ("Traceback" in found.stderr) is bool(debug)
    if not debug:
        assert len(_errors(found.stderr)) == 1, found.stderr


def test_a_wrong_password_is_said_and_not_shown() -> None:
    with ValkeyServer(requirepass="right-password") as server:
        url = f"valkey://:{SECRET}@127.0.0.1:{server.port}"
        for client in ("glide", "valkey-py"):
            found = ended(["threads"], {"STATEKEEP_URL": f"{url}?client={client}"})
            assert (found.status, found.stdout) == (1, "")
            assert SECRET not in found.stderr
            assert len(_errors(found.stderr)) == 1, found.stderr


def test_a_url_in_the_wrong_place_is_not_shown() -> None:
    found = ended(["threads", f"valkey://:{SECRET}@127.0.0.1:1"], {"STATEKEEP_URL": "memory:"})
    assert found.status == 2
    assert SECRET not in found.stderr


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    for package in ("typer", "rich"):
        folder = tmp_path / package
        folder.mkdir()
        (folder / f"{package}.py").write_text(f"raise ModuleNotFoundError('no {package}', name='{package}')\n")
        paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        found = ended(["version"], {"PYTHONPATH": paths})
        assert (found.status, found.stdout) == (2, "")
        assert found.stderr == f"statekeep: {package} is not installed; run: pip install 'statekeep[cli]'\n"


def test_help_imports_no_command_and_no_driver() -> None:
    code = (
        "import sys\nfrom statekeep.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = [name for name in sys.modules if name.startswith(('statekeep.cli.commands.', 'statekeep.repositories',"
        " 'rich.console', 'valkey', 'glide', 'boto3'))]\nsys.exit(repr(heavy) if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "threads" in run.stdout


def test_a_shell_completes_commands() -> None:
    complete = {"_STATEKEEP_COMPLETE": "complete_bash", "COMP_WORDS": "statekeep th", "COMP_CWORD": "1"}
    found = ended([], complete)
    assert (found.status, found.stdout.split()) == (0, ["threads"])


def test_hostile_texts_do_nothing_to_a_terminal(valkey: Place) -> None:
    serializer = statekeep.JsonSerializer()
    channels = {HOSTILE: statekeep.Channel.of(HOSTILE, statekeep.dump(serializer, {HOSTILE: [HOSTILE, "\x00"]}))}
    with valkey.connect() as keep:
        for number, parent in ((1, None), (2, "1")):
            keep.checkpoints.put(
                statekeep.Checkpoint(
                    thread_id=HOSTILE,
                    checkpoint_id=f"{number}",
                    parent_id=parent,
                    metadata={"source": HOSTILE, "step": number, HOSTILE: HOSTILE},
                    channels=channels if number == 1 else {},
                )
            )
        write = statekeep.PendingWrite(
            task_id=HOSTILE, idx=0, channel=HOSTILE, payload=statekeep.dump(serializer, HOSTILE)
        )
        keep.checkpoints.put_writes(HOSTILE, "2", [write])
    commands = [
        ("threads",),
        ("show", HOSTILE),
        ("show", HOSTILE, "-c", "1"),
        ("show", HOSTILE, "--state"),
        ("diff", HOSTILE, "1", "2"),
        ("show", HOSTILE, "-c", HOSTILE),
        ("delete", HOSTILE + "x", "--yes"),
        ("prune", HOSTILE, "--keep", "2", "--yes"),
    ]
    statuses, shown = all_on_terminal(valkey, [*commands, ("reindex", HOSTILE)])
    assert set(statuses) <= {0, 1}
    left = re.sub(r"\x1b\[(\?25[lh]|\d*[AK]|\d*m|1A|2K)", "", shown)  # of progress bars
    for harmful in ("\x1b", "\x9b", "\x07", "\u202e", "\u200b", "\x00"):
        assert harmful not in left, shown
    for command in commands:
        found = valkey.run(*command)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u200b]", found.stdout + found.stderr)
        for line in valkey.run(*command, "--json").stdout.splitlines():
            assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\u200b]", line)
    assert len(valkey.run("threads").lines) == 1
    [row] = valkey.run("threads", "--json").json_lines
    assert row["thread_id"] == HOSTILE
    [shown_value] = valkey.run("show", HOSTILE, "-c", "1", "--json").json["channels"].values()
    assert shown_value["value"] == {HOSTILE: [HOSTILE, "\x00"]}


def test_a_terminal_gets_a_table(chat: Place) -> None:
    status, shown = on_terminal(chat, "show", "chat", environment={"COLUMNS": "60"})
    assert status == 0
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in shown.splitlines()]
    assert "─" * 60 in lines
    assert all(len(line) <= 60 for line in lines)
    assert any(line.startswith("│ ●") for line in lines)


def test_a_person_is_asked_before_something_is_deleted(chat: Place) -> None:
    for answer, status, left in [("\n", 1, 1), ("y\n", 0, 0)]:
        found, shown = on_terminal(chat, "delete", "chat", answer=answer)
        assert found == status
        assert "Delete thread 'chat'? [y/N]" in shown
        assert len(chat.run("threads", "--brief").lines) == left
        assert ("nothing was changed" in shown) is (status == 1)


def test_ctrl_c_ends_quietly(chat: Place) -> None:
    """In a question, which waits as long as one likes."""
    leader, follower = pty.openpty()
    process = chat.start("delete", "chat", **dict.fromkeys(("stdin", "stdout", "stderr"), follower))
    os.close(follower)
    shown = b""
    while b"[y/N]" not in shown:
        assert select.select([leader], [], [], SECONDS)[0]
        shown += os.read(leader, 1000)
    process.send_signal(signal.SIGINT)
    rest = read(leader)
    assert process.wait(SECONDS) == 130
    assert rest.strip() == ""
    assert len(chat.run("threads", "--brief").lines) == 1


def test_characters_that_a_stream_cannot_have_are_no_error(chat: Place) -> None:
    found = chat.program("show", "chat", env=chat.environment | {"PYTHONIOENCODING": "ascii"})
    assert (found.status, found.stderr) == (0, "")
    assert found.lines[0][0] == "\\u25cf"


def test_a_reader_that_is_gone_is_no_error(valkey: Place) -> None:
    with valkey.connect() as keep:
        for number in range(300):
            keep.checkpoints.put(statekeep.Checkpoint(thread_id=f"t{number:04}" + "x" * 1000))
    for form in ([], ["--json"]):
        process = valkey.start("threads", "--brief", "--limit", "0", *form)
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"t0299" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(SECONDS) == 141
        process.stderr.close()


def test_json_is_alone_on_standard_output(chat: Place) -> None:
    for arguments in [
        ("threads",),
        ("show", "chat"),
        ("show", "chat", "--state"),
        ("diff", "chat", "00000000", "00000003"),
        ("prune", "--all", "--keep", "9", "--yes"),
        ("reindex", "--all-threads"),
        ("version",),
        ("delete", "chat", "--yes"),
    ]:
        run = chat.program if arguments == ("threads",) else chat.run
        found = run(*arguments, "--json")
        assert (found.status, found.stderr) == (0, ""), arguments
        try:
            documents = [json.loads(found.stdout)]
        except ValueError:
            documents = [json.loads(line) for line in found.stdout.splitlines()]
        assert documents
        assert all(isinstance(document, dict) for document in documents)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_emulator_serves_until_it_is_interrupted(form: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with program(["emulator", "--memory-id", "notes-Ab12Cd34Ef", *form]) as process:
        assert process.stdout is not None
        text = ""
        while "notes-Ab12Cd34Ef" not in text or (form and not text.rstrip().endswith("}")):
            text += process.stdout.readline().decode()
        if form:
            settings = json.loads(text)
        else:
            settings = dict(re.findall(r"(AWS_\w+)=(\S+)", text))
        with monkeypatch.context() as patch:
            for name in [name for name in settings if name.startswith("AWS_")]:
                patch.setenv(name, settings[name])
            found = Place("agentcore://notes-Ab12Cd34Ef?actor_id=ada", "statekeep").run("threads")
        assert (found.status, found.stderr) == (1, "statekeep: no threads\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert ended(["emulator", "--no-such-option"]).status == 2


def test_what_is_cut_off_is_done_by_repeating_it(valkey: Place) -> None:
    """A prune of many threads is killed, and then repeated."""
    with valkey.connect() as keep:
        for number in range(100):
            put_chat(keep, f"t{number}", steps=3, fork=False)
        process = valkey.start("prune", "--all", "--keep", "1", "--yes")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and process.poll() is None:
            if len(list(keep.checkpoints.list("t50"))) == 1:
                process.kill()
        process.communicate(timeout=SECONDS)
        again = valkey.run("prune", "--all", "--keep", "1", "--yes", "--json")
        assert again.json["threads"] == 100
        assert again.json["deleted"] <= 200
        assert all(len(list(keep.checkpoints.list(f"t{number}"))) == 1 for number in range(100))


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch, valkey: Place) -> None:
    monkeypatch.setattr("statekeep.cli.progress.EVERY", 0.0)
    with valkey.connect() as keep:
        put_chat(keep)
    found = valkey.run("prune", "--all", "--keep", "1", "--yes")
    assert "Pruning threads: 1 of 1 after 0s: chat" in found.stderr
    assert "Pruning" not in found.stdout


def test_progress_is_a_bar_on_a_terminal(chat: Place) -> None:
    status, shown = on_terminal(chat, "prune", "--all", "--keep", "1", "--yes")
    assert status == 0
    assert "Pruning threads" in shown
    assert "1/1" in shown


def test_what_a_logger_says_is_a_message(chat: Place) -> None:
    quiet = chat.run("threads", "--brief")
    loud = chat.program("threads", "--brief", "--debug")
    assert quiet.stdout == loud.stdout
    assert quiet.stderr == ""
    assert "statekeep: info: " in loud.stderr
    warned = Place("agentcore://notes-Ab12Cd34Ef?region=us-west-2&endpoint_url=http://127.0.0.1:1", "mine")
    assert "warning: prefix has no effect" in ended(["threads"], warned.environment | KEYS).stderr


KEYS = {"AWS_ACCESS_KEY_ID": "EMULATED", "AWS_SECRET_ACCESS_KEY": "emulated", "AWS_MAX_ATTEMPTS": "1"}


def test_a_server_that_goes_away_meanwhile_is_said() -> None:
    with ValkeyServer() as server:
        place = Place(f"{server.url}?deadline=0.5", "statekeep")
        with place.connect() as keep:
            for number in range(50):
                put_chat(keep, f"t{number}", steps=1, fork=False)
        with place.start("delete", "--all", "--yes") as process:
            with server.client() as client:
                while client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) < 60:
                    assert process.poll() is None
            server.kill()
            stdout, stderr = process.communicate(timeout=SECONDS)
        assert (process.returncode, stdout) == (1, b"")
        assert stderr.startswith(b"statekeep: ")
        assert len(_errors(stderr.decode())) == 1, stderr


@pytest.mark.parametrize(("closed", "status"), [(">&-", 0), ("2>&-", 0), ("<&-", 2)])
def test_a_stream_that_is_closed_is_no_fault(chat: Place, closed: str, status: int) -> None:
    """As cron and supervisors may start programs."""
    arguments = ["threads", "--brief"] if status == 0 else ["delete", "chat"]
    command = [sys.executable, "-m", "statekeep", *arguments]
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command],
        env=os.environ | chat.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    assert (done.stderr == b"") == (status == 0)
