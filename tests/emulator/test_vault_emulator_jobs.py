"""Retrieval jobs, ranges, inventories and notifications of the vault emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.emulator.vault import VaultEmulator, make_client
from tests.emulator.vault_builders import (
    DAY,
    HOUR,
    TOPIC,
    VAULT,
    ask_inventory,
    begin,
    complete,
    describe,
    eventually,
    output,
    refusal,
    retrieve,
    send_parts,
    some_bytes,
    tree_of,
    upload,
)
from tests.emulator.vault_rules import MIB

NOT_FOUND = (404, "ResourceNotFoundException")
INVALID = (400, "InvalidParameterValueException")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[VaultEmulator]:
    with VaultEmulator(tmp_path / "vault") as running:
        running.clock.set_speed(0)  # time passes only where a test says so
        yield running


@pytest.fixture
def client(emulator: VaultEmulator) -> Any:
    client = emulator.client()
    client.create_vault(vaultName=VAULT)
    return client


# --- archive retrieval ---


def test_a_running_job_is_described_in_full(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    job = retrieve(client, archive, Tier="Bulk", Description="restore 7", SNSTopic=TOPIC)
    answer = describe(client, job)
    answer.pop("ResponseMetadata")
    assert answer == {
        "Action": "ArchiveRetrieval",
        "ArchiveId": archive,
        "ArchiveSHA256TreeHash": tree_of(b"content"),
        "ArchiveSizeInBytes": 7,
        "Completed": False,
        "CreationDate": answer["CreationDate"],
        "JobDescription": "restore 7",
        "JobId": job,
        "RetrievalByteRange": "0-6",
        "SNSTopic": TOPIC,
        "StatusCode": "InProgress",
        "StatusMessage": "Operation in progress.",
        "Tier": "Bulk",
        "VaultARN": f"arn:aws:glacier:us-east-1:123456789012:vaults/{VAULT}",
    }
    assert datetime.fromisoformat(answer["CreationDate"]).timestamp() == pytest.approx(
        emulator.clock.timestamp(), abs=0.01
    )


@pytest.mark.parametrize(
    ("tier", "seconds"), [("Expedited", 180), ("Standard", 4 * HOUR), (None, 4 * HOUR), ("Bulk", 8 * HOUR)]
)
def test_a_job_takes_the_time_of_its_tier(emulator: VaultEmulator, client: Any, tier: str | None, seconds: int) -> None:
    archive = upload(client)
    job = retrieve(client, archive, **({"Tier": tier} if tier else {}))
    emulator.clock.advance(seconds - 1)
    assert describe(client, job)["StatusCode"] == "InProgress"
    status, code, message = refusal(client.get_job_output, vaultName=VAULT, jobId=job)
    assert (status, code) == INVALID
    assert message == f"The job is not currently available for download: {job}"
    emulator.clock.advance(HOUR)
    answer = describe(client, job)
    assert (answer["StatusCode"], answer["Completed"]) == ("Succeeded", True)
    assert answer["SHA256TreeHash"] == answer["ArchiveSHA256TreeHash"] == tree_of(b"content")
    took = datetime.fromisoformat(answer["CompletionDate"]) - datetime.fromisoformat(answer["CreationDate"])
    assert took.total_seconds() == pytest.approx(seconds, abs=0.01)
    assert output(client, job) == b"content"


def test_durations_can_be_seconds(tmp_path: Path) -> None:
    with VaultEmulator(tmp_path, standard_seconds=0.2) as emulator:
        client = emulator.client()
        client.create_vault(vaultName=VAULT)
        job = retrieve(client, upload(client))
        assert eventually(lambda: describe(client, job)["Completed"])
        assert output(client, job) == b"content"


def test_a_whole_output_carries_checksum_description_and_type(emulator: VaultEmulator, client: Any) -> None:
    job = retrieve(client, upload(client, description="log of May"))
    emulator.complete_jobs()
    answer = client.get_job_output(vaultName=VAULT, jobId=job)
    assert answer["status"] == 200
    assert answer["checksum"] == tree_of(b"content")
    assert answer["archiveDescription"] == "log of May"
    assert answer["contentType"] == "application/octet-stream"
    assert answer["acceptRanges"] == "bytes"
    assert "contentRange" not in answer


@pytest.mark.parametrize(
    ("first", "last", "checked"),
    [
        (0, 5 * MIB + 99, True),  # everything
        (0, 2 * MIB - 1, True),
        (2 * MIB, 4 * MIB - 1, True),
        (4 * MIB, 5 * MIB + 99, True),  # the short tail
        (5 * MIB, 5 * MIB + 99, True),
        (MIB, 2 * MIB - 1, True),
        (MIB, 3 * MIB - 1, False),  # on mebibytes, but no node of the tree
        (0, 3 * MIB - 1, False),
        (10, 20, False),
        (0, 1023, False),
    ],
)
def test_a_range_of_an_output_has_a_checksum_only_where_aligned(
    emulator: VaultEmulator, client: Any, first: int, last: int, checked: bool
) -> None:
    data = some_bytes(5 * MIB + 100)
    upload_id = begin(client, 2 * MIB)
    send_parts(client, upload_id, data, 2 * MIB)
    job = retrieve(client, complete(client, upload_id, data))
    emulator.complete_jobs()
    answer = client.get_job_output(vaultName=VAULT, jobId=job, range=f"bytes={first}-{last}")
    body = answer["body"].read()
    assert body == data[first : last + 1]
    assert answer["status"] == 206
    assert answer["contentRange"] == f"bytes {first}-{last}/{len(data)}"
    assert answer.get("checksum") == (tree_of(body) if checked else None)


def test_an_open_range_goes_to_the_end(emulator: VaultEmulator, client: Any) -> None:
    job = retrieve(client, upload(client))
    emulator.complete_jobs()
    assert output(client, job, range="bytes=3-") == b"tent"


@pytest.mark.parametrize("span", ["bytes=0-7", "bytes=7-", "bytes=5-2", "bytes=-3", "3-4"])
def test_a_range_outside_the_output_is_refused(emulator: VaultEmulator, client: Any, span: str) -> None:
    job = retrieve(client, upload(client))
    emulator.complete_jobs()
    assert refusal(client.get_job_output, vaultName=VAULT, jobId=job, range=span)[:2] == INVALID


def test_a_range_of_an_archive_is_retrieved_and_read_relative_to_itself(emulator: VaultEmulator, client: Any) -> None:
    data = some_bytes(4 * MIB)
    archive = upload(client, data)
    job = retrieve(client, archive, RetrievalByteRange=f"{2 * MIB}-{4 * MIB - 1}")
    running = describe(client, job)
    assert running["RetrievalByteRange"] == f"{2 * MIB}-{4 * MIB - 1}"
    assert running["SHA256TreeHash"] == tree_of(data[2 * MIB :])
    assert running["ArchiveSHA256TreeHash"] == tree_of(data)
    emulator.complete_jobs()
    whole = client.get_job_output(vaultName=VAULT, jobId=job)
    assert (whole["status"], whole["checksum"]) == (200, tree_of(data[2 * MIB :]))
    assert whole["body"].read() == data[2 * MIB :]
    second = client.get_job_output(vaultName=VAULT, jobId=job, range=f"bytes={MIB}-{2 * MIB - 1}")
    assert second["body"].read() == data[3 * MIB :]
    assert second["checksum"] == tree_of(data[3 * MIB :])
    assert second["contentRange"] == f"bytes {MIB}-{2 * MIB - 1}/{2 * MIB}"


def test_a_range_that_is_no_node_of_the_tree_is_delivered_without_checksum(
    emulator: VaultEmulator, client: Any
) -> None:
    data = some_bytes(4 * MIB)
    job = retrieve(client, upload(client, data), RetrievalByteRange=f"{MIB}-{3 * MIB - 1}")
    assert "SHA256TreeHash" not in describe(client, job)
    emulator.complete_jobs()
    assert "SHA256TreeHash" not in describe(client, job)
    for options in ({}, {"range": f"bytes=0-{MIB - 1}"}):
        answer = client.get_job_output(vaultName=VAULT, jobId=job, **options)
        assert "checksum" not in answer
        assert data[MIB : 3 * MIB].startswith(answer["body"].read())


@pytest.mark.parametrize("span", [f"0-{MIB}", f"1-{MIB}", f"0-{4 * MIB}", "0", "a-b", f"{MIB}-0"])
def test_a_retrieval_of_a_range_that_is_not_on_mebibytes_is_refused(client: Any, span: str) -> None:
    archive = upload(client, some_bytes(4 * MIB))
    assert refusal(retrieve, client, archive, RetrievalByteRange=span)[:2] == INVALID


@pytest.mark.parametrize(
    "parameters",
    [
        {"Type": "select"},
        {"Type": "magic"},
        {"Tier": "Fast"},
        {"Description": "x" * 1025},
        {"Description": "caf\u00e9"},
        {"SNSTopic": "not-an-arn"},
        {"Format": "JSON"},
        {"InventoryRetrievalParameters": {"Limit": "1"}},
    ],
)
def test_wrong_job_parameters_are_refused(client: Any, parameters: dict[str, Any]) -> None:
    assert refusal(retrieve, client, upload(client), **parameters)[:2] == INVALID
    assert client.list_jobs(vaultName=VAULT)["JobList"] == []


def test_missing_job_parameters_are_named(client: Any) -> None:
    absent = (400, "MissingParameterValueException")
    assert refusal(client.initiate_job, vaultName=VAULT, jobParameters={})[:2] == absent
    call = client.initiate_job
    assert refusal(call, vaultName=VAULT, jobParameters={"Type": "archive-retrieval"})[:2] == absent


def test_a_job_for_an_unknown_archive_is_not_started(client: Any) -> None:
    unknown = "x" * 138
    assert refusal(retrieve, client, unknown) == (*NOT_FOUND, f"The archive ID was not found: {unknown}")


def test_a_job_for_a_deleted_archive_starts_and_then_fails(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    client.delete_archive(vaultName=VAULT, archiveId=archive)
    job = retrieve(client, archive)
    emulator.clock.advance(5 * HOUR)
    answer = describe(client, job)
    assert (answer["Completed"], answer["StatusCode"]) == (True, "Failed")
    assert "deleted" in answer["StatusMessage"]
    assert refusal(client.get_job_output, vaultName=VAULT, jobId=job)[:2] == INVALID
    emulator.clock.advance(DAY)
    assert refusal(retrieve, client, archive)[:2] == NOT_FOUND


def test_deleting_an_archive_fails_its_running_job_but_leaves_a_finished_output(
    emulator: VaultEmulator, client: Any
) -> None:
    archive = upload(client)
    finished = retrieve(client, archive)
    emulator.clock.advance(5 * HOUR)
    running = retrieve(client, archive)
    client.delete_archive(vaultName=VAULT, archiveId=archive)
    emulator.clock.advance(5 * HOUR)
    assert describe(client, running)["StatusCode"] == "Failed"
    assert output(client, finished) == b"content"
    emulator.clock.advance(DAY)
    emulator.settle()
    assert not list((emulator.directory / "bytes").glob("*/*"))


def test_jobs_are_not_merged(client: Any) -> None:
    archive = upload(client)
    assert len({retrieve(client, archive) for _ in range(3)}) == 3


def test_output_and_job_are_gone_a_day_after_completion(emulator: VaultEmulator, client: Any) -> None:
    job = retrieve(client, upload(client))
    emulator.clock.advance(4 * HOUR + DAY - 60)
    assert output(client, job) == b"content"
    emulator.clock.advance(120)
    assert refusal(client.get_job_output, vaultName=VAULT, jobId=job) == (
        *NOT_FOUND,
        f"The job ID was not found: {job}",
    )
    assert refusal(client.describe_job, vaultName=VAULT, jobId=job)[:2] == NOT_FOUND
    assert client.list_jobs(vaultName=VAULT)["JobList"] == []


def test_a_job_may_be_listed_longer_than_its_output_lives(tmp_path: Path) -> None:
    with VaultEmulator(tmp_path, output_seconds=DAY, job_retention_seconds=3 * DAY) as emulator:
        client = emulator.client()
        client.create_vault(vaultName=VAULT)
        job = retrieve(client, upload(client))
        emulator.clock.advance(2 * DAY)
        assert describe(client, job)["StatusCode"] == "Succeeded"
        assert refusal(client.get_job_output, vaultName=VAULT, jobId=job)[:2] == NOT_FOUND


def test_jobs_are_completed_failed_and_expired_by_hand(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    good, bad, waiting = (retrieve(client, archive) for _ in range(3))
    assert emulator.complete_jobs(good) == 1
    assert emulator.fail_jobs(bad) == 1
    states = [describe(client, job)["StatusCode"] for job in (good, bad, waiting)]
    assert states == ["Succeeded", "Failed", "InProgress"]
    assert emulator.expire_jobs(good) == 1
    assert refusal(client.get_job_output, vaultName=VAULT, jobId=good)[:2] == NOT_FOUND


def test_jobs_are_listed_in_order_filtered_and_paged(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    jobs = [retrieve(client, archive, Description=str(number)) for number in range(55)]
    emulator.complete_jobs(jobs[3])
    emulator.fail_jobs(jobs[7])
    pages = list(client.get_paginator("list_jobs").paginate(vaultName=VAULT))
    assert [len(page["JobList"]) for page in pages] == [50, 5]
    assert [job["JobId"] for page in pages for job in page["JobList"]] == jobs

    def listed(**filters: str) -> list[str]:
        found = client.get_paginator("list_jobs").paginate(vaultName=VAULT, **filters)
        return [job["JobId"] for page in found for job in page["JobList"]]

    assert listed(statuscode="Succeeded") == [jobs[3]]
    assert listed(statuscode="Failed") == [jobs[7]]
    assert listed(completed="true") == [jobs[3], jobs[7]]
    assert listed(completed="false") == listed(statuscode="InProgress")
    assert len(listed(completed="false")) == 53
    assert listed(completed="true", statuscode="InProgress") == []


def test_a_bad_filter_is_refused(client: Any) -> None:
    answer = refusal(client.list_jobs, vaultName=VAULT, statuscode="finished")
    assert answer == (*INVALID, "The job status code is not valid: finished")
    assert refusal(client.list_jobs, vaultName=VAULT, completed="maybe")[:2] == INVALID


def test_an_unknown_job_is_not_found(client: Any) -> None:
    expected = (*NOT_FOUND, "The job ID was not found: nonsense")
    assert refusal(client.describe_job, vaultName=VAULT, jobId="nonsense") == expected
    assert refusal(client.get_job_output, vaultName=VAULT, jobId="nonsense") == expected


def test_a_retrieval_policy_limits_standard_retrievals_by_the_hour(emulator: VaultEmulator, client: Any) -> None:
    assert client.get_data_retrieval_policy()["Policy"] == {"Rules": [{"Strategy": "None"}]}
    policy = {"Rules": [{"Strategy": "BytesPerHour", "BytesPerHour": 10}]}
    client.set_data_retrieval_policy(Policy=policy)
    assert client.get_data_retrieval_policy()["Policy"] == policy
    archive = upload(client)
    retrieve(client, archive)
    with pytest.raises(client.exceptions.PolicyEnforcedException):
        retrieve(client, archive)
    retrieve(client, archive, Tier="Bulk")
    emulator.clock.advance(HOUR + 1)
    retrieve(client, archive)


# --- inventories ---


def test_before_the_first_inventory_there_is_none_to_retrieve(emulator: VaultEmulator, client: Any) -> None:
    upload(client)
    assert refusal(ask_inventory, client)[:2] == NOT_FOUND
    emulator.clock.advance(DAY)
    assert refusal(ask_inventory, client)[:2] == NOT_FOUND  # taken, but not to be had before another half day
    emulator.clock.advance(DAY / 2)
    assert ask_inventory(client)


def test_an_inventory_lags_behind(emulator: VaultEmulator, client: Any) -> None:
    old = upload(client, b"old", "the old one")
    emulator.clock.advance(2 * DAY)
    upload(client, b"new")
    client.delete_archive(vaultName=VAULT, archiveId=old)
    job = ask_inventory(client)
    emulator.clock.advance(5 * HOUR)
    listed = json.loads(output(client, job))
    assert listed["VaultARN"] == f"arn:aws:glacier:us-east-1:123456789012:vaults/{VAULT}"
    assert [entry["ArchiveId"] for entry in listed["ArchiveList"]] == [old]
    emulator.clock.advance(2 * DAY)
    job = ask_inventory(client)
    emulator.clock.advance(5 * HOUR)
    later = json.loads(output(client, job))
    assert [entry["Size"] for entry in later["ArchiveList"]] == [3]
    assert [entry["ArchiveDescription"] for entry in later["ArchiveList"]] == ["a file"]
    assert later["InventoryDate"] > listed["InventoryDate"]


def test_an_inventory_describes_each_archive(emulator: VaultEmulator, client: Any) -> None:
    data = some_bytes(2 * MIB)
    archive = upload(client, data, "two")
    bare = client.upload_archive(vaultName=VAULT, body=b"x")["archiveId"]
    emulator.take_inventory(VAULT)
    job = ask_inventory(client)
    emulator.complete_jobs(job)
    answer = client.get_job_output(vaultName=VAULT, jobId=job)
    assert answer["contentType"] == "application/json"
    assert "checksum" not in answer
    body = answer["body"].read()
    entries = {entry["ArchiveId"]: entry for entry in json.loads(body)["ArchiveList"]}
    assert entries[archive] == {
        "ArchiveId": archive,
        "ArchiveDescription": "two",
        "CreationDate": entries[archive]["CreationDate"],
        "Size": 2 * MIB,
        "SHA256TreeHash": tree_of(data),
    }
    assert entries[bare]["ArchiveDescription"] == ""
    described = describe(client, job)
    assert described["Action"] == "InventoryRetrieval"
    assert described["InventorySizeInBytes"] == len(body)
    assert described["InventoryRetrievalParameters"] == {"Format": "JSON"}
    assert not {"ArchiveId", "ArchiveSizeInBytes", "SHA256TreeHash", "RetrievalByteRange"} & described.keys()
    part = client.get_job_output(vaultName=VAULT, jobId=job, range="bytes=0-9")
    assert (part["status"], part["body"].read()) == (206, body[:10])


def test_an_inventory_without_changes_keeps_its_date(emulator: VaultEmulator, client: Any) -> None:
    upload(client)
    emulator.clock.advance(2 * DAY)
    first = client.describe_vault(vaultName=VAULT)["LastInventoryDate"]
    emulator.clock.advance(10 * DAY)
    assert client.describe_vault(vaultName=VAULT)["LastInventoryDate"] == first


def test_an_inventory_can_be_csv_with_the_documented_escapes(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client, description='my archive description,1\\"2')
    emulator.take_inventory()
    job = ask_inventory(client, Format="CSV")
    emulator.complete_jobs()
    answer = client.get_job_output(vaultName=VAULT, jobId=job)
    assert answer["contentType"] == "text/csv"
    head, row = answer["body"].read().decode().splitlines()
    assert head == "ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash"
    assert row.startswith(f'{archive},"my archive description,1\\\\"2",2')
    assert row.endswith(f",7,{tree_of(b'content')}")
    assert describe(client, job)["InventoryRetrievalParameters"]["Format"] == "CSV"


def test_an_inventory_is_filtered_by_creation_date(emulator: VaultEmulator, client: Any) -> None:
    dates, ids = [], []
    for _ in range(3):
        dates.append(emulator.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
        ids.append(upload(client))
        emulator.clock.advance(DAY)
    emulator.take_inventory()

    def listed(**dates: str) -> list[str]:
        job = ask_inventory(client, InventoryRetrievalParameters=dates)
        emulator.complete_jobs(job)
        return [entry["ArchiveId"] for entry in json.loads(output(client, job))["ArchiveList"]]

    assert listed(StartDate=dates[1]) == ids[1:]
    assert listed(EndDate=dates[1]) == ids[:1]
    assert listed(StartDate=dates[1], EndDate=dates[2]) == ids[1:2]


def test_an_inventory_is_paged_by_one_job_per_page(emulator: VaultEmulator, client: Any) -> None:
    ids = [upload(client) for _ in range(5)]
    emulator.take_inventory()
    found: list[str] = []
    parameters: dict[str, str] = {"Limit": "2"}
    for _ in range(3):
        job = ask_inventory(client, InventoryRetrievalParameters=parameters)
        assert "Marker" not in describe(client, job)["InventoryRetrievalParameters"]
        emulator.complete_jobs(job)
        found += [entry["ArchiveId"] for entry in json.loads(output(client, job))["ArchiveList"]]
        shown = describe(client, job)["InventoryRetrievalParameters"]
        assert shown["Limit"] == "2"
        parameters = {"Limit": "2", "Marker": shown.get("Marker", "")}
    assert found == ids
    assert parameters["Marker"] == ""


@pytest.mark.parametrize(
    "parameters",
    [
        {"Format": "XML"},
        {"ArchiveId": "x" * 138},
        {"RetrievalByteRange": "0-1048575"},
        {"InventoryRetrievalParameters": {"Limit": "0"}},
        {"InventoryRetrievalParameters": {"StartDate": "yesterday"}},
        {"InventoryRetrievalParameters": {"Marker": "nonsense"}},
    ],
)
def test_wrong_inventory_parameters_are_refused(
    emulator: VaultEmulator, client: Any, parameters: dict[str, Any]
) -> None:
    upload(client)
    emulator.take_inventory()
    assert refusal(ask_inventory, client, **parameters)[:2] == INVALID


# --- notifications ---


def test_a_finished_job_is_announced_with_its_description(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    job = retrieve(client, archive, SNSTopic=TOPIC, Description="token 1")
    retrieve(client, archive)
    assert emulator.messages() == []
    emulator.clock.advance(5 * HOUR)
    (message,) = emulator.messages()
    assert (message["job"], message["topic"]) == (job, TOPIC)
    described = describe(client, job)
    described.pop("ResponseMetadata")
    shown = {name: value for name, value in message["message"].items() if value is not None}
    assert shown == described
    assert message["message"]["InventorySizeInBytes"] is None


def test_vault_and_job_topics_both_get_a_message(emulator: VaultEmulator, client: Any) -> None:
    other = TOPIC.replace("jobs", "vault")
    configuration = {"SNSTopic": other, "Events": ["ArchiveRetrievalCompleted"]}
    client.set_vault_notifications(vaultName=VAULT, vaultNotificationConfig=configuration)
    assert client.get_vault_notifications(vaultName=VAULT)["vaultNotificationConfig"] == configuration
    job = retrieve(client, upload(client), SNSTopic=TOPIC)
    emulator.fail_jobs(job)
    assert [message["topic"] for message in emulator.messages()] == [TOPIC, other]
    assert {message["message"]["StatusCode"] for message in emulator.messages()} == {"Failed"}
    emulator.take_inventory()
    ask_inventory(client)
    emulator.complete_jobs()
    assert len(emulator.messages()) == 2
    client.delete_vault_notifications(vaultName=VAULT)
    assert refusal(client.get_vault_notifications, vaultName=VAULT)[:2] == NOT_FOUND


@pytest.mark.parametrize(
    "configuration",
    [
        {"SNSTopic": TOPIC, "Events": ["Everything"]},
        {"SNSTopic": TOPIC, "Events": []},
        {"SNSTopic": "x", "Events": ["ArchiveRetrievalCompleted"]},
    ],
)
def test_a_wrong_notification_configuration_is_refused(client: Any, configuration: dict[str, Any]) -> None:
    call = client.set_vault_notifications
    assert refusal(call, vaultName=VAULT, vaultNotificationConfig=configuration)[:2] == INVALID


def test_messages_reach_a_queue_through_sns_in_the_background(tmp_path: Path) -> None:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        sns, sqs = make_client("sns", url), make_client("sqs", url)
        topic = sns.create_topic(Name="glacier-jobs")["TopicArn"]
        queue = sqs.create_queue(QueueName="restores")["QueueUrl"]
        queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
        with VaultEmulator(tmp_path, sns_endpoint_url=url, standard_seconds=0.1) as emulator:
            client = emulator.client()
            client.create_vault(vaultName=VAULT)
            job = retrieve(client, upload(client), SNSTopic=topic)
            # Nobody asks for the job: the emulator itself notices that it is done.
            (letter,) = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
            # The letter is there before its sender hears of it.
            assert eventually(lambda: emulator.messages()[0]["state"] == "delivered")
    finally:
        moto.stop()
    envelope = json.loads(letter["Body"])
    assert envelope["TopicArn"] == topic
    announced = json.loads(envelope["Message"])
    assert (announced["JobId"], announced["StatusCode"], announced["Completed"]) == (job, "Succeeded", True)


def test_a_topic_that_cannot_be_reached_is_met_with_silence(tmp_path: Path) -> None:
    with VaultEmulator(tmp_path, sns_endpoint_url="http://127.0.0.1:9", standard_seconds=0.05) as emulator:
        client = emulator.client()
        client.create_vault(vaultName=VAULT)
        job = retrieve(client, upload(client), SNSTopic=TOPIC)
        assert eventually(lambda: [message["state"] for message in emulator.messages()] == ["failed"])
        assert describe(client, job)["StatusCode"] == "Succeeded"
