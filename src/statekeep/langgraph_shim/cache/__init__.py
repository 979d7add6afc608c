"""Caches of one backend each, under the module paths of ``langgraph_checkpoint_aws.cache``."""
