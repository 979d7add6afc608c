"""LangGraph caches, under the module paths of ``langgraph_checkpoint_aws.cache``."""
