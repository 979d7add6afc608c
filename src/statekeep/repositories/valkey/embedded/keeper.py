"""The process between an embedded server and its users.

It is started by ``server.py``, and never imported.

It runs with the standard library alone (``python -I -S``), because it must be up within milliseconds. A user is an
open connection to this process: the kernel closes it however the user ends, SIGKILL included, and a forked child
holds a copy. When the last one is closed the server gets SIGTERM, which makes it write what it still holds, and
this process ends as well.

The keeper and the server hold an flock on the directory's ``lock`` file as long as they live, so that no second
server can ever write to the same files, not even after a SIGKILL of the keeper.

The first user hands over the settings, which makes it a user. Any other connection speaks first, with one byte:
``u`` makes it a user, which is answered by one line of JSON; ``w`` asks whether users are left, which is answered by
``.`` if so, or else by the end of the connection once the server has ended.

With ``appendfsync always`` the server answers a write when it is on the disk, and ends without an answer if the disk is
full. It is started again such that it answers reads and refuses writes, and takes them again when there is room.

The process that started this one has checked that no other user can change what is in the directory; see
``directory.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

Settings = dict[str, Any]

LOG_LIMIT = 1 << 20  # bytes; a longer log starts anew with the next server
LOG_TAIL = 2000  # bytes of the log that an error message carries
ROOM = 1 << 20  # bytes that must be free for a server that takes writes to start
ROOM_LIMIT = 1 << 26  # bytes; no more is waited for
ROOM_INTERVAL = 500.0  # milliseconds between looks whether there is room again
ROOM_PATIENCE = 15.0  # seconds; a write of more than ROOM has been given up by then
STOP_TIMEOUT = 15.0  # seconds; a server that cannot write its data (full disk) ignores SIGTERM
PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """The server ended, or did not answer in time, before it was ready."""


class Killed(StartFailed):
    """A signal ended the server before it was ready.

    That says nothing of the next start.
    """


class Server:
    """The valkey-server child process, on a unix socket only."""

    def __init__(self, settings: Settings, path: str, lock: int) -> None:
        self.path = path
        self.settings = settings
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None
        # With other policies the server notices by itself when the disk is full, and when there is room.
        config = settings["config"]
        self.ends_when_full = (config.get("appendonly"), config.get("appendfsync")) == ("yes", "always")
        self.is_full = False
        self.room = ROOM
        self.patient_until = 0.0

    def start(self) -> None:
        if self.process is not None and self.process.returncode >= 0:
            # It ended by itself. If there is room, it is not enough for what somebody wants to write, again and again.
            if time.monotonic() > self.patient_until:
                self.room = ROOM
            elif has_room(self.room):
                self.room = min(self.room * 2, ROOM_LIMIT)
        # A server that died while it rewrote its log leaves a file behind, which may be what fills the disk.
        for left in glob.glob("temp-rewriteaof-*.aof"):
            os.unlink(left)
        self.is_full = self.ends_when_full and not has_room(self.room)
        self.patient_until = time.monotonic() + ROOM_PATIENCE
        with open("server.log", "ab", opener=no_link) as log:
            if log.tell() > LOG_LIMIT:
                log.truncate(0)
            began = log.tell()
            self.process = subprocess.Popen(
                [self.settings["binary"], "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[self.lock],
                preexec_fn=end_with_parent,
            )
            assert self.process.stdin is not None
            with contextlib.suppress(BrokenPipeError), self.process.stdin as configuration:
                configuration.write(self.configuration())
        deadline = time.monotonic() + self.settings["timeout"]
        while not self.answers():
            if (status := self.process.poll()) is not None:
                kind = Killed if status < 0 else StartFailed
                raise kind(f"the server ended with status {status}:\n{log_since(began)}")
            if time.monotonic() > deadline:
                self.stop()
                raise StartFailed(f"the server was not ready after {self.settings['timeout']:g} s:\n{log_since(began)}")
            time.sleep(0.005)

    def configuration(self) -> bytes:
        quoted = "".join(f"\\x{byte:02x}" for byte in os.fsencode(self.path))
        lines = [
            "port 0",
            f'unixsocket "{quoted}"',
            "unixsocketperm 700",
            "daemonize no",
            'logfile ""',
            *(f"{name} {value}" for name, value in self.settings["config"].items()),
        ]
        if self.is_full:
            # Keys that expire are written down, too. That must not end it.
            lines += ["appendfsync no", "min-replicas-to-write 1"]
        return os.fsencode("\n".join(lines) + "\n")

    def answers(self) -> bool:
        """Return whether the server answers PING; while it loads its data it does not."""
        return self.ask(b"PING").startswith(b"+PONG")

    def ask(self, command: bytes) -> bytes:
        """Return the first line of the answer, empty if there was none."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(self.path)
                connection.sendall(command + b"\r\n")
                return connection.recv(64)
            except OSError:
                return b""

    def start_again(self) -> None:
        """Start, or leave that to the next time if this failure proves nothing."""
        try:
            self.start()
        except Killed:
            pass
        except StartFailed:
            # A write for which there is no room can end it before we know that it is ready. That is over when it
            # refuses writes, or when it does not help any more to ask for more room.
            if self.is_full or not self.ends_when_full or self.room == ROOM_LIMIT:
                raise

    def take_writes_again(self) -> None:
        """Let a server that refused writes take them, if there is room."""
        if not self.is_full:
            return
        if time.monotonic() > self.patient_until:
            self.room = ROOM
        if has_room(self.room):
            self.is_full = not self.ask(b"CONFIG SET appendfsync always min-replicas-to-write 0").startswith(b"+OK")

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Users:
    """The connections that keep the server alive, and those that wait for its end."""

    def __init__(self, listener: socket.socket, wakeup: socket.socket) -> None:
        self.listener = listener
        self.wakeup = wakeup
        self.users: list[socket.socket] = []
        self.silent: list[socket.socket] = []
        self.watchers: list[socket.socket] = []

    def wait(self, pause: float | None) -> None:
        """Wait until there is a connection, the end of one, or a signal.

        It also returns when so many milliseconds have passed.
        """
        poll = select.poll()
        for waited in (self.listener, self.wakeup, *self.users, *self.silent):
            poll.register(waited, select.POLLIN)
        poll.poll(pause)
        with contextlib.suppress(BlockingIOError):
            self.wakeup.recv(4096)

    def admit(self, connection: socket.socket, greeting: Settings) -> None:
        connection.setblocking(False)
        tell(connection, greeting)
        self.users.append(connection)

    def sweep(self, greeting: Settings) -> bool:
        """Admit new users, forget those that left; return whether any is left."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.silent.append(self.listener.accept()[0])
        for connection in tuple(self.silent):
            connection.setblocking(False)
            try:
                word = connection.recv(1)
            except BlockingIOError:
                continue
            except OSError:
                word = b""
            self.silent.remove(connection)
            if word == b"u":
                self.admit(connection, greeting)
            elif word == b"w":
                self.watchers.append(connection)
            else:
                connection.close()
        # All users are asked after the watchers were heard: who left before watching is known to have gone.
        for connection in tuple(self.users):
            if gone(connection):
                self.users.remove(connection)
                connection.close()
        if self.users:
            for connection in self.watchers:
                with contextlib.suppress(OSError):
                    connection.send(b".")
                connection.close()
            self.watchers.clear()
        return bool(self.users)

    def close(self) -> None:
        for connection in (*self.users, *self.silent, *self.watchers):
            connection.close()


def gone(connection: socket.socket) -> bool:
    """Return whether the user at the other end has closed the connection."""
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def tell(connection: socket.socket, message: Settings) -> None:
    """Send a message to a user, who may be gone."""
    with contextlib.suppress(OSError):  # a user that ended meanwhile is noticed by the next sweep
        connection.sendall(json.dumps(message).encode() + b"\n")


def end_with_parent() -> None:
    """Have the server get SIGTERM if the keeper dies, on Linux.

    Elsewhere the lock protects.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def no_link(path: str, flags: int) -> int:
    """Open a file for the keeper alone, but not through a symbolic link."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def has_room(size: int) -> bool:
    """Return whether so many bytes can be written to the directory."""
    try:
        with tempfile.TemporaryFile(dir=".") as probe:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(probe.fileno(), 0, size)
                return True
        found = os.statvfs(".")
        return found.f_bavail * found.f_frsize >= size
    except OSError as error:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)


def leave_record(home: str, directory: str) -> None:
    """Tell where the keeper listens; without a record, users look into the directory."""
    try:
        with open("keeper.json.new", "w", opener=no_link) as record:
            json.dump({"keeper": os.path.join(home, "keeper.sock"), "pid": os.getpid()}, record)
        os.replace("keeper.json.new", "keeper.json")
    except OSError as error:
        if home != directory or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def log_since(began: int) -> str:
    """Return the end of what the server has logged since it began."""
    with open("server.log", "rb", opener=no_link) as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(began, size - LOG_TAIL))
        return log.read().decode(errors="replace").strip()


def listen(directory: str) -> tuple[socket.socket, str]:
    """Listen in the directory itself.

    If the path is too long for a unix socket, listen in a short temporary one.

    The name is longer than ``valkey.sock``, so where this one fits, the server's socket fits as well.
    """
    reason: OSError | None = None
    for folder in (directory, tempfile.gettempdir(), "/tmp"):
        home = folder if folder == directory else tempfile.mkdtemp(prefix="statekeep-", dir=folder)
        path = os.path.join(home, "keeper.sock")
        listener = socket.socket(socket.AF_UNIX)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # left by a keeper that was killed; the lock says that it is not alive
            listener.bind(path)
        except OSError as error:
            listener.close()
            if home != directory:
                os.rmdir(home)
            reason = error
            continue
        listener.listen(128)
        listener.setblocking(False)
        return listener, home
    raise StartFailed(f"no unix socket can be made: {reason}")


def keep(settings: Settings, first: socket.socket, lock: int) -> None:
    """Run the server until nobody uses it any more."""
    directory = os.getcwd()
    asleep, wakeup = socket.socketpair()
    asleep.setblocking(False)
    wakeup.setblocking(False)
    terminated: list[int] = []
    signal.set_wakeup_fd(wakeup.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))

    listener, home = listen(directory)
    server = Server(settings, os.path.join(home, "valkey.sock"), lock)
    users = Users(listener, asleep)
    greeting = {"socket": server.path, "config": settings["config"], "keeper": os.getpid()}
    failure = None
    try:
        leave_record(home, directory)
        server.start()
        users.admit(first, greeting)
        while users.sweep(greeting) and not terminated:
            if not server.running():
                if settings["private"]:  # its data died with it, and an empty server must not pass for the old one
                    break
                time.sleep(0.1)
                server.start_again()  # the end of a child wakes us, so this is repeated if it must be
            users.wait(ROOM_INTERVAL if server.is_full else None)
            server.take_writes_again()
    except StartFailed as error:
        failure = {"error": str(error), "full": server.is_full}
    except OSError as error:
        failure = {"error": str(error), "full": error.errno in (errno.ENOSPC, errno.EDQUOT)}
    finally:
        server.stop()
        for name in (server.path, os.path.join(home, "keeper.sock"), "keeper.json", "keeper.json.new"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        if settings["private"]:
            shutil.rmtree(directory)
        if home != directory:
            os.rmdir(home)
    # Those who wait are told by the end of their connections, accepted or not, so everything must be over by then, and
    # the listener closes last: it would reset who has not been accepted yet. Who joined a server
    # that failed to start is not told why: it starts one with its own settings, and hears what they lead to.
    os.close(lock)
    if failure is not None:
        tell(first, failure)
    users.close()
    listener.close()


def main() -> None:
    """Lock the directory, and keep its server in a process of its own."""
    if os.fork():  # the grandchild lives on, so the program that starts it has no child to wait for
        os._exit(0)
    os.umask(0o077)
    first = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(first.makefile("rb").readline())
    lock = no_link("lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell(first, {"busy": True})
        return
    keep(settings, first, lock)


if __name__ == "__main__":
    main()
