"""The result of a migration, and what is wrong with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

from attrs import define, field
from pydantic import AwareDatetime, Field

from ...domain import InvalidInput, StatekeepError
from ...domain.model import Model
from ...domain.shown import shown

Verify = Literal["sample", "all"] | None
"""What is read back: some records, all of them, or none."""

NAMED: Final = 100
"""Differences that are named; more are only counted."""

OVERLAP: Final = dt.timedelta(minutes=5)
"""How much earlier than the last migration the next one begins: clocks of writers differ, and writes take a while."""


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class MigrationReport(Model):
    """Progress of a migration, and in the end its result.

    Pass it as ``since`` to the next migration. It can be kept as JSON: ``report.model_dump_json()``.

    Attributes:
        began_at: when the migration began, by the clock of this machine.
        threads: threads that were gone through.
        of_threads: how many the source has.
        checkpoints: checkpoints that were read.
        checkpoints_put: those of them that the target lacked, or had otherwise.
        pending_writes: pending writes that were read with them.
        pending_writes_put: those that the target lacked.
        items: items that were read.
        items_put: those that the target lacked, or had otherwise.
        items_kept: those of which the target has a value that was put later; it stays.
        cache_entries: cache entries that were read.
        cache_entries_put: those that the target lacked, or had otherwise.
        expiries_set: threads whose end was set to that in the source.
        expiries_lost: threads that end in the source, but not in the target, as its service cannot set an end.
        verified: records that were read back and compared.
        place: the thread or the namespace that it is at; ``None`` before the first.
    """

    began_at: AwareDatetime = Field(default_factory=_now)
    threads: int = 0
    of_threads: int = 0
    checkpoints: int = 0
    checkpoints_put: int = 0
    pending_writes: int = 0
    pending_writes_put: int = 0
    items: int = 0
    items_put: int = 0
    items_kept: int = 0
    cache_entries: int = 0
    cache_entries_put: int = 0
    expiries_set: int = 0
    expiries_lost: int = 0
    verified: int = 0
    place: str | tuple[str, ...] | None = None

    @property
    def written(self) -> int:
        """How many records were written; 0 if the target had everything already."""
        return (
            self.checkpoints_put + self.pending_writes_put + self.items_put + self.cache_entries_put + self.expiries_set
        )


Progress = Callable[[MigrationReport], object]


class VerificationFailed(StatekeepError):
    """Records of the target differ from those of the source.

    Everything was migrated all the same.

    Attributes:
        differences: what differs, a line each; at most 100.
        report: the counts.
    """

    def __init__(self, differences: Sequence[str], total: int, report: MigrationReport) -> None:
        named = "; ".join(differences[:3])
        super().__init__(f"{total} of {report.verified} records that were read back differ: {named}")
        self.differences = tuple(differences)
        self.report = report


@define
class Tally:
    """Counts and differences, which are told as they grow."""

    tell: Progress | None
    verify: Verify
    so_far: MigrationReport = field(factory=MigrationReport)
    differences: list[str] = field(factory=list)
    _total: int = 0

    def add(self, *, place: str | tuple[str, ...] | None = None, **more: int) -> None:
        """Count more, and perhaps name the place that it is at now."""
        fields: dict[str, Any] = {name: getattr(self.so_far, name) + number for name, number in more.items()}
        if place is not None:
            fields["place"] = place
        self.so_far = self.so_far.model_copy(update=fields)
        if self.tell is not None:
            self.tell(self.so_far)

    def differs(self, what: str) -> None:
        """Note that a record differs."""
        self._total += 1
        if len(self.differences) < NAMED:
            self.differences.append(what)

    def is_sampled(self, number: int) -> bool:
        """Return whether a thread or a page is read back, by its number.

        Of a sample these are the first, and one of ten.
        """
        return self.verify == "all" or (self.verify == "sample" and number % 10 == 0)

    def result(self) -> MigrationReport:
        """Return the counts.

        Raises:
            VerificationFailed: something differs.
        """
        if self._total:
            raise VerificationFailed(self.differences, self._total, self.so_far)
        return self.so_far


@contextmanager
def at(what: str, place: object) -> Iterator[None]:
    """Name the place in errors."""
    try:
        yield
    except StatekeepError as error:
        error.add_note(
            f"while {what} {place!r} was migrated; what was migrated before is there, and a migration may be repeated"
        )
        raise


def checked_verify(value: Any) -> Verify:
    """Return ``value`` if it says what to read back.

    Raises:
        InvalidInput: it does not.
    """
    if value is None or value == "sample" or value == "all":
        found: Verify = value
        return found
    raise InvalidInput(f'verify must be "sample", "all" or None, got {shown(value)}', field="verify")


def checked_since(value: Any) -> dt.datetime | None:
    """Return the time from which on things changed.

    Raises:
        InvalidInput: it is neither a time with a zone nor a report.
    """
    if isinstance(value, MigrationReport):
        return value.began_at - OVERLAP
    if value is None or (isinstance(value, dt.datetime) and value.tzinfo is not None):
        found: dt.datetime | None = value
        return found
    raise InvalidInput(
        f"since must be a datetime with a time zone, or the report of the last migration, got {shown(value)}",
        field="since",
    )
