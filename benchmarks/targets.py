"""The targets of the project, and whether a run reached them. Pure functions of a report."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from .report import Report, Verdict
from .savers import FLOORS, GLIDE, IN_MEMORY, INCUMBENT, VALKEY_PY

CHAT, DOCUMENT = "chat/sync", "document/sync"
SAVER_TABLES = ("chat", "document", "long document", "fan-out", "large")
COMPARED = (
    *(f"{name}/{face}" for name in SAVER_TABLES for face in ("sync", "async")),
    "fan-out/at once",
    "long",
    *(f"{name}/{face}" for name in ("network", "network document", "store", "cache") for face in ("sync", "async")),
)
"""Tables in which no operation is to be slower than the incumbent's."""

LATEST = "get latest"
LATEST_PENDING = "get latest, 4 pending writes"
EXPONENT = 0.05


_TESTS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


@frozen
class _Bound:
    sign: str
    limit: float

    def holds(self, value: float) -> bool:
        return _TESTS[self.sign](value, self.limit)

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}"


@frozen
class _Faster:
    """How much faster an operation is to be than the incumbent's."""

    table: str
    operation: str
    factor: float
    where: str


FASTER = (
    _Faster(CHAT, "put_writes", 1.5, "short chat"),
    _Faster(CHAT, LATEST, 1.3, "short chat"),
    _Faster(CHAT, LATEST_PENDING, 1.3, "short chat"),
    _Faster(DOCUMENT, "put_writes", 1.5, "100 KB"),
    _Faster(DOCUMENT, LATEST, 3, "100 KB"),
    _Faster(DOCUMENT, LATEST_PENDING, 3, "100 KB"),
    _Faster(DOCUMENT, "put", 2.5, "100 KB"),
    _Faster(DOCUMENT, "list(10)", 3, "100 KB"),
)

NEAR_THE_FLOOR = (
    (CHAT, "put", 1.5, "short chat"),
    (CHAT, "put_writes", 1.5, "short chat"),
    (DOCUMENT, "put", 1.5, "100 KB"),
    (DOCUMENT, "put_writes", 1.5, "100 KB"),
    (DOCUMENT, LATEST, 2.0, "100 KB"),
)


def verdicts(report: Report) -> list[Verdict]:
    """Check all targets, each for both clients where it concerns both."""
    return [
        *_near_the_floor(report),
        *_faster(report),
        *_stored(report),
        *_never_slower(report),
        *_async(report),
        *_growth(report),
    ]


def _verdict(target: str, bound: _Bound, measured: float | None, note: str = "") -> Verdict:
    reached = measured is not None and bound.holds(measured)
    return Verdict(target=target, wanted=str(bound), measured=measured, reached=reached, note=note)


def _times(report: Report, table: str, operation: str, contender: str, other: str = INCUMBENT) -> float | None:
    there = report.tables.get(table)
    return there.times_better(operation, contender, other) if there else None


def _near_the_floor(report: Report) -> Iterator[Verdict]:
    for table, operation, limit, where in NEAR_THE_FLOOR:
        for contender, floor in FLOORS.items():
            better = _times(report, table, operation, floor, contender)
            serializing = _times(report, table, operation, floor, IN_MEMORY)
            note = "" if serializing is None else f"{IN_MEMORY}, which serializes and sends nothing: {serializing:.1f}"
            yield _verdict(f"{contender}: {operation}, {where}, times the floor", _Bound("<=", limit), better, note)


def _faster(report: Report) -> Iterator[Verdict]:
    for target in FASTER:
        for contender in (GLIDE, VALKEY_PY):
            better = _times(report, target.table, target.operation, contender)
            name = f"{contender}: {target.operation}, {target.where}, times faster than the incumbent"
            yield _verdict(name, _Bound(">=", target.factor), better)


def _stored(report: Report) -> Iterator[Verdict]:
    better = _times(report, "stored", "100 KB document, 100 steps", GLIDE)
    name = "bytes stored of 100 steps with 100 KB, share of the incumbent's"
    yield _verdict(name, _Bound("<=", 0.4), None if better is None else 1 / better)


def _worst(report: Report, tables: Iterable[str], contender: str, other: str) -> tuple[float | None, str]:
    """The operation that compares worst, and where it was."""
    found = [
        (better, f"{operation}; {table}")
        for table in tables
        for operation in (report.tables[table].cells if table in report.tables else ())
        if (better := _times(report, table, operation, contender, other)) is not None
    ]
    return min(found) if found else (None, "")


def _never_slower(report: Report) -> Iterator[Verdict]:
    for contender in (GLIDE, VALKEY_PY):
        worst, where = _worst(report, COMPARED, contender, INCUMBENT)
        yield _verdict(f"{contender}: the worst operation, times faster", _Bound(">=", 1), worst, where)


def _async(report: Report) -> Iterator[Verdict]:
    tables = [f"{name}/async" for name in SAVER_TABLES]
    for contender in (GLIDE, VALKEY_PY):
        worst, where = _worst(report, tables, contender, INCUMBENT)
        name = f"{contender}, async: the worst operation of savers, times faster"
        yield _verdict(name, _Bound(">=", 1.3), worst, where)
    for contender in (GLIDE, VALKEY_PY):
        throughput = _times(report, "runs", "runs of a graph", contender)
        yield _verdict(f"{contender}: async runs at once in a second, times more", _Bound(">=", 2), throughput)


def _growth(report: Report) -> Iterator[Verdict]:
    for operation in (LATEST, "put", "put_writes"):
        for contender in (GLIDE, VALKEY_PY):
            exponent = report.growth.exponent(operation, contender) if report.growth else None
            sizes = f"{report.growth.sizes[0]:,} to {report.growth.sizes[-1]:,}" if report.growth else "10 to 10,000"
            yield _verdict(f"{contender}: {operation}, exponent from {sizes} steps", _Bound("<", EXPONENT), exponent)


def slower(report: Report) -> list[tuple[float, str, str, str]]:
    """Everything that is slower than the incumbent's, the worst first: times faster, contender, operation, table."""
    return sorted(
        (better, contender, operation, table)
        for table in COMPARED
        if table in report.tables
        for operation in report.tables[table].cells
        for contender in (GLIDE, VALKEY_PY)
        if (better := _times(report, table, operation, contender)) is not None and better < 1
    )
