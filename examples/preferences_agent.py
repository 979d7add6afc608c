"""An agent that remembers what you like in its next session.

What you say in one session is told to the memory, whose strategy extracts your preferences. In the next session the
agent searches them by what you ask:

    python examples/preferences_agent.py

It starts an emulator of AgentCore Memory for itself, whose strategy extracts word for word, and a model that needs no
account. Pass the id of a memory to use the service; it needs a strategy with the namespace ``/preferences/{actorId}``:

    python examples/preferences_agent.py notes-Ab12Cd34Ef
"""

import sys
import time
import uuid
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt import create_react_agent
from langgraph.store.base import BaseStore
from langgraph.warnings import LangGraphDeprecationWarning

from statekeep.langgraph_shim import AgentCoreMemoryStore
from statekeep.testing.aws import AwsEmulator

warnings.filterwarnings("ignore", category=LangGraphDeprecationWarning)


class Echo(BaseChatModel):
    """A model that repeats what it was told about you."""

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages: Sequence[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        known = [message.text for message in messages if isinstance(message, SystemMessage)]
        answer = AIMessage(f"I know of you: {' '.join(known) or 'nothing yet'}")
        return ChatResult(generations=[ChatGeneration(message=answer)])


def pre_model_hook(state: Any, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
    """Look for preferences, and tell the memory what was said."""
    actor_id = config["configurable"]["actor_id"]
    thread_id = config["configurable"]["thread_id"]
    messages = state["messages"]
    if not isinstance(messages[-1], HumanMessage):
        return {"llm_input_messages": messages}
    known = store.search(("preferences", actor_id), query=messages[-1].text, limit=1)
    store.put((actor_id, thread_id), str(uuid.uuid4()), {"message": messages[-1]})
    told = [SystemMessage(item.value["content"]) for item in known]
    return {"llm_input_messages": [*told, *messages]}


def ask(agent: Any, session: str, text: str) -> None:
    """Say something in a session, and print the answer."""
    config = {"configurable": {"thread_id": session, "actor_id": "ada"}}
    print(f"{session}:", agent.invoke({"messages": [("human", text)]}, config)["messages"][-1].text)


with ExitStack() as stack:
    if sys.argv[1:]:
        store = stack.enter_context(AgentCoreMemoryStore(sys.argv[1]))
    else:
        aws = stack.enter_context(AwsEmulator())
        memory_id = aws.agentcore.create_memory(strategies={"likes": "/preferences/{actorId}"})
        store = stack.enter_context(AgentCoreMemoryStore(memory_id, session=aws.session()))

    agent = create_react_agent(Echo(), tools=[], pre_model_hook=pre_model_hook, store=store)
    ask(agent, "session-1", "I like sushi with tuna.")
    ask(agent, "session-1", "I go by train.")

    # The service takes its time to extract, and to show what it extracted.
    deadline = time.monotonic() + 100
    while not store.search(("preferences", "ada"), query="sushi") and time.monotonic() < deadline:
        time.sleep(1)

    ask(agent, "session-2", "Which sushi shall I take?")
