"""Sending requests with libcurl: one at a time by a thread of its own, or many at once by one thread."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from glacier_provider.stores.s3.fast.shapes import Transport

#: Large enough for few calls, small enough for a processor's cache: what was received is hashed and written next.
_BUFFER = 256 * 1024
#: What is taken of any answer's body: S3's errors have less.
_FEW_WORDS = 64 * 1024
TOO_LONG = 1
_STATUS = re.compile(rb"(?m)^HTTP/[\d.]+ (\d{3})")


Take = Callable[[Callable[[], "Reply"], bytes], bool]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, signed. `headers` are lines; `body` None is none.

    Of an answer whose body has more than `most` bytes nothing is believed; None: it is a few words, or goes elsewhere.
    """

    method: str
    url: str
    headers: list[str]
    body: bytes | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, the body in pieces as they came.

    `status` 0: no answer, and `trouble` says why; `TOO_LONG`: one that had more bytes than are believed.
    """

    status: int
    head: bytes
    body: list[bytes]
    trouble: str = ""

    def header(self, name: str) -> str | None:
        """Return a header of the last answer (a proxy's or an interim one may stand before it)."""
        found = re.findall(rb"(?im)^" + re.escape(name).encode() + rb":[ \t]*([^\r\n]*?)[ \t]*\r?$", self.head)
        return found[-1].decode("latin-1") if found else None

    @property
    def is_throttled(self) -> bool:
        """Whether the store, or the way to it, asks for fewer requests or is in trouble: not this request's fault."""
        return self.status in (0, 408, 429) or self.status >= 500


def a_handle(transport: Transport, pycurl: Any) -> Any:
    """Return a new libcurl handle for requests by this way; it keeps its connection."""
    handle = pycurl.Curl()
    for option, value in _options(transport, pycurl):
        handle.setopt(option, value)
    return handle


def _options(transport: Transport, pycurl: Any) -> Iterator[tuple[Any, Any]]:
    yield pycurl.NOSIGNAL, 1
    yield pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1
    yield pycurl.FOLLOWLOCATION, 0
    yield pycurl.PATH_AS_IS, 1
    yield pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
    yield pycurl.CONNECTTIMEOUT_MS, int(transport.connect_timeout * 1000)
    yield pycurl.LOW_SPEED_LIMIT, 1
    yield pycurl.LOW_SPEED_TIME, max(1, round(transport.read_timeout))
    yield pycurl.TCP_KEEPALIVE, 1
    yield pycurl.PROXY, transport.proxy
    yield pycurl.NOPROXY, ""
    yield pycurl.BUFFERSIZE, _BUFFER
    if hasattr(pycurl, "UPLOAD_BUFFERSIZE"):  # not with libcurl 7.61, which RHEL 8 and the wheel of pycurl 7.45.3 have
        yield pycurl.UPLOAD_BUFFERSIZE, _BUFFER
    if transport.ca_file is None:
        yield pycurl.SSL_VERIFYPEER, 0
        yield pycurl.SSL_VERIFYHOST, 0
    else:
        yield pycurl.CAINFO, transport.ca_file
    if transport.certificate:
        yield pycurl.SSLCERT, transport.certificate
    if transport.certificate_key:
        yield pycurl.SSLKEY, transport.certificate_key


class _Answering:
    """A handle with what comes back to it; of the head nothing but the status, unless it is wanted."""

    __slots__ = ("body", "handle", "head", "method", "room", "sends")

    def __init__(self, transport: Transport, pycurl: Any, *, heads: bool = True) -> None:
        self.handle = a_handle(transport, pycurl)
        self.head = bytearray()
        self.body: list[bytes] = []
        self.method = ""
        self.room = 0
        self.sends = False
        if heads:
            self.handle.setopt(pycurl.HEADERFUNCTION, self.head.extend)
        self.handle.setopt(pycurl.WRITEFUNCTION, self.take)

    def prepare(self, request: Request, pycurl: Any) -> None:
        self.head.clear()
        self.body.clear()
        self.room = max(_FEW_WORDS, request.most or 0)  # also for an error's words
        handle = self.handle
        handle.setopt(pycurl.URL, request.url)
        handle.setopt(pycurl.HTTPHEADER, request.headers)
        if request.body is not None:
            handle.setopt(pycurl.POSTFIELDS, request.body)
            self.sends = True
        elif self.sends or not self.method:
            handle.setopt(pycurl.HTTPGET, 1)
            self.sends = False
        if request.method != self.method:
            handle.setopt(pycurl.CUSTOMREQUEST, request.method)
            self.method = request.method

    def take(self, data: bytes) -> int | None:
        self.room -= len(data)
        if self.room < 0:
            return -1  # libcurl ends the request
        self.body.append(data)
        return None

    def reply_so_far(self) -> Reply:
        """Return the head of an answer whose body is on its way: libcurl cannot be asked meanwhile."""
        found = _STATUS.findall(self.head)
        return Reply(int(found[-1]) if found else 0, bytes(self.head), [])

    def reply(self, pycurl: Any, trouble: str = "") -> Reply:
        """Return what came back, and let go of what was sent: the handle would keep it until its next request."""
        status = 0 if trouble else self.handle.getinfo(pycurl.RESPONSE_CODE)
        if self.room < 0:
            status = TOO_LONG
        if self.sends:
            self.handle.setopt(pycurl.POSTFIELDS, b"")
        return Reply(status, bytes(self.head), self.body.copy(), trouble)


class OneByOne:
    """A connection that answers one request after the other; for one thread."""

    def __init__(self, transport: Transport) -> None:
        import pycurl

        self._pycurl = pycurl
        self._answering = _Answering(transport, pycurl)

    def send(self, request: Request, take: Take | None = None) -> Reply:
        """Send and wait for the answer; other threads run meanwhile.

        `take` gets each piece of the answer's body, instead of the answer, and what tells the answer's head; it
        returns whether it wants more. What it raises ends the request and is raised here.
        """
        self._answering.prepare(request, self._pycurl)
        failed: list[BaseException] = []
        if take is not None:
            self._answering.handle.setopt(self._pycurl.WRITEFUNCTION, self._passing_on(take, failed))
        trouble = ""
        try:
            self._answering.handle.perform()
        except self._pycurl.error as exc:
            trouble = f"libcurl: {exc.args[1]} ({exc.args[0]})"
        finally:
            if take is not None:
                self._answering.handle.setopt(self._pycurl.WRITEFUNCTION, self._answering.take)
        if failed:
            raise failed[0]
        return self._answering.reply(self._pycurl, trouble)

    def _passing_on(self, take: Take, failed: list[BaseException]) -> Callable[[bytes], int]:
        def write(data: bytes) -> int:
            try:
                return len(data) if take(self._answering.reply_so_far, data) else -1
            except BaseException as exc:  # noqa: BLE001
                failed.append(exc)  # libcurl would only tell that something was wrong
                return -1

        return write


class ManyAtOnce:
    """Up to `connections` requests at once; for one thread. Answers have a head where `heads` are wanted.

    libcurl tells which sockets it waits for and is told which of them are ready, so that what is waiting costs nothing:
    https://curl.se/libcurl/c/curl_multi_socket_action.html
    """

    def __init__(self, transport: Transport, connections: int, *, heads: bool = True) -> None:
        import pycurl

        self._pycurl = pycurl
        self._transport, self._heads = transport, heads
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._wake_after)
        self._sockets = select.epoll()
        self._watched: set[int] = set()
        self._wake_at: float | None = None
        self._idle: list[_Answering] = []
        self._busy: dict[Any, tuple[_Answering, Any]] = {}

    def __len__(self) -> int:
        """Return how many requests are on their way."""
        return len(self._busy)

    def start(self, request: Request, token: Any) -> None:
        """Begin a request; `token` comes back with its answer."""
        answering = self._idle.pop() if self._idle else self._new()
        answering.prepare(request, self._pycurl)
        self._busy[answering.handle] = (answering, token)
        self._multi.add_handle(answering.handle)

    def answers(self, seconds: float) -> Iterator[tuple[Any, Reply]]:
        """Yield what has been answered; wait up to `seconds` for something to happen."""
        self._work(seconds)
        queued = 1
        while queued:
            queued, good, bad = self._multi.info_read()
            for handle in good:
                yield self._ended(handle, "")
            for handle, number, words in bad:
                yield self._ended(handle, f"libcurl: {words} ({number})")

    def _work(self, seconds: float) -> None:
        now = time.monotonic()
        if self._wake_at is not None and self._wake_at <= now:
            self._wake_at = None
            self._multi.socket_action(self._pycurl.SOCKET_TIMEOUT, 0)
            seconds = 0  # what was begun is on its way first
        elif self._wake_at is not None:
            seconds = min(seconds, self._wake_at - now)
        for socket, events in self._sockets.poll(seconds):
            ready = (self._pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0) | (
                self._pycurl.CSELECT_OUT if events & ~select.EPOLLIN else 0
            )
            self._multi.socket_action(socket, ready)

    def _watch(self, what: int, socket: int, *_: Any) -> None:
        """libcurl waits for a socket, for something else on it, or no longer for it."""
        if what == self._pycurl.POLL_REMOVE:
            with suppress(OSError):  # it is closed already
                self._sockets.unregister(socket)
            self._watched.discard(socket)
            return
        events = (select.EPOLLIN if what & self._pycurl.POLL_IN else 0) | (
            select.EPOLLOUT if what & self._pycurl.POLL_OUT else 0
        )
        if socket in self._watched:
            self._sockets.modify(socket, events)
        else:
            self._sockets.register(socket, events)
            self._watched.add(socket)

    def _wake_after(self, milliseconds: int) -> None:
        self._wake_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _new(self) -> _Answering:
        return _Answering(self._transport, self._pycurl, heads=self._heads)

    def _ended(self, handle: Any, trouble: str) -> tuple[Any, Reply]:
        answering, token = self._busy.pop(handle)
        reply = answering.reply(self._pycurl, trouble)
        self._multi.remove_handle(handle)
        self._idle.append(answering)
        return token, reply
