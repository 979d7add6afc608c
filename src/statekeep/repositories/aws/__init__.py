"""The common parts of AWS backends: settings, clients, calls, and errors.

It imports no backend. boto3 is imported when a client is made, not before.
"""

from .calls import AwsCall, AwsCalls, Joins, Reply, Request
from .client import AwsClient
from .errors import NotFound
from .settings import AwsSettings, open_client

__all__ = ["AwsCall", "AwsCalls", "AwsClient", "AwsSettings", "Joins", "NotFound", "Reply", "Request", "open_client"]
