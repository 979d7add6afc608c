"""The async client of Bedrock sessions, as in langgraph-checkpoint-aws."""

from ..repositories.bedrock_sessions import AsyncBedrockAgentRuntimeSessionClient

__all__ = ["AsyncBedrockAgentRuntimeSessionClient"]
