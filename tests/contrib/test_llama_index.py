"""Chat stores and the key-value store of LlamaIndex, under its own memories, chat engines and document stores.

`make frameworks` runs them, in an environment of their own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip(
    "llama_index.core", reason="llama-index-core is not installed: `make frameworks` has it", exc_type=ImportError
)

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ImageBlock, MessageRole, MockLLM, TextBlock
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.schema import TextNode
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore

import statekeep
from statekeep import CorruptRecord, InvalidInput, Unavailable, Unsupported
from statekeep.contrib.llama_index import StatekeepAsyncChatStore, StatekeepChatStore, StatekeepKVStore
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

# The framework's own store does not close its database, and loops of `asyncio.run` leave connections open.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*aiosqlite.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),  # of its database's threads
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

PAGE = ROOT / "docs" / "frameworks" / "llama-index.md"

SCRIPT = "from tests.contrib.test_llama_index import converse; converse(*__import__('sys').argv[1:])"


def said(*texts: str) -> list[ChatMessage]:
    return [ChatMessage(text, role="user") for text in texts]


def texts(messages: Any) -> Any:
    return None if messages is None else [message.content for message in messages]


def engine_of(store: StatekeepChatStore, key: str = "ada") -> SimpleChatEngine:
    memory = ChatMemoryBuffer.from_defaults(
        chat_store=store, chat_store_key=key, token_limit=10_000, tokenizer_fn=str.split
    )
    return SimpleChatEngine.from_defaults(memory=memory, llm=MockLLM())


def memory_of(store: StatekeepAsyncChatStore | SQLAlchemyChatStore, key: str = "ada", **options: Any) -> Memory:
    # Six words are all that it keeps; the first messages are archived.
    options = {"token_limit": 10, "chat_history_token_ratio": 0.6, "token_flush_size": 2} | options
    return Memory.from_defaults(chat_store=store, session_id=key, tokenizer_fn=str.split, **options)


def converse(url: str, text: str) -> None:
    """One turn in a process of its own; print all messages."""
    with StatekeepChatStore.from_url(url) as store:
        engine_of(store, "two processes").chat(text)
        print(json.dumps(texts(store.get_messages("two processes"))))


@pytest.fixture(scope="module", autouse=True)
def _leave_nothing_open() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def framework_s_own() -> SQLAlchemyChatStore:
    return SQLAlchemyChatStore(table_name="chats", async_database_uri="sqlite+aiosqlite:///:memory:")


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("llama_index.core.Settings._llm", MockLLM())
    run_page(PAGE, valkey_server)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("Good morning!")
    assert "('llama-index', 'chats', 'ada') 2 None" in printed
    with statekeep.connect(valkey_server.url) as keep:
        assert keep.logs.delete(("llama-index", "chats", "ada")) == 2


# -- as the framework's own do


def use_chats(store: Any) -> Iterator[Any]:
    """What the methods return, and what there is after each."""
    calls: list[Callable[[], Any]] = [
        lambda: store.get_messages("ada"),
        lambda: store.add_message("ada", *said("one")),
        lambda: store.set_messages("ada", said("a", "b", "c", "d", "e")),
        lambda: store.add_message("ada", ChatMessage(role="assistant", blocks=[TextBlock(text="f")])),
        lambda: store.add_message("{bob}:*%é", *said("x")),
        lambda: store.delete_message("ada", 1),
        lambda: store.delete_message("ada", 99),
        lambda: store.delete_message("ada", -2),
        lambda: store.delete_last_message("ada"),
        lambda: store.delete_message("nobody", 0),
        lambda: store.delete_last_message("nobody"),
        lambda: store.delete_messages("nobody"),
        lambda: sorted(store.get_keys()),
        lambda: store.delete_messages("ada"),
        lambda: store.get_messages("ada"),
        store.get_keys,
    ]
    for call in calls:
        found = call()
        yield texts(found) if isinstance(found, list) and found and not isinstance(found[0], str) else found
        yield texts(store.get_messages("ada"))


def test_chats_are_those_of_the_framework(keep: statekeep.Connection) -> None:
    ours, theirs = list(use_chats(StatekeepChatStore(keep))), list(use_chats(SimpleChatStore()))
    assert [repr(one) for one in ours] == [repr(one) for one in theirs]


class InLoops:
    """The awaitable methods of a store, each in an event loop of its own."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, "async_add_message" if name == "add_message" else f"a{name}")

        def call(*args: Any, **kwargs: Any) -> Any:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(lambda: asyncio.run(method(*args, **kwargs))).result()

        return call


def test_awaitable_methods_do_the_same(keep: statekeep.Connection) -> None:
    ours, theirs = list(use_chats(InLoops(StatekeepChatStore(keep)))), list(use_chats(SimpleChatStore()))
    assert [repr(one) for one in ours] == [repr(one) for one in theirs]


async def use_memories(store: Any) -> list[Any]:
    archived = MessageStatus.ARCHIVED
    calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: store.add_message("ada", *said("a")),
        lambda: store.add_messages("ada", said("b", "c", "d", "e", "f")),
        lambda: store.archive_oldest_messages("ada", 2),
        lambda: store.archive_oldest_messages("nobody", 2),
        lambda: store.archive_oldest_messages("ada", 0),
        lambda: store.delete_oldest_messages("ada", 1),
        lambda: store.add_messages("ada", said("old"), archived),
        lambda: store.get_messages("ada", limit=2),
        lambda: store.get_messages("ada", limit=1, offset=1),
        lambda: store.count_messages("ada"),
        lambda: store.count_messages("ada", None),
        lambda: store.delete_messages("ada", archived),
        lambda: store.delete_messages("ada", archived),
        lambda: store.delete_oldest_messages("ada", 99),
        lambda: store.set_messages("ada", said("x", "y")),
        lambda: store.set_messages("ada", said("z"), archived),
        store.get_keys,
        lambda: store.delete_messages("ada"),
        store.get_keys,
    ]
    found = []
    for call in calls:
        answer = await call()
        found.append(
            texts(answer) if isinstance(answer, list) and answer and not isinstance(answer[0], str) else answer
        )
        found += [texts(await store.get_messages("ada", status)) for status in (MessageStatus.ACTIVE, archived, None)]
    return found


async def test_memories_are_those_of_the_framework(
    keep: statekeep.Connection, framework_s_own: SQLAlchemyChatStore
) -> None:
    assert await use_memories(StatekeepAsyncChatStore(keep)) == await use_memories(framework_s_own)


async def test_a_message_is_deleted_by_its_place_among_the_active(keep: statekeep.Connection) -> None:
    store = StatekeepAsyncChatStore(keep)
    await store.add_messages("ada", said("a", "b", "c"))
    await store.archive_oldest_messages("ada", 1)
    assert texts([await store.delete_message("ada", 0)]) == ["b"]
    assert await store.delete_message("ada", 1) is None
    assert texts(await store.get_messages("ada", None)) == ["a", "c"]


def test_a_memory_archives_what_is_too_much(keep: statekeep.Connection, framework_s_own: SQLAlchemyChatStore) -> None:
    def talk(memory: Memory) -> list[Any]:
        found = []
        for number in range(4):
            memory.put(ChatMessage(f"question {number} ?", role="user"))
            memory.put(ChatMessage(f"answer {number} !", role="assistant"))
            found.append(texts(memory.get()))
        return [*found, texts(memory.get_all()), texts(memory.get_all(status=MessageStatus.ARCHIVED))]

    ours, theirs = talk(memory_of(StatekeepAsyncChatStore(keep))), talk(memory_of(framework_s_own))
    assert ours == theirs
    assert len(ours[-1]) > 2


def use_values(store: Any) -> list[Any]:
    store.put("k", {"a": [1, None, "é"]})
    store.put("k", {"b": 1}, collection="other/{x}")
    store.put_all([("k1", {"n": 1}), ("k2", {"n": 2})])
    return [
        store.get("k"), store.get("k", collection="other/{x}"), store.get("nothing"), store.get("k", "nothing"),
        store.get_all(), store.get_all("nothing"), store.delete("k"), store.delete("k"), store.get("k"),
        store.get_all(),
    ]  # fmt: skip


def test_values_are_those_of_the_framework(keep: statekeep.Connection) -> None:
    assert use_values(StatekeepKVStore(keep)) == use_values(SimpleKVStore())
    keep.items.clear(("llama-index",), below=True)
    assert use_values(InLoops(StatekeepKVStore(keep))) == use_values(SimpleKVStore())


def test_a_document_store(keep: statekeep.Connection) -> None:
    documents = KVDocumentStore(StatekeepKVStore(keep), namespace="docs", batch_size=100)
    nodes = [TextNode(text=f"text {number}", id_=f"n{number}") for number in range(20)]
    documents.add_documents(nodes)
    assert documents.get_document("n7") == nodes[7]
    assert documents.docs.keys() == {node.node_id for node in nodes}
    documents.delete_document("n7")
    assert documents.get_document("n7", raise_error=False) is None


# -- messages


async def test_messages_of_all_kinds_come_back(keep: statekeep.Connection) -> None:
    messages = [
        ChatMessage(role=MessageRole.TOOL, content="", additional_kwargs={"tool_call_id": "t1", "n": [1, {"x": None}]}),
        ChatMessage(role="assistant", blocks=[TextBlock(text="\0 é {t}"), ImageBlock(image=b"iVBORw0KGgo=")]),
        ChatMessage("sure", role="assistant", additional_kwargs={"logprobs": [-0.5, float("-inf")]}),
        ChatMessage("x" * 200_000),
    ]
    chats, memories = StatekeepChatStore(keep), StatekeepAsyncChatStore(keep)
    chats.set_messages("ada", messages)
    await memories.set_messages("ada", messages)
    await memories.archive_oldest_messages("ada", 3)
    assert chats.get_messages("ada") == messages
    assert await memories.get_messages("ada", None) == messages
    assert chats.delete_message("ada", 2) == messages[2]
    assert await memories.delete_oldest_messages("ada", 9) == messages[3:]


async def test_what_is_no_message_is_an_error(keep: statekeep.Connection) -> None:
    chats, memories = StatekeepChatStore(keep), StatekeepAsyncChatStore(keep)
    foreign = statekeep.Payload(encoding="json", data=b"{}")
    broken = statekeep.Payload(encoding="llama-index-json", data=b"{")
    odd: list[Any] = [{"role": 5}, "text", [], foreign, broken]
    for value in odd:
        for root in ("chats", "memories"):
            keep.logs.replace(("llama-index", root, "odd"), [value])
        with pytest.raises(CorruptRecord, match="is no message"):
            chats.get_messages("odd")
        with pytest.raises(CorruptRecord, match="is no message"):
            await memories.get_messages("odd", None)
    keep.logs.replace(("llama-index", "memories", "odd"), [{"status": "lost", "message": {}}])
    with pytest.raises(CorruptRecord, match="no message with a status"):
        await memories.archive_oldest_messages("odd", 1)


# -- restarts, processes and writers at once


def test_a_restart_and_other_processes(valkey_server: ValkeyServer) -> None:
    def run(text: str) -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert len(run("one")) == 2
    second = run("two")
    assert (second[0], second[2]) == ("one", "two")
    with StatekeepChatStore.from_url(valkey_server.url) as store:
        assert texts(store.delete_messages("two processes")) == second


def test_writers_at_once_lose_nothing(keep: statekeep.Connection) -> None:
    store = StatekeepChatStore(keep)
    store.set_messages("ada", said(*(f"old {number}" for number in range(16))))

    def work(number: int) -> str | None:
        for nth in range(5):
            store.add_message("ada", *said(f"new {number}.{nth}"))
        removed = store.delete_message("ada", 0)
        return None if removed is None else removed.content

    with ThreadPoolExecutor(8) as pool:
        removed = list(pool.map(work, range(16)))
    # Each removed another one, the first at its time.
    assert sorted(removed, key=str) == sorted(f"old {number}" for number in range(16))
    left = texts(store.get_messages("ada"))
    assert sorted(left) == sorted(f"new {number}.{nth}" for number in range(16) for nth in range(5))
    for number in range(16):
        assert [text for text in left if text.startswith(f"new {number}.")] == [
            f"new {number}.{nth}" for nth in range(5)
        ]


async def test_messages_are_archived_once(served: statekeep.Connection) -> None:
    store = StatekeepAsyncChatStore(served)
    await store.add_messages("ada", said(*map(str, range(30))))
    found = await asyncio.gather(
        *(store.archive_oldest_messages("ada", 2) for _ in range(10)),
        *(store.add_message("ada", *said(f"new {number}")) for number in range(10)),
    )
    archived = [message.content for some in found[:10] for message in some]
    assert sorted(archived, key=int) == [str(number) for number in range(20)]
    assert texts(await store.get_messages("ada", MessageStatus.ARCHIVED)) == [str(number) for number in range(20)]
    assert await store.count_messages("ada") == 20
    assert await store.count_messages("ada", None) == 40


# -- cancellation and outages


@pytest.mark.parametrize("delay", [0, 0.001, 0.05])
async def test_a_change_that_is_cancelled_is_done_when_that_is_told(served: statekeep.Connection, delay: float) -> None:
    store = StatekeepAsyncChatStore(served)
    await store.add_message("ada", *said("warm"))
    for number in range(5):
        task = asyncio.ensure_future(store.add_message("ada", *said(f"{number}")))
        await asyncio.sleep(delay)
        was_done = task.done()
        task.cancel()
        if not was_done:
            with pytest.raises(asyncio.CancelledError):
                await task
        there = texts(await store.get_messages("ada"))
        await asyncio.sleep(0.02)
        # Nothing comes later.
        assert texts(await store.get_messages("ada")) == there


async def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server, statekeep.connect(server.url, prefix=prefix, deadline=0.3) as keep:
        chats, memories, values = StatekeepChatStore(keep), StatekeepAsyncChatStore(keep), StatekeepKVStore(keep)
        chats.add_message("ada", *said("hello"))
        server.kill()
        calls: list[Callable[[], Any]] = [
            lambda: chats.get_messages("ada"), lambda: chats.add_message("ada", *said("x")), chats.get_keys,
            lambda: chats.delete_message("ada", 0), lambda: values.get("k"), lambda: values.put("k", {}),
            values.get_all,
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(Unavailable):
                call()
        for work in (memories.get_messages("ada"), memories.archive_oldest_messages("ada", 1), values.aget("k")):
            with pytest.raises(Unavailable):
                await work


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_round_trips_of_chats(proxy: CountingProxy, prefix: str, client: Any) -> None:
    def turns(call: Callable[[], Any]) -> int:
        proxy.reset()
        call()
        return proxy.turns

    with StatekeepChatStore.from_url(f"valkey://127.0.0.1:{proxy.port}", prefix=prefix, client=client) as store:

        def all_of_them() -> list[int]:
            many = said(*map(str, range(300)))
            return [
                turns(lambda: store.set_messages("ada", many)),
                turns(lambda: store.get_messages("ada")),
                turns(lambda: store.add_message("ada", many[0])),
                turns(lambda: store.delete_last_message("ada")),
                turns(lambda: store.delete_message("ada", 1)),
                turns(lambda: store.delete_messages("ada")),
            ]

        all_of_them()  # the connection is open then, and the server knows the scripts
        assert all_of_them() == [1, 1, 1, 1, 2, 1]
        engine = engine_of(store)
        engine.chat("hello")
        # The question is added, all is read, the answer is added.
        assert turns(lambda: engine.chat("hello again")) == 3


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips_of_memories_and_values(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"

    async def turns(work: Any) -> int:
        proxy.reset()
        await work
        return proxy.turns

    async with StatekeepAsyncChatStore.from_url(url, prefix=prefix, client=client) as store:

        async def all_of_them() -> list[int]:
            return [
                await turns(store.set_messages("ada", said(*map(str, range(300))))),
                await turns(store.add_messages("ada", said("a", "b"))),
                await turns(store.get_messages("ada")),
                await turns(store.count_messages("ada")),
                await turns(store.count_messages("ada", None)),
                await turns(store.archive_oldest_messages("ada", 10)),
                await turns(store.delete_oldest_messages("ada", 10)),
                await turns(store.delete_message("ada", 1)),
                await turns(store.delete_messages("ada", MessageStatus.ARCHIVED)),
                await turns(store.delete_messages("ada")),
            ]

        await all_of_them()
        assert await all_of_them() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 1]

    with StatekeepKVStore.from_url(url, prefix=prefix, client=client) as values:
        pairs = [(f"{number:02}", {"n": number}) for number in range(90)]

        async def each() -> list[int]:
            return [
                await turns(values.aput("k", {"a": 1})),
                await turns(values.aput_all(pairs)),
                await turns(values.aget("k")),
                await turns(values.aget_all()),
                await turns(values.adelete("k")),
            ]

        await each()
        assert await each() == [1, 1, 1, 2, 1]


def test_ttl(served: statekeep.Connection) -> None:
    StatekeepChatStore(served, ttl=100).add_message("ada", *said("hello"))
    [log] = served.logs.list()
    assert log.name == ("llama-index", "chats", "ada")
    assert log.expires_at is not None
    StatekeepKVStore(served, ttl=100).put("k", {})
    item = served.items.get(("llama-index", "values", "data"), "k")
    assert item is not None
    assert item.expires_at is not None


# -- bad input


def test_bad_input(keep: statekeep.Connection) -> None:
    store, values = StatekeepChatStore(keep), StatekeepKVStore(keep)
    bad: list[tuple[str, Callable[[], Any]]] = [
        ("keep", lambda: StatekeepChatStore(keep.items)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepKVStore("valkey://localhost")),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepChatStore(keep, namespace="chats")),
        ("ttl", lambda: StatekeepAsyncChatStore(keep, ttl=0)),
        ("key", lambda: store.get_messages("")),
        ("key", lambda: store.add_message(5, *said("x"))),  # type: ignore[arg-type]
        ("message", lambda: store.add_message("ada", "text")),
        ("messages", lambda: store.set_messages("ada", "text")),  # type: ignore[arg-type]
        ("idx", lambda: store.delete_message("ada", "1")),  # type: ignore[arg-type]
        ("collection", lambda: values.put("k", {}, collection="")),
        ("val", lambda: values.put("k", [1])),  # type: ignore[arg-type]
        ("kv_pairs", lambda: values.put_all([1])),  # type: ignore[list-item]
    ]
    for name, call in bad:
        with pytest.raises(InvalidInput, match=name):
            call()
    assert store.get_keys() == []
    assert list(keep.items.list(("llama-index", "values", "data"))) == []


async def test_bad_input_of_memories(keep: statekeep.Connection) -> None:
    store = StatekeepAsyncChatStore(keep)
    with pytest.raises(InvalidInput, match="status must be 'active' or 'archived', got 'lost'"):
        await store.get_messages("ada", "lost")
    for work in (store.archive_oldest_messages("ada", -1), store.get_messages("ada", limit=-1)):
        with pytest.raises(InvalidInput):
            await work


def test_services_without_logs() -> None:
    with pytest.raises(Unsupported):
        StatekeepChatStore.from_url("bedrock-sessions://?region=us-east-1")
