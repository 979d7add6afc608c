"""An emulator of its own: ``python -m statekeep.testing.aws``.

It runs until it is interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from . import AgentCoreRules, AwsEmulator, Fault, SessionRules, cut_after, cut_before, server_error, slow, throttle
from .emulator import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

Tell = Callable[[dict[str, Any]], None]


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Emulate Amazon Bedrock AgentCore Memory and Bedrock sessions on 127.0.0.1. "
        "Data is kept in memory.",
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port; a free one by default")
    parser.add_argument("--memory-id", action="append", default=[], help="add a memory; may be repeated")
    parser.add_argument("--quotas", action="store_true", help="enforce the documented requests per second")
    parser.add_argument("--filter-lag", type=float, default=0.0, metavar="SECONDS", help="lag of filtered ListEvents")
    parser.add_argument("--record-lag", type=float, default=0.0, metavar="SECONDS", help="lag of memory records")
    parser.add_argument("--step-lag", type=float, default=0.0, metavar="SECONDS", help="lag of ListInvocationSteps")
    parser.add_argument(
        "--session-idle",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="when a session expires that nobody writes to",
    )
    parser.add_argument("--throttle", type=float, default=0.0, metavar="RATE", help="part of the calls that get 429")
    parser.add_argument("--error", type=float, default=0.0, metavar="RATE", help="part of the calls that get 500")
    parser.add_argument(
        "--cut-before", type=float, default=0.0, metavar="RATE", help="part that is cut before its effect"
    )
    parser.add_argument(
        "--cut-after", type=float, default=0.0, metavar="RATE", help="part that is cut after its effect"
    )
    parser.add_argument("--slow", type=float, default=0.0, metavar="SECONDS", help="how much later each reply comes")
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    return parser


def main(
    arguments: Sequence[str] | None = None,
    *,
    program: str = "python -m statekeep.testing.aws",
    tell: Tell | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        arguments: those of the command line; by default those of the process.
        program: what help and errors call it.
        tell: is given the settings of clients, by the names of their environment variables, and the ids of memories. By
            default they are written as lines that a shell reads.
    """
    given = _parser(program).parse_args(arguments)
    faults: list[Fault] = [
        make(rate=rate)
        for make, rate in (
            (throttle, given.throttle),
            (server_error, given.error),
            (cut_before, given.cut_before),
            (cut_after, given.cut_after),
        )
        if rate
    ]
    if given.slow:
        faults.append(slow(given.slow))
    rules = AgentCoreRules(quotas=given.quotas, filter_lag=given.filter_lag, record_lag=given.record_lag)
    sessions = SessionRules(list_lag=given.step_lag, idle=given.session_idle)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    with AwsEmulator(
        agentcore=rules, bedrock_sessions=sessions, faults=faults, seed=given.seed, port=given.port
    ) as emulator:
        for memory_id in given.memory_id:
            emulator.agentcore.create_memory(memory_id=memory_id)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        memories = [emulator.memory_id, *given.memory_id]
        (_tell_shell if tell is None else tell)(
            {
                "AWS_ENDPOINT_URL": emulator.endpoint_url,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
                "memories": memories,
            }
        )
        ended.wait()


def _tell_shell(settings: dict[str, Any]) -> None:
    memories = settings.pop("memories")
    endpoint = settings.pop("AWS_ENDPOINT_URL")
    others = " ".join(f"{name}={value}" for name, value in settings.items())
    sys.stdout.write(f"export AWS_ENDPOINT_URL={endpoint}\nexport {others}\n# memories: {', '.join(memories)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
