"""An emulator of the original Amazon Glacier vault API (2012-06-01), for tests and the demo.

In a test:

    with VaultEmulator(directory, standard_seconds=5) as emulator:
        client = emulator.client()
        emulator.clock.advance(3600)
        emulator.faults.inject("UploadArchive", "reset_after", count=1)

As a process: `python -m tests.emulator.vault --directory D --port 0 --ready-file F --standard-seconds 5`;
when it is ready, the ready file holds `{"url": …, "port": …, "pid": …}`.

All state lies in the directory and survives the process. Other processes steer it through JSON endpoints:

    GET    /_emulator                       what this is: url, pid, options
    GET    /_emulator/clock                 now, timestamp, offset_seconds, speed
    POST   /_emulator/clock                 {"advance_seconds": N, "set": ISO date, "speed": X}
    *      /_emulator/faults[/log]          see FaultPlan.control
    GET    /_emulator/archives              live archives: id, vault, description, size, tree hash, sha256, created
    GET    /_emulator/uploads               open multipart uploads with the number of their parts
    GET    /_emulator/requests              {operation: {"received": n, "succeeded": n}}; DELETE sets all to zero
    GET    /_emulator/messages              notifications: job, topic, message, state
    POST   /_emulator/jobs                  {"action": "complete" | "fail" | "expire", "job_id": one, or all without}
    POST   /_emulator/inventory             {"vault": one, or all without}: take an inventory that is visible at once
    POST   /_emulator/corrupt               {"archive_id": …}: flip a bit of the stored bytes
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.emulator.clock import Clock
from tests.emulator.faults import Fault, FaultKind, FaultPlan
from tests.emulator.vault_archives import Archives
from tests.emulator.vault_documents import Documents
from tests.emulator.vault_http import Api, Server
from tests.emulator.vault_jobs import Jobs
from tests.emulator.vault_rules import Span, to_date
from tests.emulator.vault_store import VaultOptions, VaultStore

DELIVERY_TRIES = 3
RETRY_SECONDS = 0.1


class VaultEmulator:
    """One emulated account, served over HTTP on 127.0.0.1.

    `directory`: where the state lives. `port`: 0 for a free one. `clock`, `faults`: to share them with other
    servers; by default the clock is kept in the directory, and so is the fault log. `options`: the fields of
    `VaultOptions`. Starts when it is entered or when `start` is called; `url` is its endpoint.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        port: int = 0,
        clock: Clock | None = None,
        faults: FaultPlan | None = None,
        **options: Any,
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.options = VaultOptions(**options)
        self.clock = clock or Clock(self.directory / "clock.json")
        self.faults = faults or FaultPlan(log_path=self.directory / "faults.jsonl")
        self.store = VaultStore(self.directory, self.options, self.clock, self.faults)
        self.archive_operations = Archives(self.store)
        self.job_operations = Jobs(self.store, self.archive_operations)
        self.document_operations = Documents(self.store)
        self.api = Api(self)
        self._port = port
        self._server: Server | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._bell = threading.Event()
        self._sns: Any = None
        self.clock.on_change(self.wake)

    # --- life ---

    def start(self) -> VaultEmulator:
        """Serve from now on, in the background."""
        self._server = Server(self._port, self)
        serve = functools.partial(self._server.serve_forever, poll_interval=0.05)
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in (serve, self._beat)]
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """End the server, its connections and its threads. The state stays in the directory."""
        self._stop.set()
        self._bell.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_connections()
        for thread in self._threads:
            thread.join(timeout=10)
        self.store.close()

    def __enter__(self) -> VaultEmulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def end_dead_requests(self, seconds: float = 10) -> None:
        """Wait until what clients that are gone had asked for is done."""
        deadline = time.monotonic() + seconds
        while self._server is not None and self._server.has_dead_clients() and time.monotonic() < deadline:
            time.sleep(0.005)  # a connection does not tell either: looked at again

    @property
    def closing(self) -> bool:
        """Return whether the server is at its end."""
        return self._stop.is_set()

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        assert self._server is not None, "the emulator is not started"
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return the endpoint URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    def retrievals_take(self, seconds: float) -> None:
        """Let archive retrievals that are asked for from now on take so long, in emulated seconds."""
        tiers = dict.fromkeys(("expedited_seconds", "standard_seconds", "bulk_seconds"), seconds)
        self.options = self.store.options = replace(self.options, **tiers)

    def listings_take(self, seconds: float) -> None:
        """Let inventory jobs that are asked for from now on take so long, in emulated seconds."""
        self.options = self.store.options = replace(self.options, inventory_job_seconds=seconds)

    def client(self, *, max_attempts: int = 1, read_timeout: float = 60) -> Any:
        """Return a boto3 client of this emulator that, by default, sends each request once."""
        return make_client(
            "glacier",
            self.url,
            region=self.options.region,
            max_attempts=max_attempts,
            read_timeout=read_timeout,
        )

    # --- time and faults, as the server asks for them ---

    def settle(self) -> None:
        """Bring jobs, inventories and idle uploads up to the clock's time."""
        now = self.clock.timestamp()
        with self.store.transaction():
            self.job_operations.settle(now)
            self.archive_operations.settle(now)
        if self.store.one("SELECT 1 FROM messages WHERE state = 'waiting' LIMIT 1"):
            self.wake()

    def wake(self) -> None:
        """Let the background thread look at the clock."""
        self._bell.set()

    def pause(self, seconds: float) -> None:
        """Wait real seconds; raise ConnectionAbortedError if the server ends meanwhile: nothing takes effect then."""
        if self._stop.wait(seconds):
            raise ConnectionAbortedError("the server ended in the middle of a request")

    def hang(self, fault: Fault | None) -> None:
        """Wait as long as a hang fault says."""
        if fault is not None:
            self.pause(fault.seconds)

    def new_request_id(self) -> str:
        """Return an id for a response."""
        return secrets.token_urlsafe(36)

    def note_request(self, operation: str, *, succeeded: bool = False) -> None:
        """Count a request that came in, or one that took effect."""
        column = "succeeded" if succeeded else "received"
        self.store.execute(
            f"INSERT INTO requests (operation, {column}) VALUES (?, 1) "
            f"ON CONFLICT (operation) DO UPDATE SET {column} = {column} + 1",
            operation,
        )

    # --- inspection and steering, for tests ---

    def archives(self, vault: str | None = None, *, digests: bool = True) -> list[dict[str, Any]]:
        """Return the live archives in order of creation.

        Each: id, vault, description, size, tree_hash, created, and sha256 of the bytes as they lie on disk (all are
        read for this; None with `digests` off).
        """
        rows = self.store.all(
            "SELECT * FROM archives WHERE deleted IS NULL AND (? IS NULL OR vault = ?) ORDER BY number",
            vault,
            vault,
        )
        return [
            {
                "id": row["id"],
                "vault": row["vault"],
                "description": row["description"],
                "size": row["size"],
                "tree_hash": row["tree"],
                "sha256": self._digest(row["place"], row["size"]) if digests else None,
                "created": to_date(row["created"]),
            }
            for row in rows
        ]

    def read_archive(self, archive_id: str) -> bytes:
        """Return the bytes of an archive."""
        row = self._archive_row(archive_id)
        return b"".join(self.store.read(row["place"], Span(0, row["size"] - 1)))

    def archive_files(self, archive_id: str) -> list[Path]:
        """Return the files that hold an archive's bytes, in order: one, or one a part."""
        return [path for _, path in self.store.part_files(self._archive_row(archive_id)["place"])]

    def corrupt_archive(self, archive_id: str) -> None:
        """Flip a bit of the stored bytes; the checksums that the service reports stay."""
        path = self.archive_files(archive_id)[0]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def lose_archive(self, archive_id: str) -> None:
        """Have an archive be deleted by nobody; its bytes stay here."""
        row = self._archive_row(archive_id)
        with self.store.transaction():
            change, now = self.store.note_change(row["vault"]), self.clock.timestamp()
            lost = "UPDATE archives SET deleted = ?, deleted_change = ?, gone = 1 WHERE id = ?"
            self.store.execute(lost, now, change, archive_id)

    def give_archive_back(self, archive_id: str) -> None:
        """Have an archive that was lost be there again."""
        row = self._archive_row(archive_id)
        with self.store.transaction():
            change = self.store.note_change(row["vault"])
            back = "UPDATE archives SET deleted = NULL, deleted_change = NULL, gone = 0, change = ? WHERE id = ?"
            self.store.execute(back, change, archive_id)

    def uploads(self, vault: str | None = None) -> list[dict[str, Any]]:
        """Return the open multipart uploads with the number of their parts."""
        self.settle()
        rows = self.store.all(
            "SELECT id, vault, description, part_size, (SELECT count(*) FROM parts WHERE place = uploads.id) AS parts "
            "FROM uploads WHERE state = 'open' AND (? IS NULL OR vault = ?) ORDER BY number",
            vault,
            vault,
        )
        return [dict(row) for row in rows]

    def requests(self) -> dict[str, dict[str, int]]:
        """Return how many requests of each operation came in, and how many took effect."""
        rows = self.store.all("SELECT * FROM requests ORDER BY operation")
        return {row["operation"]: {"received": row["received"], "succeeded": row["succeeded"]} for row in rows}

    def count(self, operation: str) -> int:
        """Return how many requests of an operation came in."""
        return self.requests().get(operation, {"received": 0})["received"]

    def forget_requests(self) -> None:
        """Set all counts to zero."""
        self.store.execute("DELETE FROM requests")

    def messages(self) -> list[dict[str, Any]]:
        """Return the notifications in order; state is waiting, delivered, kept (no SNS endpoint), lost or failed."""
        self.settle()
        rows = self.store.all("SELECT * FROM messages ORDER BY number")
        return [
            {
                "job": row["job"],
                "topic": row["topic"],
                "message": json.loads(row["body"]),
                "state": row["state"],
            }
            for row in rows
        ]

    def complete_jobs(self, job_id: str | None = None) -> int:
        """Complete one running job (or all) now; return how many."""
        with self.store.transaction():
            count = self.job_operations.hurry(job_id, self.clock.timestamp())
        self.settle()
        return count

    def fail_jobs(self, job_id: str | None = None) -> int:
        """Let one running job (or all) fail now; return how many."""
        with self.store.transaction():
            self.job_operations.doom(job_id, FaultKind.FAIL_JOB)
        return self.complete_jobs(job_id)

    def expire_jobs(self, job_id: str | None = None) -> int:
        """Let the output of one completed job (or all) expire now; return how many."""
        self.settle()
        with self.store.transaction():
            return self.job_operations.expire(job_id, self.clock.timestamp())

    def take_inventory(self, vault: str | None = None) -> None:
        """Take an inventory of one vault (or all) that is visible at once."""
        self.settle()
        now = self.clock.timestamp()
        with self.store.transaction():
            names = [row["name"] for row in self.store.all("SELECT name FROM vaults")] if vault is None else [vault]
            for name in names:
                self.archive_operations.take_inventory(name, now, now)

    def control(self, method: str, path: str, request: Any) -> object:
        """Obey a control request (`path` is what follows /_emulator); raise ValueError for an unknown one."""
        if path.startswith("/faults"):
            return self.faults.control(method, path.removeprefix("/faults"), request)
        if path == "/clock":
            return self.clock.control(request) if method == "POST" else self.clock.state()
        views = {
            "": lambda: {"url": self.url, "pid": os.getpid(), "options": asdict(self.options)},
            "/archives": self.archives,
            "/uploads": self.uploads,
            "/requests": self.requests,
            "/messages": self.messages,
        }
        if method == "GET" and path in views:
            return views[path]()
        return self._steer(method, path, request)

    def _steer(self, method: str, path: str, request: Mapping[str, Any]) -> object:
        if (method, path) == ("DELETE", "/requests"):
            self.forget_requests()
            return {}
        if (method, path) == ("POST", "/inventory"):
            self.take_inventory(request.get("vault"))
            return {}
        if (method, path) == ("POST", "/corrupt"):
            self.corrupt_archive(request["archive_id"])
            return {}
        if (method, path) == ("POST", "/jobs"):
            actions = {"complete": self.complete_jobs, "fail": self.fail_jobs, "expire": self.expire_jobs}
            return {"jobs": actions[request["action"]](request.get("job_id"))}
        raise ValueError(f"no control endpoint {method} /_emulator{path}")

    def _archive_row(self, archive_id: str) -> Any:
        row = self.store.one("SELECT * FROM archives WHERE id = ?", archive_id)
        if row is None:
            raise KeyError(archive_id)
        return row

    def _digest(self, place: str, size: int) -> str:
        digest = hashlib.sha256()
        for chunk in self.store.read(place, Span(0, size - 1)):
            digest.update(chunk)
        return digest.hexdigest()

    # --- in the background ---

    def _beat(self) -> None:
        """Settle when something is due and deliver messages, until the server ends."""
        while not self._stop.is_set():
            self._bell.clear()
            self.settle()
            self._deliver()
            due = self.job_operations.next_due()
            wait = None if due is None else self.clock.real_seconds_until(due)
            if self.store.one("SELECT 1 FROM messages WHERE state = 'waiting' LIMIT 1"):
                wait = RETRY_SECONDS
            self._bell.wait(5 if wait is None else min(wait + 0.001, 5))

    def _deliver(self) -> None:
        for row in self.store.all("SELECT * FROM messages WHERE state = 'waiting' ORDER BY number"):
            state = self._publish(row["topic"], row["body"])
            tries = row["tries"] + 1
            if state == "waiting" and tries >= DELIVERY_TRIES:
                state = "failed"
            self.store.execute("UPDATE messages SET state = ?, tries = ? WHERE number = ?", state, tries, row["number"])

    def _publish(self, topic: str, body: str) -> str:
        """Publish a message and return its state; a topic that refuses it is met with silence, as by AWS."""
        if self.options.sns_endpoint_url is None:
            return "kept"
        if self._sns is None:
            url, region = self.options.sns_endpoint_url, self.options.region
            self._sns = make_client("sns", url, region=region, read_timeout=5)
        try:
            self._sns.publish(TopicArn=topic, Message=body)
        except Exception:
            return "waiting"
        return "delivered"


_client_lock = threading.Lock()


@functools.cache
def _session(region: str) -> Any:
    import boto3

    return boto3.session.Session(aws_access_key_id="emulated", aws_secret_access_key="emulated", region_name=region)


def make_client(
    service: str, url: str, *, region: str = "us-east-1", max_attempts: int = 1, read_timeout: float = 60
) -> Any:
    """Return a boto3 client for an emulated service, with made-up keys; `max_attempts` counts all attempts."""
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": max_attempts, "mode": "standard"},
        connect_timeout=5,
        read_timeout=read_timeout,
        max_pool_connections=32,
    )
    with _client_lock:  # making a client is slow without a common session, and not thread-safe with one
        return _session(region).client(service, endpoint_url=url, config=config)


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulator.vault", description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--speed", type=float, default=1.0, help="emulated seconds per real second")
    for option in fields(VaultOptions):
        flag = "--" + option.name.replace("_", "-")
        if isinstance(option.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            kind = type(option.default) if isinstance(option.default, str) else float
            kind = str if option.default is None else kind
            parser.add_argument(flag, type=kind, default=option.default)
    chosen = vars(parser.parse_args(arguments))
    directory, port, ready, speed = (chosen.pop(name) for name in ("directory", "port", "ready_file", "speed"))
    directory.mkdir(parents=True, exist_ok=True)
    clock = Clock(directory / "clock.json", speed=speed)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with VaultEmulator(directory, port=port, clock=clock, **chosen) as emulator:
        print(emulator.url, flush=True)
        if ready is not None:
            _write_ready(ready, {"url": emulator.url, "port": emulator.port, "pid": os.getpid()})
        ended.wait()


def _write_ready(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    part.write_text(json.dumps(content))
    part.replace(path)


if __name__ == "__main__":
    main()
