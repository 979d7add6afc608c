"""One run of a command: its connection, its output, its questions, and its end."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

from ..domain.errors import AccessDenied, InvalidInput, Portable
from ..inspection.printable import printable, redacted
from .output import Output
from .progress import Progress, showing
from .status import Status, line_of, status_of

if TYPE_CHECKING:
    from ..repositories.connection import Connection

NO_URL = (
    "say where the records are: --url URL, or the environment variable STATEKEEP_URL; "
    "such as valkey://localhost:6379, embedded:DIR or agentcore://MEMORY?region=us-west-2&actor_id=ada"
)


@frozen
class Common:
    """The options that every command has; they may stand before its name, too."""

    url: str | None = None
    key_prefix: str | None = None
    as_json: bool = False
    debug: bool = False

    def over(self, outer: Common | None) -> Common:
        """Return these, and where one is not given that of ``outer``."""
        if outer is None:
            return self
        return Common(
            self.url or outer.url,
            self.key_prefix or outer.key_prefix,
            self.as_json or outer.as_json,
            self.debug or outer.debug,
        )


class Refused(InvalidInput):
    """The command does not go on without a word of the user."""


class Stopped(Portable):
    """The user said no."""


class Run:
    """One run of a command.

    Args:
        common: the common options.

    Attributes:
        output: prints.
    """

    def __init__(self, common: Common) -> None:
        self.common = common
        self._urls = [common.url]
        self.output = Output(as_json=common.as_json, hide=lambda text: redacted(text, *self._urls))

    def connect(self, url: str | None = None, **options: Any) -> Connection:
        """Open the connection of ``--url``, or of another URL.

        Use it as a context manager. It raises here if the server does not answer. Items in Valkey that are in units are
        found: the connection has their unit.

        Args:
            url: of another service.
            options: of :func:`statekeep.connect`.

        Raises:
            InvalidInput: there is no URL, or it is wrong.
            StatekeepError: there is no answer.
        """
        from ..repositories.connect import connect

        found = self.common.url if url is None else url
        if not found:
            raise InvalidInput(NO_URL, field="url")
        self._urls.append(found)
        if self.common.key_prefix is not None:
            options.setdefault("prefix", self.common.key_prefix)
        keep = connect(found, check=True, **options)
        unit = None if "unit" in options else _unit_of(keep)
        if unit is None:
            return keep
        with keep:  # until the other one is there: an embedded server goes with its last connection
            return connect(found, check=True, unit=unit, **options)

    def hide(self, url: str) -> None:
        """Keep the secrets of another URL out of messages."""
        self._urls.append(url)

    def progress(self, what: str, total: int | None = None) -> AbstractContextManager[Progress]:
        """Show how far a piece of work is, on stderr.

        Args:
            what: is done, such as ``Pruning``.
            total: how much there is; ``None`` if nobody knows yet.
        """
        return showing(self.output, what, total)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before something is deleted.

        Args:
            question: such as ``Delete 3 threads?``.
            yes: the user said ``--yes``: do not ask.

        Raises:
            Refused: nobody can be asked, as standard input is no terminal.
            Stopped: the user said no.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise Refused(f"{question} Say --yes: nobody can be asked, as standard input is no terminal", field="yes")
        self.output.stderr.write(f"{printable(redacted(question, *self._urls))} [y/N] ")
        self.output.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Stopped

    def call(self, command: Callable[..., int | None], **given: Any) -> int:
        """Run a command, and return its exit status.

        Args:
            command: the function.
            given: its arguments.
        """
        with _Logs(self):
            try:
                return int(command(self, **given) or Status.OK)
            except Stopped:
                self.output.note("nothing was changed")
                return int(Status.FAILED)
            except BrokenPipeError:  # of standard output: those of connections are errors of Statekeep
                return pipe_is_gone()
            except Exception as error:
                self.failed(error)
                return int(status_of(error))

    def failed(self, error: Exception) -> None:
        """Say what went wrong: in one line, and with ``--debug`` with its traceback."""
        if self.common.debug:
            self.output.text("".join(traceback.format_exception(error)))
        self.output.note(line_of(error))


def _unit_of(keep: Connection) -> int | None:
    """Return the unit that stored items have; ``None`` if the user may not see it."""
    from ..inspection.valkey.collections import stored_unit

    try:
        return stored_unit(keep)
    except AccessDenied:  # what needs the unit says so itself
        return None
    except BaseException:
        keep.close()
        raise


class _Logs(logging.Handler):
    """Warnings of Statekeep's loggers, on stderr; all messages with ``--debug``."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.DEBUG if run.common.debug else logging.WARNING)
        self._run = run
        self._logger = logging.getLogger("statekeep")
        self._level = self._logger.level

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message.

        Not that of a damaged record, which is the error of the command, too.
        """
        if record.name == "statekeep.records" and record.levelno >= logging.ERROR and not self._run.common.debug:
            return
        self._run.output.note(f"{record.levelname.lower()}: {record.getMessage()}")

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        if self._run.common.debug:
            self._logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


def pipe_is_gone() -> int:
    """Write no more to a pipe that nobody reads, and return the exit status."""
    # Python flushes standard output when it ends, and would complain of it.
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # in tests, standard output may be no file
        pass
    return int(Status.CUT_OFF)
