"""AgentCore Memory's control plane, as far as it describes memories."""

from __future__ import annotations

from typing import Any

from ..errors import AwsError
from .service import AgentCore, memory_arn


class AgentCoreControl:
    """The emulated control plane of a service.

    Memories are made and deleted by :meth:`AgentCore.create_memory` and :meth:`AgentCore.delete_memory`.

    Args:
        agentcore: has the memories.
    """

    name = "bedrock-agentcore-control"

    def __init__(self, agentcore: AgentCore) -> None:
        self._agentcore = agentcore
        self.operations = {"GetMemory": self._get_memory}

    def _get_memory(self, request: dict[str, Any]) -> dict[str, Any]:
        memory = self._agentcore.memory(request["memoryId"])
        if memory is None:
            raise AwsError("ResourceNotFoundException", f"Memory not found: {request['memoryId']}", status=404)
        return {
            "memory": {
                "arn": memory_arn(memory.id),
                "id": memory.id,
                "name": memory.id.rpartition("-")[0],
                "eventExpiryDuration": memory.event_expiry_days,
                "status": memory.status,
                "createdAt": memory.created_at,
                "updatedAt": memory.created_at,
            }
        }
