"""Checkpointers, where ``langgraph_checkpoint_aws.checkpoint`` has them."""
