"""What the processes of the fast path have in common: messages, a queue, requests on their way, a leave to go on.

Messages between a process and the task that started it are plain values with their length in front. Both sides are one
interpreter of one version: `marshal` is safe between them and the quickest.
"""

from __future__ import annotations

import marshal
import os
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.s3.fast.requests import Requests
from glacier_provider.stores.s3.fast.sender import ManyAtOnce, Reply
from glacier_provider.stores.s3.fast.shapes import Credentials, from_plain

#: What is in memory at once, beside one file more.
BYTES_ON_THE_WAY = 32 * 1024 * 1024
_STARTED_AT_ONCE = 16
_TOLD_AT_ONCE = 64
_LENGTH = struct.Struct("=I")

#: What an answer says: it is done, and proved; it is not; the store asks for fewer requests; it was not tried.
SENT, REFUSED, THROTTLED, LATER = "sent", "refused", "throttled", "later"
#: In the place of an item's id: the process asks whether it may go on.
MAY_I = -1
#: A leave to go on is good for so many seconds, also of a sleep.
LEAVE_SECONDS = 5.0


class Worker(ABC):
    """Does one kind of work for the task; `tell` gets groups of answers ``(id, word, …)``.

    `needs_leave`: it does nothing that cannot be taken back but shortly after the task was asked whether it may.
    """

    needs_leave = False
    #: Whether it has to know more of an answer's head than its status.
    needs_heads = False

    def __init__(
        self, shape: tuple[Any, ...], credentials: Credentials, tell: Callable[[Any], None], *, rate: float = 0.0
    ) -> None:
        self._requests = Requests(from_plain(shape), credentials)
        self._sender = ManyAtOnce(from_plain(shape).transport, 256, heads=self.needs_heads)
        self._rate_limit = RateLimit(rate)
        self._rate = rate
        self._connections = 1
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._on_the_way = 0
        self._answers: list[tuple[Any, ...]] = []
        self._tell = tell
        self._not_before = 0.0
        self._left_at = 0.0
        self._asked = False

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not len(self._sender)

    def take(self, message: tuple[Any, ...]) -> None:
        """Take work, ``("send", connections, items, leave)``, ``("shape", shape, credentials)`` for what follows, or
        a ``("leave", when)``: the time of `clock` at which it was found that the work goes on."""
        if message[0] == "send":
            self._connections = message[1]
            self._waiting.extend(message[2])
            self._left_at = max(self._left_at, message[3])
        elif message[0] == "leave":
            self._left_at, self._asked = message[1], False
        else:
            self._requests = Requests(from_plain(message[1]), Credentials(*message[2]))

    def turn(self) -> None:
        """Begin what may begin, take what has been answered, and tell it."""
        started = 0
        while self._waiting and started < _STARTED_AT_ONCE and self._may_start():
            self._start(*self._waiting.popleft())
            started += 1
        for item, reply in self._sender.answers(0 if started == _STARTED_AT_ONCE else self._patience()):
            self._judge(item, reply)
        self._go_on()
        if self._answers and (len(self._answers) >= _TOLD_AT_ONCE or not self._waiting):
            self._tell(self._answers)
            self._answers = []
        if not len(self._sender) and self._waiting and (pause := self._not_before - time.monotonic()) > 0:
            time.sleep(min(pause, 0.1))  # the rate allows none yet; not longer, since messages may come

    @abstractmethod
    def _start(self, *item: Any) -> None:
        """Begin with one item; count its bytes as on their way."""

    @abstractmethod
    def _judge(self, item: Any, reply: Reply) -> None:
        """Take the reply to an item's request."""

    @abstractmethod
    def _go_on(self) -> None:
        """Do what is to be done between two turns."""

    def _may_start(self) -> bool:
        if not len(self._sender):
            return self._not_before <= time.monotonic()
        room = self._on_the_way < BYTES_ON_THE_WAY and len(self._sender) < self._connections
        return room and (not self._rate or self._not_before <= time.monotonic())

    def _patience(self) -> float:
        return 0.02 if len(self._sender) < self._connections else 0.2

    def _has_leave(self) -> bool:
        """Whether the task was asked just now; if not, it is asked."""
        if 0 <= clock() - self._left_at < LEAVE_SECONDS:
            return True
        if not self._asked:
            self._asked = True
            self._tell([(MAY_I,)])
        return False

    def _refuse(self, item_id: int, reply: Reply) -> None:
        """Answer that one could not be done; when it is the store that is in trouble, what waits is given back."""
        if not reply.is_throttled:
            self._answers.append((item_id, REFUSED))
            return
        self._answers.append((item_id, THROTTLED))
        self._answers += [(waiting[0], LATER) for waiting in self._waiting]
        self._waiting.clear()


def clock() -> float:
    """Return seconds of a clock that goes on while the machine is suspended, the same for all its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def write_frame(fd: int, message: Any) -> None:
    """Write one message; raise BrokenPipeError when nobody listens any more."""
    data = marshal.dumps(message)
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while len(view):
        view = view[os.write(fd, view) :]


def read_frame(fd: int) -> Any:
    """Return the next message; raise EOFError when there is none and there will be none."""
    return marshal.loads(_read_exactly(fd, _LENGTH.unpack(_read_exactly(fd, _LENGTH.size))[0]))


def _read_exactly(fd: int, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(fd, size)
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
