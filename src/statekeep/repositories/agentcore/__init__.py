"""Amazon Bedrock AgentCore Memory as a store of records.

These are lanes of events, read by exact names.
"""

from .backend import AgentCoreCheckpoints
from .get import Progress
from .items import AgentCoreItems
from .url import open_checkpoints, open_items

__all__ = ["AgentCoreCheckpoints", "AgentCoreItems", "Progress", "open_checkpoints", "open_items"]
