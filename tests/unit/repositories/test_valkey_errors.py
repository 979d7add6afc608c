"""The table of the drivers' errors."""

from __future__ import annotations

import builtins
import inspect
from types import ModuleType

import glide_shared.exceptions
import pytest
import valkey.exceptions

from statekeep.domain import (
    AccessDenied,
    CorruptRecord,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Unavailable,
    Unsupported,
)
from statekeep.repositories.valkey.client import errors as failures
from statekeep.repositories.valkey.client.driver import as_resp2
from statekeep.repositories.valkey.client.errors import (
    CLASSES,
    TEXTUAL,
    CommandError,
    TooFewReplicas,
    failure,
    meaning_of,
)
from statekeep.repositories.valkey.requests import Call, Commands, Scan, Script

CALL = Call(Script("s", "return 1"), ["the-key", "other"], [])


def exceptions(module: ModuleType) -> set[str]:
    return {
        f"{module.__name__}.{name}"
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.__name__
    }


def test_every_exception_of_the_drivers_is_mapped_on_purpose() -> None:
    known = exceptions(valkey.exceptions) | exceptions(glide_shared.exceptions)
    mapped = {name for name in CLASSES if not name.startswith(("builtins.", "statekeep."))}
    assert mapped == known
    assert known >= TEXTUAL


@pytest.mark.parametrize(
    ("text", "error", "retry"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", CorruptRecord, False),
        ("WRONGTYPE: Operation against a key", CorruptRecord, False),
        ("NOAUTH Authentication required.", AccessDenied, False),
        ("WRONGPASS invalid username-password pair or user is disabled.", AccessDenied, False),
        ("NOPERM this user has no permissions to run the 'get' command", AccessDenied, False),
        (
            (
                "The user executing the script can't access at least one of the keys mentioned in the command "
                "arguments script: 72f0ceb537158a467001c115a8771601de96ccc3, on @user_script:2."
            ),
            AccessDenied,
            False,
        ),
        ("IoError: Redis server refused to set client name- ResponseError", AccessDenied, False),
        ("This instance has cluster support disabled", InvalidInput, False),
        ("OOM command not allowed when used memory > 'maxmemory'.", QuotaExceeded, False),
        ("LOADING Valkey is loading the dataset in memory", Unavailable, True),
        ("READONLY You can't write against a read only replica.", Unavailable, True),
        ("BUSY Valkey is busy running a script.", Unavailable, True),
        ("CLUSTERDOWN The cluster is down", Unavailable, True),
        ("MASTERDOWN Link with MASTER is down", Unavailable, True),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, True),
        ("Attempted to access a non local key in a cluster node script: on @user_script:88.", Unavailable, True),
        ("Error running script: Script attempted to access a non local key in a cluster node", Unavailable, True),
        ("MISCONF Errors writing to the AOF file", Unavailable, True),
        ("MISCONF Errors writing to the AOF file: No space left on device", QuotaExceeded, True),
        ("MISCONF: Errors writing to the AOF file: Disk quota exceeded", QuotaExceeded, True),
        ("NOREPLICAS Not enough good replicas to write.", TooFewReplicas, True),
        ("max number of clients reached", Unavailable, True),
        ("Reached maximum inflight requests- ClientError", Unavailable, True),
        ("ConnectionNotFoundForRoute", Unavailable, True),
        ("Connection in recovery- ClientError", Unavailable, True),
        (
            "BrokenPipe: Cluster: Failed to receive command response from internal sender. RecvError(())",
            Unavailable,
            True,
        ),
        ("Cluster: Error occurred while trying to send command to internal sender. closed", Unavailable, True),
        ("CROSSSLOT Keys in request don't hash to the same slot", InvalidInput, False),
        ("Received crossed slots in pipeline- CrossSlot", InvalidInput, False),
        ("MOVED 1234 127.0.0.1:7000", InvalidInput, False),
        ("unknown command 'NONSENSE', with args beginning with:", Unsupported, False),
        ("unknown subcommand 'USAGE'. Try MEMORY HELP.", Unsupported, False),
        ("nonsense script: 123, on @user_script:1.", StatekeepError, False),
        ("something new", StatekeepError, False),
    ],
)
@pytest.mark.parametrize("kind", [valkey.exceptions.ResponseError, glide_shared.exceptions.RequestError])
def test_text_decides_where_the_class_does_not(
    kind: type[Exception], text: str, error: type[StatekeepError], retry: bool
) -> None:
    meaning = meaning_of(kind(text))
    assert meaning is not None
    assert (meaning.error, meaning.retry) == (error, retry)


@pytest.mark.parametrize(
    "error",
    [
        valkey.exceptions.ClusterError("TTL exhausted."),
        valkey.exceptions.AskError("15891 127.0.0.1:7000"),
        valkey.exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
        valkey.exceptions.ResponseError("Attempted to access a non local key in a cluster node"),
        glide_shared.exceptions.RequestError("- TryAgain: Multiple keys request during rehashing of slot"),
        glide_shared.exceptions.RequestError("- Ask: 15891 127.0.0.1:7000"),
        glide_shared.exceptions.RequestError("- ResponseError: Attempted to access a non local key in a cluster node"),
    ],
)
def test_a_slot_that_is_on_its_way_is_told_from_other_troubles_of_a_cluster(error: Exception) -> None:
    assert meaning_of(error, cluster=True) is failures.MIGRATING


def test_a_cluster_client_that_was_redirected_too_often_tries_again() -> None:
    error = glide_shared.exceptions.RequestError(
        "An error was signalled by the server: - Moved: 12728 127.0.0.1:24564; ExtensionError"
    )
    assert meaning_of(error) is failures.NEEDS_CLUSTER
    assert meaning_of(error, cluster=True) is failures.CLUSTER_DOWN


def test_text_does_not_overrule_a_class_that_is_clear() -> None:
    meaning = meaning_of(valkey.exceptions.TimeoutError("Timeout reading from oom.example:6379"))
    assert meaning is failures.SLOW
    meaning = meaning_of(valkey.exceptions.AuthenticationError("LOADING"))
    assert meaning is failures.DENIED


def test_what_a_cluster_node_answered_counts_and_not_what_valkey_py_makes_of_it() -> None:
    def outer(answer: Exception) -> Exception:
        # As in NodesManager.initialize().
        try:
            try:
                raise answer
            except valkey.exceptions.ResponseError:
                raise valkey.exceptions.ValkeyClusterException("Cluster mode is not enabled on this node")  # noqa: B904
        except Exception as error:
            made = valkey.exceptions.ValkeyClusterException("Valkey Cluster cannot be connected.")
            made.__cause__ = error
            return made

    denied = valkey.exceptions.NoPermissionError("User ada has no permissions to run the 'cluster|slots' command")
    for error in (outer(denied), CommandError(outer(denied), ["GET", "k"])):
        assert meaning_of(error) is failures.DENIED
        assert failures.cause_of(error) is denied
    single = valkey.exceptions.ResponseError("This instance has cluster support disabled")
    assert meaning_of(outer(single)) is failures.NO_CLUSTER
    down = outer(valkey.exceptions.ConnectionError("Connection refused"))
    assert meaning_of(down) is failures.CLUSTER_DOWN
    assert failures.cause_of(down) is down


def test_subclasses_and_system_errors() -> None:
    class Newer(valkey.exceptions.ReadOnlyError):
        pass

    assert meaning_of(Newer("x")) is failures.REPLICA
    assert meaning_of(ConnectionResetError()) is failures.DOWN
    assert meaning_of(builtins.TimeoutError()) is failures.SLOW


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), InvalidInput("x"), KeyboardInterrupt()])
def test_what_is_not_a_drivers_error_is_not_touched(error: BaseException) -> None:
    assert meaning_of(error) is None


def test_the_error_names_server_time_and_key() -> None:
    cause = valkey.exceptions.ConnectionError("Connection refused")
    error = failure(failures.DOWN, cause, CALL, "db.example:6379", 9.96)
    assert isinstance(error, Unavailable)
    assert error.key == "the-key"
    assert "db.example:6379" in str(error)
    assert "10.0 seconds" in str(error)
    assert "Connection refused" in str(error)


def test_the_key_is_that_of_the_command_that_failed() -> None:
    wrong = valkey.exceptions.ResponseError("WRONGTYPE x")
    request = Commands([["GET", "a"], ["GET", b"b\xff"]])
    refused = CommandError(wrong, request.commands[1])
    meaning = meaning_of(refused)
    assert meaning is not None
    assert failure(meaning, refused, request, "h", 0).key == "b\\xff"
    assert failure(meaning, wrong, request, "h", 0).key is None
    assert failure(meaning, wrong, Commands([["GET", "a"]]), "h", 0).key == "a"
    assert failure(meaning, wrong, Scan("*"), "h", 0).key is None


def test_a_long_text_is_cut() -> None:
    cause = valkey.exceptions.ResponseError("x" * 10_000)
    assert len(str(failure(failures.UNEXPECTED, cause, CALL, "h", 0))) < 1000


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (None, None),
        (b"\xff", b"\xff"),
        (7, 7),
        ("OK", b"OK"),
        (True, 1),
        (1.0, b"1"),
        (-1.5, b"-1.5"),
        (float("inf"), b"inf"),
        (float("-inf"), b"-inf"),
        (1e300, b"1e+300"),
        ({b"a": {b"b": 1.5}}, [b"a", [b"b", b"1.5"]]),
        ({b"x"}, [b"x"]),
        ([b"a", [None, "b", [3]]], [b"a", [None, b"b", [3]]]),
    ],
)
def test_replies_are_as_resp2_has_them(reply: object, expected: object) -> None:
    assert as_resp2(reply) == expected
    assert type(as_resp2(reply)) is type(expected)
