"""Records to look at: an agent with tools, questions and forks, and what stands beside it.

``python -m tools.ui_demo`` serves them. Tests and screenshots take them, too.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

import statekeep
from statekeep import Connection, Payload
from statekeep.langgraph_shim import RepositorySaver


class Trip(TypedDict, total=False):
    """The state of the agent."""

    messages: Annotated[list[AnyMessage], add_messages]
    budget: dict[str, Any]


FORECAST = {"Lisbon": {"sky": "clear", "high": 24}, "Porto": {"sky": "rain", "high": 17}}


def plan(state: Trip) -> dict[str, Any]:
    """Play the model: it asks for the weather, then for a booking, and then sums up."""
    last = state["messages"][-1]
    number = len(state["messages"])
    if isinstance(last, HumanMessage):
        city = next((city for city in FORECAST if city in str(last.content)), "Lisbon")
        call = {"name": "weather", "args": {"city": city, "days": 2}, "id": f"call-{number}"}
        return {"messages": [AIMessage("Let me look at the weather first.", tool_calls=[call], id=f"ai-{number}")]}
    if isinstance(last, ToolMessage) and last.name == "weather":
        call = {"name": "book", "args": {"hotel": "Casa do Rio", "nights": 2, "price": 240}, "id": f"call-{number}"}
        return {
            "messages": [AIMessage("Dry enough. I found a hotel.", tool_calls=[call], id=f"ai-{number}")],
            "budget": {"limit": 600, "spent": 0, "currency": "EUR"},
        }
    return {"messages": [AIMessage("All is booked. **Enjoy your trip!**", id=f"ai-{number}")]}


def weather(state: Trip) -> dict[str, Any]:
    """Answer as a tool."""
    last: Any = state["messages"][-1]
    [call] = last.tool_calls
    found = FORECAST.get(call["args"]["city"], {})
    return {"messages": [ToolMessage(str(found), tool_call_id=call["id"], name="weather", id=f"r-{call['id']}")]}


def book(state: Trip) -> dict[str, Any]:
    """Book after a person said yes."""
    last: Any = state["messages"][-1]
    [call] = last.tool_calls
    answer = interrupt({"question": "Shall I book it?", "hotel": call["args"]["hotel"], "price": call["args"]["price"]})
    text = "booked" if answer == "yes" else "not booked"
    return {
        "messages": [ToolMessage(text, tool_call_id=call["id"], name="book", id=f"r-{call['id']}")],
        "budget": {"limit": 600, "spent": call["args"]["price"] if answer == "yes" else 0, "currency": "EUR"},
    }


def _route(state: Trip) -> str:
    calls = getattr(state["messages"][-1], "tool_calls", [])
    return calls[0]["name"] if calls else END


def agent(keep: Connection) -> Any:
    """Return the agent, with its memory in a connection."""
    builder: Any = StateGraph(Trip).add_node("plan", plan).add_node("weather", weather).add_node("book", book)
    builder.add_edge(START, "plan").add_conditional_edges("plan", _route, ["weather", "book", END])
    builder.add_edge("weather", "plan").add_edge("book", "plan")
    return builder.compile(checkpointer=RepositorySaver(keep.checkpoints))


def fill(keep: Connection, *, others: int = 12) -> None:
    """Put the demo into a connection.

    Args:
        keep: the connection.
        others: short threads beside those of the agent.
    """
    graph = agent(keep)
    for number in range(others):
        config: Any = {"configurable": {"thread_id": f"support/{number:03}"}}
        graph.invoke({"messages": [HumanMessage(f"Weather in {'Porto' if number % 2 else 'Lisbon'}?")]}, config)
    config = {"configurable": {"thread_id": "trips/ada"}}
    start = [SystemMessage("You plan short trips.", id="s"), HumanMessage("Two days in Lisbon, please.", id="h")]
    graph.invoke({"messages": start}, config)
    graph.invoke(Command(resume="yes"), config)
    graph.invoke({"messages": [HumanMessage("And then two in Porto?", id="h2")]}, config)
    # Back to the first question, with another answer: a fork; and another one from the weather.
    history = list(graph.get_state_history(config))
    asked = [state for state in history if state.next == ("book",)]
    graph.invoke(Command(resume="no"), asked[-1].config)
    told = [state for state in history if state.next == ("weather",)]
    graph.invoke(None, told[-1].config)
    if keep.has_items:
        for name, city in itertools.product(["ada", "bob"], ["Lisbon", "Porto", "Braga"]):
            keep.items.put(
                ("users", name, "places"), city, {"rating": len(city), "tags": ["river", "food"], "by": name}
            )
        keep.items.put(("users", "ada"), "profile", {"name": "Ada", "languages": ["en", "pt"], "newsletter": False})
        keep.items.put(("settings",), "theme", "dark", ttl=86_400)
    if keep.has_logs:
        talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello, Ada. Where to?"}]
        keep.logs.append(("chat", "ada"), talk)
        keep.logs.append(("audit",), [{"who": "ada", "did": "login"}, {"who": "ada", "did": "book"}])
    try:
        cache = keep.cache
    except statekeep.Unsupported:
        return
    answer = Payload(encoding="json", data=b'{"sky": "clear", "high": 24}')
    cache.set({(("weather",), city): (answer, 3600) for city in ("Lisbon", "Porto")})
    cache.set({(("prices", "hotels"), "Casa do Rio"): Payload(encoding="json", data=b"240")})


def main() -> None:
    """Serve the demo, from this process's memory."""
    from statekeep.contrib.ui import app
    from statekeep.contrib.ui.serving import serve

    with statekeep.connect("memory:") as keep:
        fill(keep)
        serve(app(keep, write=True), host="127.0.0.1", port=0, ready=print)


if __name__ == "__main__":
    main()
