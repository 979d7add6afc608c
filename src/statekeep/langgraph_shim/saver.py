"""The checkpointer in Bedrock sessions, as in langgraph-checkpoint-aws."""

from .checkpoint.bedrock_sessions import BedrockSessionSaver

__all__ = ["BedrockSessionSaver"]
