"""Credentials for users of ElastiCache and MemoryDB that log in by IAM."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlencode

from ....domain import InvalidInput, MissingDependency
from ....domain.shown import once_made
from ...validation import text

VALID: Final = 900
"""Seconds for which a token opens connections: the longest that AWS allows."""


class IamCredentials:
    """A credential provider that signs a token for each new connection.

    A token opens connections for 15 minutes; AWS closes those that it opened after 12 hours, and another one is opened
    with a new token then. To sign one takes no request, but looking for AWS credentials may. The cache must be reached
    over TLS, and the policy of the IAM identity must allow ``elasticache:Connect`` (``memorydb:connect``) for the cache
    and the user.

    Args:
        user: id of the user, whose authentication mode is IAM; it is also his name.
        cache: name of the serverless cache or MemoryDB cluster, or id of the replication group; not its address.
        region_name: such as ``"us-west-2"``; by default that of the session.
        serverless: the cache is a serverless one.
        service: ``"elasticache"`` or ``"memorydb"``.
        session: a ``boto3.Session`` that brings AWS credentials; by default boto3 looks where it always does.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.

    Example:
        >>> import boto3
        >>> keys = boto3.Session(aws_access_key_id="AKIA", aws_secret_access_key="secret")
        >>> IamCredentials("ada", "notes", region_name="us-west-2", session=keys)
        IamCredentials('ada', 'notes', region_name='us-west-2')
    """

    def __init__(
        self,
        user: str,
        cache: str,
        *,
        region_name: str | None = None,
        serverless: bool = False,
        service: Literal["elasticache", "memorydb"] = "elasticache",
        session: Any = None,
    ) -> None:
        try:
            import boto3
        except ImportError as error:
            raise MissingDependency("boto3", "aws") from error
        if service not in ("elasticache", "memorydb"):
            raise InvalidInput("service must be 'elasticache' or 'memorydb'", field="service")
        if serverless and service == "memorydb":
            raise InvalidInput("serverless goes with elasticache only", field="serverless")
        self._session = session or boto3.Session(region_name=region_name)
        self.user = text("user", user)
        # Names of caches are in lower case, and a token for another spelling is refused.
        self.cache = text("cache", cache).lower()
        if not self.cache.replace("-", "").isalnum():
            raise InvalidInput("cache must be the name of a cache, not an address", field="cache")
        region = region_name or self._session.region_name
        if not region:
            raise InvalidInput("region_name is missing, and boto3 knows none", field="region_name")
        self.region_name: str = region
        self._service = service
        self._serverless = serverless

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.user!r}, {self.cache!r}, region_name={self.region_name!r})"

    def __call__(self) -> tuple[str, str]:
        """Return the user and a new token."""
        from botocore.exceptions import NoCredentialsError
        from botocore.model import ServiceId
        from botocore.signers import RequestSigner

        keys = self._session.get_credentials()
        if keys is None:
            raise NoCredentialsError
        signer = RequestSigner(
            ServiceId(self._service), self.region_name, self._service, "v4", keys, self._session.events
        )
        query = {"Action": "connect", "User": self.user} | (
            {"ResourceType": "ServerlessCache"} if self._serverless else {}
        )
        request = {
            "method": "GET",
            "url": f"https://{self.cache}/?{urlencode(query)}",
            "body": {},
            "headers": {},
            "context": {},
        }
        signed = signer.generate_presigned_url(
            request, operation_name="connect", expires_in=VALID, region_name=self.region_name
        )
        return self.user, signed.removeprefix("https://")
