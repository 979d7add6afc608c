"""The sessions of Amazon Bedrock (``bedrock-agent-runtime``), emulated."""

from .rules import SessionRules
from .service import BedrockSessions, session_arn

__all__ = ["BedrockSessions", "SessionRules", "session_arn"]
