"""The client of Bedrock sessions, as in langgraph-checkpoint-aws."""

from ..repositories.bedrock_sessions import BedrockAgentRuntimeSessionClient

__all__ = ["BedrockAgentRuntimeSessionClient"]
