"""Amazon Bedrock AgentCore Memory, emulated: the data plane, and a glance at the control plane."""

from .rules import AgentCoreRules
from .service import MEMORY_ID, AgentCore, memory_arn

__all__ = ["MEMORY_ID", "AgentCore", "AgentCoreRules", "memory_arn"]
