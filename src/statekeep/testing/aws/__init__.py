"""An emulator of AWS services, for tests without an account: a real HTTP server for real boto3 clients.

Today it emulates the data plane of Amazon Bedrock AgentCore Memory (``bedrock-agentcore``). What it takes the real
service to do, and why, is listed in :mod:`statekeep.testing.aws.assumptions`. It needs ``boto3``
(``pip install 'statekeep[aws]'``), whose service models it works by.

>>> with AwsEmulator() as aws:
...     client = aws.client("bedrock-agentcore")
...     client.list_events(memoryId=aws.memory_id, actorId="ada", sessionId="chat")["events"]
[]

The same from a shell: ``python -m statekeep.testing.aws --throttle 0.1``.
"""

from ...domain.errors import MissingDependency

try:
    import boto3 as _boto3  # noqa: F401
except ImportError as error:
    raise MissingDependency("boto3", "aws") from error

from .agentcore import AgentCore, AgentCoreRules, memory_arn
from .clock import Clock
from .counts import Call, Calls, Totals
from .emulator import AwsEmulator
from .faults import Fault, conflict, cut_after, cut_before, refuse, server_error, slow, throttle

__all__ = [
    "AgentCore",
    "AgentCoreRules",
    "AwsEmulator",
    "Call",
    "Calls",
    "Clock",
    "Fault",
    "Totals",
    "conflict",
    "cut_after",
    "cut_before",
    "memory_arn",
    "refuse",
    "server_error",
    "slow",
    "throttle",
]
