"""Exceptions of signal handlers, raised where a test wants them."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType
from typing import Any


@cache
def _checks(code: CodeType) -> frozenset[int]:
    """Offsets of the instructions after which the interpreter looks for signals."""
    return frozenset(
        instruction.offset
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
        and instruction.opname != "JUMP_BACKWARD_NO_INTERRUPT"
    )


@cache
def _place(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_qualname}"


class _Strike:
    def __init__(self, error: type[BaseException], at: int, within: tuple[str, ...]) -> None:
        self.error = error
        self.left = at
        self.within = within
        self.last: dict[FrameType, int] = {}

    def enter(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        if self.left < 0 or not any(part in _place(frame.f_code) for part in self.within):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.step

    def step(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        if self.left < 0:
            return None
        if event == "opcode":
            if self.last.get(frame) in _checks(frame.f_code):
                self.left -= 1
                if self.left < 0:
                    self.last.clear()
                    raise self.error
            self.last[frame] = frame.f_lasti
        return self.step


def strike(act: Callable[[], object], error: type[BaseException], at: int, *within: str) -> bool:
    """Do something, and raise an exception in its midst.

    Args:
        act: what is done.
        error: the exception. It is caught here.
        at: at which place, of those where the interpreter looks for signals.
        within: parts of FILE:FUNCTION of the code whose places count.

    Returns:
        Whether there was such a place.
    """
    before = sys.gettrace()
    found = _Strike(error, at, within)
    sys.settrace(found.enter)
    try:
        act()
    except error:
        if found.left >= 0:
            raise
    except UnboundLocalError as raised:
        # valkey-py reads, in a "finally", what was not written before the strike.
        if not isinstance(raised.__context__, error):
            raise
    finally:
        sys.settrace(before)
    return found.left < 0


def strike_everywhere(
    act: Callable[[], object],
    check: Callable[[], object],
    error: type[BaseException],
    *within: str,
    stride: int = 1,
) -> int:
    """Do something again and again, each time with an exception at a later place, and check each time.

    Returns:
        How many exceptions were raised.
    """
    struck = 0
    while strike(act, error, struck * stride, *within):
        struck += 1
        check()
    return struck
