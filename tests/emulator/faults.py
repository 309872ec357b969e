"""Fault injection shared by the emulated services.

A server asks its `FaultPlan` once per event, naming the event and the kinds of fault it can perform there, and carries
out what it is told:

- each API request: `plan.decide("UploadArchive", REQUEST_KINDS, vault="v", description="…")`
- each retrieval that starts: `plan.decide("InitiateJob", RETRIEVAL_KINDS, …)` (for S3: "RestoreObject")
- each batch job: `plan.decide("BatchJob", JOB_KINDS, operation="…")`, each of its tasks: "BatchTask", TASK_KINDS
- each message: `plan.decide("Notification", NOTIFICATION_KINDS, …)`

The plan decides and counts; how a fault looks on the wire is the server's business, with the tools at the
end of this module (`reset_connection`, `faulty_chunks`, `GLACIER_ERRORS`, `S3_ERRORS`).
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong. The value is the name in control requests and in the log."""

    THROTTLING = "throttling"
    INTERNAL_ERROR = "internal_error"  # 500
    UNAVAILABLE = "unavailable"  # 503
    TIMEOUT = "timeout"  # 408
    ACCESS_DENIED = "access_denied"
    POLICY = "policy"  # data retrieval policy (vault)
    CAPACITY = "capacity"  # expedited capacity
    NO_LONGER_SUPPORTED = "no_longer_supported"  # vault service closed to this account
    ERROR = "error"  # any: status, code and message from the rule
    RESET_BEFORE = "reset_before"  # connection reset, the operation had no effect
    RESET_AFTER = "reset_after"  # the operation took effect, the reply is lost
    HANG = "hang"  # wait `seconds`, then work as usual
    HANG_REPLY = "hang_reply"  # take effect, wait `seconds`, then reply
    SLOW_BODY = "slow_body"  # the body takes `seconds`
    TRUNCATE_BODY = "truncate_body"  # the body ends after `at` bytes (default: half of it) and the connection is cut
    CORRUPT_BODY = "corrupt_body"  # the byte `at` (default: the middle one) of the body is flipped
    FAIL_JOB = "fail_job"  # the retrieval that starts here will fail
    EXPIRE_JOB = "expire_job"  # its output expires at the moment it is ready
    LOSE_NOTIFICATION = "lose_notification"
    DUPLICATE_NOTIFICATION = "duplicate_notification"
    HALF_JOB = "half_job"  # a batch job fails after half of its tasks
    LOSE_REPORT = "lose_report"  # it leaves no report
    CUT_REPORT = "cut_report"  # its report ends in the middle
    WRONG_REPORT = "wrong_report"  # its report tells of each object what is true of another one
    FAIL_TASK = "fail_task"  # one object of a batch job fails


ERROR_KINDS = frozenset(
    {
        FaultKind.THROTTLING,
        FaultKind.INTERNAL_ERROR,
        FaultKind.UNAVAILABLE,
        FaultKind.TIMEOUT,
        FaultKind.ACCESS_DENIED,
        FaultKind.POLICY,
        FaultKind.CAPACITY,
        FaultKind.NO_LONGER_SUPPORTED,
        FaultKind.ERROR,
    }
)
BODY_KINDS = frozenset({FaultKind.SLOW_BODY, FaultKind.TRUNCATE_BODY, FaultKind.CORRUPT_BODY})
REQUEST_KINDS = ERROR_KINDS | {
    FaultKind.RESET_BEFORE,
    FaultKind.RESET_AFTER,
    FaultKind.HANG,
    FaultKind.HANG_REPLY,
}
RETRIEVAL_KINDS = frozenset({FaultKind.FAIL_JOB, FaultKind.EXPIRE_JOB})
JOB_KINDS = frozenset(
    {
        FaultKind.FAIL_JOB,
        FaultKind.HALF_JOB,
        FaultKind.LOSE_REPORT,
        FaultKind.CUT_REPORT,
        FaultKind.WRONG_REPORT,
    }
)
TASK_KINDS = frozenset({FaultKind.FAIL_TASK})
NOTIFICATION_KINDS = frozenset({FaultKind.LOSE_NOTIFICATION, FaultKind.DUPLICATE_NOTIFICATION})


@dataclass(frozen=True)
class ErrorAnswer:
    """An error response: HTTP status, the service's error code, and a message."""

    status: int
    code: str
    message: str


GLACIER_ERRORS: Mapping[FaultKind, ErrorAnswer] = {
    FaultKind.THROTTLING: ErrorAnswer(400, "ThrottlingException", "Rate exceeded"),
    FaultKind.INTERNAL_ERROR: ErrorAnswer(500, "ServiceUnavailableException", "The service failed internally."),
    FaultKind.UNAVAILABLE: ErrorAnswer(503, "ServiceUnavailableException", "The service is unavailable."),
    FaultKind.TIMEOUT: ErrorAnswer(408, "RequestTimeoutException", "Request timed out."),
    FaultKind.ACCESS_DENIED: ErrorAnswer(403, "AccessDeniedException", "User is not authorized for this action."),
    FaultKind.POLICY: ErrorAnswer(
        400,
        "PolicyEnforcedException",
        "The retrieval would exceed the data retrieval policy of this account.",
    ),
    FaultKind.CAPACITY: ErrorAnswer(
        503, "InsufficientCapacityException", "There is not enough capacity for this Expedited request."
    ),
    FaultKind.NO_LONGER_SUPPORTED: ErrorAnswer(
        400,
        "NoLongerSupportedException",
        "Amazon Glacier is not available to accounts without Glacier storage.",
    ),
    FaultKind.ERROR: ErrorAnswer(500, "ServiceUnavailableException", "The service failed."),
}

S3_ERRORS: Mapping[FaultKind, ErrorAnswer] = {
    FaultKind.THROTTLING: ErrorAnswer(503, "SlowDown", "Please reduce your request rate."),
    FaultKind.INTERNAL_ERROR: ErrorAnswer(500, "InternalError", "We encountered an internal error. Please try again."),
    FaultKind.UNAVAILABLE: ErrorAnswer(503, "ServiceUnavailable", "The service is unavailable."),
    FaultKind.TIMEOUT: ErrorAnswer(400, "RequestTimeout", "The socket was not read from or written to in time."),
    FaultKind.ACCESS_DENIED: ErrorAnswer(403, "AccessDenied", "Access Denied"),
    FaultKind.POLICY: ErrorAnswer(403, "AccessDenied", "The bucket policy denies this request."),
    FaultKind.CAPACITY: ErrorAnswer(
        503, "GlacierExpeditedRetrievalNotAvailable", "Expedited retrievals are currently not available."
    ),
    FaultKind.NO_LONGER_SUPPORTED: ErrorAnswer(403, "AccessDenied", "The service is closed to this account."),
    FaultKind.ERROR: ErrorAnswer(500, "InternalError", "The service failed."),
}


Predicate = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class FaultRule:
    """When a fault happens, and how it looks.

    An event *matches* if its operation fits the pattern `operation` (shell wildcards), each entry of `when`
    fits the event's context (shell wildcards over the values as text; a missing value does not fit) and
    `predicate`, if any, agrees. Of the matching events the first `after` ones pass; then each is hit, or only
    the `nth` one (1 is the first, counted after `after`), or every `every`-th one; each with `probability`;
    `count` times at most (None: for ever).
    """

    operation: str
    kind: FaultKind
    when: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    nth: int | None = None
    every: int | None = None
    probability: float = 1.0
    count: int | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    seconds: float = 1.0
    at: int | None = None
    predicate: Predicate | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", FaultKind(self.kind))
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability lies between 0 and 1, not at {self.probability}")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FaultRule:
        """Return the rule that a control request describes; raise ValueError if it does not describe one."""
        allowed = {entry.name for entry in fields(cls)} - {"predicate"}
        if unknown := set(document) - allowed:
            raise ValueError(f"unknown fields {sorted(unknown)} in a fault rule; known are {sorted(allowed)}")
        if missing := {"operation", "kind"} - set(document):
            raise ValueError(f"a fault rule needs {sorted(missing)}")
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        """Return the rule without its predicate, as a control answer shows it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "predicate"}

    def matches(self, operation: str, context: Mapping[str, Any]) -> bool:
        """Return whether an event is one of those that this rule counts."""
        if not fnmatch.fnmatchcase(operation, self.operation):
            return False
        for name, pattern in self.when.items():
            if context.get(name) is None or not fnmatch.fnmatchcase(str(context[name]), str(pattern)):
                return False
        return self.predicate is None or self.predicate(context)


@dataclass(frozen=True)
class Fault:
    """A decision: this fault happens now."""

    kind: FaultKind
    rule: FaultRule

    def answer(self, table: Mapping[FaultKind, ErrorAnswer]) -> ErrorAnswer:
        """Return the error response: the service's own, with the rule's status, code and message on top."""
        usual = table[self.kind]
        rule = self.rule
        return ErrorAnswer(rule.status or usual.status, rule.code or usual.code, rule.message or usual.message)

    @property
    def seconds(self) -> float:
        """Return how long a hang or a slow body lasts, in real seconds."""
        return self.rule.seconds


class _Armed:
    """A rule in force, with what it has counted."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.seen = 0
        self.fired = 0

    def strikes(self, chance: random.Random) -> bool:
        self.seen += 1
        rule = self.rule
        position = self.seen - rule.after
        if position < 1 or (rule.count is not None and self.fired >= rule.count):
            return False
        if rule.nth is not None and position != rule.nth:
            return False
        if rule.every is not None and position % rule.every:
            return False
        if rule.probability < 1 and chance.random() >= rule.probability:
            return False
        self.fired += 1
        return True


class FaultPlan:
    """The faults of one or more servers. Thread-safe.

    `seed` makes the probabilities repeatable (for one thread of events). `log_path`: the log is also appended
    to this file, one JSON object a line, and read back from it, so that the counts outlive a killed server.
    Rules live in memory only: a restarted server starts without faults.
    """

    def __init__(self, *rules: FaultRule, seed: int = 0, log_path: Path | str | None = None) -> None:
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._armed: dict[int, _Armed] = {}
        self._chance = random.Random(seed)
        self._log_path = Path(log_path) if log_path is not None else None
        self._log: list[dict[str, Any]] = self._read_log()
        for rule in rules:
            self.add(rule)

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force and return its number, for `remove`."""
        with self._lock:
            number = next(self._ids)
            self._armed[number] = _Armed(rule)
            return number

    def inject(self, operation: str, kind: FaultKind | str, **options: Any) -> int:
        """Add `FaultRule(operation, kind, **options)` and return its number."""
        return self.add(FaultRule(operation, FaultKind(kind), **options))

    def remove(self, number: int) -> None:
        """Take one rule out of force; an unknown number is no error."""
        with self._lock:
            self._armed.pop(number, None)

    def clear(self) -> None:
        """Take all rules out of force. The log stays."""
        with self._lock:
            self._armed.clear()

    def reseed(self, seed: int) -> None:
        """Start the sequence of chances again."""
        with self._lock:
            self._chance = random.Random(seed)

    def decide(
        self, operation: str, kinds: Collection[FaultKind] = REQUEST_KINDS, /, **context: Any
    ) -> tuple[Fault, ...]:
        """Return the faults for one event, in the order of their rules; each one is logged as injected.

        Only rules whose kind is in `kinds` count the event. At most one fault of ERROR_KINDS and resets is returned:
        the first, since a request can fail only once.
        """
        with self._lock:
            struck: list[Fault] = []
            for armed in self._armed.values():
                kind = armed.rule.kind
                if kind not in kinds or not armed.rule.matches(operation, context):
                    continue
                if kind in _FINAL and any(fault.kind in _FINAL for fault in struck):
                    continue
                if armed.strikes(self._chance):
                    struck.append(Fault(kind, armed.rule))
                    self._record(operation, kind, context)
            return tuple(struck)

    def log(self) -> list[dict[str, Any]]:
        """Return the injected faults in order: operation, kind, at (real time, seconds), context."""
        with self._lock:
            return [dict(entry) for entry in self._log]

    def counts(self) -> dict[str, int]:
        """Return how many faults of each kind were injected."""
        with self._lock:
            return dict(Counter(entry["kind"] for entry in self._log))

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules in force with what they have counted."""
        with self._lock:
            return [
                {"id": number, "seen": armed.seen, "fired": armed.fired, **armed.rule.to_json()}
                for number, armed in self._armed.items()
            ]

    def control(self, method: str, path: str, request: Any) -> dict[str, Any]:
        """Obey a control request below `/_emulator/faults` (`path` is what follows) and return the answer.

        POST "" with one rule or a list of rules as JSON; or `{"rules": […], "seed": N, "clear": true}`.
        GET "": the rules. DELETE "": no more faults. GET "/log": `{"counts": {kind: n}, "log": […]}`.
        DELETE "/log": forget the log. Raises ValueError for anything else.
        """
        if path == "/log":
            if method == "DELETE":
                self.forget_log()
            return {"counts": self.counts(), "log": self.log()}
        if path != "" or method not in ("GET", "POST", "DELETE"):
            raise ValueError(f"no control endpoint {method} /_emulator/faults{path}")
        if method == "DELETE":
            self.clear()
        if method == "POST":
            return {"ids": self._accept(request), "rules": self.rules()}
        return {"rules": self.rules()}

    def forget_log(self) -> None:
        """Empty the log, also on disk."""
        with self._lock:
            self._log.clear()
            if self._log_path is not None:
                self._log_path.unlink(missing_ok=True)

    def _accept(self, request: Any) -> list[int]:
        envelope = request if isinstance(request, dict) and "operation" not in request else {"rules": request}
        if unknown := set(envelope) - {"rules", "seed", "clear"}:
            raise ValueError(f"unknown fields {sorted(unknown)}; use rules, seed, clear")
        documents = envelope.get("rules", [])
        rules = [FaultRule.from_json(d) for d in (documents if isinstance(documents, list) else [documents])]
        if envelope.get("clear"):
            self.clear()
        if "seed" in envelope:
            self.reseed(int(envelope["seed"]))
        return [self.add(rule) for rule in rules]

    def _record(self, operation: str, kind: FaultKind, context: Mapping[str, Any]) -> None:
        entry = {
            "operation": operation,
            "kind": str(kind),
            "at": time.time(),
            "context": {name: str(value) for name, value in context.items() if value is not None},
        }
        self._log.append(entry)
        if self._log_path is not None:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            with self._log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")

    def _read_log(self) -> list[dict[str, Any]]:
        if self._log_path is None or not self._log_path.exists():
            return []
        entries = []
        for line in self._log_path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a killed server may leave half a last line
                entries.append(json.loads(line))
        return entries


_FINAL = ERROR_KINDS | {FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER}


def first(faults: Iterable[Fault], kinds: Collection[FaultKind]) -> Fault | None:
    """Return the first fault of one of these kinds, or None."""
    return next((fault for fault in faults if fault.kind in kinds), None)


def reset_connection(connection: socket.socket) -> None:
    """Close a TCP connection with RST, so that the client sees a reset rather than an orderly end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # A handler's rfile and wfile hold the descriptor open, so close() alone would wait for them.
    with contextlib.suppress(OSError):
        descriptor = connection.detach()
        socket.close(descriptor)


class BodyCut(Exception):
    """A truncate_body fault ended a body early: the connection must be cut, the rest never comes."""


def faulty_chunks(
    chunks: Iterable[bytes],
    size: int,
    faults: Collection[Fault],
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[bytes]:
    """Yield a body of `size` bytes as the body faults among `faults` spoil it.

    slow_body spreads its seconds over the chunks; corrupt_body flips one byte; truncate_body raises BodyCut after its
    last byte. Other faults are ignored, so a caller may hand on everything it was told.
    """
    slow, cut, spoil = (
        first(faults, {kind}) for kind in (FaultKind.SLOW_BODY, FaultKind.TRUNCATE_BODY, FaultKind.CORRUPT_BODY)
    )
    end = _place(cut, size) if cut else size + 1
    spot = _place(spoil, size) if spoil else -1
    sent = 0
    for chunk in _paced(chunks, size, slow, sleep):
        if sent <= spot < sent + len(chunk):
            chunk = chunk[: spot - sent] + bytes([chunk[spot - sent] ^ 0xFF]) + chunk[spot - sent + 1 :]
        if sent + len(chunk) >= end:
            if end > sent:
                yield chunk[: end - sent]
            raise BodyCut
        sent += len(chunk)
        yield chunk


def _place(fault: Fault, size: int) -> int:
    return fault.rule.at if fault.rule.at is not None else size // 2


def _paced(chunks: Iterable[bytes], size: int, slow: Fault | None, sleep: Callable[[float], object]) -> Iterator[bytes]:
    """Yield the chunks; with a slow_body fault in small pieces, with pauses that add up to its seconds."""
    if slow is None:
        yield from chunks
        return
    piece = max(1, -(-size // 10))
    for chunk in chunks:
        for start in range(0, len(chunk), piece):
            part = chunk[start : start + piece]
            sleep(slow.seconds * len(part) / max(size, 1))
            yield part
