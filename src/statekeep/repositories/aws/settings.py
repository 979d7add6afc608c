"""Settings for an AWS service: a client, or the parts of one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from ...domain import InvalidInput, MissingDependency
from ...domain.model import Model
from ...version import VERSION
from ..process.copies import refuse
from ..process.workers import running_loop
from .attempts import follow
from .client import WORKERS, AwsClient, check_client
from .errors import failure, is_about_a_certificate, rule_for
from .sessions import new_session

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 30.0
ATTEMPTS: Final = 8
"""Seconds, seconds and attempts, unless the caller's ``config`` has others."""

_KEYS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class AwsSettings(Model):
    """Settings for an AWS service.

    You may leave out every field: boto3 then looks where it always does.

    Attributes:
        client: a ready boto3 client, used as it is and never closed; nothing else may be given beside it.
        session: a ``boto3.Session``, to make the client with; no profile and no keys may be given beside it.
        region_name: such as ``"us-west-2"``.
        credentials_profile_name: profile of the AWS configuration files.
        aws_access_key_id: with ``aws_secret_access_key``, instead of a profile. Text or ``SecretStr``; it is not shown.
        aws_secret_access_key: as above.
        aws_session_token: with the two, for temporary credentials.
        endpoint_url: another address of the service, such as an emulator's.
        verify: false to not check TLS certificates, or the path of a CA bundle.
        config: a ``botocore.config.Config``. It is merged over ours, its ``retries`` entry by entry.
        slow_request: seconds from which on the logger ``statekeep.aws`` warns of a call that took so long, its
            repetitions included; ``None`` for never. It may be given beside ``client``.

    Raises:
        InvalidInput: fields contradict each other, or one is wrong; ``field`` names it.

    Example:
        >>> AwsSettings(region_name="us-west-2", aws_access_key_id="AKIA", aws_secret_access_key="secret")
        AwsSettings(region_name='us-west-2', aws_access_key_id=..., aws_secret_access_key=...)
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    client: Any = None
    session: Any = None
    region_name: str | None = Field(None, min_length=1)
    credentials_profile_name: str | None = Field(None, min_length=1)
    aws_access_key_id: SecretStr | None = Field(None, min_length=1)
    aws_secret_access_key: SecretStr | None = Field(None, min_length=1)
    aws_session_token: SecretStr | None = Field(None, min_length=1)
    endpoint_url: str | None = None
    verify: bool | str | None = None
    config: Any = None
    slow_request: float | None = Field(None, gt=0, allow_inf_nan=False, strict=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            BaseModel.__init__(self, **values)
        except ValidationError as error:
            # The base class says what was given, which may be a secret, also when only its name is misspelt.
            first = error.errors(include_url=False, include_input=False)[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, InvalidInput):
                raise InvalidInput(str(cause), field=cause.field) from None
            name = str(first["loc"][0])
            raise InvalidInput(f"{name}: {first['msg']}", field=name) from None

    def __repr__(self) -> str:
        given = [
            f"{name}={'...' if name in (*_KEYS, 'client', 'session', 'config') else repr(value)}"
            for name, value in self._given().items()
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        if self.client is not None or self.session is not None:
            refuse(
                f"a boto3 {'session' if self.client is None else 'client'} that you made, and what is around it,",
                "pass region_name and the like instead: a copy then makes a client of its own",
            )
        return _of_fields, (self._given(),)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        self.__reduce__()
        return self

    def _given(self) -> dict[str, Any]:
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in fields if value is not None}

    @field_validator("endpoint_url")
    @classmethod
    def _checked_endpoint(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput("endpoint_url must begin with http:// or https:// and a host", field="endpoint_url")
        if parts.username or parts.password:
            raise InvalidInput("endpoint_url must not have a user or a password", field="endpoint_url")
        return url

    @model_validator(mode="after")
    def _checked(self) -> Self:
        given = {name: value for name, value in self._given().items() if name != "slow_request"}
        if self.client is not None and len(given) > 1:
            other = next(name for name in given if name != "client")
            raise InvalidInput(f"client is ready already, so {other} cannot be given too", field=other)
        keys = [name for name in _KEYS if name in given]
        for whole in ("session", "credentials_profile_name"):
            if whole in given and keys:
                raise InvalidInput(f"{whole} brings credentials, so {keys[0]} cannot be given too", field=keys[0])
        if self.session is not None and self.credentials_profile_name is not None:
            raise InvalidInput(
                "session brings credentials, so credentials_profile_name cannot be given too",
                field="credentials_profile_name",
            )
        if keys:
            for name in _KEYS[:2]:
                if name not in given:
                    raise InvalidInput(f"{keys[0]} is of no use without {name}", field=name)
        region = getattr(self.config, "region_name", None)
        if region is not None and self.region_name is not None and region != self.region_name:
            raise InvalidInput(
                f"region_name is {self.region_name!r}, but that of config is {region!r}", field="region_name"
            )
        return self

    def make_client(self, service: str) -> Any:
        """Return a boto3 client: the given one, or a new one.

        Args:
            service: boto3's name of the service, ``"bedrock-agentcore"``.

        Raises:
            InvalidInput: no region is known, there is no such profile, or the client is of another service.
            MissingDependency: boto3 is not installed.
            Unsupported: boto3 is too old to know the service.
        """
        if self.client is not None:
            check_client(self.client, service)
            return self.client
        try:
            import boto3  # noqa: F401 - sessions are made of it
            from botocore.config import Config
        except ImportError as error:
            raise MissingDependency("boto3", "aws") from error
        if self.config is not None and not isinstance(self.config, Config):
            raise InvalidInput(
                f"config must be a botocore.config.Config, got {type(self.config).__name__}", field="config"
            )
        if self.session is not None and not callable(getattr(self.session, "client", None)):
            raise InvalidInput(f"session must be a boto3.Session, got {type(self.session).__name__}", field="session")
        try:
            session = self.session or new_session(
                profile_name=self.credentials_profile_name,
                region_name=self.region_name,
                **{name: _secret(getattr(self, name)) for name in _KEYS},
            )
            client = session.client(
                service,
                region_name=self.region_name,
                endpoint_url=self.endpoint_url,
                verify=self.verify,
                config=_config(Config, self.config, session),
            )
        except Exception as error:
            rule = rule_for(error, service)
            if rule is None:
                raise
            cause = error if rule.shows_text else None
            raise failure(rule, error, service, self.region_name) from cause
        follow(client, service)  # before what may end the attempts
        client.meta.events.register_first(f"needs-retry.{service}", _give_up)
        return client


def open_client(service: str, settings: AwsSettings | None = None, **options: Any) -> AwsClient:
    """Return a client that answers requests of operations.

    If an event loop runs here, boto3's own client is made with the first request, in a worker thread, and that raises
    what ``make_client`` does.

    Args:
        service: boto3's name of the service.
        settings: how to reach it.
        options: fields of :class:`AwsSettings`, instead of ``settings``.

    Raises:
        InvalidInput: both are given, or what :class:`AwsSettings` and its ``make_client`` raise.
        MissingDependency: boto3 is not installed.
        Unsupported: boto3 is too old to know the service.

    Example:
        >>> client = open_client(
        ...     "bedrock-agentcore", region_name="us-west-2", aws_access_key_id="AKIA", aws_secret_access_key="secret"
        ... )
        >>> client
        AwsClient('bedrock-agentcore', region='us-west-2', 'https://bedrock-agentcore.us-west-2.amazonaws.com')
        >>> client.close()
    """
    if settings is not None and options:
        raise InvalidInput(
            f"settings are given, so {next(iter(options))} cannot be given too", field=next(iter(options))
        )
    chosen = settings if settings is not None else AwsSettings(**options)
    if chosen.client is not None:
        return AwsClient(chosen.make_client(service), service, slow_request=chosen.slow_request)
    make, slow = partial(chosen.make_client, service), chosen.slow_request
    if running_loop() is not None:
        workers = getattr(chosen.config, "max_pool_connections", WORKERS)
        return AwsClient(None, service, make, workers=workers, slow_request=slow)
    return AwsClient(make(), service, make, slow_request=slow)


def _of_fields(given: dict[str, Any]) -> AwsSettings:
    return AwsSettings(**given)


def with_defaults(config: Any, defaults: Mapping[str, Any]) -> Any:
    """Return a ``botocore.config.Config`` of defaults, with the user's over it.

    Args:
        config: the user's; ``None``, if there is none.
        defaults: its arguments.

    Raises:
        MissingDependency: boto3 is not installed.
    """
    try:
        from botocore.config import Config
    except ImportError as error:
        raise MissingDependency("boto3", "aws") from error
    if not isinstance(config, Config | None):
        return config  # which is refused as it is
    return Config(**defaults).merge(config) if config is not None else Config(**defaults)


def _give_up(caught_exception: BaseException | None = None, **_: Any) -> None:
    """Have boto3 not try again what cannot change until somebody does something."""
    from botocore.exceptions import SSLError

    if isinstance(caught_exception, SSLError) and is_about_a_certificate(caught_exception):
        raise caught_exception


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _config(config_class: Any, given: Any, session: Any) -> Any:
    """Merge a caller's ``Config`` over ours."""
    extra = [f"statekeep/{VERSION}", given.user_agent_extra if given is not None else None]
    ours = config_class(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=WORKERS,
        tcp_keepalive=True,
    )
    merged = ours.merge(given) if given is not None else ours
    # merge() would let the caller's retries replace ours as a whole, and his part of the user agent ours.
    return merged.merge(
        config_class(
            user_agent_extra=" ".join(filter(None, extra)),
            retries=_retries(given.retries if given is not None else None, session),
        )
    )


def _retries(given: Mapping[str, Any] | None, session: Any) -> dict[str, Any]:
    retries = dict(given or {})
    profile = session._session.get_scoped_config() if hasattr(session, "_session") else {}  # noqa: SLF001 - botocore's
    # The environment and the profile are the user's words too, and a Config would overrule them.
    if "mode" not in retries and not os.environ.get("AWS_RETRY_MODE") and "retry_mode" not in profile:
        retries["mode"] = "standard"
    counts = {"max_attempts", "total_max_attempts"} & set(retries)
    if not counts and not os.environ.get("AWS_MAX_ATTEMPTS") and "max_attempts" not in profile:
        retries["total_max_attempts"] = ATTEMPTS
    return retries
