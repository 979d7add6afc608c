"""Give an agent a memory in Amazon Bedrock AgentCore.

The program of langgraph-checkpoint-aws's README, with another import, the names that it leaves open, the key that
LangGraph reads (``llm_input_messages``), and a model that needs no account:

    python examples/agentcore_memory_store.py

It starts an emulator of AgentCore Memory for itself. Pass the id of a memory to use the service, with the credentials
and the region that boto3 finds:

    python examples/agentcore_memory_store.py notes-Ab12Cd34Ef
"""

import sys
import uuid
import warnings
from contextlib import ExitStack
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt import create_react_agent
from langgraph.store.base import BaseStore
from langgraph.warnings import LangGraphDeprecationWarning

from statekeep.langgraph_shim import AgentCoreMemoryStore
from statekeep.testing.aws import AwsEmulator

warnings.filterwarnings("ignore", category=LangGraphDeprecationWarning)


# Pre-model hook runs and saves messages of your choosing to AgentCore Memory
# for async processing and extraction
def pre_model_hook(state: Any, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
    """Hook that runs pre-model invocation to save the latest human message."""
    actor_id = config["configurable"]["actor_id"]
    thread_id = config["configurable"]["thread_id"]

    # Saving the message to the actor and session combination that we get at runtime
    namespace = (actor_id, thread_id)

    messages = state.get("messages", [])
    # Save the last human message we see before model invocation
    for msg in reversed(messages):
        if isinstance(msg, HumanMessage):
            store.put(namespace, str(uuid.uuid4()), {"message": msg})
            break

    return {"llm_input_messages": messages}


with ExitStack() as stack:
    # Initialize store for saving and searching over long term memories
    # such as preferences and facts across sessions
    if sys.argv[1:]:
        store = stack.enter_context(AgentCoreMemoryStore(sys.argv[1]))
    else:
        aws = stack.enter_context(AwsEmulator())
        store = stack.enter_context(AgentCoreMemoryStore(aws.memory_id, session=aws.session()))

    # Initialize chat model
    model = GenericFakeChatModel(messages=iter([AIMessage("Try the tuna rolls.")]))

    # Create a pre-built langgraph agent (configurations work for custom agents too)
    graph = create_react_agent(model=model, tools=[], pre_model_hook=pre_model_hook, store=store)

    # Specify config at runtime for ACTOR and SESSION
    config: RunnableConfig = {
        "configurable": {
            "thread_id": "session-1",  # REQUIRED: This maps to Bedrock AgentCore session_id under the hood
            "actor_id": "react-agent-1",  # REQUIRED: This maps to Bedrock AgentCore actor_id under the hood
        }
    }

    # Invoke the agent
    response = graph.invoke(
        {"messages": [("human", "I like sushi with tuna. In general seafood is great.")]}, config=config
    )
    print("agent:", response["messages"][-1].text)

    # What the hook put is there at once.
    for item in store.search(("react-agent-1", "session-1")):
        print("kept:", item.value["message"].text)
        store.delete(item.namespace, item.key)
