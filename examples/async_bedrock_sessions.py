"""Keep the state of an async graph in a session of Amazon Bedrock.

The program of langgraph-checkpoint-aws's README, with another import:

    python examples/async_bedrock_sessions.py

It needs an AWS account, or an emulator: ``python -m statekeep.testing.aws`` says what to export.
"""

import asyncio
from typing import Any

from langgraph.graph import StateGraph

from statekeep.langgraph_shim.async_saver import AsyncBedrockSessionSaver


async def main() -> None:
    # Initialize the saver
    session_saver = AsyncBedrockSessionSaver(
        region_name="us-west-2",  # Your AWS region
        credentials_profile_name="default",  # Optional: AWS credentials profile
    )

    # Create a session
    session_create_response = await session_saver.session_client.create_session()
    session_id = session_create_response.session_id

    # Use with LangGraph
    builder: Any = StateGraph(int)
    builder.add_node("add_one", lambda x: x + 1)
    builder.set_entry_point("add_one")
    builder.set_finish_point("add_one")

    graph = builder.compile(checkpointer=session_saver)
    config = {"configurable": {"thread_id": session_id}}
    print(await graph.ainvoke(1, config))

    await session_saver.adelete_thread(session_id)
    await session_saver.aclose()


asyncio.run(main())
