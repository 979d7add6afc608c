"""The directory of an embedded server, which no other user can change or prepare."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ....domain.errors import InvalidInput, QuotaExceeded, Unavailable

LOG = "server.log"
RECORD = "keeper.json"
KEEPER_SOCKET = "keeper.sock"
TEMPORARY = "statekeep-"

_FILES = ("lock", LOG, RECORD, f"{RECORD}.new")
_SOCKETS = (KEEPER_SOCKET, "valkey.sock")
_LINKS = 40
_RECORD_LIMIT = 1 << 16  # bytes
_FULL = (errno.ENOSPC, errno.EDQUOT)


def prepared(path: Path, config: Mapping[str, str]) -> Path:
    """Make the directory if it is missing; return its real path if it is safe to use.

    As OpenSSH has it for its files, the directories above must belong to this user or to root, and nobody else may
    write to them, unless they are sticky as ``/tmp`` is. The directory itself and what the server opens in it must
    belong to this user, be writable for nobody else, and be no links.

    Args:
        path: an absolute path; links that this user or root made may be part of it.
        config: settings of the server, which name some of its files.

    Raises:
        InvalidInput: it cannot be used; the message says why, and how to mend it.
        QuotaExceeded: the disk is full.
    """
    with usable(path):
        directory = _walked(path)
        _check_directory(directory)
        for name in (*_FILES, *_SOCKETS):
            _check(directory / name, stat.S_ISSOCK if name in _SOCKETS else stat.S_ISREG)
        data = directory / config.get("appenddirname", "appendonlydir").strip("\"'")
        _check(data, stat.S_ISDIR)
        _check(directory / config.get("dbfilename", "dump.rdb").strip("\"'"), stat.S_ISREG)
        if data.is_dir():
            for entry in data.iterdir():
                _check(entry, stat.S_ISREG)
        return directory


@contextmanager
def usable(directory: Path) -> Iterator[None]:
    """Say which directory it is that an error of the operating system is about."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise QuotaExceeded(f"the disk of {directory} is full: {error.strerror}") from error
        raise InvalidInput(f"{directory} cannot be used: {error.strerror}", field="directory") from error


def open_log(directory: Path) -> int:
    """Open the server's log to append to it; returns the descriptor."""
    return os.open(
        directory / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
    )


def keepers(directory: Path) -> list[str]:
    """Return the sockets at which the directory's keeper may listen, if it has one.

    That is what its record says: a socket in the directory, or in a temporary one of this user. A record that is
    damaged, or that points elsewhere, says nothing. A keeper that found the disk full could not leave a record.
    """
    usual = str(directory / KEEPER_SOCKET)
    recorded = _recorded(directory)
    return [usual] if recorded in (None, usual) else [recorded, usual]


def connect(path: str) -> socket.socket:
    """Connect to a socket of this user.

    Raises:
        OSError: nobody listens there.
        Unavailable: another user does.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
        peer = _peer(connection)
    except BaseException:
        connection.close()
        raise
    if peer not in (None, os.geteuid()):
        connection.close()
        raise Unavailable(f"user {peer} listens at {path}; nothing was sent there")
    return connection


def _recorded(directory: Path) -> str | None:
    try:
        # A power failure can leave an empty record; O_NONBLOCK, because a FIFO would make us wait.
        descriptor = os.open(directory / RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as record:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            found = json.loads(record.read(_RECORD_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    path = found.get("keeper") if isinstance(found, dict) else None
    if not isinstance(path, str) or "\0" in path:
        return None
    try:
        encoded = os.fsencode(path)
        home = Path(path).parent
        is_ours = home == directory or (home.name.startswith(TEMPORARY) and _is_private(home))
    except (OSError, ValueError):
        return None
    return path if is_ours and encoded.endswith(f"/{KEEPER_SOCKET}".encode()) else None


def _is_private(directory: Path) -> bool:
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _peer(connection: socket.socket) -> int | None:
    """Return the user at the other end of a unix socket.

    ``None`` where the system does not tell.
    """
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(uid)
    if sys.platform == "darwin":
        # struct xucred begins with its version and the user; SOL_LOCAL is 0, LOCAL_PEERCRED is 1.
        _, uid = struct.unpack_from("II", connection.getsockopt(0, 1, 76))
        return int(uid)
    return None


def _walked(path: Path) -> Path:
    """Follow a path from the root; make what is missing, check who could replace it."""
    here = Path("/")
    left = list(reversed(path.parts[1:]))
    links = 0
    while left:
        _check_parent(here)
        name = left.pop()
        if name == "..":
            here = here.parent
            continue
        there = here / name
        try:
            found = there.lstat()
        except FileNotFoundError:
            with suppress(FileExistsError):  # another program that uses the directory was faster
                there.mkdir(mode=0o755 if left else 0o700)
            found = there.lstat()
        if not stat.S_ISLNK(found.st_mode):
            here = there
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not _may_own_parents(found.st_uid):
            raise _refused(there, f"is a link of {_user(found.st_uid)}", "name the directory itself")
        target = Path(os.readlink(there))
        if target.is_absolute():
            here = Path("/")
        left.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
    return here


def _check_parent(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is a file")
    if not _may_own_parents(found.st_uid):
        advice = "choose a directory whose parents belong to you or to root"
        raise _refused(path, f"belongs to {_user(found.st_uid)}, who could replace what is below", advice)
    if _is_open(found) and not found.st_mode & stat.S_ISVTX:
        advice = f"run: chmod go-w {path}"
        raise _refused(path, "can be written by other users, who could replace what is below", advice)


def _check_directory(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is a file")
    _check_owner(path, found)
    if _is_open(found):
        raise _refused(path, "can be written by other users", f"run: chmod 700 {path}")


def _check(path: Path, is_right: Callable[[int], bool]) -> None:
    """Check each file that the server or its keeper would open."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise _refused(path, "is a link", "replace it by what it points to")
    if not is_right(found.st_mode):
        raise _refused(path, "is not of the type that it should be", "remove it")
    _check_owner(path, found)
    if _is_open(found):
        raise _refused(path, "can be written by other users", f"run: chmod go-w {path}")


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        owner, own = _user(found.st_uid), _user(os.geteuid())
        raise _refused(path, f"belongs to {owner}, not to {own}, who runs this program", "use a directory of your own")


def _is_open(found: os.stat_result) -> bool:
    """Return whether others may write.

    A group that only the owner is in does not count.
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and found.st_gid != 0 and _has_others(found.st_gid)


def _has_others(group: int) -> bool:
    import grp
    import pwd

    trusted = (0, os.geteuid())
    try:
        members = grp.getgrgid(group).gr_mem
    except KeyError:
        members = []
    return any(
        account.pw_uid not in trusted and (account.pw_gid == group or account.pw_name in members)
        for account in pwd.getpwall()
    )


def _may_own_parents(uid: int) -> bool:
    # Containers and sandboxes show owners who are nobody here, such as that of a mounted folder.
    return uid in (0, os.geteuid()) or not _account(uid) or _is_unmapped(uid)


def _is_unmapped(uid: int) -> bool:
    """Return whether this number stands for all users outside of a user namespace."""
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        return False
    return uid == overflow and not any(int(first) <= uid < int(first) + int(count) for first, _, count in ranges)


def _account(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _user(uid: int) -> str:
    return _account(uid) or f"user {uid}"


def _refused(path: Path, why: str, advice: str) -> InvalidInput:
    return InvalidInput(f"directory cannot be used: {path} {why}; {advice}", field="directory")
