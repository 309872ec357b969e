"""Faults as clients of the vault emulator meet them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from tests.emulator.faults import FaultKind
from tests.emulator.vault import VaultEmulator
from tests.emulator.vault_builders import (
    TOPIC,
    VAULT,
    ask_inventory,
    begin,
    complete,
    control,
    describe,
    output,
    refusal,
    retrieve,
    send_part,
    some_bytes,
    tree_of,
    upload,
)
from tests.emulator.vault_rules import MIB


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[VaultEmulator]:
    with VaultEmulator(tmp_path / "vault") as running:
        yield running


@pytest.fixture
def client(emulator: VaultEmulator) -> Any:
    client = emulator.client()
    client.create_vault(vaultName=VAULT)
    return client


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttling", 400, "ThrottlingException"),
        ("internal_error", 500, "ServiceUnavailableException"),
        ("unavailable", 503, "ServiceUnavailableException"),
        ("timeout", 408, "RequestTimeoutException"),
        ("access_denied", 403, "AccessDeniedException"),
        ("no_longer_supported", 400, "NoLongerSupportedException"),
    ],
)
def test_an_error_is_answered_and_nothing_happens(
    emulator: VaultEmulator, client: Any, kind: str, status: int, code: str
) -> None:
    emulator.faults.inject("UploadArchive", kind, count=1)
    assert refusal(upload, client)[:2] == (status, code)
    assert emulator.archives() == []
    upload(client)
    assert len(emulator.archives()) == 1
    assert emulator.faults.counts() == {kind: 1}
    assert emulator.requests()["UploadArchive"] == {"received": 2, "succeeded": 1}


def test_modelled_errors_are_exceptions_of_the_client(emulator: VaultEmulator, client: Any) -> None:
    classes = {
        "unavailable": client.exceptions.ServiceUnavailableException,
        "timeout": client.exceptions.RequestTimeoutException,
        "no_longer_supported": client.exceptions.NoLongerSupportedException,
    }
    for kind, expected in classes.items():
        emulator.faults.inject("ListVaults", kind, count=1)
        with pytest.raises(expected):
            client.list_vaults()


def test_policy_strikes_standard_and_capacity_strikes_expedited_retrievals(
    emulator: VaultEmulator, client: Any
) -> None:
    archive = upload(client)
    emulator.take_inventory()
    emulator.faults.inject("*", FaultKind.POLICY)
    emulator.faults.inject("*", FaultKind.CAPACITY)
    with pytest.raises(client.exceptions.PolicyEnforcedException):
        retrieve(client, archive)
    with pytest.raises(client.exceptions.InsufficientCapacityException):
        retrieve(client, archive, Tier="Expedited")
    retrieve(client, archive, Tier="Bulk")
    ask_inventory(client)
    assert len(client.list_jobs(vaultName=VAULT)["JobList"]) == 2


def test_an_error_of_ones_own(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("*", "error", status=400, code="ExpiredTokenException", message="too old")
    assert refusal(client.list_vaults) == (400, "ExpiredTokenException", "too old")


def test_a_reset_before_leaves_no_trace(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("UploadArchive", "reset_before", count=1)
    with pytest.raises(HTTPClientError):
        upload(client)
    assert emulator.archives() == []


def test_a_reset_after_loses_only_the_reply(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("UploadArchive", "reset_after", count=1)
    with pytest.raises(ConnectionClosedError):
        upload(client)
    assert len(emulator.archives()) == 1
    assert emulator.requests()["UploadArchive"] == {"received": 1, "succeeded": 1}


def test_a_client_that_resends_a_lost_upload_makes_a_second_archive(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("UploadArchive", "reset_after", count=1)
    known = upload(emulator.client(max_attempts=3))
    ids = [entry["id"] for entry in emulator.archives()]
    assert len(ids) == 2
    assert known in ids


def test_a_lost_reply_of_complete_is_healed_by_repeating_it(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("CompleteMultipartUpload", "reset_after", count=1)
    upload_id = begin(client)
    send_part(client, upload_id, 0, b"content")
    with pytest.raises(ConnectionClosedError):
        complete(client, upload_id, b"content")
    archive = complete(client, upload_id, b"content")
    assert [entry["id"] for entry in emulator.archives()] == [archive]


def test_a_connection_works_on_after_the_others_were_reset(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("DescribeVault", "reset_after", every=2)
    results = []
    for _ in range(6):
        try:
            results.append(client.describe_vault(vaultName=VAULT)["VaultName"])
        except ConnectionClosedError:
            results.append("reset")
    assert results == [VAULT, "reset"] * 3


@pytest.mark.parametrize(("kind", "stored"), [("hang", 0), ("hang_reply", 1)])
def test_a_hang_outlasts_the_client(emulator: VaultEmulator, client: Any, kind: str, stored: int) -> None:
    emulator.faults.inject("UploadArchive", kind, count=1, seconds=30)
    impatient = emulator.client(read_timeout=0.3)
    with pytest.raises(ReadTimeoutError):
        upload(impatient)
    assert len(emulator.archives()) == stored


def test_a_short_hang_is_only_a_delay(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("UploadArchive", "hang", seconds=0.05)
    emulator.faults.inject("UploadArchive", "hang_reply", seconds=0.05)
    upload(client)
    assert emulator.faults.counts() == {"hang": 1, "hang_reply": 1}


def test_closing_does_not_wait_for_a_hang(tmp_path: Path) -> None:
    with VaultEmulator(tmp_path) as emulator:
        client = emulator.client(read_timeout=0.2)
        emulator.faults.inject("*", "hang", seconds=3600)
        with pytest.raises(ReadTimeoutError):
            client.list_vaults()
    assert emulator.closing


@pytest.fixture
def job(emulator: VaultEmulator, client: Any) -> str:
    """Return a finished job with 3 MiB of output."""
    job = retrieve(client, upload(client, some_bytes(3 * MIB)))
    emulator.complete_jobs()
    return job


def test_a_truncated_output_ends_early(emulator: VaultEmulator, client: Any, job: str) -> None:
    emulator.faults.inject("GetJobOutput", "truncate_body", count=1)
    with pytest.raises((ResponseStreamingError, IncompleteReadError)):
        output(client, job)
    assert output(client, job) == some_bytes(3 * MIB)


def test_a_corrupted_output_differs_from_its_checksum(emulator: VaultEmulator, client: Any, job: str) -> None:
    emulator.faults.inject("GetJobOutput", "corrupt_body", at=5)
    answer = client.get_job_output(vaultName=VAULT, jobId=job)
    body = answer["body"].read()
    data = some_bytes(3 * MIB)
    assert (len(body), body[6:], body[5]) == (len(data), data[6:], data[5] ^ 0xFF)
    assert answer["checksum"] == tree_of(data) != tree_of(body)


def test_bytes_that_rotted_on_disk_differ_from_their_checksum(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    emulator.corrupt_archive(archive)
    job = retrieve(client, archive)
    emulator.complete_jobs()
    answer = client.get_job_output(vaultName=VAULT, jobId=job)
    assert answer["checksum"] == tree_of(b"content")
    assert answer["body"].read() != b"content"


def test_a_slow_output_arrives_whole(emulator: VaultEmulator, client: Any, job: str) -> None:
    emulator.faults.inject("GetJobOutput", "slow_body", seconds=0.2)
    assert output(client, job) == some_bytes(3 * MIB)


def test_a_corrupted_upload_is_refused_by_its_checksum(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("Upload*", "corrupt_body")
    answer = refusal(upload, client)
    assert answer[:2] == (400, "InvalidParameterValueException")
    assert answer[2].startswith("Checksum mismatch")
    upload_id = begin(client)
    assert refusal(send_part, client, upload_id, 0, b"content")[0] == 400
    emulator.faults.clear()
    send_part(client, upload_id, 0, b"content")
    complete(client, upload_id, b"content")


def test_a_truncated_upload_is_a_broken_connection(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("UploadArchive", "truncate_body", count=1)
    with pytest.raises(HTTPClientError):
        upload(client, some_bytes(2 * MIB))
    assert emulator.archives() == []
    assert not list((emulator.directory / "bytes").glob("*/*"))


def test_body_faults_wait_for_operations_with_a_body(emulator: VaultEmulator, client: Any, job: str) -> None:
    emulator.faults.inject("*", "truncate_body", nth=1)
    client.list_vaults()
    describe(client, job)
    assert emulator.faults.counts() == {}


def test_a_job_can_be_made_to_fail(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    emulator.faults.inject("InitiateJob", "fail_job", nth=2, when={"archive_id": archive})
    jobs = [retrieve(client, archive) for _ in range(3)]
    emulator.complete_jobs()
    assert [describe(client, job)["StatusCode"] for job in jobs] == ["Succeeded", "Failed", "Succeeded"]
    assert emulator.faults.counts() == {"fail_job": 1}


def test_a_job_can_expire_at_once(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("InitiateJob", "expire_job", count=1)
    archive = upload(client)
    gone, there = retrieve(client, archive), retrieve(client, archive)
    emulator.complete_jobs()
    assert describe(client, gone)["StatusCode"] == "Succeeded"
    assert refusal(client.get_job_output, vaultName=VAULT, jobId=gone)[:2] == (404, "ResourceNotFoundException")
    assert output(client, there) == b"content"


def test_notifications_can_be_lost_and_doubled(emulator: VaultEmulator, client: Any) -> None:
    emulator.faults.inject("Notification", "lose_notification", nth=1)
    emulator.faults.inject("Notification", "duplicate_notification", nth=2)
    archive = upload(client)
    jobs = [retrieve(client, archive, SNSTopic=TOPIC) for _ in range(3)]
    emulator.complete_jobs()
    told = [(jobs.index(message["job"]), message["state"] == "lost") for message in emulator.messages()]
    assert told == [(0, True), (1, False), (1, False), (2, False)]
    assert emulator.faults.counts() == {"lose_notification": 1, "duplicate_notification": 1}


def test_faults_can_be_planned_by_another_process(emulator: VaultEmulator, client: Any) -> None:
    rule = {"operation": "UploadArchive", "kind": "throttling", "when": {"description": "a f*"}, "count": 1}
    answer = control(emulator.url, "/faults", rule)
    assert answer["rules"][0]["when"] == {"description": "a f*"}
    upload(client, description="another")
    assert refusal(upload, client)[1] == "ThrottlingException"
    log = control(emulator.url, "/faults/log")
    assert log["counts"] == {"throttling": 1}
    assert log["log"][0]["context"]["description"] == "a file"
    control(emulator.url, "/faults", method="DELETE")
    assert control(emulator.url, "/faults") == {"rules": []}


def test_injected_faults_are_counted_across_a_restart(tmp_path: Path) -> None:
    for expected in (1, 2):
        with VaultEmulator(tmp_path) as emulator:
            emulator.faults.inject("*", "unavailable")
            with pytest.raises(ClientError):
                emulator.client().list_vaults()
            assert emulator.faults.counts() == {"unavailable": expected}
