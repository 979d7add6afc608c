"""An emulator of AWS services, for tests without an account.

It is a real HTTP server for real boto3 clients.

It emulates the data plane of Amazon Bedrock AgentCore Memory (``bedrock-agentcore``) and the sessions of Amazon Bedrock
(``bedrock-agent-runtime``). What it takes the real services to do, and why, is listed in
:mod:`statekeep.testing.aws.assumptions`. It needs ``boto3`` (``pip install 'statekeep[aws]'``), whose service models it
works by.

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
from .bedrock import BedrockSessions, SessionRules, session_arn
from .clock import Clock
from .counts import Call, Calls, Totals
from .emulator import AwsEmulator
from .faults import Fault, conflict, cut_after, cut_before, refuse, server_error, slow, throttle

__all__ = [
    "AgentCore",
    "AgentCoreRules",
    "AwsEmulator",
    "BedrockSessions",
    "Call",
    "Calls",
    "Clock",
    "Fault",
    "SessionRules",
    "Totals",
    "conflict",
    "cut_after",
    "cut_before",
    "memory_arn",
    "refuse",
    "server_error",
    "session_arn",
    "slow",
    "throttle",
]
