"""Keywords of clients that are made from a URL; type checkers refuse any others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypedDict

from pydantic import SecretStr

__all__ = ["ConnectOptions", "ValkeyOptions"]

Driver = Literal["glide", "valkey-py"]


class BotoClient(Protocol):
    """A client of boto3."""

    @property
    def meta(self) -> Any: ...


class _ValkeyOptions(TypedDict, total=False):
    db: int | None
    username: str | None
    password: str | None
    client_name: str | None
    pool_size: int | None
    pool_timeout: float | None
    deadline: float | None
    request_timeout: float | None
    connect_timeout: float | None
    tls_ca_certs: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_insecure: bool | None
    # valkey-py's names
    max_connections: int | None
    socket_timeout: float | None
    socket_connect_timeout: float | None
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_cert_reqs: Any


class ValkeyOptions(_ValkeyOptions, total=False):
    """Keywords of :func:`~statekeep.repositories.valkey.client_from_url`; see there."""

    client: Driver | None


class ConnectOptions(_ValkeyOptions, total=False):
    """Keywords of :func:`~statekeep.connect`, for Valkey and for ``agentcore://``.

    Those of ``agentcore://`` are arguments of :class:`~statekeep.repositories.agentcore.AgentCoreCheckpoints` and
    fields of :class:`~statekeep.repositories.aws.AwsSettings`.
    """

    client: Driver | BotoClient | None
    actor_id: str
    inline: int
    grace: float
    renewal: float
    progress: Callable[[Any], None] | None
    session: Any
    region_name: str | None
    credentials_profile_name: str | None
    aws_access_key_id: str | SecretStr | None
    aws_secret_access_key: str | SecretStr | None
    aws_session_token: str | SecretStr | None
    endpoint_url: str | None
    verify: bool | str | None
    config: Any
