"""The command ``statekeep``: look at what is kept, and keep it in order.

It needs the extra ``cli``. ``python -m statekeep`` is the same.

How to add a command
====================

1. Write a function in a module of ``commands``, such as ``commands/stats.py``::

       def stats(run: Run, limit: Limit = 20, yes: Yes = False) -> int | None:
           \"\"\"Count records and their bytes.

           More text for ``statekeep stats --help``.
           \"\"\"
           with run.connect() as keep:
               ...
           run.output.rows(COLUMNS, rows)
           return Status.OK

   Its first parameter is the :class:`~statekeep.cli.run.Run`; the others are options and arguments of typer. Types that
   several commands share are in ``options.py``. Annotations are read when the command runs, so import their names
   plainly, and not under ``TYPE_CHECKING``. Import what takes long (drivers, rich) inside the function.
2. Add a line to ``COMMANDS`` in ``registry.py``: the name, where the function is, and its first line for ``statekeep
   --help``, which imports no command. A test compares that line with the docstring.
3. Say what the user should see with these, and with nothing else:

   * ``run.connect()`` opens the connection of ``--url``; ``run.connect(url)`` another one.
   * ``run.output`` prints: ``rows`` (a table on a terminal, else lines with tabs, JSON lines with ``--json``),
     ``document`` (one JSON document with ``--json``), ``line`` (text for people, nothing with ``--json``) and ``note``
     (a message, to stderr). Terminal sequences in what is stored are made harmless there.
   * ``run.progress("Pruning", total)`` shows how far it is, on stderr.
   * ``run.confirm("Delete 3 threads?", yes)`` asks before something is deleted.
   * Return ``Status.FOUND_NOTHING`` if there is nothing, after a ``note``. Raise ``InvalidInput`` for wrong use. Let
     errors of Statekeep pass: they become one line on stderr, without secrets of the URL.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit.

    The exit status is 0; 1 if nothing was found, a check failed or the service did not do it; 2 if the command was used
    wrongly, or cannot do that with this service or installation; 130 after Ctrl-C; 141 if the reader of a pipe is gone.

    Args:
        arguments: without the program's name; those of the process by default.

    Raises:
        SystemExit: always.

    Example:
        >>> try:
        ...     main(["version"])
        ... except SystemExit as ended:
        ...     print("status", ended.code)
        statekeep ...
        status 0
    """
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        from ..domain.errors import MissingDependency

        package = (error.name or "typer").partition(".")[0]
        sys.stderr.write(f"statekeep: {MissingDependency(package, 'cli')}\n")
        sys.exit(2)
    from .app import group

    if arguments is None:
        _prepare_streams(is_quiet="--debug" not in sys.argv)
    group().main(args=None if arguments is None else list(arguments), prog_name="statekeep")
    raise AssertionError("the group exits")


def _prepare_streams(is_quiet: bool) -> None:
    """Keep standard error to messages of this program, and take any character.

    The native part of glide writes there what the errors of Statekeep say, too. A stream that was closed for the
    program reads and writes nothing.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        is_file = sys.stderr.fileno() == _STDERR
    except (OSError, ValueError):  # an object in its place
        is_file = False
    if not is_file or not is_quiet:
        return
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    encoding = getattr(sys.stderr, "encoding", None)
    # The file is to live as long as the process.
    sys.stderr = open(kept, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115


_STDERR = 2
