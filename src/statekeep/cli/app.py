"""The group of all commands, which imports a command when it is used."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from .options import Debug, Json, KeyPrefix, Url
from .output import Output
from .printable import redacted
from .registry import COMMANDS, Listed
from .run import Common, Run, pipe_is_gone
from .status import Status

HELP = """Look at what agents keep, and keep it in order.

Say where with --url, or with the environment variable STATEKEEP_URL, which other users of this machine do not see in
lists of processes: a URL as for statekeep.connect.

Exit status: 0; 1 if nothing was found, a check failed, or the service did not do it; 2 if a command was used wrongly,
or cannot do that with this service.
"""


class Group(TyperGroup):
    """The command ``statekeep``."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command."""
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.commands[cmd_name] = made(cmd_name, COMMANDS[cmd_name])
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.help) for name, listed in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and exit with its status."""
        try:
            status = self._status(args, prog_name, complete_var, windows_expand_args, **extra)
        except BrokenPipeError:
            status = pipe_is_gone()
        except KeyboardInterrupt:
            status = int(Status.INTERRUPTED)
        if standalone_mode:
            sys.exit(status)
        return status

    def _status(
        self,
        args: Sequence[str] | None,
        prog_name: str | None,
        complete_var: str | None,
        windows_expand_args: bool,
        **extra: Any,
    ) -> int:
        try:
            status = super().main(
                args=args,
                prog_name=prog_name,
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            sys.stdout.flush()
            return int(status or 0)
        except Exception as error:
            # Wrong use. typer brings its own copy of click, or takes yours: its errors are known by what they do.
            show = getattr(error, "format_message", None)
            if show is None:
                raise
            return self._misused(error, show())

    def _misused(self, error: Any, message: str) -> int:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(message + "\n")
            return int(Status.WRONG_USE)
        output = Output(hide=redacted)
        output.note(message)
        if context is not None:
            output.note(f"see {context.command_path} --help")
        return int(Status.WRONG_USE)


def made(name: str, listed: Listed) -> Any:
    """Import a command, and make one of typer of it.

    Args:
        name: of the command.
        listed: where it is.
    """
    module, _, function = listed.place.partition(":")
    command = getattr(import_module(f".commands.{module}", __package__), function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = {"ignore_unknown_options": True, "allow_extra_args": True} if listed.raw else None
    app.command(name, context_settings=settings, add_help_option=not listed.raw)(_bound(command, listed.raw))
    return get_command(app)


def _bound(command: Callable[..., int | None], raw: bool) -> Callable[..., None]:
    """Return a function for typer.

    It has the parameters of a command that stand behind the run, and the common options.
    """
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    kinds = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("ctx", kinds, annotation=typer.Context)
    common = [] if raw else list(inspect.signature(_common, eval_str=True).parameters.values())[1:]

    def call(ctx: Any, **given: Any) -> None:
        if raw:
            given["arguments"] = [argument for argument in ctx.args if argument not in ("--json", "--debug")]
            given |= {"json": "--json" in ctx.args, "debug": "--debug" in ctx.args}
        of_command = {name: given.pop(name) for name in list(given) if name in _NAMES}
        found = Common(**{_NAMES[name]: value for name, value in of_command.items()}).over(ctx.find_object(Common))
        raise typer.Exit(Run(found).call(command, **given))

    kept = [] if raw else [parameter.replace(kind=kinds) for parameter in own]
    parameters = [context, *kept, *(parameter.replace(kind=kinds) for parameter in common)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__doc__ = command.__doc__
    return call


_NAMES = {"url": "url", "key_prefix": "key_prefix", "json": "as_json", "debug": "debug"}
"""The common options, and their names in :class:`Common`."""


def _common(
    ctx: typer.Context, url: Url = None, key_prefix: KeyPrefix = None, json: Json = False, debug: Debug = False
) -> None:
    ctx.obj = Common(url, key_prefix, json, debug)


def application() -> typer.Typer:
    """Return the application, as typer's runner of tests takes it."""
    app = typer.Typer(cls=Group, name="statekeep", help=HELP, no_args_is_help=True, rich_markup_mode=None)
    app.callback()(_common)
    return app


def group() -> Any:
    """Return the group of all commands."""
    return get_command(application())
