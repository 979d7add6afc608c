"""An agent with a typed state, kept by Statekeep alone: no LangGraph, no other framework.

    python examples/typed_state.py [URL]

URL is ``memory:`` by default; ``embedded:``, ``embedded:DIR`` or ``valkey://HOST:PORT`` do the same on a real server.

The agent answers questions about a text with tools. What it knows is one Pydantic model, stored at each step. The text
does not change, so it is stored once, and later checkpoints refer to it. What a tool returned is stored before the step
is complete: an agent that was stopped in between goes on without calling the tool again.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable

from pydantic import BaseModel

import statekeep
from statekeep import (
    Channel,
    Checkpoint,
    CheckpointRepository,
    JsonSerializer,
    ModelSerializer,
    PendingWrite,
    SavedCheckpoint,
)

TEXT = "A checkpoint is kept whole or not at all. " * 50

TOOLS: dict[str, Callable[[str], str]] = {
    "words": lambda text: str(len(text.split())),
    "sentences": lambda text: str(text.count(".")),
    "longest": lambda text: max(text.replace(".", "").split(), key=len),
    "shout": str.upper,
}


class Answer(BaseModel):
    """What one tool said."""

    tool: str
    text: str


class Notes(BaseModel):
    """The agent's state."""

    todo: list[str]
    answers: list[Answer] = []


class Stopped(Exception):
    """Stands for whatever ends a program at a bad moment."""


NOTES = ModelSerializer(Notes)
ANSWER = ModelSerializer(Answer)
PLAIN = JsonSerializer()


class Agent:
    """Works on one thread, step by step.

    Args:
        keep: where the thread is kept.
        thread_id: the thread.
    """

    def __init__(self, keep: CheckpointRepository, thread_id: str) -> None:
        self.keep = keep
        self.thread_id = thread_id
        self.calls: Counter[str] = Counter()

    def begin(self, text: str, todo: Iterable[str]) -> None:
        """Store the first checkpoint: the text, and what to find out about it."""
        channels = {
            "text": Channel.of(1, statekeep.dump(PLAIN, text)),
            "notes": Channel.of(1, statekeep.dump(NOTES, Notes(todo=list(todo)))),
        }
        self.keep.put(Checkpoint(thread_id=self.thread_id, metadata={"step": 0}, channels=channels))

    def step(self, checkpoint_id: str | None = None, *, stop: bool = False) -> bool:
        """Make the next step from the newest checkpoint, or from an earlier one; that makes a fork.

        Returns:
            Whether there was anything left to do.
        """
        saved = self.keep.get(self.thread_id, checkpoint_id=checkpoint_id)
        if saved is None:
            raise LookupError(f"thread {self.thread_id!r} has no checkpoint {checkpoint_id or ''}".rstrip())
        notes = notes_of(saved)
        if not notes.todo:
            return False
        tool, *todo = notes.todo
        answer = self.answer(saved, tool)
        if stop:
            raise Stopped(f"after {tool}, before its step was stored")
        step = saved.metadata["step"] + 1
        done = Notes(todo=todo, answers=[*notes.answers, answer])
        self.keep.put(
            Checkpoint(
                thread_id=self.thread_id,
                parent_id=saved.checkpoint_id,
                metadata={"step": step, "tool": tool},
                channels={
                    # The same version as before: the value is there already and is not sent again.
                    "text": Channel.earlier(saved.channels["text"].version),
                    "notes": Channel.of(step + 1, statekeep.dump(NOTES, done)),
                },
            )
        )
        return True

    def answer(self, saved: SavedCheckpoint, tool: str) -> Answer:
        """Return what the tool says: from the pending writes if it was called already, else by calling it."""
        for write in saved.pending_writes:
            if write.task_id == tool:
                found: Answer = statekeep.load(ANSWER, write.payload)
                return found
        self.calls[tool] += 1
        answer = Answer(tool=tool, text=TOOLS[tool](text_of(saved)))
        write = PendingWrite(task_id=tool, idx=0, channel="notes", payload=statekeep.dump(ANSWER, answer))
        self.keep.put_writes(self.thread_id, saved.checkpoint_id, [write])
        return answer


def notes_of(saved: SavedCheckpoint) -> Notes:
    """Return the agent's state at a checkpoint."""
    payload = saved.channels["notes"].payload
    assert payload is not None
    notes: Notes = statekeep.load(NOTES, payload)
    return notes


def text_of(saved: SavedCheckpoint) -> str:
    """Return the text, whichever checkpoint stored it."""
    payload = saved.channels["text"].payload
    assert payload is not None
    text: str = statekeep.load(PLAIN, payload)
    return text


def show(keep: CheckpointRepository, thread_id: str) -> None:
    """Print the checkpoints of a thread, newest first."""
    for saved in keep.list(thread_id):
        parent = saved.parent_id[-6:] if saved.parent_id else "-"
        answers = ", ".join(f"{answer.tool}={answer.text[:12]}" for answer in notes_of(saved).answers) or "-"
        print(f"  step {saved.metadata['step']}  id {saved.checkpoint_id[-6:]}  parent {parent:6}  {answers}")


def main(url: str = "memory:") -> None:
    """Run the agent, stop it, go on, fork, list and prune."""
    with statekeep.connect(url) as connection:
        keep = connection.checkpoints
        keep.delete_thread("reader-1")  # of an earlier run, if the URL names a lasting place

        agent = Agent(keep, "reader-1")
        agent.begin(TEXT, ["words", "sentences", "longest"])
        agent.step()
        try:
            agent.step(stop=True)
        except Stopped as reason:
            print(f"Stopped {reason}.")

        successor = Agent(keep, "reader-1")
        while successor.step():
            pass
        print(f"Its successor called {', '.join(successor.calls)}; the answer of sentences was stored.")
        show(keep, "reader-1")

        second = next(keep.list("reader-1", metadata={"step": 2}))
        forked = notes_of(second).model_copy(update={"todo": ["shout"]})
        keep.put(
            Checkpoint(
                thread_id="reader-1",
                parent_id=second.checkpoint_id,
                metadata={"step": 2, "fork": True},
                channels={
                    "text": Channel.earlier(second.channels["text"].version),
                    "notes": Channel.of("fork", statekeep.dump(NOTES, forked)),
                },
            )
        )
        while successor.step():
            pass
        print("Forked from step 2, with something else to do:")
        show(keep, "reader-1")

        keep.prune(["reader-1"], keep=1)
        newest = keep.get("reader-1")
        assert newest is not None
        print(f"Pruned to the newest checkpoint, which still has its text of {len(text_of(newest))} characters:")
        show(keep, "reader-1")
        print(f"Threads: {', '.join(thread.thread_id for thread in keep.list_threads(prefix='reader-'))}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
