"""Whole agents: LangGraph's prebuilt one, with a model that follows a script, in one process and in several."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import product
from typing import Any
from uuid import uuid4

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from .contenders import AGENTS, INCUMBENT, Servers
from .report import Table
from .running import Face, Script, Stopwatch, Suite, Turn, call, drive, expect, face
from .scripts import Shape, chat, config, deletion, text, written

STEPS = 10
MESSAGES = 1 + 3 * STEPS + 1
"""The question, an answer with two calls and their two results for each step, and the last answer."""
TTL = 3600.0  # seconds
AT_ONCE = 10
PROCESSES = 8
ANSWER_TIMEOUT = 120.0  # seconds
KINDS = {contender.name: contender.server for contender in AGENTS}


class Scripted(BaseChatModel):
    """Asks for two tools in each step, and then answers."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        step = sum(message.type == "ai" for message in messages)
        asked = [{"name": name, "args": {"query": text(20)}, "id": f"{name}-{step}"} for name in ("search", "read")]
        answer = AIMessage(content=text(500), tool_calls=asked if step < STEPS else [])
        return ChatResult(generations=[ChatGeneration(message=answer)])


def search(query: str) -> str:
    """Search."""
    return text(500)


def read(query: str) -> str:
    """Read."""
    return text(500)


def agent(saver: Any) -> Any:
    """LangGraph's prebuilt agent, with a checkpointer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain has it now, in a larger package
        from langgraph.prebuilt import create_react_agent

        return create_react_agent(Scripted(), [search, read], checkpointer=saver)


def run(thread_id: str, durability: str = "async") -> Script:
    """Run an agent to its end, and see that its state was kept."""
    where = {"configurable": {"thread_id": thread_id}, "recursion_limit": 10 * STEPS}
    done = yield call(None, "invoke", {"messages": [("user", "Please.")]}, where, durability=durability)
    expect(len(done["messages"]) == MESSAGES, f"not {MESSAGES} messages")
    state = yield call(None, "get_state", where)
    expect(state.values["messages"] == done["messages"], "the state is not what the run returned")


def whole(suite: Suite) -> None:
    """Run agents of 10 steps with two tools each, with both durabilities, with and without a TTL, and some at once."""
    table = Table(title=f"An agent of {STEPS} steps with 2 tools each", unit="what each row says", baseline=INCUMBENT)
    at_once = 2 if suite.quick else AT_ONCE
    for kind in ("sync", "async"):
        with suite.face(kind) as opened:
            savers = {ttl: suite.open(opened, AGENTS, ttl=ttl) for ttl in (None, TTL)}
            graphs = {(name, ttl): agent(saver) for ttl, these in savers.items() for name, saver in these.items()}
            for turn in suite.race(table, savers[None], rounds=30, seconds=60):
                with turn:
                    for ttl, durability in product((None, TTL), ("sync", "async")):
                        graph, thread_id = graphs[turn.contender, ttl], str(uuid4())
                        what = f"durability {durability}{', TTL' if ttl else ''}"
                        with _noted(suite, turn, kind, what, STEPS):
                            opened.drive(graph, run(thread_id, durability), Stopwatch())
                        opened.drive(savers[ttl][turn.contender], deletion(thread_id), Stopwatch())
                    graph, names = graphs[turn.contender, None], [str(uuid4()) for _ in range(at_once)]
                    with _noted(suite, turn, kind, f"{at_once} at once", STEPS * at_once):
                        opened.drive_all(graph, [run(name) for name in names])
                    opened.drive(savers[None][turn.contender], deletion(*names), Stopwatch())
    suite.publish("agent", table)


@contextmanager
def _noted(suite: Suite, turn: Turn, kind: str, what: str, steps: int) -> Iterator[None]:
    """Note what agents take."""
    before, here, began = suite.servers.cpu_seconds(KINDS[turn.contender]), time.process_time(), time.perf_counter()
    yield
    turn.note(f"{kind}, {what}: steps a second", steps / (time.perf_counter() - began))
    used = time.process_time() - here, suite.servers.cpu_seconds(KINDS[turn.contender]) - before
    _note_cpu(turn, kind, steps, *used)


def _note_cpu(turn: Turn, row: str, steps: int, client: float, server: float) -> None:
    turn.note(f"{row}: client CPU of a step, µs", client / steps * 1e6)
    if KINDS[turn.contender]:
        turn.note(f"{row}: server CPU of a step, µs", server / steps * 1e6)


def _calls(thread_id: str) -> Script:
    """What a run of 10 steps asks of a saver, without the agent."""
    yield call(None, "get_tuple", config(thread_id))
    yield from written(thread_id, chat(Shape(steps=STEPS, message=200)), [])
    yield from deletion(thread_id)


_stack = ExitStack()
_faces: dict[str, Face] = {}
_opened: dict[tuple[str, str], Any] = {}
"""What a process that works has open, until it ends."""


def _work(servers: Servers, what: str, name: str, seconds: float) -> tuple[int, float, float]:
    """Go on for some seconds; return steps, seconds, and seconds of the processors."""
    kind = "async" if what == "agent, async" else "sync"
    if (kind, name) not in _opened:
        if kind not in _faces:
            _faces[kind] = _stack.enter_context(face(kind, nullcontext()))
        [contender] = (contender for contender in AGENTS if contender.name == name)
        _opened[kind, name] = _faces[kind].open(contender, servers)
    used, saver = _faces[kind], _opened[kind, name]
    graph, steps = agent(saver), 0
    began, spent = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        thread_id = str(uuid4())
        if what == "calls":
            drive(saver, _calls(thread_id), Stopwatch())
        else:
            used.drive(graph, run(thread_id), Stopwatch())
            used.drive(saver, deletion(thread_id), Stopwatch())
        steps += STEPS
    return steps, time.perf_counter() - began, time.process_time() - spent


def processes(suite: Suite) -> None:
    """Run agents in 8 processes, and bare calls of savers in 1, 2 and 4, against one server."""
    table = Table(title="Several processes", unit="what each row says", baseline=INCUMBENT)
    names = list(suite.chosen(AGENTS))
    most, window = (2, 0.2) if suite.quick else (PROCESSES, 1.5)
    pool = ProcessPoolExecutor(most, multiprocessing.get_context("spawn"))
    try:
        for kinds, racing in (
            ({"agent, sync": (most,), "agent, async": (most,)}, names),
            ({"calls": (1, 2, 4)}, [name for name in names if KINDS[name]]),
        ):
            for turn in suite.race(table, racing, rounds=6, seconds=60):
                with turn:
                    for what, counts in kinds.items():
                        for count in counts:
                            _together(suite.servers, turn, pool, what, min(count, most), window)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():  # also one that hangs
            process.kill()
    suite.publish("processes", table)


def _together(servers: Servers, turn: Turn, pool: Executor, what: str, count: int, window: float) -> None:
    """Let so many processes work at the same time."""
    server = KINDS[turn.contender]
    before, began = servers.cpu_seconds(server), time.perf_counter()
    working = [pool.submit(_work, servers, what, turn.contender, window) for _ in range(count)]
    if wait(working, ANSWER_TIMEOUT).not_done:
        raise TimeoutError(f"not done after {ANSWER_TIMEOUT:g} s")
    done = [one.result() for one in working]
    there, took, steps = servers.cpu_seconds(server) - before, time.perf_counter() - began, sum(one[0] for one in done)
    row = f"{what}, {count} process{'es' if count > 1 else ''}"
    turn.note(f"{row}: steps a second", sum(made / seconds for made, seconds, _ in done))
    _note_cpu(turn, row, steps, sum(cpu for _, _, cpu in done), there)
    if server:
        turn.note(f"{row}: the server's share of a core, %", there / took * 100)
