"""An emulated S3 for tests and the demo: moto's S3, with what a restore from the archive classes needs completed.

moto serves buckets, objects and all other services (SQS, SNS, STS, IAM) on the same URL. Before it stands this
module: restores that take their time, refuse and expire as S3's do, RestoreStatus in listings, checksums that are
verified and returned, write-once puts that stay atomic under concurrency, NoSuchUpload, denied buckets, faults on
demand, and counters.

    with S3Emulator(retrieval_seconds=2.0) as s3:
        client = s3.client("s3")

`python -m tests.emulator.s3 --port 0 --ready-file F --retrieval-seconds 5` serves until SIGTERM.

Control endpoints (JSON): `/_emulator/clock` (GET, POST: see `Clock.control`), `/_emulator/faults` (see
`FaultPlan.control`), `/_emulator/requests` (GET: counts by operation and status, DELETE: forget them).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.emulator.clock import Clock
from tests.emulator.faults import (
    BODY_KINDS,
    ERROR_KINDS,
    REQUEST_KINDS,
    RETRIEVAL_KINDS,
    S3_ERRORS,
    Fault,
    FaultKind,
    FaultPlan,
    faulty_chunks,
    first,
)
from tests.emulator.meter import S3Meter
from tests.emulator.s3_archive import Announcer
from tests.emulator.s3_batch import PATH as JOBS_PATH
from tests.emulator.s3_batch import BatchJobs, job_operation, without_account_in_host
from tests.emulator.s3_http import ConnectionReset, WsgiServer
from tests.emulator.s3_objects import Objects
from tests.emulator.s3_requests import Answer, S3Request, error

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
REGION = "us-east-1"
CHUNK = 256 * 1024


_CLIENTS = threading.Lock()


@functools.cache
def a_session() -> Any:
    """Return the boto3 session of the emulator's clients: one for all, since each reads the service models anew."""
    import boto3

    return boto3.session.Session("testing", "testing", region_name=REGION)


class S3Emulator:
    """The emulated S3. State is in memory, survives `stop` and `start`, and is shared by all emulators of one process.

    `retrieval_seconds`: emulated seconds that a restore takes, for all tiers or by tier. `clock` and `plan` may be
    shared with the vault emulator. With `tls` it speaks HTTPS alone. `repeated_complete` is what a
    CompleteMultipartUpload answers that already took effect: `ok`, `no-such-upload` or `precondition-failed` (AWS does
    not document which).
    """

    def __init__(
        self,
        *,
        retrieval_seconds: float | Mapping[str, float] = 2.0,
        clock: Clock | None = None,
        plan: FaultPlan | None = None,
        repeated_complete: str = "ok",
        port: int = 0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.clock = clock or Clock()
        self.plan = plan or FaultPlan()
        self.objects = Objects(self.clock, retrieval_seconds, repeated_complete)
        self._port = port
        self._host = host
        self._denied: dict[str, Collection[str] | None] = {}
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._lock = threading.Lock()
        self.batch = BatchJobs(self.clock, self.plan, self.objects)  #: S3 Control's jobs
        self._moto = _moto_application()
        self._server: WsgiServer | None = None
        self._unannounced: list[tuple[Any, Any]] = []
        self.meter: S3Meter | None = None  #: sees each answer, and knows what AWS would bill for it

    def __enter__(self) -> S3Emulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve, on the same port as before if it was stopped."""
        self.objects.announcer = Announcer(self.clock, self.plan, self._unannounced)
        self._server = WsgiServer(self, port=self._port, host=self._host, tls=self._tls)
        self._port = self._server.port

    def stop(self) -> None:
        """Stop serving; buckets and objects stay for the next `start`."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self.objects.announcer is not None:
            self._unannounced = self.objects.announcer.stop()
            self.objects.announcer = None

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}"

    def client(self, service: str = "s3", **options: Any) -> Any:
        """Return a boto3 client for a service of this server; `options` go to boto3 (for instance `config`)."""
        with _CLIENTS:
            client = a_session().client(service, endpoint_url=self.url, **options)
        return without_account_in_host(client) if service == "s3control" else client

    def create_bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def retrievals_take(self, seconds: float) -> None:
        """Let retrievals that are asked for from now on take so long, in emulated seconds."""
        self.objects.retrievals_take(seconds)

    def deny(self, bucket: str, operations: Collection[str] | None = None) -> None:
        """Answer 403 AccessDenied to these operations on a bucket, or to all of them."""
        self._denied[bucket] = operations

    def allow(self, bucket: str) -> None:
        self._denied.pop(bucket, None)

    def count(
        self, operation: str, *, bucket: str | None = None, key: str | None = None, status: int | None = None
    ) -> int:
        """Return how many requests were answered; a lost answer counts with the status that it would have had."""
        wanted = (operation, bucket, key, status)
        with self._lock:
            return sum(
                number
                for entry, number in self._counts.items()
                if all(want is None or want == have for want, have in zip(wanted, entry, strict=True))
            )

    def counts(self) -> dict[str, int]:
        """Return the number of requests by operation."""
        with self._lock:
            totals: Counter[str] = Counter()
            for (operation, *_), number in self._counts.items():
                totals[operation] += number
            return dict(totals)

    def forget_counts(self) -> None:
        with self._lock:
            self._counts.clear()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/_emulator/"):
            return self._send(self._control(environ["REQUEST_METHOD"], path, environ), (), start_response)
        if path.startswith(JOBS_PATH) and "HTTP_X_AMZ_ACCOUNT_ID" in environ:
            return self._batch_job(environ, start_response)
        request = S3Request.from_environ(environ)
        if request is None:
            return self._other_service(environ, start_response)
        faults = self._faults(request)
        answer = self._answer(request, environ, faults)
        return self._send(answer, faults, start_response)

    def _other_service(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Have moto answer. Requests that name their operation in a header (SQS) are counted, and fail on demand."""
        service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")
        if not operation:
            return self._moto(environ, start_response)
        faults = self.plan.decide(operation, ERROR_KINDS | {FaultKind.RESET_BEFORE, FaultKind.HANG}, service=service)
        with self._lock:
            self._counts[operation, service, "", 200] += 1
        if first(faults, {FaultKind.RESET_BEFORE}):
            raise ConnectionReset
        if hang := first(faults, {FaultKind.HANG}):
            time.sleep(hang.seconds)
        if (refused := first(faults, ERROR_KINDS)) is None:
            return self._moto(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        usual = refused.answer(S3_ERRORS)
        body = json.dumps({"__type": f"com.amazonaws.sqs#{usual.code}", "message": usual.message}).encode()
        answer = Answer(usual.status, body, {"Content-Type": "application/x-amz-json-1.0"})
        return self._send(answer, (), start_response)

    def _batch_job(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request to S3 Control; the faults of requests strike it by the operation's name."""
        name = job_operation(environ)
        faults = self.plan.decide(name, REQUEST_KINDS)
        if first(faults, {FaultKind.RESET_BEFORE}):
            raise ConnectionReset
        if hang := first(faults, {FaultKind.HANG}):
            time.sleep(hang.seconds)
        if refused := first(faults, ERROR_KINDS):
            usual = refused.answer(S3_ERRORS)
            answer = error(usual.status, usual.code, usual.message)
        else:
            answer = self.batch.answer(environ)
        with self._lock:
            self._counts[name, "", "", answer.status] += 1
        if first(faults, {FaultKind.RESET_AFTER}):
            raise ConnectionReset
        return self._send(answer, (), start_response)

    def _faults(self, request: S3Request) -> tuple[Fault, ...]:
        kinds = REQUEST_KINDS | (BODY_KINDS if request.operation == "GetObject" else frozenset())
        return self.plan.decide(
            request.operation,
            kinds,
            bucket=request.bucket,
            key=request.key,
            part=request.query.get("partNumber"),
        )

    def _answer(self, request: S3Request, environ: dict[str, Any], faults: Collection[Fault]) -> Answer:
        if first(faults, {FaultKind.RESET_BEFORE}):
            raise ConnectionReset
        if hang := first(faults, {FaultKind.HANG}):
            time.sleep(hang.seconds)
        if refused := first(faults, ERROR_KINDS):
            usual = refused.answer(S3_ERRORS)
            answer = error(usual.status, usual.code, usual.message)
        elif self._is_denied(request):
            answer = error(403, "AccessDenied", "Access Denied")
        else:
            answer = self._perform(request, environ)
        with self._lock:
            self._counts[request.operation, request.bucket, request.key, answer.status] += 1
            if self.meter is not None:
                thaw = getattr(self.objects.key(request.bucket, request.key), "thaw", None)
                self.meter.note(request, answer, self.clock.timestamp(), thaw)
        if hang := first(faults, {FaultKind.HANG_REPLY}):
            time.sleep(hang.seconds)
        if first(faults, {FaultKind.RESET_AFTER}):
            raise ConnectionReset
        return answer

    def _is_denied(self, request: S3Request) -> bool:
        if request.bucket not in self._denied:
            return False
        operations = self._denied[request.bucket]
        return operations is None or request.operation in operations

    def _perform(self, request: S3Request, environ: dict[str, Any]) -> Answer:
        if request.operation == "RestoreObject":
            faults = self.plan.decide("RestoreObject", RETRIEVAL_KINDS, bucket=request.bucket, key=request.key)
            return self.objects.restore(request, {fault.kind for fault in faults})
        return self.objects.perform(request, lambda: self._ask_moto(environ))

    def _ask_moto(self, environ: dict[str, Any]) -> Answer:
        from werkzeug.test import run_wsgi_app

        chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        kept = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        return Answer(int(status.split()[0]), b"".join(chunks), kept)

    def _send(self, answer: Answer, faults: Collection[Fault], start_response: StartResponse) -> Iterator[bytes]:
        headers = {"x-amz-request-id": "4442587FB7D0A2F9", **answer.headers}
        headers.setdefault("Content-Length", str(len(answer.body)))
        start_response(answer.line, list(headers.items()))
        pieces = (answer.body[start : start + CHUNK] for start in range(0, len(answer.body), CHUNK))
        return faulty_chunks(pieces, len(answer.body), faults)

    def _control(self, method: str, path: str, environ: dict[str, Any]) -> Answer:
        body = environ["wsgi.input"].read()
        request = json.loads(body) if body else {}
        try:
            answer = self._controlled(method, path.removeprefix("/_emulator/"), request)
        except (ValueError, KeyError, TypeError) as exc:
            return Answer(400, json.dumps({"error": str(exc)}).encode(), {"Content-Type": "application/json"})
        return Answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _controlled(self, method: str, path: str, request: Any) -> Any:
        if path == "clock":
            return self.clock.control(request) if method == "POST" else self.clock.state()
        if path.startswith("faults"):
            return self.plan.control(method, path.removeprefix("faults"), request)
        if path == "requests":
            if method == "DELETE":
                self.forget_counts()
            return self.counts()
        raise ValueError(f"no control endpoint /_emulator/{path}")


def _moto_application() -> Callable[..., Iterable[bytes]]:
    from moto.server import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


def main() -> None:
    """Serve until SIGTERM or SIGINT; the ready file gets the URL once requests are answered."""
    parser = argparse.ArgumentParser(description="An emulated S3 with archive classes.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", action="append", default=[], help="create this bucket; may be repeated")
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--retrieval-seconds", type=float, default=5.0)
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with S3Emulator(retrieval_seconds=options.retrieval_seconds, port=options.port, host=options.host) as s3:
        for bucket in options.bucket:
            s3.create_bucket(bucket)
        if options.ready_file is not None:
            part = options.ready_file.with_name(f".{options.ready_file.name}.{os.getpid()}")
            part.write_text(s3.url)
            part.replace(options.ready_file)
        print(s3.url, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
