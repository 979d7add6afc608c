"""A server with a search module, as far as Statekeep asks for one: a real server behind a proxy that answers FT.*.

The module (valkey-search) is in no package, so its commands are answered here, from the HASHes of the real server. What
is asked in any other form than Statekeep's own is refused. The texts of errors, the shapes of replies and the defaults
are those of valkey-search 1.2.
"""

from __future__ import annotations

import fnmatch
import re
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import valkey
from attrs import define, field

Words = list[bytes]

_QUERY = re.compile(
    r"(?P<filter>.*)=>\[KNN (?P<k>\d+) @(?P<field>\w+) \$(?P<parameter>\w+)(?: EF_RUNTIME (?P<effort>\d+))?"
    r" AS (?P<alias>\w+)\]"
)
_CONDITION = re.compile(r"@(?P<field>\w+):\{(?P<tags>[0-9a-z|]+)\}")


class Refused(Exception):
    """What the module would not do, or what Statekeep should not ask for."""


class Simple(str):
    """A status, such as OK."""


@define
class TagField:
    separator: str = ","
    case_sensitive: bool = False

    def tags(self, value: str) -> set[str]:
        found = {tag.strip() for tag in value.split(self.separator)} - {""}
        return found if self.case_sensitive else {tag.lower() for tag in found}


@define
class VectorField:
    algorithm: str
    options: dict[str, str]

    @property
    def dims(self) -> int:
        return int(self.options["DIM"])


@define
class Index:
    """An index, as FT.CREATE defined it."""

    name: str
    prefix: str
    fields: dict[str, TagField | VectorField]
    hidden: dict[bytes, tuple[Any, ...]] = field(factory=dict)
    """Keys that were there before the index, as they were: they are found only when the backfill is over."""


def _number(value: str, least: int, most: int, what: str) -> int:
    if not re.fullmatch(r"-?\d+", value) or not least <= int(value) <= most:
        raise Refused(f"{what}: Value out of range: {value}")
    return int(value)


class _Words:
    """The words of a command, taken one after the other."""

    def __init__(self, words: Sequence[bytes]) -> None:
        self._words = [*words]

    def __len__(self) -> int:
        return len(self._words)

    def raw(self) -> bytes:
        if not self._words:
            raise Refused("Missing argument")
        return self._words.pop(0)

    def text(self) -> str:
        return self.raw().decode()

    def expect(self, *wanted: str) -> None:
        for word in wanted:
            found = self.text()
            if found != word:
                raise Refused(f"Unexpected argument `{found}`, expecting `{word}`")

    def take(self, word: str) -> bool:
        if self._words and self._words[0] == word.encode():
            del self._words[0]
            return True
        return False

    def end(self) -> None:
        if self._words:
            raise Refused(f"Unexpected parameter: {self._words[0]!r}")


def _definition(words: _Words) -> Index:
    name = words.text()
    words.expect("ON", "HASH", "PREFIX", "1")
    prefix = words.text()
    if re.search(r"\{[^}]+\}", prefix):
        raise Refused("PREFIX argument(s) must not contain a hash tag")
    words.expect("SCHEMA")
    fields: dict[str, TagField | VectorField] = {}
    while len(words):
        field_name, kind = words.text(), words.text()
        if kind == "TAG":
            tag = TagField()
            if words.take("SEPARATOR"):
                tag.separator = words.text()
            tag.case_sensitive = words.take("CASESENSITIVE")
            fields[field_name] = tag
        elif kind == "VECTOR":
            fields[field_name] = _vector(words)
        else:
            raise Refused(f"Unknown argument `{kind}`")
    return Index(name, prefix, fields)


def _vector(words: _Words) -> VectorField:
    algorithm, count = words.text(), int(words.text())
    known = {"FLAT": set[str](), "HNSW": {"M", "EF_CONSTRUCTION", "EF_RUNTIME"}}[algorithm]
    options = {}
    for _ in range(count // 2):
        name = words.text()
        if name not in known | {"TYPE", "DIM", "DISTANCE_METRIC"}:
            raise Refused(f"Unexpected argument `{name}`")
        options[name] = words.text()
    if count % 2 or {"TYPE", "DIM", "DISTANCE_METRIC"} - options.keys() or options["TYPE"] != "FLOAT32":
        raise Refused("Missing parameters of a vector field")
    if options["DISTANCE_METRIC"] not in ("COSINE", "IP", "L2"):
        raise Refused(f"Unknown distance metric `{options['DISTANCE_METRIC']}`")
    _number(options["DIM"], 1, 32768, "The dimensions value must be a positive integer")
    for name, most in (("M", 512), ("EF_CONSTRUCTION", 4096), ("EF_RUNTIME", 4096)):
        _number(
            options.setdefault(name, {"M": "16", "EF_CONSTRUCTION": "200", "EF_RUNTIME": "10"}[name]), 1, most, name
        )
    return VectorField(algorithm, options)


def distances(metric: str, query: bytes, vectors: Sequence[bytes]) -> list[float]:
    """As the module computes them, in 32 bits; the smaller, the nearer."""
    matrix = np.array([np.frombuffer(vector, "<f4") for vector in vectors], np.float32)
    wanted = np.frombuffer(query, "<f4")
    if metric == "L2":
        found = np.square(matrix - wanted).sum(axis=1)
    elif metric == "IP":
        found = 1 - matrix @ wanted
    else:
        lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
        found = 1 - np.divide(matrix @ wanted, lengths, out=np.zeros(len(lengths), np.float32), where=lengths > 0)
    return [float(distance) for distance in found]


class Module:
    """The search module of one server.

    Attributes:
        commands: what it was asked, in this order.
        indexes: those that exist, by number of the database and name.
        slow_backfill: whether what was there before an index is found only after :meth:`finish_backfill`.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: dict[int, valkey.Valkey] = {}
        self._lock = threading.RLock()
        self.commands: list[Words] = []
        self.indexes: dict[tuple[int, str], Index] = {}
        self.slow_backfill = False

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def answer(self, words: Words, database: int) -> Any:
        """Do a command, or raise :class:`Refused`."""
        with self._lock:
            self.commands.append(words)
            name, rest = words[0].upper().decode(), _Words(words[1:])
            if name == "COMMAND":
                return [b"FT.SEARCH"]
            if name == "FT._LIST":
                rest.end()
                return [Simple(index) for number, index in self.indexes if number == database]
            if name == "FT.CREATE":
                return self._create(rest, database)
            if name == "FT.DROPINDEX":
                index = self._index(rest, database)
                rest.end()
                del self.indexes[database, index.name]
                return Simple("OK")
            if name == "FT.INFO":
                index = self._index(rest, database)
                rest.end()
                return self._info(index, database)
            if name == "FT.SEARCH":
                return self._search(self._index(rest, database), rest, database)
            raise Refused(f"unknown command '{words[0].decode()}', with args beginning with: ")

    def flushed(self, database: int | None) -> None:
        """Forget the indexes of a database, or all."""
        with self._lock:
            self.indexes = {
                place: index for place, index in self.indexes.items() if database is not None and place[0] != database
            }

    def finish_backfill(self) -> None:
        """Have everything found."""
        with self._lock:
            for index in self.indexes.values():
                index.hidden.clear()

    def _index(self, words: _Words, database: int) -> Index:
        name = words.text()
        if (database, name) not in self.indexes:
            raise Refused(f"Index with name '{name}' not found in database {database}")
        return self.indexes[database, name]

    def _create(self, words: _Words, database: int) -> Simple:
        index = _definition(words)
        if (database, index.name) in self.indexes:
            raise Refused(f"Index {index.name} in database {database} already exists.")
        if self.slow_backfill:
            index.hidden = self._documents(index, database)
        self.indexes[database, index.name] = index
        return Simple("OK")

    def _documents(self, index: Index, database: int) -> dict[bytes, tuple[Any, ...]]:
        """The values of the indexed fields of all keys, except for those that are hidden."""
        client = self._clients.setdefault(database, valkey.Valkey(port=self._port, db=database))
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", index.prefix) + "*"
        found = sorted(set(client.scan_iter(pattern, count=1000, _type="HASH")))
        with client.pipeline(transaction=False) as pipeline:
            for key in found:
                pipeline.hmget(key, [*index.fields])
            documents = {key: tuple(values) for key, values in zip(found, pipeline.execute(), strict=True)}
        return {key: values for key, values in documents.items() if index.hidden.get(key) != values}

    def _info(self, index: Index, database: int) -> list[Any]:
        documents = self._documents(index, database)
        attributes = []
        for position, (name, kind) in enumerate(index.fields.items()):
            start = ["identifier", name, "attribute", name, "user_indexed_memory", 0]
            size = str(sum(values[position] is not None for values in documents.values()))
            if isinstance(kind, TagField):
                case = "1" if kind.case_sensitive else "0"
                start += ["type", "TAG", "SEPARATOR", kind.separator, "CASESENSITIVE", case, "size", size]
            else:
                algorithm: list[Any] = ["name", kind.algorithm]
                if kind.algorithm == "HNSW":
                    for option in ("M", "EF_CONSTRUCTION", "EF_RUNTIME"):
                        algorithm += [option.lower(), int(kind.options[option])]
                else:
                    algorithm += ["block_size", 1024]
                details = ["capacity", 10240, "dimensions", kind.dims, "distance_metric"]
                details += [kind.options["DISTANCE_METRIC"], "size", size, "data_type", "FLOAT32"]
                start += ["type", "VECTOR", "index", [*details, "algorithm", algorithm]]
            attributes.append(start)
        under_way = bool(index.hidden)
        return [
            *("index_name", index.name),
            *("index_definition", ["key_type", "HASH", "prefixes", [index.prefix], "default_score", "1"]),
            *("attributes", attributes),
            *("num_docs", len(documents), "num_records", len(documents) * len(index.fields)),
            *("total_term_occurrences", 0, "num_terms", 0, "hash_indexing_failures", "0"),
            *("backfill_in_progress", str(int(under_way))),
            *("backfill_complete_percent", "0.500000" if under_way else "1.000000"),
            *("mutation_queue_size", "0", "recent_mutations_queue_delay", "0 sec"),
            *("state", "backfill_in_progress" if under_way else "ready", "language", "english"),
        ]

    def _search(self, index: Index, words: _Words, database: int) -> list[Any]:
        query = words.text()
        if len(query.encode()) > 10_240:
            raise Refused("Query string is too long, max length is 10240 bytes.")
        parts = _QUERY.fullmatch(query)
        if parts is None:
            raise Refused(f"Invalid query string syntax: {query}")
        words.expect("PARAMS", "2", parts["parameter"])
        vector = words.raw()
        words.expect("RETURN", "1", parts["alias"])
        first, most = 0, 10
        if words.take("LIMIT"):
            first, most = int(words.text()), int(words.text())
        words.expect("DIALECT", "2")
        words.end()
        k = _number(parts["k"], 1, 10_000, "KNN parameter must be a positive integer and cannot exceed 10000")
        if parts["effort"] is not None:
            _number(parts["effort"], 1, 4096, "`EF_RUNTIME` must be a positive integer and cannot exceed 4096")
        kind = index.fields.get(parts["field"])
        if not isinstance(kind, VectorField):
            raise Refused(f"Index field `{parts['field']}` does not exist")
        if len(vector) != 4 * kind.dims:
            raise Refused(
                f"Error parsing vector similarity parameters: query vector blob size ({len(vector)}) does not match "
                f"index's expected size ({4 * kind.dims})."
            )
        found = self._matching(index, parts["filter"], database, parts["field"])
        if not found:
            return [0]
        near = distances(kind.options["DISTANCE_METRIC"], vector, list(found.values()))
        hits = sorted(zip(near, found, strict=True))[:k]
        reply: list[Any] = [len(hits)]
        for distance, key in hits[first : first + most]:
            reply += [key, [parts["alias"], f"{distance:.12g}"]]
        return reply

    def _matching(self, index: Index, filter: str, database: int, vector: str) -> dict[bytes, bytes]:
        names = [*index.fields]
        conditions: list[tuple[TagField, int, set[str]]] = []
        if filter != "*":
            if not filter.startswith("(") or not filter.endswith(")"):
                raise Refused(f"Invalid filter expression: `{filter}`")
            for text in filter[1:-1].split(" "):
                condition = _CONDITION.fullmatch(text)
                if condition is None:
                    raise Refused(f"Invalid filter expression: `{filter}`")
                kind = index.fields.get(condition["field"])
                if not isinstance(kind, TagField):
                    raise Refused(f"`{condition['field']}` is not indexed as a tag field")
                conditions.append((kind, names.index(condition["field"]), set(condition["tags"].split("|"))))
        size = index.fields[vector].dims * 4  # type: ignore[union-attr]
        place = names.index(vector)
        return {
            key: values[place]
            for key, values in self._documents(index, database).items()
            if values[place] is not None
            and len(values[place]) == size
            and all(kind.tags((values[at] or b"").decode()) & wanted for kind, at, wanted in conditions)
        }


# -- the wire


def _line(data: bytearray, at: int) -> tuple[bytes, int] | None:
    end = data.find(b"\r\n", at)
    return None if end < 0 else (bytes(data[at + 1 : end]), end + 2)


def frame_end(data: bytearray, at: int = 0) -> int | None:
    """Where a message of RESP2 or RESP3 ends; ``None`` if its end has not come yet."""
    found = _line(data, at)
    if found is None:
        return None
    head, end = found
    kind = bytes(data[at : at + 1])
    if kind in (b"$", b"=", b"!"):
        size = int(head)
        return end if size < 0 else end + size + 2 if len(data) >= end + size + 2 else None
    count = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}.get(kind, 0) * (int(head) if head.isdigit() else 0)
    for _ in range(count + (kind == b"|")):
        following = frame_end(data, end)
        if following is None:
            return None
        end = following
    return end


def _words(data: bytearray) -> Words:
    """The words of a command, which is an array of bulk strings."""
    found = []
    head, at = _line(data, 0) or (b"", 0)
    for _ in range(int(head)):
        size, at = _line(data, at) or (b"", 0)
        found.append(bytes(data[at : at + int(size)]))
        at += int(size) + 2
    return found


def encoded(reply: Any) -> bytes:
    """A reply as the module's array, integer or string."""
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, Simple):
        return b"+%s\r\n" % reply.encode()
    data = reply.encode() if isinstance(reply, str) else reply
    return b"$%d\r\n%s\r\n" % (len(data), data)


class _Connection:
    """One connection of a client, with one of its own to the server."""

    def __init__(self, client: socket.socket, server: socket.socket, module: Module) -> None:
        self._client = client
        self._server = server
        self._module = module
        self._database = 0
        self._from_server = bytearray()

    def serve(self) -> None:
        data = bytearray()
        while chunk := self._client.recv(1 << 18):
            data += chunk
            replies = bytearray()
            # Commands for the server that follow each other go there together, as the client sent them.
            forwarded = bytearray()
            waiting = 0
            while data and (end := frame_end(data)) is not None:
                frame = data[:end]
                del data[:end]
                words = _words(frame)
                answer = self._own_answer(words)
                if answer is None:
                    forwarded += frame
                    waiting += 1
                else:
                    replies += self._exchange(forwarded, waiting) + answer
                    forwarded, waiting = bytearray(), 0
            self._client.sendall(replies + self._exchange(forwarded, waiting))

    def _own_answer(self, words: Words) -> bytes | None:
        name = words[0].upper()
        if name == b"SELECT":
            self._database = int(words[1])
        elif name in (b"FLUSHALL", b"FLUSHDB"):
            self._module.flushed(None if name == b"FLUSHALL" else self._database)
        asked = b" ".join(words[:-1]).upper() == b"COMMAND LIST FILTERBY PATTERN"
        if name.startswith(b"FT.") or (asked and fnmatch.fnmatch("ft.search", words[-1].decode().lower())):
            try:
                return encoded(self._module.answer(words, self._database))
            except Refused as error:
                return b"-%s\r\n" % str(error).encode()
        return None

    def _exchange(self, frames: bytearray, count: int) -> bytes:
        """Send commands to the server, and return what it answers to them."""
        if not count:
            return b""
        self._server.sendall(frames)
        end = 0
        while count:
            following = frame_end(self._from_server, end) if len(self._from_server) > end else None
            if following is None:
                chunk = self._server.recv(1 << 18)
                if not chunk:
                    raise ConnectionError("the server hung up")
                self._from_server += chunk
            else:
                count -= self._from_server[end : end + 1] != b">"  # nobody asked for that
                end = following
        answer = bytes(self._from_server[:end])
        del self._from_server[:end]
        return answer


class SearchResponder:
    """A proxy on a port of 127.0.0.1 that makes a server one with a search module.

    It answers one command after the other. Transactions and scripts with FT.* in them, and pub/sub, are beyond it.

    Attributes:
        port: of the proxy.
        module: the module.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._closed = False
        self.port: int = self._listener.getsockname()[1]
        self.module = Module(target)

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.setblocking(True)
            server = socket.create_connection(("127.0.0.1", self._target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            self._run(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        try:
            _Connection(client, server, self.module).serve()
        except OSError:
            pass  # one end hung up: so does the other
        finally:
            for end in (client, server):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already

    def _run(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._threads[0].join()
        self._listener.close()
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already
        for thread in self._threads[1:]:
            thread.join()
        for end in self._sockets:
            end.close()
        self.module.close()
