"""Forks of a thread, drawn beside its steps."""

from __future__ import annotations


class Lanes:
    """The forks of a thread, as lines of text: one for each step, newest first.

    Each branch has a lane. It begins with the newest step of the branch, and joins another lane where both come from
    the same step.

    Example:
        >>> lanes = Lanes()
        >>> for step, parent in [("5", "3"), ("4", "2"), ("3", "2"), ("2", "1"), ("1", None)]:
        ...     print(lanes.draw(step, parent), step)
        ● 5
        │ ● 4
        ● │ 3
        ●─╯ 2
        ● 1
    """

    def __init__(self) -> None:
        self._wanted: list[str | None] = []
        """For each lane the step that comes next in it; ``None`` if it is free."""

    def draw(self, step: str, parent: str | None) -> str:
        """Return the line of a step.

        Args:
            step: its id.
            parent: the id of its parent; ``None`` if it has none.
        """
        lanes = [at for at, wanted in enumerate(self._wanted) if wanted == step]
        own = lanes[0] if lanes else self._free()
        joined = set(lanes[1:])
        last = max(joined, default=own)
        line = ""
        for at in range(max(len(self._wanted), own + 1)):
            if at == own:
                line += "●"
            elif at in joined:
                line += "╯" if at == last else "┴"
            elif at < len(self._wanted) and self._wanted[at] is not None:
                line += "┼" if own < at < last else "│"
            else:
                line += "─" if own < at < last else " "
            line += "─" if own <= at < last else " "
        for at in joined:
            self._wanted[at] = None
        self._wanted[own] = parent
        while self._wanted and self._wanted[-1] is None:
            self._wanted.pop()
        return line.rstrip()

    def _free(self) -> int:
        for at, wanted in enumerate(self._wanted):
            if wanted is None:
                return at
        self._wanted.append(None)
        return len(self._wanted) - 1
