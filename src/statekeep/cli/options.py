"""Options and arguments that several commands have, as annotations for typer."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final

import typer

from ..domain.errors import InvalidInput

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="STATEKEEP_URL",
        metavar="URL",
        show_default=False,
        help="Where the records are, such as valkey://host:6379 or agentcore://MEMORY?region=...&actor_id=ada. "
        "Options of clients are parameters of the URL.",
    ),
]
KeyPrefix = Annotated[
    str | None,
    typer.Option(
        "--key-prefix",
        envvar="STATEKEEP_KEY_PREFIX",
        metavar="TEXT",
        show_default=False,
        help="First part of all keys in Valkey: the prefix of your program.  [default: statekeep]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one document, or a line for each record.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show logs, and the traceback of an error.")]

NamespaceText = Annotated[
    str,
    typer.Argument(
        metavar="NAMESPACE",
        show_default=False,
        help='Labels with / between them, such as users/ada, with %2F for a / in a label; or ["users","ada"]. '
        "/ alone has no labels.",
    ),
]
ThreadId = Annotated[str, typer.Argument(metavar="THREAD", show_default=False, help="Id of a thread.")]
CheckpointNamespace = Annotated[
    str, typer.Option("--namespace", metavar="TEXT", help="Of a nested graph; the root of the thread by default.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something is deleted.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", help="At most so many; 0 for all.")]
Full = Annotated[bool, typer.Option("--full", help="Leave nothing of a value out, however large it is.")]
Raw = Annotated[bool, typer.Option("--raw", help="Values as they are stored: encoding and bytes in base64.")]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


def kinds_option(kinds: str) -> Any:
    """Return the option ``--kind``, which may be given several times.

    Args:
        kinds: those that there are, for the help.
    """
    return typer.Option(
        "--kind",
        metavar="KIND",
        show_default=False,
        help=f"{kinds}; give it several times for several. All by default.",
    )


def limit_of(number: int) -> int | None:
    """Return the limit that ``--limit`` means.

    Raises:
        InvalidInput: it is negative.

    Example:
        >>> limit_of(20), limit_of(0)
        (20, None)
    """
    if number < 0:
        raise InvalidInput(f"--limit must be 0 or more, got {number}", field="limit")
    return number or None


def duration_of(text: str, option: str) -> dt.timedelta:
    """Return a length of time: ``90s``, ``15m``, ``12h``, ``30d``, ``1d12h``.

    Args:
        text: what the user wrote.
        option: where, for the error.

    Raises:
        InvalidInput: it is none.

    Example:
        >>> duration_of("1d12h", "--older-than")
        datetime.timedelta(days=1, seconds=43200)
    """
    try:
        found = _duration(text)
    except OverflowError:
        raise InvalidInput(f"{option} must be at most {dt.timedelta.max.days} days", field=option.strip("-")) from None
    if found is None:
        raise InvalidInput(f"{option} must be a duration such as 90s, 15m, 12h, 30d or 2w", field=option.strip("-"))
    return found


def _duration(text: str) -> dt.timedelta | None:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return dt.timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def since_of(text: str, option: str, now: dt.datetime) -> dt.datetime:
    """Return the time that ``--since`` names: a duration before now, or an ISO time.

    Args:
        text: what the user wrote. A time without a zone is of this host's.
        option: where, for the error.
        now: the server's time.

    Raises:
        InvalidInput: it is neither.

    Example:
        >>> since_of("2h", "--since", dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)).isoformat()
        '2026-05-01T10:00:00+00:00'
        >>> since_of("2026-04-30T12:00Z", "--since", dt.datetime.now(dt.UTC)).isoformat()
        '2026-04-30T12:00:00+00:00'
    """
    field = option.strip("-")
    try:
        span = _duration(text)
        if span is not None:
            return now - span
        found = dt.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.astimezone()).astimezone(dt.UTC)
    except (OverflowError, OSError):  # by the platform, if it has no zone
        raise InvalidInput(f"{option} must be a time of the years 1 to 9999", field=field) from None
    except ValueError:
        raise InvalidInput(
            f"{option} must be a duration such as 12h or 30d, or a time such as 2026-05-01T12:00Z", field=field
        ) from None
