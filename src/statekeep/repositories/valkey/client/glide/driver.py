"""Requests through Valkey GLIDE: two packages, glide_sync (blocking) and glide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...requests import Arg, Ask, Call, Commands, Reply, Request, Scan, Script, words_of
from ..clock import within
from ..driver import as_resp2
from ..errors import CommandError, meaning_of

Address = tuple[str, int]

# The client refuses more than 1000 requests at a time, it does not queue them. What was cancelled or timed out here
# is still under way in there, hence the distance.
MOST: Final = 256

SCAN_COUNT: Final = "1000"

# A caller waits somewhat longer than the client itself, so that the client's own error comes first.
SLACK: Final = 1.0

# A node that is chosen at random is asked for its address. It may be the one that gives no answers.
TRIES: Final = 5
TRY: Final = 0.25


def _scan(cursor: Arg, pattern: str) -> list[Arg]:
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", "HASH"]


def _batch(package: Any, cluster: bool, commands: Sequence[Sequence[Arg]]) -> Any:
    batch = package.ClusterBatch(is_atomic=False) if cluster else package.Batch(is_atomic=False)
    for command in commands:
        batch.custom_command(list(words_of(command)))
    return batch


# A batch of one command takes a shorter way through the client than the command alone. It also comes back at once when
# a cluster refuses it, and not when the client's own attempts have used up the time.
def _script_batch(package: Any, cluster: bool, *command: Arg, keys: Sequence[str], args: Sequence[Arg]) -> Any:
    return _batch(package, cluster, [[*command, str(len(keys)), *keys, *args]])


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, Exception) and "noscript" in str(reply).lower()


def _route(package: Any, cluster: bool, near: str) -> dict[str, Any]:
    return {"route": package.SlotKeyRoute(package.SlotType.PRIMARY, near)} if cluster else {}


def _reply(reply: Any) -> Reply:
    if isinstance(reply, Exception):
        raise reply
    return as_resp2(reply)


def _replies(commands: Sequence[Sequence[Arg]], replies: Sequence[Any]) -> list[Reply]:
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, Exception):
            raise CommandError(reply, command) from reply
    return [as_resp2(reply) for reply in replies]


def _where(config: Any) -> str:
    return ",".join(
        getattr(address, "unix_socket_path", None) or f"{address.host}:{address.port}" for address in config.addresses
    )


def _who(package: Any) -> tuple[Any, Any]:
    """Return the question for the address of a node, and how to ask it."""
    options = package.ClusterBatchOptions(timeout=milliseconds(TRY), route=package.RandomNode())
    return _batch(package, True, [["CLUSTER", "SLOTS"], ["CLUSTER", "MYID"]]), options


def _probe(package: Any, cluster: bool, request: Request, seconds: float) -> tuple[Any, Any]:
    """Return a question to each node that has to answer ``request``.

    With it comes how to ask it.
    """
    keys: Sequence[Arg] = []
    match request:
        case Call(_, names, _):
            keys = names
        case Commands(commands):
            keys = [key for command in commands for key in command[1:2]]
        case Ask(_, near):
            keys = [near]
        case Scan(_):
            pass
    options = (package.ClusterBatchOptions if cluster else package.BatchOptions)(timeout=milliseconds(seconds))
    return _batch(package, cluster, [["EXISTS", key] for key in keys or [""]]), options


def _are_answers(replies: Sequence[Any]) -> bool:
    # A refusal is an answer, too.
    return not any(isinstance(reply, Exception) and _is_failure(reply) for reply in replies)


def _is_failure(error: Exception) -> bool:
    meaning = meaning_of(error)
    return meaning is None or meaning.retry


def milliseconds(seconds: float) -> int:
    """Return seconds as whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))


def _address(slots: Reply, me: Reply) -> Address | None:
    """Return the address of a node, as clients of the cluster know it.

    It is found by the node's id in the slots of all.
    """
    for _, _, *nodes in slots:
        for host, port, node, *_ in nodes:
            # It leaves out a name that it does not know, or says "?".
            if node == me and host and host != b"?":
                return host.decode(), port
    return None


def _limit(config: Any) -> int:
    return max(1, min(MOST, (getattr(config, "inflight_requests_limit", None) or 1000) // 2))


class Sync:
    """A ``glide_sync.GlideClient`` or ``GlideClusterClient``."""

    def __init__(self, client: Any, patience: float) -> None:
        import glide_sync

        self._client = client
        self._package: Any = glide_sync
        self.cluster = isinstance(client, glide_sync.GlideClusterClient)
        config = client._config  # noqa: SLF001 - told nowhere else
        self.patience = patience
        self.limit = _limit(config)
        self.server = _where(config)

    def perform(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                return self._call(script, keys, args)
            case Commands(commands):
                if not commands:
                    return []
                batch = _batch(self._package, self.cluster, commands)
                return _replies(commands, self._client.exec(batch, raise_on_error=False))
            case Scan(pattern):
                return self._scan_cluster(pattern) if self.cluster else self._scan(pattern)
            case Ask(command, near):
                route = _route(self._package, self.cluster, near)
                return as_resp2(self._client.custom_command(list(command), **route))

    def _call(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Reply:
        batch = _script_batch(self._package, self.cluster, "EVALSHA", script.sha, keys=keys, args=args)
        [reply] = self._client.exec(batch, raise_on_error=False)
        if _is_unknown_script(reply):
            batch = _script_batch(self._package, self.cluster, "EVAL", script.source, keys=keys, args=args)
            [reply] = self._client.exec(batch, raise_on_error=False)
        return _reply(reply)

    def _scan(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            cursor, keys = as_resp2(self._client.custom_command(_scan(cursor, pattern)))
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return list(found)

    def _scan_cluster(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor = self._package.ClusterScanCursor()
        while not cursor.is_finished():
            cursor, keys = self._client.scan(
                cursor, match=pattern, count=int(SCAN_COUNT), type=self._package.ObjectType.HASH
            )
            found.update(dict.fromkeys(keys))
        return list(found)

    def living(self) -> Address | None:
        """Ask for the address of a node of the cluster that answers."""
        batch, options = _who(self._package)
        for _ in range(TRIES):
            try:
                slots, me = self._client.exec(batch, raise_on_error=True, options=options)
                return _address(as_resp2(slots), as_resp2(me))
            except self._package.GlideError:
                continue
        return None

    def answers(self, request: Request, seconds: float) -> bool:
        """Return whether the nodes that ``request`` is for answer."""
        batch, options = _probe(self._package, self.cluster, request, seconds)
        try:
            return _are_answers(self._client.exec(batch, raise_on_error=False, options=options))
        except self._package.GlideError:
            return False

    def close(self) -> None:
        self._client.close()


class Async:
    """A ``glide.GlideClient`` or ``GlideClusterClient``, of one event loop."""

    def __init__(self, client: Any, patience: float) -> None:
        import glide

        self._client = client
        self._package: Any = glide
        # Answers are lost when the loop that reads them has ended; a request would wait for ever.
        self.patience = patience
        self.cluster = isinstance(client, glide.GlideClusterClient)
        self.limit = _limit(client.config)
        self.server = _where(client.config)

    async def perform(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                async with within(self.patience):
                    return await self._call(script, keys, args)
            case Commands(commands):
                if not commands:
                    return []
                batch = _batch(self._package, self.cluster, commands)
                async with within(self.patience):
                    replies = await self._client.exec(batch, raise_on_error=False)
                return _replies(commands, replies)
            case Scan(pattern):
                return await (self._scan_cluster(pattern) if self.cluster else self._scan(pattern))
            case Ask(command, near):
                route = _route(self._package, self.cluster, near)
                async with within(self.patience):
                    return as_resp2(await self._client.custom_command(list(command), **route))

    async def _call(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Reply:
        batch = _script_batch(self._package, self.cluster, "EVALSHA", script.sha, keys=keys, args=args)
        [reply] = await self._client.exec(batch, raise_on_error=False)
        if _is_unknown_script(reply):
            batch = _script_batch(self._package, self.cluster, "EVAL", script.source, keys=keys, args=args)
            [reply] = await self._client.exec(batch, raise_on_error=False)
        return _reply(reply)

    async def _scan(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            async with within(self.patience):
                reply = await self._client.custom_command(_scan(cursor, pattern))
            cursor, keys = as_resp2(reply)
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return list(found)

    async def _scan_cluster(self, pattern: str) -> list[bytes]:
        found: dict[bytes, None] = {}
        cursor = self._package.ClusterScanCursor()
        while not cursor.is_finished():
            async with within(self.patience):
                cursor, keys = await self._client.scan(
                    cursor, match=pattern, count=int(SCAN_COUNT), type=self._package.ObjectType.HASH
                )
            found.update(dict.fromkeys(keys))
        return list(found)

    async def living(self) -> Address | None:
        """Ask for the address of a node of the cluster that answers."""
        batch, options = _who(self._package)
        for _ in range(TRIES):
            try:
                async with within(self.patience):
                    slots, me = await self._client.exec(batch, raise_on_error=True, options=options)
                return _address(as_resp2(slots), as_resp2(me))
            except (self._package.GlideError, TimeoutError):
                continue
        return None

    async def answers(self, request: Request, seconds: float) -> bool:
        """Return whether the nodes that ``request`` is for answer."""
        batch, options = _probe(self._package, self.cluster, request, seconds)
        try:
            async with within(seconds + SLACK):
                replies = await self._client.exec(batch, raise_on_error=False, options=options)
            return _are_answers(replies)
        except (self._package.GlideError, TimeoutError):
            return False

    async def close(self) -> None:
        await self._client.close()


def patience_of(config: Any, deadline: float) -> float:
    """Return the seconds to wait for an answer of a client that the user made."""
    return max(deadline, (config.request_timeout or 250) / 1000) + SLACK
