"""The wire of the vault emulator: requests become operations, answers become bytes, faults strike on the way."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.emulator.faults import (
    BODY_KINDS,
    ERROR_KINDS,
    GLACIER_ERRORS,
    REQUEST_KINDS,
    BodyCut,
    Fault,
    FaultKind,
    faulty_chunks,
    first,
    reset_connection,
)
from tests.emulator.vault_archives import Received
from tests.emulator.vault_documents import Answer
from tests.emulator.vault_rules import (
    API_VERSION,
    MAX_SINGLE_UPLOAD,
    MIB,
    BodyHasher,
    GlacierError,
    check_description,
    check_digest,
    check_part_size,
    invalid,
    missing,
    parse_part_range,
)

if TYPE_CHECKING:
    from tests.emulator.vault import VaultEmulator

SMALL_BODY = MIB
DRAIN_LIMIT = 64 * MIB
UPLOADS = frozenset({"UploadArchive", "UploadMultipartPart"})
WITH_BODY = UPLOADS | {"GetJobOutput"}

ROUTES: Mapping[tuple[str, str], str] = {
    ("GET", "vaults"): "ListVaults",
    ("PUT", "vaults/*"): "CreateVault",
    ("GET", "vaults/*"): "DescribeVault",
    ("DELETE", "vaults/*"): "DeleteVault",
    ("POST", "vaults/*/archives"): "UploadArchive",
    ("DELETE", "vaults/*/archives/*"): "DeleteArchive",
    ("POST", "vaults/*/multipart-uploads"): "InitiateMultipartUpload",
    ("GET", "vaults/*/multipart-uploads"): "ListMultipartUploads",
    ("PUT", "vaults/*/multipart-uploads/*"): "UploadMultipartPart",
    ("POST", "vaults/*/multipart-uploads/*"): "CompleteMultipartUpload",
    ("GET", "vaults/*/multipart-uploads/*"): "ListParts",
    ("DELETE", "vaults/*/multipart-uploads/*"): "AbortMultipartUpload",
    ("POST", "vaults/*/jobs"): "InitiateJob",
    ("GET", "vaults/*/jobs"): "ListJobs",
    ("GET", "vaults/*/jobs/*"): "DescribeJob",
    ("GET", "vaults/*/jobs/*/output"): "GetJobOutput",
    ("PUT", "vaults/*/notification-configuration"): "SetVaultNotifications",
    ("GET", "vaults/*/notification-configuration"): "GetVaultNotifications",
    ("DELETE", "vaults/*/notification-configuration"): "DeleteVaultNotifications",
    ("PUT", "vaults/*/access-policy"): "SetVaultAccessPolicy",
    ("GET", "vaults/*/access-policy"): "GetVaultAccessPolicy",
    ("DELETE", "vaults/*/access-policy"): "DeleteVaultAccessPolicy",
    ("POST", "vaults/*/lock-policy"): "InitiateVaultLock",
    ("POST", "vaults/*/lock-policy/*"): "CompleteVaultLock",
    ("GET", "vaults/*/lock-policy"): "GetVaultLock",
    ("DELETE", "vaults/*/lock-policy"): "AbortVaultLock",
    ("GET", "vaults/*/tags"): "ListTagsForVault",
    ("POST", "vaults/*/tags?add"): "AddTagsToVault",
    ("POST", "vaults/*/tags?remove"): "RemoveTagsFromVault",
    ("GET", "policies/data-retrieval"): "GetDataRetrievalPolicy",
    ("PUT", "policies/data-retrieval"): "SetDataRetrievalPolicy",
    ("GET", "provisioned-capacity"): "ListProvisionedCapacity",
    ("POST", "provisioned-capacity"): "PurchaseProvisionedCapacity",
}


@dataclass
class Request:
    """One API request, its body still on the wire."""

    operation: str
    account: str
    vault: str
    resource: str  # the archive, upload, job or lock id in the path
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int
    wire: Wire
    faults: tuple[Fault, ...] = ()
    document: dict[str, Any] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """Return a header without the spaces around it, or None."""
        value = self.headers.get(name)
        return None if value is None else value.strip(" \t")


class Wire:
    """The body of a request as it comes in."""

    def __init__(self, stream: Any, length: int) -> None:
        self._stream, self.left = stream, length

    def chunks(self) -> Iterator[bytes]:
        """Yield the body; raise ConnectionError if the client goes away before its end."""
        while self.left:
            data = self._stream.read(min(MIB, self.left))
            if not data:
                raise ConnectionAbortedError("the client went away in the middle of a body")
            self.left -= len(data)
            yield data

    def drain(self) -> bool:
        """Read what is left of a body; return False if it is too much to read."""
        if self.left > DRAIN_LIMIT:
            return False
        for _ in self.chunks():
            pass
        return True


def parse_route(method: str, target: str) -> tuple[str, list[str], dict[str, str]]:
    """Return the operation of a request line, the segments of its path and its query; raise for an unknown one."""
    parts = urlsplit(target)
    segments = [unquote(segment) for segment in parts.path.strip("/").split("/")]
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    shape = "/".join("*" if number in (2, 4) else text for number, text in enumerate(segments) if number)
    if segments[1:2] != ["vaults"]:
        shape = "/".join(segments[1:])
    if method == "POST" and shape == "vaults/*/tags":
        shape += f"?{query.get('operation')}"
    operation = ROUTES.get((method, shape))
    if operation is None:
        raise GlacierError(400, "BadRequest", f"No operation answers to {method} {parts.path}")
    return operation, segments, query


class Api:
    """Carries out requests on the operations of an emulator."""

    def __init__(self, emulator: VaultEmulator) -> None:
        self._emulator = emulator
        self._archives, self._jobs = emulator.archive_operations, emulator.job_operations
        self._store = emulator.store
        self._simple: Mapping[str, Callable[[Request], Answer]] = {
            "ListVaults": self._list_vaults,
            "CreateVault": self._create_vault,
            "DescribeVault": lambda r: Answer.of(self._archives.describe_vault(r.vault)),
            "DeleteVault": self._delete_vault,
            "UploadArchive": self._upload_archive,
            "DeleteArchive": self._delete_archive,
            "InitiateMultipartUpload": self._initiate_upload,
            "ListMultipartUploads": self._list_uploads,
            "UploadMultipartPart": self._upload_part,
            "CompleteMultipartUpload": self._complete_upload,
            "ListParts": self._list_parts,
            "AbortMultipartUpload": self._abort_upload,
            "InitiateJob": self._initiate_job,
            "ListJobs": self._list_jobs,
            "DescribeJob": lambda r: Answer.of(self._jobs.describe(r.vault, r.resource)),
            "GetJobOutput": self._job_output,
        }

    def perform(self, request: Request) -> Answer:
        """Carry out a request and return its answer; raise GlacierError to refuse it."""
        self._check_common(request)
        simple = self._simple.get(request.operation)
        if simple is not None:
            return simple(request)
        return self._emulator.document_operations.perform(
            request.operation, request.vault, request.resource, request.document
        )

    def _check_common(self, request: Request) -> None:
        """Check what every operation needs (Common Request Headers)."""
        version = request.header("x-amz-glacier-version")
        if version is None:
            raise missing("API version")
        if version != API_VERSION:
            raise invalid(f"Invalid API version: {version}")
        if request.header("Authorization") is None:
            raise GlacierError(400, "MissingAuthenticationTokenException", "The request carries no authentication data")
        options = self._store.options
        if request.account not in ("-", options.account_id):
            raise GlacierError(403, "AccessDeniedException", f"Account {request.account} may not be used here")
        if options.closed_when_empty and not self._store.one("SELECT 1 FROM archives WHERE deleted IS NULL LIMIT 1"):
            answer = GLACIER_ERRORS[FaultKind.NO_LONGER_SUPPORTED]
            raise GlacierError(answer.status, answer.code, answer.message)

    def _location(self, request: Request, tail: str = "") -> dict[str, str]:
        return {"Location": f"/{self._store.options.account_id}/vaults/{request.vault}{tail}"}

    # --- vaults ---

    def _list_vaults(self, request: Request) -> Answer:
        return Answer.of(self._archives.list_vaults(request.query.get("limit"), request.query.get("marker")))

    def _create_vault(self, request: Request) -> Answer:
        self._archives.create_vault(request.vault)
        return Answer(201, self._location(request))

    def _delete_vault(self, request: Request) -> Answer:
        self._archives.delete_vault(request.vault)
        return Answer(204)

    # --- archives ---

    def _upload_archive(self, request: Request) -> Answer:
        self._store.vault(request.vault)
        description = check_description(request.header("x-amz-archive-description"), "archive description")
        if not 1 <= request.length <= MAX_SINGLE_UPLOAD:
            raise invalid(f"Invalid Content-Length: {request.length}")
        received = self._receive(request)
        row = self._archives.add_archive(request.vault, description, received)
        return self._created(request, row["id"], row["tree"])

    def _created(self, request: Request, archive: str, tree: str) -> Answer:
        headers = {"x-amz-archive-id": archive, "x-amz-sha256-tree-hash": tree}
        return Answer(201, {**headers, **self._location(request, f"/archives/{archive}")})

    def _delete_archive(self, request: Request) -> Answer:
        self._archives.delete_archive(request.vault, request.resource)
        return Answer(204)

    def _receive(self, request: Request) -> Received:
        """Write a body to disk and verify both checksums; leave nothing behind if that fails."""
        tree = check_digest(request.header("x-amz-sha256-tree-hash"), "x-amz-sha256-tree-hash")
        linear = check_digest(request.header("x-amz-content-sha256"), "x-amz-content-sha256")
        received = Received(self._store.new_file(), BodyHasher())
        try:
            self._write(request, received)
            hasher = received.hasher
            for claimed, actual in ((linear, hasher.linear), (tree, hasher.tree)):
                if claimed != actual:
                    raise invalid(f"Checksum mismatch: expected {claimed} but was {actual}")
        except BaseException:
            received.discard()
            raise
        return received

    def _write(self, request: Request, received: Received) -> None:
        chunks = faulty_chunks(request.wire.chunks(), request.length, request.faults, sleep=self._emulator.pause)
        with received.path.open("wb") as file:
            for chunk in chunks:
                received.hasher.update(chunk)
                file.write(chunk)

    # --- multipart uploads ---

    def _initiate_upload(self, request: Request) -> Answer:
        description = check_description(request.header("x-amz-archive-description"), "archive description")
        part_size = check_part_size(request.header("x-amz-part-size"))
        upload = self._archives.initiate_upload(request.vault, description, part_size)
        location = self._location(request, f"/multipart-uploads/{upload}")
        return Answer(201, {"x-amz-multipart-upload-id": upload, **location})

    def _upload_part(self, request: Request) -> Answer:
        span = parse_part_range(request.header("Content-Range"))
        self._archives.check_part(request.vault, request.resource, span, request.length)
        received = self._receive(request)
        try:
            self._archives.put_part(request.vault, request.resource, span, received)
        except GlacierError:
            received.discard()
            raise
        return Answer(204, {"x-amz-sha256-tree-hash": received.hasher.tree})

    def _complete_upload(self, request: Request) -> Answer:
        size = request.header("x-amz-archive-size")
        if size is None:
            raise missing("x-amz-archive-size")
        if not (size.isascii() and size.isdigit()):
            raise invalid(f"Invalid x-amz-archive-size: {size}")
        tree = check_digest(request.header("x-amz-sha256-tree-hash"), "x-amz-sha256-tree-hash")
        row = self._archives.complete_upload(request.vault, request.resource, int(size), tree)
        return self._created(request, row["id"], row["tree"])

    def _list_parts(self, request: Request) -> Answer:
        limit, marker = request.query.get("limit"), request.query.get("marker")
        return Answer.of(self._archives.list_parts(request.vault, request.resource, limit, marker))

    def _list_uploads(self, request: Request) -> Answer:
        limit, marker = request.query.get("limit"), request.query.get("marker")
        return Answer.of(self._archives.list_uploads(request.vault, limit, marker))

    def _abort_upload(self, request: Request) -> Answer:
        self._archives.abort_upload(request.vault, request.resource)
        return Answer(204)

    # --- jobs ---

    def _initiate_job(self, request: Request) -> Answer:
        job = self._jobs.initiate(request.vault, request.document)
        self._emulator.wake()
        return Answer(202, {"x-amz-job-id": job, **self._location(request, f"/jobs/{job}")})

    def _list_jobs(self, request: Request) -> Answer:
        query = request.query
        jobs = self._jobs.list_jobs(
            request.vault,
            query.get("limit"),
            query.get("marker"),
            status=query.get("statuscode"),
            completed=query.get("completed"),
        )
        return Answer.of(jobs)

    def _job_output(self, request: Request) -> Answer:
        output = self._jobs.output(request.vault, request.resource, request.header("Range"))
        optional = {
            "Content-Range": output.content_range,
            "x-amz-sha256-tree-hash": output.tree,
            "x-amz-archive-description": output.description,
        }
        headers = {name: value for name, value in optional.items() if value is not None}
        headers |= {"Accept-Ranges": "bytes", "Content-Type": output.content_type}
        status = 200 if output.content_range is None else 206
        return Answer(status, headers, chunks=output.chunks, size=output.size)


_CLOSE_WAIT = 8  # of the states in tcp(7)'s tcp_info: the client is gone, and its last requests may not be answered


class Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Serve a request."""
        self.wire = Wire(self.rfile, int(self.headers.get("Content-Length") or 0))
        try:
            if self.path.startswith("/_emulator"):
                self._send(self._control())
            else:
                self._serve()
        except (ConnectionError, BodyCut, TimeoutError):
            self.close_connection = True

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent; the request counts tell what happened."""

    def _serve(self) -> None:
        emulator = self.server.emulator
        try:
            request = self._request()
        except GlacierError as error:
            self._send(_refusal(error))
            return
        answer = self._answer(request)
        if answer is None:
            reset_connection(self.connection)
            self.close_connection = True
            return
        if answer.status < 400:
            emulator.note_request(request.operation, succeeded=True)
        if first(request.faults, {FaultKind.RESET_AFTER}):
            reset_connection(self.connection)
            self.close_connection = True
            return
        emulator.hang(first(request.faults, {FaultKind.HANG_REPLY}))
        self._send(answer, request.faults if request.operation == "GetJobOutput" else ())

    def _request(self) -> Request:
        operation, segments, query = parse_route(self.command, self.path)
        self.server.emulator.note_request(operation)
        length = self.wire.left
        in_vault = segments[1] == "vaults"
        request = Request(
            operation,
            account=segments[0],
            vault=segments[2] if in_vault and len(segments) > 2 else "",
            resource=segments[4] if in_vault and len(segments) > 4 else "",
            query=query,
            headers=self.headers,
            length=length,
            wire=self.wire,
        )
        if operation not in UPLOADS and length:
            request.document = self._json(length)
        return request

    def _json(self, length: int) -> dict[str, Any]:
        if length > SMALL_BODY:
            raise invalid(f"Invalid Content-Length: {length}")
        try:
            document = json.loads(b"".join(self.wire.chunks()))
        except ValueError as exc:
            raise GlacierError(400, "SerializationException", "The body is not well-formed JSON") from exc
        if not isinstance(document, dict):
            raise GlacierError(400, "SerializationException", "The body is not a JSON object")
        return document

    def _answer(self, request: Request) -> Answer | None:
        """Carry out a request among its faults; return None where the connection is to be reset."""
        emulator = self.server.emulator
        request.faults = emulator.faults.decide(request.operation, _kinds(request), **_context(request))
        emulator.hang(first(request.faults, {FaultKind.HANG}))
        if fault := first(request.faults, ERROR_KINDS):
            error = fault.answer(GLACIER_ERRORS)
            return _refusal(GlacierError(error.status, error.code, error.message))
        if first(request.faults, {FaultKind.RESET_BEFORE}):
            return None
        try:
            emulator.settle()
            return emulator.api.perform(request)
        except GlacierError as error:
            return _refusal(error)
        except BodyCut:
            return None

    def _control(self) -> Answer:
        path = urlsplit(self.path).path.removeprefix("/_emulator").rstrip("/")
        try:
            body = b"".join(self.wire.chunks())
            document = json.loads(body) if body else {}
            return Answer.of(self.server.emulator.control(self.command, path, document))
        except (ValueError, TypeError, KeyError) as error:
            return _refusal(invalid(f"{type(error).__name__}: {error}"))

    def _send(self, answer: Answer, faults: Iterable[Fault] = ()) -> None:
        if not self.wire.drain():
            self.close_connection = True
        self.send_response(answer.status)
        self.send_header("x-amzn-RequestId", self.server.emulator.new_request_id())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(answer.size))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            for chunk in faulty_chunks(answer.chunks, answer.size, tuple(faults), sleep=self._flushing_pause):
                self.wfile.write(chunk)
        finally:
            self.wfile.flush()

    def _flushing_pause(self, seconds: float) -> None:
        self.wfile.flush()
        self.server.emulator.pause(seconds)


class Server(ThreadingHTTPServer):
    """A thread per connection; closing it cuts the connections too, as the end of a process would."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, emulator: VaultEmulator) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.emulator = emulator
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()

    def server_bind(self) -> None:
        """Bind without asking the name service what this host is called, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection and start its thread."""
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def has_dead_clients(self) -> bool:
        """Return whether a connection is still served whose other end has closed it."""
        with self._guard:
            return any(_is_left(connection) for connection in self._open)

    def cut_connections(self) -> None:
        """End all connections."""
        with self._guard:
            connections = tuple(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # a shutdown, since it wakes the thread that reads from it
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a fault of the emulator itself; stay silent about clients that went away."""
        if not (self.emulator.closing or isinstance(sys.exc_info()[1], ConnectionError)):
            super().handle_error(request, client_address)


def _is_left(connection: socket.socket) -> bool:
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSE_WAIT
    except OSError:
        return False


def _refusal(error: GlacierError) -> Answer:
    body = error.body()
    return Answer(error.status, {"Content-Type": "application/json"}, chunks=iter([body]), size=len(body))


def _kinds(request: Request) -> frozenset[FaultKind]:
    """Return the faults that can strike this request.

    Capacity is refused to Expedited retrievals alone, and policies to Standard ones (Initiate Job, Data Retrieval
    Policies).
    """
    kinds = REQUEST_KINDS | BODY_KINDS if request.operation in WITH_BODY else REQUEST_KINDS
    job = request.document if request.operation == "InitiateJob" else {}
    tier = (job.get("Tier") or "Standard") if job.get("Type") == "archive-retrieval" else None
    if tier != "Expedited":
        kinds -= {FaultKind.CAPACITY}
    if tier != "Standard":
        kinds -= {FaultKind.POLICY}
    return kinds


def _context(request: Request) -> dict[str, Any]:
    """Return what rules can look at: vault, resource, description, size, range, type, tier, archive_id."""
    document = request.document
    return {
        "vault": request.vault or None,
        "resource": request.resource or None,
        "description": request.header("x-amz-archive-description") or document.get("Description"),
        "size": request.length,
        "range": request.header("Content-Range") or request.header("Range"),
        "type": document.get("Type"),
        "tier": document.get("Tier"),
        "archive_id": document.get("ArchiveId"),
    }
