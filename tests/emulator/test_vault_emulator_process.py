"""The vault emulator as a process: its state outlives restarts and SIGKILL, and other processes can steer it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.emulator.clock import Clock
from tests.emulator.vault import VaultEmulator, make_client
from tests.emulator.vault_builders import (
    DAY,
    HOUR,
    TOPIC,
    VAULT,
    begin,
    complete,
    control,
    describe,
    eventually,
    output,
    refusal,
    retrieve,
    send_part,
    some_bytes,
    upload,
)
from tests.emulator.vault_rules import MIB

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """The emulator in a process of its own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        ready = directory / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.emulator.vault", "--directory", str(directory / "state")]
        command += ["--ready-file", str(ready), *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        assert eventually(ready.exists, 20), "the emulator did not start"
        self.ready = json.loads(ready.read_text())
        self.url = self.ready["url"]
        self.client = make_client("glacier", self.url)

    def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        os.kill(self._process.pid, number)
        return self._process.wait(timeout=10)

    def dead(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Process] = []

    def begin_process(*arguments: str) -> Process:
        started.append(Process(tmp_path, *arguments))
        return started[-1]

    yield begin_process
    for process in started:
        if not process.dead():
            process.end(signal.SIGKILL)


def test_everything_survives_sigkill(start: Any) -> None:
    data = some_bytes(MIB + 10)
    first = start("--standard-seconds", "3600")
    client = first.client
    client.create_vault(vaultName=VAULT)
    archive = upload(client, b"kept")
    job = retrieve(client, archive, SNSTopic=TOPIC)
    upload_id = begin(client)
    send_part(client, upload_id, 0, data[:MIB])
    control(first.url, "/clock", {"advance_seconds": 10 * DAY - 1800})  # the upload is not touched after this
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = start("--standard-seconds", "3600", "--port", str(first.ready["port"]))
    assert second.url == first.url
    client = second.client
    assert control(second.url, "/clock")["offset_seconds"] == pytest.approx(10 * DAY - 1800, abs=5)
    assert [entry["id"] for entry in control(second.url, "/archives")] == [archive]
    assert refusal(client.list_parts, vaultName=VAULT, uploadId=upload_id)[:2] == (404, "ResourceNotFoundException")
    assert control(second.url, "/requests")["UploadArchive"] == {"received": 1, "succeeded": 1}
    assert control(second.url, "/messages")[0]["job"] == job
    fresh = retrieve(client, archive)
    control(second.url, "/clock", {"advance_seconds": HOUR})
    assert output(client, fresh) == b"kept"


def test_an_upload_goes_on_after_sigkill_and_strays_are_swept(start: Any, tmp_path: Path) -> None:
    data = some_bytes(MIB + 10)
    first = start()
    first.client.create_vault(vaultName=VAULT)
    upload_id = begin(first.client)
    send_part(first.client, upload_id, 0, data[:MIB])
    first.end(signal.SIGKILL)
    stray = tmp_path / "state" / "bytes" / "ab" / "half-written"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"what a killed server left")

    second = start()
    assert not stray.exists()
    listed = second.client.list_parts(vaultName=VAULT, uploadId=upload_id)["Parts"]
    assert [part["RangeInBytes"] for part in listed] == [f"0-{MIB - 1}"]
    send_part(second.client, upload_id, MIB, data[MIB:])
    archive = complete(second.client, upload_id, data)
    second.end(signal.SIGKILL)

    third = start()
    assert complete(third.client, upload_id, data) == archive
    job = retrieve(third.client, archive)
    assert control(third.url, "/jobs", {"action": "complete", "job_id": job}) == {"jobs": 1}
    assert output(third.client, job) == data


def test_a_process_ends_on_sigterm_and_options_come_from_the_command_line(start: Any) -> None:
    process = start("--expedited-seconds", "7", "--region", "eu-west-1", "--speed", "60", "--closed-when-empty")
    shown = control(process.url, "")
    assert shown["pid"] == process.ready["pid"]
    assert shown["options"]["expedited_seconds"] == 7
    assert shown["options"]["region"] == "eu-west-1"
    assert shown["options"]["closed_when_empty"] is True
    assert control(process.url, "/clock")["speed"] == 60
    assert process.end(signal.SIGTERM) == 0


@contextmanager
def running(directory: Path, **options: Any) -> Iterator[tuple[VaultEmulator, Any]]:
    with VaultEmulator(directory, **options) as emulator:
        client = emulator.client()
        client.create_vault(vaultName=VAULT)
        yield emulator, client


def test_a_server_in_the_process_can_be_restarted_on_its_port(tmp_path: Path) -> None:
    with running(tmp_path) as (emulator, client):
        archive, port = upload(client), emulator.port
        emulator.clock.advance(DAY)
    with pytest.raises(Exception, match="connect"):
        client.list_vaults()
    with running(tmp_path, port=port) as (emulator, _):
        assert emulator.clock.offset == pytest.approx(DAY, abs=5)
        job = retrieve(client, archive)
        assert describe(client, job)["ArchiveId"] == archive


def test_servers_can_share_a_clock(tmp_path: Path) -> None:
    clock = Clock(speed=0)
    with running(tmp_path / "a", clock=clock) as (_, one), running(tmp_path / "b", clock=clock) as (_, two):
        jobs = [(client, retrieve(client, upload(client))) for client in (one, two)]
        clock.advance(5 * HOUR)
        assert [describe(client, job)["StatusCode"] for client, job in jobs] == ["Succeeded"] * 2


def test_another_process_can_steer_and_look(tmp_path: Path) -> None:
    with running(tmp_path) as (emulator, client):
        url = emulator.url
        archive = upload(client)
        begin(client)
        jobs = [retrieve(client, archive) for _ in range(2)]
        control(url, "/clock", {"speed": 0, "advance_seconds": 60})
        assert control(url, "/clock")["speed"] == 0
        moved = control(url, "/clock", {"set": "2031-01-01T00:00:00+00:00"})
        assert moved["now"] == "2031-01-01T00:00:00+00:00"
        assert control(url, "/uploads") == []  # idle for years
        assert control(url, "/archives")[0]["id"] == archive
        jobs = [retrieve(client, archive) for _ in range(2)]
        assert control(url, "/jobs", {"action": "fail", "job_id": jobs[0]}) == {"jobs": 1}
        assert control(url, "/jobs", {"action": "complete"}) == {"jobs": 1}
        assert control(url, "/jobs", {"action": "expire"}) == {"jobs": 1}
        assert describe(client, jobs[0])["StatusCode"] == "Failed"
        assert refusal(client.get_job_output, vaultName=VAULT, jobId=jobs[1])[0] == 404
        control(url, "/inventory", {"vault": VAULT})
        assert client.describe_vault(vaultName=VAULT)["NumberOfArchives"] == 1
        assert control(url, "/requests")["InitiateJob"]["received"] == 4
        control(url, "/requests", method="DELETE")
        assert control(url, "/requests") == {}
        control(url, "/corrupt", {"archive_id": archive})
        assert emulator.read_archive(archive) != b"content"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/clock", {"forward": 1}),
        ("/nonsense", {}),
        ("/jobs", {"action": "dance"}),
        ("/faults", {"operation": "*"}),
    ],
)
def test_a_wrong_control_request_is_refused(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    with running(tmp_path) as (emulator, _), pytest.raises(HTTPError, match="400"):
        control(emulator.url, path, body)
