"""Amazon Bedrock AgentCore Memory, emulated."""

from .rules import AgentCoreRules
from .service import MEMORY_ID, AgentCore, memory_arn

__all__ = ["MEMORY_ID", "AgentCore", "AgentCoreRules", "memory_arn"]
