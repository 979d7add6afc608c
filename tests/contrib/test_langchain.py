"""LangChain's histories, caches, stores and records: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="`make frameworks` has langchain-tests", exc_type=ImportError)

from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.globals import set_llm_cache
from langchain_core.indexing import InMemoryRecordManager, RecordManager, aindex, index
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.stores import BaseStore, InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    SyncCacheTestSuite,
)

import statekeep
from statekeep import CorruptRecord, InvalidInput, Payload, Unavailable, Unsupported
from statekeep.contrib.langchain import (
    StatekeepByteStore,
    StatekeepChatMessageHistory,
    StatekeepLLMCache,
    StatekeepRecordManager,
)
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "frameworks" / "langchain.md"

SCRIPT = "from tests.contrib.test_langchain import converse; converse(*__import__('sys').argv[1:])"


# -- LangChain's own suites


class TestByteStore(BaseStoreSyncTests[bytes]):  # type: ignore[misc]
    @pytest.fixture
    def kv_store(self, keep: statekeep.Connection) -> BaseStore[str, bytes]:
        return StatekeepByteStore(keep)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"", bytes(range(256))


class TestByteStoreAsync(BaseStoreAsyncTests[bytes]):  # type: ignore[misc]
    @pytest.fixture
    async def kv_store(self, keep: statekeep.Connection) -> BaseStore[str, bytes]:
        return StatekeepByteStore(keep)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"", bytes(range(256))


class TestCache(SyncCacheTestSuite):  # type: ignore[misc]
    @pytest.fixture
    def cache(self, keep: statekeep.Connection) -> BaseCache:
        return StatekeepLLMCache(keep)


class TestCacheAsync(AsyncCacheTestSuite):  # type: ignore[misc]
    @pytest.fixture
    async def cache(self, keep: statekeep.Connection) -> BaseCache:
        return StatekeepLLMCache(keep)


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, capsys: Any) -> None:
    try:
        run_page(PAGE, valkey_server)
    finally:
        set_llm_cache(None)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["Good morning to you, too.", "4 messages", "the same answer"]
    assert "{'num_added': 2, 'num_updated': 0, 'num_skipped': 0, 'num_deleted': 0}" in printed
    assert "{'num_added': 0, 'num_updated': 0, 'num_skipped': 1, 'num_deleted': 1}" in printed
    assert any(line.startswith("('langchain', 'history', 'ada') 4") for line in printed)
    with statekeep.connect(valkey_server.url) as keep:
        keep.logs.delete(("langchain", "history", "ada"))
        assert keep.items.clear(("langchain",), below=True) == 3
        assert keep.cache.clear([("langchain", "llm")]) == 1


# -- histories


MESSAGES: list[BaseMessage] = [
    HumanMessage("hello \x00 😀", id="1", name="ada"),
    AIMessage(
        "",
        tool_calls=[{"name": "weather", "args": {"city": "Oslo", "n": 1.5}, "id": "c1", "type": "tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"logprobs": [float("-inf"), float("inf")], "pair": (1, 2), "raw": b"\x00\xff"},
        additional_kwargs={"deep": [{"a": None, "lc": 1, "type": "constructor"}]},
    ),
    ToolMessage("rain", tool_call_id="c1", artifact={"rows": [(1, "a")]}, status="error"),
    SystemMessage([{"type": "text", "text": "be brief"}, "or not"]),
    ChatMessage(content="hm", role="critic"),
    FunctionMessage(content="f", name="weather"),
    AIMessageChunk(content="chunk"),
    RemoveMessage(id="1"),
]


def history_scenario(history: Any) -> list[Any]:
    """Everything that a history does, and all that is seen of it."""
    seen: list[Any] = [list(history.messages), str(history)]
    history.clear()
    history.add_user_message("hi")
    history.add_user_message(HumanMessage("again"))
    history.add_ai_message("hello")
    history.add_message(SystemMessage("be brief"))
    seen += [list(history.messages), str(history)]
    history.add_messages([])
    history.add_messages(MESSAGES)
    history.add_messages(tuple(MESSAGES[:1]))
    seen += [list(history.messages), [type(message) for message in history.messages]]
    history.messages = trim_messages(history.messages, max_tokens=3, token_counter=len, strategy="last")
    seen.append(list(history.messages))
    history.add_ai_message("x" * 200_000)
    seen.append(list(history.messages))
    history.clear()
    return [*seen, list(history.messages)]


async def async_history_scenario(history: Any) -> list[Any]:
    seen: list[Any] = [list(await history.aget_messages())]
    await history.aclear()
    await history.aadd_messages([])
    await history.aadd_messages(MESSAGES)
    await history.aadd_messages([HumanMessage("bye")])
    seen += [list(await history.aget_messages()), list(history.messages)]
    await history.aclear()
    return [*seen, list(await history.aget_messages())]


def in_memory() -> Any:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return InMemoryChatMessageHistory()


async def test_a_history_does_as_langchains_own(keep: statekeep.Connection) -> None:
    mine = StatekeepChatMessageHistory("ada", keep)
    assert isinstance(mine, BaseChatMessageHistory)
    assert history_scenario(mine) == history_scenario(in_memory())
    assert await async_history_scenario(mine) == await async_history_scenario(in_memory())
    assert list(keep.logs.list()) == []


def runnable(history: Callable[[str], Any], *answers: str) -> Any:
    """A chain with a history, over a fake model of LangChain's own; its answers say how much the model saw."""
    model = GenericFakeChatModel(messages=iter([AIMessage(answer) for answer in answers]))
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    seen: list[Any] = []

    def note(value: Any) -> Any:
        seen.append([(message.type, message.content) for message in value.to_messages()])
        return value

    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        chain = RunnableWithMessageHistory(
            prompt | note | model, history, input_messages_key="question", history_messages_key="history"
        )
    return chain, seen


def config(session_id: str) -> Any:
    return {"configurable": {"session_id": session_id}}


async def chain_scenario(history: Callable[[str], Any]) -> list[Any]:
    chain, seen = runnable(history, "hello", "rain", "bye", "who?")
    answers = [chain.invoke({"question": "hi"}, config("ada")).content]
    answers.append((await chain.ainvoke({"question": "weather?"}, config("ada"))).content)
    answers.append(chain.invoke({"question": "thanks 😀"}, config("ada")).content)
    answers.append((await chain.ainvoke({"question": "me"}, config("bob"))).content)
    kept = [[(message.type, message.content) for message in history(name).messages] for name in ("ada", "bob", "cy")]
    return [answers, seen, kept]


async def test_a_chain_does_as_with_langchains_own_history(keep: statekeep.Connection) -> None:
    theirs: dict[str, Any] = {}
    mine = await chain_scenario(lambda name: StatekeepChatMessageHistory(name, keep))
    assert mine == await chain_scenario(lambda name: theirs.setdefault(name, in_memory()))


def test_conversations_are_apart(keep: statekeep.Connection) -> None:
    ids = ["ada", "a.da", "ADA", "{}", ":", "*", "é", "\x00", "a\x00b", "langchain", " ", "😀" * 1000]
    histories = [StatekeepChatMessageHistory(session_id, keep) for session_id in ids]
    histories.append(StatekeepChatMessageHistory("ada", keep, namespace=("other", "tenant")))
    for number, history in enumerate(histories):
        history.add_user_message(f"{number}")
    assert [history.messages[0].content for history in histories] == [f"{number}" for number in range(13)]
    histories[0].clear()
    assert len(list(keep.logs.list(prefix=("langchain", "history")))) == len(ids) - 1


def converse(url: str, session_id: str, text: str) -> None:
    """One turn in a process of its own; print what the model was asked."""
    with statekeep.connect(url) as keep:
        chain, seen = runnable(lambda name: StatekeepChatMessageHistory(name, keep), f"you said {text}")
        chain.invoke({"question": text}, config(session_id))
    print(json.dumps(seen))


def test_a_restart_and_other_processes(valkey_server: ValkeyServer) -> None:
    session_id = "two processes"

    def run(text: str) -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, session_id, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("one") == [[["human", "one"]]]
    assert run("two") == [[["human", "one"], ["ai", "you said one"], ["human", "two"]]]
    with StatekeepChatMessageHistory.from_url(session_id, valkey_server.url) as history:
        assert [message.content for message in history.messages] == ["one", "you said one", "two", "you said two"]
        history.clear()


async def test_many_add_at_once(served: statekeep.Connection) -> None:
    """What is added together stays together, and nothing is lost."""
    history = StatekeepChatMessageHistory("busy", served)
    pairs = [[HumanMessage(f"{n}"), AIMessage(f"{n}")] for n in range(60)]
    await asyncio.gather(*(StatekeepChatMessageHistory("busy", served).aadd_messages(pair) for pair in pairs[:30]))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(history.add_messages, pairs[30:]))
    messages = history.messages
    assert len(messages) == 120
    assert [message.content for message in messages[::2]] == [message.content for message in messages[1::2]]
    assert [message.type for message in messages] == ["human", "ai"] * 60


async def test_what_cannot_come_back_is_refused(served: statekeep.Connection) -> None:
    class Odd(HumanMessage):
        type: Any = "odd"

    history = StatekeepChatMessageHistory("ada", served)
    for wrong in (
        [Odd(content="x")],
        ["text"],
        [None],
        [HumanMessage("x", artifact=object())],
        "text",
        HumanMessage("x"),
        3,
    ):
        with pytest.raises(InvalidInput):
            history.add_messages([HumanMessage("first"), *wrong] if isinstance(wrong, list) else wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            await history.aadd_messages(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            history.messages = wrong  # type: ignore[assignment]
    assert history.messages == []
    served.logs.append(("langchain", "history", "ada"), [{"type": "human", "data": {"content": "by others"}}])
    assert history.messages == [HumanMessage("by others")]
    for broken in (3, {"type": "odd", "data": {}}, {"type": "human"}, Payload(encoding="json", data=b"{")):
        served.logs.replace(("langchain", "history", "ada"), [broken])
        with pytest.raises(CorruptRecord, match="is no message"):
            await history.aget_messages()


class Backwards:
    """A serializer that hides what it serializes, as one that encrypts does."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "backwards", json.dumps(obj).encode()[::-1]

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        assert data[0] == "backwards"
        return json.loads(data[1][::-1])


def test_serializers(served: statekeep.Connection, valkey_server: ValkeyServer, prefix: str) -> None:
    history = StatekeepChatMessageHistory("ada", served, serializer=Backwards())
    history.add_user_message("my secret")
    assert history.messages == [HumanMessage("my secret")]
    cache = StatekeepLLMCache(served, serializer=Backwards())
    cache.update("prompt", "model", [Generation(text="my secret")])
    assert cache.lookup("prompt", "model") == [Generation(text="my secret")]
    with valkey_server.client() as client:
        [log] = client.scan_iter(f"{prefix}:log:*", _type="list")
        assert b"secret" not in b"".join(client.lrange(log, 0, -1))
        for entry in client.scan_iter(f"{prefix}:cache_entry:*", _type="hash"):
            assert b"secret" not in b"".join(client.hgetall(entry).values())
    with pytest.raises(InvalidInput, match="'backwards': give the serializer that made it"):
        _ = StatekeepChatMessageHistory("ada", served).messages
    assert StatekeepLLMCache(served).lookup("prompt", "model") is None


# -- caches of answers


GENERATIONS: list[list[Generation]] = [
    [],
    [Generation(text="a"), Generation(text="", generation_info={"logprobs": [float("-inf")], "t": (1,)})],
    [GenerationChunk(text="chunk", generation_info={})],
    [ChatGeneration(message=message, generation_info={"finish_reason": "stop"}) for message in MESSAGES[:4]],
    [ChatGenerationChunk(message=AIMessageChunk(content="chunk"))],
]


async def cache_scenario(cache: Any) -> list[Any]:
    seen: list[Any] = []
    pairs = [("a", "b"), ("ab", ""), ("", "ab"), ("a\x00", "b"), ('a", "b', ""), ("", ""), ("😀" * 10_000, "é")]
    for number, (prompt, model) in enumerate(pairs):
        seen += [cache.lookup(prompt, model), await cache.alookup(prompt, model)]
        cache.update(prompt, model, [Generation(text=f"{number}")])
    seen += [await cache.alookup(*pair) for pair in pairs]
    for generations in GENERATIONS:
        await cache.aupdate("a", "b", generations)
        seen += [cache.lookup("a", "b"), [type(generation) for generation in await cache.alookup("a", "b")]]
        cache.update("a", "b", generations)
        seen.append(await cache.alookup("a", "b"))
    cache.clear()
    seen.append([cache.lookup(*pair) for pair in pairs])
    cache.update("a", "b", GENERATIONS[1])
    await cache.aclear()
    return [*seen, cache.lookup("a", "b")]


async def test_a_cache_does_as_langchains_own(keep: statekeep.Connection) -> None:
    assert await cache_scenario(StatekeepLLMCache(keep)) == await cache_scenario(InMemoryCache())


async def model_scenario(cache: Any) -> list[Any]:
    chat = GenericFakeChatModel(messages=iter([AIMessage("one"), AIMessage("two")]), cache=cache)
    seen: list[Any] = [chat.invoke("hi").content, chat.invoke("hi").content, (await chat.ainvoke("hi")).content]
    seen += [(await chat.ainvoke("what?")).content, chat.invoke("what?").content]
    llm = FakeListLLM(responses=["1", "2", "3"], cache=cache)
    seen += [llm.invoke("hi"), llm.invoke("hi"), await llm.ainvoke("hi"), llm.invoke("no"), await llm.ainvoke("no")]
    cache.clear()
    return [*seen, llm.invoke("hi")]


async def test_models_answer_as_with_langchains_own_cache(keep: statekeep.Connection) -> None:
    assert await model_scenario(StatekeepLLMCache(keep)) == await model_scenario(InMemoryCache())


def test_caches_are_apart(served: statekeep.Connection) -> None:
    one, other = StatekeepLLMCache(served), StatekeepLLMCache(served, namespace=("other",))
    one.update("p", "m", [Generation(text="one")])
    other.update("p", "m", [Generation(text="other")])
    one.clear()
    assert one.lookup("p", "m") is None
    assert other.lookup("p", "m") == [Generation(text="other")]


def test_what_cannot_be_cached_is_not(served: statekeep.Connection, caplog: pytest.LogCaptureFixture) -> None:
    class Mine(Generation):
        pass

    cache = StatekeepLLMCache(served)
    for generation in (Mine(text="x"), Generation(text="x", generation_info={"raw": object()})):
        cache.update("p", "m", [generation])
        assert cache.lookup("p", "m") is None
    assert caplog.text.count("an answer is not cached") == 2
    cache.update("p", "m", [Generation(text="x")])
    key = cache._key("p", "m")
    for broken in (b'[{"kind":"Mine","text":"x"}]', b"{", b"3", b'[{"kind":"Generation"}]'):
        served.cache.set({key: Payload(encoding="json", data=broken)})
        assert cache.lookup("p", "m") is None
    assert caplog.text.count("cannot be read and counts as missing") == 4


# -- bytes


KEYS = ["a", "", "a/b", "é", "😀", "a\x00", "{}", "*", "A", "aa", "ab", " ", "x" * 8000]


async def store_scenario(store: Any) -> list[Any]:
    seen: list[Any] = [store.mget([]), store.mget(KEYS), list(store.yield_keys())]
    store.mset([])
    store.mdelete([])
    store.mset([(key, key.encode() * 3) for key in KEYS])
    seen += [store.mget([*KEYS, "no", "a"]), await store.amget(KEYS)]
    for prefix in (None, "", "a", "a/", "é", "no", "*"):
        seen.append(sorted(store.yield_keys(prefix=prefix)))
        seen.append(sorted([key async for key in store.ayield_keys(prefix=prefix)]))
    await store.amset([("a", b"1"), ("a", b"2"), ("b", bytes(range(256)) * 500)])
    seen += [store.mget(["a", "b"])]
    await store.amdelete(["a", "no", "a"])
    store.mdelete(["b", "é"])
    seen += [store.mget(["a", "b", "é"]), sorted(store.yield_keys())]
    store.mset([(f"{n:04}", b"x") for n in range(1200)])
    seen += [len(list(store.yield_keys(prefix="0"))), store.mget([f"{n:04}" for n in range(1300)]).count(b"x")]
    store.mdelete([*(f"{n:04}" for n in range(1200)), *KEYS])
    return [*seen, list(store.yield_keys())]


async def test_a_store_does_as_langchains_own(keep: statekeep.Connection) -> None:
    assert await store_scenario(StatekeepByteStore(keep)) == await store_scenario(InMemoryByteStore())
    assert keep.items.list_namespaces() == []


def test_what_others_put_there_is_an_error(served: statekeep.Connection) -> None:
    store = StatekeepByteStore(served)
    for value in ({"a": 1}, 3, None, "no base64", "é"):
        served.items.put(("langchain", "bytes"), "key", value)
        with pytest.raises(CorruptRecord, match="stands for no bytes"):
            store.mget(["key"])


# -- records


async def record_scenario(records: Any) -> list[Any]:
    records.create_schema()
    await records.acreate_schema()
    seen: list[Any] = [records.exists([]), records.exists(["a"]), records.list_keys()]
    began = records.get_time()
    records.update(["a", "b", "c"], group_ids=["1", "2", None])
    await asyncio.sleep(0.002)
    middle = await records.aget_time()
    await records.aupdate(["d", "e"], group_ids=["1", "1"], time_at_least=middle)
    records.update(["f"])
    records.update([])
    records.update(["b"], group_ids=["1"], time_at_least=began)
    seen += [records.exists(["a", "no", "f", "a"]), await records.aexists(["no", "b"])]
    filters: list[dict[str, Any]] = [
        {},
        {"before": middle},
        {"after": middle},
        {"after": began},
        {"before": began},
        {"group_ids": ["1"]},
        {"group_ids": ["2", "1"], "before": middle},
        {"group_ids": [None]},
        {"group_ids": []},
        {"group_ids": ["no"]},
        {"before": middle, "after": began},
        {"limit": 0},
        {"limit": 100},
    ]
    for options in filters:
        seen += [sorted(records.list_keys(**options)), sorted(await records.alist_keys(**options))]
    seen += [len(records.list_keys(limit=2)), len(await records.alist_keys(limit=4, after=began))]
    for wrong in ({"group_ids": ["1"]}, {"time_at_least": records.get_time() + 100}):
        for attempt in (records.update, records.aupdate):
            try:
                found = attempt(["x", "y"], **wrong)
                seen.append(None if found is None else await found)
            except ValueError:
                seen.append(ValueError)
    records.delete_keys(["a", "no", "x", "y"])
    await records.adelete_keys(["b"])
    seen.append(sorted(records.list_keys()))
    records.delete_keys(records.list_keys())
    return [*seen, records.list_keys()]


async def test_records_are_as_langchains_own(keep: statekeep.Connection) -> None:
    mine = StatekeepRecordManager("store", keep)
    assert isinstance(mine, RecordManager)
    assert await record_scenario(mine) == await record_scenario(InMemoryRecordManager("store"))
    assert keep.items.list_namespaces() == []


async def indexing_scenario(records: Any) -> list[Any]:
    """LangChain's own indexing, with each kind of clean-up, over its own vector store."""
    vectors = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))

    def documents(*texts: str) -> list[Document]:
        return [Document(page_content=text, metadata={"source": text[0]}) for text in texts]

    options: Any = {"source_id_key": "source", "key_encoder": "sha256"}
    seen: list[Any] = [index(documents("a1", "a2", "b1"), records, vectors, cleanup="incremental", **options)]
    seen.append(index(documents("a1", "a2", "b1"), records, vectors, cleanup="incremental", **options))
    seen.append(index(documents("a1", "a3"), records, vectors, cleanup="incremental", batch_size=1, **options))
    seen.append(await aindex(documents("b2", "c1"), records, vectors, cleanup="full", cleanup_batch_size=1, **options))
    seen.append(await aindex(documents("b3"), records, vectors, cleanup="scoped_full", **options))
    seen.append(index(documents("c1"), records, vectors, cleanup=None, force_update=True, **options))
    seen.append(sorted(document["text"] for document in vectors.store.values()))
    seen.append(index([], records, vectors, cleanup="full", **options))
    return [*seen, vectors.store, records.list_keys()]


async def test_indexing_is_as_with_langchains_own(keep: statekeep.Connection) -> None:
    mine = await indexing_scenario(StatekeepRecordManager("store", keep))
    assert mine == await indexing_scenario(InMemoryRecordManager("store"))


def test_records_of_stores_are_apart(served: statekeep.Connection) -> None:
    one, other = (StatekeepRecordManager(name, served) for name in ("one", "other"))
    one.update(["a"])
    other.update(["a", "b"])
    one.delete_keys(["a", "b"])
    assert (one.list_keys(), other.list_keys()) == ([], ["a", "b"])


def test_times_are_the_servers(served: statekeep.Connection) -> None:
    records = StatekeepRecordManager("store", served)
    times = [records.get_time()]
    for number in range(20):
        records.update([f"{number}"], time_at_least=times[-1])
        times.append(records.get_time())
    assert times == sorted(times)
    assert abs(times[0] - served.now().timestamp()) < 60
    for number in range(20):
        assert records.list_keys(after=times[number], before=times[number + 1]) == [f"{number}"]


@pytest.mark.parametrize("service", ["cluster", "agentcore"])
async def test_other_services_do_as_well(request: pytest.FixtureRequest, prefix: str, service: str) -> None:
    with AwsEmulator() if service == "agentcore" else contextlib.nullcontext() as aws:
        if aws is None:
            keep = statekeep.connect(request.getfixturevalue("valkey_cluster").url, prefix=prefix)
        else:
            url = f"agentcore://{aws.agentcore.create_memory()}"
            keep = statekeep.connect(url, client=aws.client("bedrock-agentcore"))
        async with keep.asyncio:
            store, records = StatekeepByteStore(keep), StatekeepRecordManager("store", keep)
            store.mset([(key, key.encode()) for key in KEYS])
            assert await store.amget(KEYS) == [key.encode() for key in KEYS]
            assert list(store.yield_keys()) == sorted(KEYS)
            records.update(["a", "b"], group_ids=["1", "2"])
            assert (records.exists(["a", "c"]), await records.alist_keys(group_ids=["2"])) == ([True, False], ["b"])
            records.delete_keys(["a", "b"])
            if aws is None:
                assert await record_scenario(records) == await record_scenario(InMemoryRecordManager("store"))
                history = StatekeepChatMessageHistory("ada", keep)
                assert history_scenario(history) == history_scenario(in_memory())
                assert await cache_scenario(StatekeepLLMCache(keep)) == await cache_scenario(InMemoryCache())


# -- cancellation and outages


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_a_change_that_is_cancelled_is_done_when_that_is_told(
    valkey_server: ValkeyServer, prefix: str, client: Any
) -> None:
    direct = statekeep.connect(valkey_server.url, prefix=prefix)
    with CountingProxy(valkey_server.port, delay=0.1) as slow:
        keep = statekeep.connect(f"valkey://127.0.0.1:{slow.port}", prefix=prefix, client=client)
        async with direct.asyncio, keep.asyncio:
            history, store = StatekeepChatMessageHistory("ada", keep), StatekeepByteStore(keep)
            records = StatekeepRecordManager("store", keep)
            messages = StatekeepChatMessageHistory("ada", direct).aget_messages
            values = StatekeepByteStore(direct)
            keys = StatekeepRecordManager("store", direct).alist_keys
            await store.amset([("key", b"0")])
            changes: list[tuple[Any, Callable[[], Any], Any]] = [
                (history.aadd_messages([HumanMessage("hi")]), messages, [HumanMessage("hi")]),
                (history.aclear(), messages, []),
                (store.amset([("key", b"1")]), lambda: values.amget(["key"]), [b"1"]),
                (store.amdelete(["key"]), lambda: values.amget(["key"]), [None]),
                (records.aupdate(["a"]), keys, ["a"]),
                (records.adelete_keys(["a"]), keys, []),
            ]
            for change, read, wanted in changes:
                task = asyncio.ensure_future(change)
                await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                # It was on its way, and nothing comes later.
                assert await read() == wanted


async def test_an_outage_is_an_error(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    with ValkeyServer() as server:
        keep = statekeep.connect(server.url, prefix=prefix, deadline=0.3)
        history, store = StatekeepChatMessageHistory("ada", keep), StatekeepByteStore(keep)
        records, cache = StatekeepRecordManager("store", keep), StatekeepLLMCache(keep)
        forgiving = StatekeepLLMCache(keep, on_error="miss")
        history.add_user_message("hi")
        server.kill()
        calls: list[Callable[[], Any]] = [
            lambda: history.messages,
            lambda: history.add_user_message("lost"),
            history.clear,
            lambda: store.mget(["a"]),
            lambda: list(store.yield_keys()),
            records.get_time,
            lambda: records.update(["a"]),
            records.list_keys,
            lambda: cache.lookup("p", "m"),
            lambda: cache.update("p", "m", []),
            forgiving.clear,
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                call()
        for work in (history.aget_messages(), store.amset([("a", b"")]), records.aget_time(), cache.alookup("p", "m")):
            with pytest.raises(Unavailable):
                await work
        assert forgiving.lookup("p", "m") is None
        forgiving.update("p", "m", [Generation(text="x")])
        assert await forgiving.alookup("p", "m") is None
        await forgiving.aupdate("p", "m", [Generation(text="x")])
        assert "the cache is done without" in caplog.text
        await keep.asyncio.close()


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips(proxy: CountingProxy, prefix: str, client: Any) -> None:
    keep = statekeep.connect(f"valkey://127.0.0.1:{proxy.port}", prefix=prefix, client=client)
    async with keep.asyncio:
        history, store = StatekeepChatMessageHistory("ada", keep), StatekeepByteStore(keep)
        records, cache = StatekeepRecordManager("store", keep), StatekeepLLMCache(keep)
        messages = [HumanMessage(f"{number}") for number in range(300)]
        keys = [f"{number}" for number in range(300)]
        pairs = [(key, b"x" * 1000) for key in keys]
        answer = [Generation(text="x")]
        calls: list[tuple[Callable[[], Any], int]] = [
            (lambda: history.add_messages(messages), 1),
            (lambda: history.messages, 1),
            (lambda: setattr(history, "messages", messages), 1),
            (history.clear, 1),
            (lambda: history.add_messages([]), 0),
            (lambda: cache.update("p", "m", answer), 1),
            (lambda: cache.lookup("p", "m"), 1),
            (lambda: store.mset(pairs), 1),
            (lambda: store.mget(keys), 1),
            (lambda: list(store.yield_keys()), 1),
            (lambda: store.mdelete(keys), 1),
            (records.get_time, 1),
            (lambda: records.update(keys, time_at_least=1.0), 1),
            (lambda: records.exists(keys), 1),
            (lambda: records.list_keys(limit=50), 2),
            (lambda: records.list_keys(before=1.0), 2),
            (lambda: records.list_keys(after=1.0), 6),
            (lambda: records.delete_keys(keys), 1),
        ]
        works: list[tuple[Callable[[], Any], int]] = [
            (lambda: history.aadd_messages(messages), 1),
            (history.aget_messages, 1),
            (history.aclear, 1),
            (lambda: cache.aupdate("p", "m", answer), 1),
            (lambda: cache.alookup("p", "m"), 1),
            (lambda: store.amset(pairs), 1),
            (lambda: store.amget(keys), 1),
            (lambda: store.amdelete(keys), 1),
            (records.aget_time, 1),
            (lambda: records.aupdate(keys, time_at_least=1.0), 1),
            (lambda: records.aexists(keys), 1),
            (lambda: records.alist_keys(limit=50), 2),
            (lambda: records.adelete_keys(keys), 1),
        ]
        for is_warm in (False, True):  # the connection is open then, and the server knows the scripts
            for number, (call, wanted) in enumerate(calls):
                proxy.reset()
                call()
                assert proxy.turns == wanted or not is_warm, number
            for number, (call, wanted) in enumerate(works):
                proxy.reset()
                await call()
                assert proxy.turns == wanted or not is_warm, number
        records.update(keys)
        moment = records.get_time()
        records.update(["new"])
        proxy.reset()
        assert records.list_keys(after=moment) == await records.alist_keys(after=moment) == ["new"]
        assert proxy.turns == 2 + 2


# -- time to live, bad input


async def test_ttl(served: statekeep.Connection) -> None:
    history = StatekeepChatMessageHistory("brief", served, ttl=0.5)
    cache, store = StatekeepLLMCache(served, ttl=0.5), StatekeepByteStore(served, ttl=0.5)
    records = StatekeepRecordManager("brief", served, ttl=0.5)
    history.add_user_message("a")
    await asyncio.sleep(0.3)
    history.add_user_message("b")
    cache.update("p", "m", [])
    store.mset([("a", b"")])
    records.update(["a"])
    await asyncio.sleep(0.3)
    assert len(history.messages) == 2
    assert (cache.lookup("p", "m"), store.mget(["a"]), records.exists(["a"])) == ([], [b""], [True])
    await asyncio.sleep(0.3)
    assert history.messages == []
    assert (cache.lookup("p", "m"), store.mget(["a"]), records.exists(["a"])) == (None, [None], [False])


def test_records_stay_where_all_else_ends(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix, ttl=100) as keep:
        StatekeepRecordManager("store", keep).update(["a"])
        StatekeepByteStore(keep).mset([("a", b"")])
        [record] = keep.items.list(("langchain", "records", "store"))
        [value] = keep.items.list(("langchain", "bytes"))
        assert record.expires_at is None
        assert value.expires_at is not None


async def test_bad_input(served: statekeep.Connection) -> None:
    memory = statekeep.connect("memory:")
    store, records = StatekeepByteStore(memory), StatekeepRecordManager("s", memory)
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("session_id", lambda: StatekeepChatMessageHistory("", served)),
        ("session_id", lambda: StatekeepChatMessageHistory(None, served)),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepChatMessageHistory("a", served, namespace="text")),
        ("ttl", lambda: StatekeepChatMessageHistory("a", served, ttl=0)),
        ("serializer", lambda: StatekeepChatMessageHistory("a", served, serializer=json)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepChatMessageHistory("a", served.items)),  # type: ignore[arg-type]
        ("url", lambda: StatekeepChatMessageHistory.from_url("a", "nowhere")),
        ("session_id", lambda: StatekeepChatMessageHistory.from_url("", "embedded:")),
        ("namespace", lambda: StatekeepLLMCache(served, namespace=("",))),
        ("ttl", lambda: StatekeepLLMCache(served, ttl=-1)),
        ("serializer", lambda: StatekeepLLMCache(served, serializer=json)),  # type: ignore[arg-type]
        ("on_error", lambda: StatekeepLLMCache(served, on_error="ignore")),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepLLMCache(served.items)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepLLMCache("memory:")),  # type: ignore[arg-type]
        ("on_error", lambda: StatekeepLLMCache.from_url("embedded:", on_error="no")),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepByteStore(served, namespace="text")),
        ("ttl", lambda: StatekeepByteStore(served, ttl="1")),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepByteStore(None)),  # type: ignore[arg-type]
        ("url", lambda: StatekeepByteStore.from_url("nowhere")),
        ("keys", lambda: store.mget("text")),
        ("keys", lambda: store.mget([3])),  # type: ignore[list-item]
        ("keys", lambda: store.mdelete([None])),  # type: ignore[list-item]
        ("key_value_pairs", lambda: store.mset([("a", "text")])),  # type: ignore[list-item]
        ("key_value_pairs", lambda: store.mset([("b", b"x"), (3, b"")])),  # type: ignore[list-item]
        ("key_value_pairs", lambda: store.mset({"a": b""})),  # type: ignore[arg-type]
        ("prefix", lambda: list(store.yield_keys(prefix=3))),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepRecordManager("", served)),
        ("above", lambda: StatekeepRecordManager("a", served, above="text")),
        ("ttl", lambda: StatekeepRecordManager("a", served, ttl=0)),
        ("keep", lambda: StatekeepRecordManager("a", served.logs)),  # type: ignore[arg-type]
        ("url", lambda: StatekeepRecordManager.from_url("a", "nowhere")),
        ("keys", lambda: records.update("text")),
        ("keys", lambda: records.exists([3])),  # type: ignore[list-item]
        ("group_ids", lambda: records.update(["a", "b"], group_ids=["1"])),
    ]
    for field, make in wrong:
        with pytest.raises(InvalidInput) as refused:
            make()
        assert refused.value.field == field, field
    assert list(store.yield_keys()) == records.list_keys() == []


def test_services_without_them() -> None:
    url = "bedrock-sessions://?region=us-west-2"
    makers: list[tuple[Callable[[], Any], str]] = [
        (lambda: StatekeepChatMessageHistory.from_url("a", url), "logs"),
        (lambda: StatekeepLLMCache.from_url(url), "cache entries"),
        (lambda: StatekeepByteStore.from_url(url), "items"),
        (lambda: StatekeepRecordManager.from_url("a", url), "items"),
    ]
    for make, name in makers:
        with pytest.raises(Unsupported, match=f"no {name}"):
            make()


async def test_both_faces_and_their_repositories_serve(valkey_server: ValkeyServer, prefix: str) -> None:
    async with statekeep.aconnect(valkey_server.url, prefix=prefix) as keep:
        twin = statekeep.connect(valkey_server.url, prefix=prefix)
        async with twin.asyncio:
            keeps: list[Any] = [keep, twin]
            for number, each in enumerate(keeps):
                for logs in (each, each.logs):
                    history = StatekeepChatMessageHistory(f"{number}", logs)
                    history.add_user_message("hi")
                    await history.aadd_messages([AIMessage("hello")])
                assert len(StatekeepChatMessageHistory(f"{number}", twin).messages) == 4
                for items in (each, each.items):
                    store = StatekeepByteStore(items)
                    store.mset([("a", f"{number}".encode())])
                    assert await store.amget(["a"]) == [f"{number}".encode()]
                for cache in (each, each.cache):
                    StatekeepLLMCache(cache).update("p", "m", [Generation(text=f"{number}")])
                    assert await StatekeepLLMCache(twin).alookup("p", "m") == [Generation(text=f"{number}")]


async def test_close(valkey_server: ValkeyServer, served: statekeep.Connection) -> None:
    makers: list[tuple[Callable[..., Any], Callable[..., Any], Callable[[Any], Any]]] = [
        (
            lambda keep: StatekeepChatMessageHistory("ada", keep),
            lambda url: StatekeepChatMessageHistory.from_url("ada", url),
            lambda it: it.messages,
        ),
        (StatekeepLLMCache, StatekeepLLMCache.from_url, lambda it: it.lookup("p", "m")),
        (StatekeepByteStore, StatekeepByteStore.from_url, lambda it: it.mget(["a"])),
        (
            lambda keep: StatekeepRecordManager("r", keep),
            lambda url: StatekeepRecordManager.from_url("r", url),
            lambda it: it.exists(["a"]),
        ),
    ]
    for borrow, own, use in makers:
        with borrow(served) as it:
            use(it)
        await it.aclose()
        use(it)  # the connection is not its own
        with own(valkey_server.url) as it:
            use(it)
        it.close()
        with pytest.raises(statekeep.ClientClosed):
            use(it)
        async with own(valkey_server.url) as it:
            use(it)
        with pytest.raises(statekeep.ClientClosed):
            use(it)
