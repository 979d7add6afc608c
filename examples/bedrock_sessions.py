"""Keep the state of a graph in a session of Amazon Bedrock.

The program of langgraph-checkpoint-aws's README, with another import:

    python examples/bedrock_sessions.py

It needs an AWS account, or an emulator: ``python -m statekeep.testing.aws`` says what to export.
"""

from typing import Any

from langgraph.graph import StateGraph

from statekeep.langgraph_shim.saver import BedrockSessionSaver

# Initialize the saver
session_saver = BedrockSessionSaver(
    region_name="us-west-2",  # Your AWS region
    credentials_profile_name="default",  # Optional: AWS credentials profile
)

# Create a session
session_id = session_saver.session_client.create_session().session_id

# Use with LangGraph
builder: Any = StateGraph(int)
builder.add_node("add_one", lambda x: x + 1)
builder.set_entry_point("add_one")
builder.set_finish_point("add_one")

graph = builder.compile(checkpointer=session_saver)
config = {"configurable": {"thread_id": session_id}}
print(graph.invoke(1, config))

session_saver.delete_thread(session_id)
session_saver.close()
