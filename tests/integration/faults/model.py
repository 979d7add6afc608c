"""What may be stored after operations of which some were acknowledged and others were not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from attrs import define, field, frozen

Cell = Hashable
State = Any


@frozen
class Effect:
    """What an operation does to one cell: an acknowledged one did it; of any other it is not known.

    Attributes:
        cell: where.
        becomes: the state afterwards, given the one before.
    """

    cell: Cell
    becomes: Callable[[State], State]

    @classmethod
    def to(cls, cell: Cell, state: State) -> Effect:
        """The cell has this state afterwards, whatever it was."""
        return cls(cell, lambda _: state)


@define
class Model:
    """The states that each cell may have; one that was never touched is ``None``: nothing is stored.

    Attributes:
        is_lossy: acknowledged operations may be lost, too, as replication may.
    """

    is_lossy: bool = False
    cells: dict[Cell, set[State]] = field(factory=dict)

    def states(self, cell: Cell) -> set[State]:
        """The states that a cell may have."""
        return self.cells.get(cell, {None})

    def acknowledged(self, effects: Iterable[Effect]) -> None:
        """An operation was answered."""
        for effect in effects:
            before = self.states(effect.cell)
            after = {effect.becomes(state) for state in before}
            self.cells[effect.cell] = before | after if self.is_lossy else after

    def unacknowledged(self, effects: Iterable[Effect]) -> None:
        """An operation was begun; of each of its effects it is not known whether it came about."""
        for effect in effects:
            before = self.states(effect.cell)
            self.cells[effect.cell] = before | {effect.becomes(state) for state in before}

    def seen(self, cell: Cell, state: State) -> str | None:
        """Somebody read a cell, so its state is known from now on. Returns what is wrong with it, if anything is."""
        before = self.states(cell)
        is_wrong = state not in before
        if not self.is_lossy or is_wrong:
            self.cells[cell] = {state}
        return f"{cell} is {_short(state)}, not {' or '.join(map(_short, before))}" if is_wrong else None


def _short(state: State) -> str:
    return f"{state!r:.200}"
