"""Emulated AWS services over real HTTP, for real boto3 clients."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Final, Self

import boto3
from botocore.config import Config
from botocore.session import get_session

from ...repositories.aws.sessions import share_files
from .agentcore import MEMORY_ID, AgentCore, AgentCoreRules
from .agentcore.control import AgentCoreControl
from .application import Application
from .bedrock import BedrockSessions, SessionRules
from .clock import Clock
from .counts import Calls, Recorder, Totals
from .faults import Fault, Faults
from .server import HttpServer

REGION: Final = "us-east-1"
ACCESS_KEY_ID: Final = "EMULATED"
SECRET_ACCESS_KEY: Final = "emulated"  # noqa: S105


class AwsEmulator:
    """AWS services of this process, on a free port of 127.0.0.1.

    The services speak their real protocol and check requests by botocore's models of them. They keep everything in
    memory, until the emulator stops.

    Args:
        agentcore: how AgentCore Memory behaves where that can be chosen.
        bedrock_sessions: how Bedrock's sessions behave where that can be chosen.
        faults: what goes wrong on purpose; see :mod:`~statekeep.testing.aws.faults`.
        allowed: IAM actions that callers may use, with wildcards.
        clock: the services' time; advance it to see leases, lags and expiry at work.
        seed: of all that is random. The same calls, one after the other, have the same results.
        port: TCP port; 0 for a free one.

    Attributes:
        agentcore: the service, for what its control plane does: ``agentcore.create_memory()``.
        bedrock_sessions: the service ``bedrock-agent-runtime``, as far as it keeps sessions.
        clock: the services' time.
        application: the WSGI application, for a server of your own.

    Example:
        >>> from datetime import UTC, datetime
        >>> from statekeep.testing.aws import AwsEmulator, throttle
        >>> with AwsEmulator(faults=[throttle("CreateEvent", times=1)]) as aws:
        ...     client = aws.client("bedrock-agentcore")
        ...     with aws.record() as calls:
        ...         created = client.create_event(
        ...             memoryId=aws.memory_id, actorId="ada", sessionId="chat",
        ...             eventTimestamp=datetime(2026, 1, 1, tzinfo=UTC), payload=[{"blob": "hello"}],
        ...         )
        ...     [(call.operation, call.status) for call in calls]
        [('CreateEvent', 429), ('CreateEvent', 201)]
    """

    def __init__(
        self,
        *,
        agentcore: AgentCoreRules | None = None,
        bedrock_sessions: SessionRules | None = None,
        faults: Sequence[Fault] = (),
        allowed: Collection[str] = ("*",),
        clock: Clock | None = None,
        seed: int = 0,
        port: int = 0,
    ) -> None:
        self.clock = clock or Clock()
        self.agentcore = AgentCore(agentcore, clock=self.clock, seed=seed)
        self.bedrock_sessions = BedrockSessions(bedrock_sessions, clock=self.clock, seed=seed, region=REGION)
        self._faults = Faults(faults, seed)
        self._recorder = Recorder()
        self.application = Application(
            [self.agentcore, self.bedrock_sessions],
            self._faults,
            self._recorder,
            allowed,
            rare=[AgentCoreControl(self.agentcore)],
        )
        self._server = HttpServer(self.application, port, self.clock.now)
        self._is_stopped = False

    @property
    def endpoint_url(self) -> str:
        """The URL for boto3's ``endpoint_url``."""
        return self._server.url

    @property
    def memory_id(self) -> str:
        """The memory that is there from the start."""
        return MEMORY_ID

    @property
    def faults(self) -> list[Fault]:
        """The faults in force. Set it to replace them; their counts begin at zero."""
        return self._faults.current()

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        self._faults.replace(faults)

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """Put faults in force for a block, instead of those that are."""
        before = self.faults
        self.faults = list(faults)
        try:
            yield
        finally:
            self.faults = before

    @property
    def totals(self) -> Totals:
        """Calls, errors and bytes so far."""
        return self._recorder.totals()

    def reset_totals(self) -> None:
        """Set :attr:`totals` to zero."""
        self._recorder.reset()

    def record(self) -> AbstractContextManager[Calls]:
        """Collect the calls that begin and end within a block; see the class's example."""
        return self._recorder.record()

    def session(self) -> Any:
        """Return a ``boto3.Session`` whose clients talk to this emulator."""
        return _Session(self.endpoint_url)

    def client(self, service: str, **options: Any) -> Any:
        """Return a new boto3 client of a service.

        Args:
            service: boto3's name of it, ``"bedrock-agentcore"``, ``"bedrock-agent-runtime"``, or
                ``"bedrock-agentcore-control"`` of which ``get_memory`` is there.
            options: as for ``boto3.client``; a region, credentials and the endpoint are there already.
        """
        return self.session().client(service, **options)

    def start(self) -> Self:
        """Begin to serve."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving and close all connections. It cannot be started again."""
        if not self._is_stopped:
            self._is_stopped = True
            self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<AwsEmulator {self.endpoint_url}>"


class _Session(boto3.Session):  # type: ignore[misc]
    """Clients of one endpoint, past any proxy."""

    def __init__(self, endpoint_url: str) -> None:
        session = get_session()
        super().__init__(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=REGION, botocore_session=session)
        share_files(session)
        self._endpoint_url = endpoint_url

    def client(self, service_name: str, **options: Any) -> Any:
        """As ``boto3.Session.client``."""
        config = Config(proxies={})
        given = options.pop("config", None)
        options["endpoint_url"] = options.get("endpoint_url") or self._endpoint_url
        return super().client(service_name, config=config.merge(given) if given else config, **options)
