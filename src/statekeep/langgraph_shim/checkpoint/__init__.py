"""Checkpointers, under the module paths of ``langgraph_checkpoint_aws.checkpoint``."""
