"""Forked children for what a test cannot do to its own process: die at a chosen call, lose privileges, fill a disk."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import struct
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 0x1000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_SYS_CAPSET = 126 if os.uname().machine == "x86_64" else 91


class Cannot(Exception):
    """This machine does not let a child do what a test needs."""


def in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked child; return its picklable result or raise what it raised; skip the test on `Cannot`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, _answer(work))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    good, value = pickle.loads(answer)
    if good:
        return value
    if isinstance(value, Cannot):
        pytest.skip(str(value))
    raise value


def _answer(work: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps((True, work()))
    except BaseException as exc:
        exc.add_note(traceback.format_exc())
        return pickle.dumps((False, exc))


Call = tuple[Any, str]


def killed_at_each_call(calls: list[Call], work: Callable[[], Any]) -> Iterator[str]:
    """Yield after each of a series of children that run `work` and are killed at a later call than the one before.

    `calls` are (module, name of a function); each child dies once before and once after each call. What is yielded
    says where it died. The series ends with the first child that lives to its end. Whoever consumes this puts the
    files back before it asks for the next child.
    """
    for number in range(1, 1000):
        for when in ("before", "after"):
            if not _child_dies_at(calls, work, number, when):
                return
            yield f"{when} call {number}"


def _child_dies_at(calls: list[Call], work: Callable[[], Any], number: int, when: str) -> bool:
    pid = os.fork()
    if pid == 0:
        count = _Countdown(number, when)
        for module, name in calls:
            setattr(module, name, count.wrap(getattr(module, name)))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


class _Countdown:
    def __init__(self, number: int, when: str) -> None:
        self.left = number
        self.when = when

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*args, **kwargs)
            finally:
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call


def drop_privileges() -> None:
    """Give up root's power to pass over permission bits; nothing for an ordinary user."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", 0x20080522, 0)
    if libc.syscall(_SYS_CAPSET, header, bytes(24)) != 0:
        raise Cannot(f"capset: {os.strerror(ctypes.get_errno())}")


def mount_small(directory: os.PathLike[str], *, size: int, inodes: int = 1000) -> None:
    """Mount a tmpfs of `size` bytes over `directory`, in this child's own mount namespace: it ends with the child."""
    options = f"size={size},nr_inodes={inodes},mode=0777".encode()
    _mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, options)


def mount_again(source: os.PathLike[str], directory: os.PathLike[str]) -> None:
    """Mount a directory once more over another one, in this child's own mount namespace: it ends with the child."""
    _mount(os.fsencode(source), os.fsencode(directory), None, _MS_BIND, None)


def _mount(source: bytes, directory: bytes, kind: bytes | None, flags: int, options: bytes | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def require(answer: int) -> None:
        if answer != 0:
            raise Cannot(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")

    if os.geteuid() == 0:
        require(libc.unshare(_CLONE_NEWNS))
    else:
        user, group = os.geteuid(), os.getegid()
        require(libc.unshare(_CLONE_NEWNS | _CLONE_NEWUSER))
        _map_ids(user, group)
    require(libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))
    require(libc.mount(source, directory, kind, flags, options))


def _map_ids(user: int, group: int) -> None:
    """Be root in the new user namespace, and nobody else there."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """Yield a new directory on a file system in memory, where a machine has one: many small files cost little there."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK | os.X_OK):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="files-") as directory:
        yield Path(directory)
