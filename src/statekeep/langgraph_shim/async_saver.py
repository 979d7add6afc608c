"""The async checkpointer in Bedrock sessions, as in langgraph-checkpoint-aws."""

from .checkpoint.bedrock_sessions import AsyncBedrockSessionSaver

__all__ = ["AsyncBedrockSessionSaver"]
