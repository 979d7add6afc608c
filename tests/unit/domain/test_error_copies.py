"""Errors that travel between processes, or are copied: pickle and copy keep them as they are."""

from __future__ import annotations

import copy
import pickle
import pkgutil
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

import pytest

import statekeep
from statekeep.domain import Conflict, InvalidInput, MissingChannels, MissingDependency, StatekeepError, Unavailable
from statekeep.domain.errors import ForeignError, Portable
from statekeep.domain.model import attributes
from statekeep.langgraph_shim.migration.report import MigrationReport, VerificationFailed
from statekeep.repositories.valkey.client.errors import CommandError
from statekeep.repositories.valkey.requests import Call, Divided, Script
from statekeep.testing.aws.errors import AwsError

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "oldest pickle": lambda error: pickle.loads(pickle.dumps(error, protocol=0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}

# The keeper of embedded servers is a program of its own, which imports nothing of the package.
ALONE = "statekeep.repositories.valkey.embedded.keeper"

EXAMPLES: dict[type[BaseException], BaseException] = {
    AwsError: AwsError("ResourceNotFoundException", "no such memory", status=404, members={"resource": "m"}),
    CommandError: CommandError(ValueError("WRONGTYPE"), ["GET", "key"]),
    Conflict: Conflict("somebody was first", expected=3, actual=4, operation="put", key="k"),
    Divided: Divided(Call(Script("put", "return 1"), ["a"], [b"1"])),
    InvalidInput: InvalidInput("limit must be >= 0", field="limit", operation="list"),
    MissingChannels: MissingChannels({"b", "a"}, key="k"),
    MissingDependency: MissingDependency("boto3", "aws"),
    VerificationFailed: VerificationFailed(["thread 'a' lacks a checkpoint"], 1, MigrationReport(verified=2)),
}


def _classes() -> list[type[BaseException]]:
    found = set()
    for module in pkgutil.walk_packages(statekeep.__path__, "statekeep."):
        if module.name.endswith("__main__") or module.name == ALONE:
            continue
        for one in vars(import_module(module.name)).values():
            if isinstance(one, type) and issubclass(one, BaseException) and one.__module__.startswith("statekeep."):
                found.add(one)
    return sorted(found, key=lambda kind: kind.__qualname__)


VALUES: dict[str, Any] = {
    "actual": 4,
    "errors": [{"type": "missing", "loc": ("a", 1), "msg": "Field required"}],
    "expected": 3,
    "field": "limit",
    "key": "k",
    "operation": "put",
}
"""For each keyword of an error one that is not its default: an error with another one needs a value here."""


def _example(kind: type[BaseException]) -> BaseException:
    """Return an error of which all attributes are set."""
    error = EXAMPLES.get(kind)
    if error is None:
        takes = signature(kind.__init__).parameters.values()
        error = kind("what happened", **{one.name: VALUES[one.name] for one in takes if one.kind is one.KEYWORD_ONLY})
    if isinstance(error, StatekeepError):
        error.operation, error.key = error.operation or "put", error.key or "k"
        error.place = {"thread_id": "chat-1", "namespace": ""}
    return error


def _facts(error: BaseException) -> tuple[Any, ...]:
    return type(error), error.args, str(error), {name: repr(value) for name, value in vars(error).items()}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_every_error_is_copied_as_it_is(kind: type[BaseException], way: Callable[[Any], Any]) -> None:
    error = _example(kind)
    error.add_note("while serializing channel 'a'")
    error.__cause__ = ConnectionResetError(104, "reset by peer")
    twin = way(error)
    assert twin is not error
    assert _facts(twin) == _facts(error)
    assert _facts(twin.__cause__) == _facts(error.__cause__)


def test_all_kinds_are_looked_at() -> None:
    kinds = _classes()
    assert len(kinds) > 15
    public = [getattr(statekeep, name) for name in statekeep.__all__]
    assert {one for one in public if isinstance(one, type) and issubclass(one, BaseException)} <= {*kinds}
    assert {*EXAMPLES} <= {*kinds}


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_what_is_documented_is_copied(kind: type[BaseException]) -> None:
    """And of what an error is given nothing is left out."""
    twin = pickle.loads(pickle.dumps(_example(kind)))
    told = {name for one in kind.__mro__ for name in attributes(vars(one).get("__doc__"))}
    assert {name for name in told if vars(twin).get(name) is None} == set()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
class TestChains:
    def _raised(self, raise_it: Callable[[], object]) -> BaseException:
        with pytest.raises(Portable) as caught:
            raise_it()
        return caught.value

    def test_of_causes_and_contexts(self, way: Callable[[Any], Any]) -> None:
        def fail() -> None:
            try:
                try:
                    try:
                        raise KeyError("innermost")
                    except KeyError as error:
                        raise Unavailable("the server is away", key="k") from error
                except Unavailable:
                    raise OSError("in an except clause")  # noqa: B904 - so that it has a context
            except OSError as error:
                raise StatekeepError("outermost", operation="get") from error

        twin = way(self._raised(fail))
        assert [str(twin), str(twin.__cause__), str(twin.__cause__.__context__)] == [
            "outermost (operation='get')",
            "in an except clause",
            "the server is away (key='k')",
        ]
        assert repr(twin.__cause__.__context__.__cause__) == "KeyError('innermost')"

    def test_what_was_hidden_stays_hidden(self, way: Callable[[Any], Any]) -> None:
        def fail() -> None:
            try:
                raise ValueError("a password")
            except ValueError:
                raise InvalidInput("the URL is wrong") from None

        error = self._raised(fail)
        twin = way(error)
        assert twin.__suppress_context__
        assert twin.__cause__ is None
        assert b"a password" not in pickle.dumps(error)

    def test_of_an_error_that_cannot_be_pickled_the_text_stays(self, way: Callable[[Any], Any]) -> None:
        class Local(Exception):
            pass

        def fail() -> None:
            try:
                raise Local("its text") from ValueError("what led to it")
            except Local as error:
                raise Unavailable("the server is away") from error

        twin = way(self._raised(fail))
        assert isinstance(twin.__cause__, ForeignError)
        assert str(twin.__cause__).endswith("Local: its text")
        assert repr(twin.__cause__.__cause__) == "ValueError('what led to it')"

    def test_of_an_error_whose_copy_would_say_something_else(self, way: Callable[[Any], Any]) -> None:
        twin = way(_caused_by(Distorted("a", "b")))
        assert str(twin.__cause__).endswith("Distorted: a and b")

    def test_a_circle_has_an_end(self, way: Callable[[Any], Any]) -> None:
        first, second = ValueError("first"), ValueError("second")
        first.__context__, second.__context__ = second, first
        twin = way(_caused_by(first))
        assert repr(twin.__cause__.__context__) == "ValueError('second')"


class Distorted(Exception):
    """Its argument is not its text, so that pickle makes another one of it."""

    def __init__(self, text: str, other: str = "nothing") -> None:
        super().__init__(f"{text} and {other}")


def _caused_by(cause: Exception) -> Unavailable:
    error = Unavailable("the server is away")
    error.__cause__ = cause
    return error
