"""Pictures as SVG: forks of a thread, and bytes and messages over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen
from markupsafe import Markup

from ...inspection.printable import size

LANES: Final = 12
"""Lanes that are drawn; others lie in the last one."""

_ACROSS: Final = 18
_LONG: Final = 10_000
_TOP: Final = 22


@frozen
class Dot:
    """A step in the picture.

    Attributes:
        lane: its column.
        joined: columns of the branches that begin at it.
        through: columns of branches that pass by.
        goes_on: whether a line goes down to its parent.
        has_child: whether a line comes from above.
    """

    lane: int
    joined: tuple[int, ...]
    through: tuple[int, ...]
    goes_on: bool
    has_child: bool


@define
class Forks:
    """Gives each branch of a thread a lane, step by step, newest first.

    Attributes:
        wanted: for each lane the step that comes next in it; ``""`` if it is free. A page begins with those of the
            page before it.

    Example:
        >>> forks = Forks()
        >>> [forks.dot(step, parent).lane for step, parent in [("4", "2"), ("3", "2"), ("2", "1"), ("1", None)]]
        [0, 1, 0, 0]
    """

    wanted: list[str] = field(factory=list)

    def dot(self, step: str, parent: str | None) -> Dot:
        """Return the place of a step.

        Args:
            step: its id.
            parent: the id of its parent; ``None`` if it has none.
        """
        lanes = [at for at, wanted in enumerate(self.wanted) if wanted == step]
        own = lanes[0] if lanes else self._free()
        for at in lanes[1:]:
            self.wanted[at] = ""
        through = tuple(at for at, wanted in enumerate(self.wanted) if wanted and at != own and at not in lanes)
        self.wanted[own] = parent or ""
        while self.wanted and not self.wanted[-1]:
            self.wanted.pop()
        return Dot(own, tuple(lanes[1:]), through, bool(parent), bool(lanes))

    def _free(self) -> int:
        for at, wanted in enumerate(self.wanted):
            if not wanted:
                return at
        self.wanted.append("")
        return len(self.wanted) - 1


def _x(lane: int) -> int:
    return min(lane, LANES - 1) * _ACROSS + _ACROSS // 2


def width_of(dots: Sequence[Dot]) -> int:
    """Return how many lanes a picture has."""
    return min(LANES, max((max((dot.lane, *dot.joined, *dot.through)) for dot in dots), default=0) + 1)


def lane_picture(dot: Dot, lanes: int, *, is_waiting: bool = False) -> Markup:
    """Draw the row of one step.

    The lines go to the edges of the row, where they meet those of the next one, however high it is.

    Args:
        dot: the step.
        lanes: of the whole picture.
        is_waiting: it waits for an answer.
    """
    lines = [f"M{_x(at)} 0V{_LONG}" for at in dot.through]
    here = _x(dot.lane)
    if dot.has_child:
        lines.append(f"M{here} 0V{_TOP}")
    if dot.goes_on:
        lines.append(f"M{here} {_TOP}V{_LONG}")
    lines += [f"M{_x(at)} 0C{_x(at)} {_TOP} {here} 0 {here} {_TOP}" for at in dot.joined]
    kind = "dot waiting" if is_waiting else "dot"
    across = lanes * _ACROSS
    # The first one holds the place; the second one is as high as the row becomes, and cuts its lines off.
    return Markup(
        '<svg class="gap" width="{}" height="1" aria-hidden="true" focusable="false"></svg>'
        '<svg class="lane" width="{}" aria-hidden="true" focusable="false"><path class="line" d="{}"/>'
        '<circle class="{}" cx="{}" cy="{}" r="5"/></svg>'
    ).format(across, across, "".join(lines), kind, here, _TOP)


@frozen
class Point:
    """A step in the chart."""

    label: str
    new: int
    reused: int
    messages: int | None


_WIDE: Final = 720
_HIGH: Final = 160
_LEFT: Final = 76
_RIGHT: Final = 40
_BELOW: Final = 22


def chart(points: Sequence[Point]) -> Markup:
    """Draw bytes, as bars, and numbers of messages, as a line, over steps.

    Args:
        points: the steps, oldest first.
    """
    if len(points) < 2:
        return Markup("")
    most = max(1, *(point.new + point.reused for point in points))
    counted = [point.messages for point in points if point.messages is not None]
    most_messages = max(1, *counted) if counted else 1
    step = (_WIDE - _LEFT - _RIGHT) / len(points)
    high = _HIGH - _BELOW - 8
    floor = _HIGH - _BELOW
    bars, line = [], []
    for at, point in enumerate(points):
        left, across = _LEFT + at * step, max(1.0, step * 0.8)
        reused, new = high * point.reused / most, high * point.new / most
        told = f"step {point.label}: {size(point.new)} new, {size(point.reused)} reused"
        told += "" if point.messages is None else f", {point.messages} messages"
        bars.append(
            Markup('<g><title>{}</title><rect class="reused" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                   '<rect class="new" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>').format(
                told, left, floor - reused, across, reused, left, floor - reused - new, across, new
            )
        )  # fmt: skip
        if point.messages is not None:
            line.append((left + across / 2, floor - high * point.messages / most_messages))
    path = " ".join(f"{'L' if at else 'M'}{x:.1f} {y:.1f}" for at, (x, y) in enumerate(line))
    messages = (
        Markup('<path class="messages" d="{}"/><text class="messages" x="{}" y="18">{}</text>').format(
            path, _WIDE - _RIGHT + 6, most_messages
        )
        if line
        else ""
    )
    about = f"Bytes of {len(points)} steps, at most {size(most)}"
    about += f", and their messages, at most {most_messages}" if line else ""
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><path class="axis" d="M{} 8V{}H{}"/>'
        '<text x="{}" y="18" text-anchor="end">{}</text><text x="{}" y="{}" text-anchor="end">0</text>'
        '<text x="{}" y="{}">step {}</text><text x="{}" y="{}" text-anchor="end">step {}</text>{}{}</svg>'
    ).format(
        _WIDE, _HIGH, about, _LEFT - 4, floor, _WIDE - _RIGHT, _LEFT - 8, size(most), _LEFT - 8, floor,
        _LEFT, _HIGH - 4, points[0].label, _WIDE - _RIGHT, _HIGH - 4, points[-1].label, Markup("").join(bars), messages,
    )  # fmt: skip
