"""LangGraph stores, under the module paths of ``langgraph_checkpoint_aws.store``."""
