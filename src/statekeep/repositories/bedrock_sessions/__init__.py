"""Sessions of Amazon Bedrock as a store of checkpoints.

A thread is a session, a checkpoint one of its steps.
"""

from .backend import BedrockSessionCheckpoints
from .session_client import AsyncBedrockAgentRuntimeSessionClient, BedrockAgentRuntimeSessionClient
from .url import open_checkpoints

__all__ = [
    "AsyncBedrockAgentRuntimeSessionClient",
    "BedrockAgentRuntimeSessionClient",
    "BedrockSessionCheckpoints",
    "open_checkpoints",
]
