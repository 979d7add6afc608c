"""Keywords of clients that are made from a URL; type checkers refuse any others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, TypedDict

from pydantic import SecretStr

__all__ = ["ConnectOptions", "ValkeyOptions"]

Driver = Literal["glide", "valkey-py"]


class BotoClient(Protocol):
    """A client of boto3."""

    @property
    def meta(self) -> Any: ...


Credentials = tuple[str | None, str]
"""A user, or ``None`` for the default one, and a password."""

CredentialProvider = Callable[[], Any]
"""Returns :data:`Credentials`, or an awaitable of them; :data:`AnyProvider` says so to type checkers."""


class ProviderObject(Protocol):
    """A ``CredentialProvider`` of valkey-py."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]: ...


AnyProvider = Callable[[], Credentials] | Callable[[], Awaitable[Credentials]] | ProviderObject


class _ValkeyOptions(TypedDict, total=False):
    db: int | None
    username: str | None
    password: str | None
    credential_provider: AnyProvider | None
    sentinel_username: str | None
    sentinel_password: str | None
    client_name: str | None
    pool_size: int | None
    pool_timeout: float | None
    deadline: float | None
    request_timeout: float | None
    connect_timeout: float | None
    slow_request: float | None
    tls_ca_certs: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_insecure: bool | None
    # valkey-py's names
    max_connections: int | None
    timeout: float | None
    socket_timeout: float | None
    socket_connect_timeout: float | None
    socket_keepalive: bool | None
    socket_keepalive_options: Mapping[int, int | bytes] | None
    ssl: bool | None
    ssl_ca_certs: str | None
    ssl_ca_path: str | None
    ssl_ca_data: str | bytes | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_cert_reqs: Any
    ssl_check_hostname: bool | None
    ssl_min_version: Any
    ssl_ciphers: str | None
    # valkey-py's, without effect
    retry: Any
    retry_on_timeout: bool | None
    retry_on_error: Any
    cluster_error_retry_attempts: int | None
    connection_error_retry_attempts: int | None
    health_check_interval: float | None
    decode_responses: bool | None
    encoding: str | None
    encoding_errors: str | None
    charset: str | None
    errors: str | None
    protocol: int | str | None
    parser_class: Any
    command_packer: Any
    encoder_class: Any
    socket_read_size: int | None
    socket_type: int | None
    lib_name: str | None
    lib_version: str | None
    queue_class: Any
    single_connection_client: bool | None
    auto_close_connection_pool: bool | None
    cache_enabled: bool | None
    client_cache: Any
    cache_max_size: int | None
    cache_ttl: int | None
    cache_policy: Any
    cache_deny_list: Any
    cache_allow_list: Any
    read_from_replicas: bool | None
    require_full_coverage: bool | None
    dynamic_startup_nodes: bool | None
    reinitialize_steps: int | None


class ValkeyOptions(_ValkeyOptions, total=False):
    """Keywords of :func:`~statekeep.repositories.valkey.client_from_url`; see there."""

    client: Driver | None


class ConnectOptions(_ValkeyOptions, total=False):
    """Keywords of :func:`~statekeep.connect`, for Valkey and for ``agentcore://``.

    Those of ``agentcore://`` are arguments of :class:`~statekeep.repositories.agentcore.AgentCoreCheckpoints` and
    :class:`~statekeep.repositories.agentcore.AgentCoreItems`, and fields of
    :class:`~statekeep.repositories.aws.AwsSettings`.
    """

    client: Driver | BotoClient | None
    actor_id: str
    inline: int
    grace: float
    renewal: float
    progress: Callable[[Any], None] | None
    event_expiry_days: int
    hierarchical_search: bool
    session: Any
    region_name: str | None
    credentials_profile_name: str | None
    aws_access_key_id: str | SecretStr | None
    aws_secret_access_key: str | SecretStr | None
    aws_session_token: str | SecretStr | None
    endpoint_url: str | None
    verify: bool | str | None
    config: Any
