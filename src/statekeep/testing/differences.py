"""Declared differences between a backend and the contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import field, frozen

from ..domain import InvalidInput

__all__ = ["NONE", "OPTIONAL", "Differences"]

OPTIONAL: Final = frozenset(
    {
        "ancestors",
        "append",
        "copy_thread",
        "delete_runs",
        "expire",
        "list_namespaces",
        "pop",
        "prune",
        "reindex",
        "restore",
        "search",
    }
)
"""Operations that a backend may lack. Without the others there is nothing to compare."""


def _names(found: Iterable[str]) -> frozenset[str]:
    names = frozenset(found)
    if names - OPTIONAL:
        raise InvalidInput(
            f"unsupported may be {', '.join(sorted(OPTIONAL))}, got {min(names - OPTIONAL)!r}", field="unsupported"
        )
    return names


@frozen
class Differences:
    """The differences that a backend declares.

    A state machine takes these for right, and no others.

    Each of them is defined, so that it is compared like everything else, but for ``forks_are_ambiguous`` and
    ``writes_settle_late``.

    Attributes:
        replayed_finds_parents_only: a ``replayed`` channel gets a value only if the parent stored one under its
            version; elsewhere in the namespace none is looked for.
        optional_stops_at_parent: a channel ``earlier`` that need not be there is empty if the parent has its version
            without a value, though others stored one.
        forks_are_ambiguous: where forks stored several values under one version, ``earlier`` without a parent that has
            the version may find any of them.
        writes_settle_late: of pending writes for one index of a task that are put at the same time, a reader may see
            one that does not stay.
        prunes_whole_threads_only: ``prune`` deletes threads, with ``keep=0``; with another ``keep``, or a namespace, it
            raises :class:`~statekeep.Unsupported`, and changes nothing. So does ``delete`` of one checkpoint.
        puts_cannot_expect: ``put`` of a checkpoint with ``expected_head`` raises :class:`~statekeep.Unsupported`, and
            changes nothing.
        batches_are_not_atomic: a batch of items is not done as a whole, but each item's operations are; one with
            ``expected`` that writes more than one item, or lists before it writes, raises
            :class:`~statekeep.Unsupported`, and changes nothing.
        unsupported: names of methods of the repository that raise :class:`~statekeep.Unsupported`, and change
            nothing; some of :data:`OPTIONAL`.

    Raises:
        InvalidInput: ``unsupported`` names something else.

    Example:
        >>> from contextlib import nullcontext
        >>> from hypothesis import settings
        >>> from hypothesis.stateful import run_state_machine_as_test
        >>> from statekeep import Unsupported
        >>> from statekeep.repositories.memory import MemoryCheckpoints
        >>> from statekeep.testing.machines.checkpoints import machine_for
        >>> class NoCopies(MemoryCheckpoints):
        ...     def copy_thread(self, source_id, target_id):
        ...         raise Unsupported("threads cannot be copied")
        >>> declared = Differences(unsupported={"copy_thread"})
        >>> machine = machine_for(lambda: nullcontext(NoCopies()), differences=declared)
        >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
    """

    replayed_finds_parents_only: bool = False
    optional_stops_at_parent: bool = False
    forks_are_ambiguous: bool = False
    writes_settle_late: bool = False
    prunes_whole_threads_only: bool = False
    puts_cannot_expect: bool = False
    batches_are_not_atomic: bool = False
    unsupported: frozenset[str] = field(default=frozenset(), converter=_names)


NONE = Differences()
"""A backend that keeps the contract to the letter."""
