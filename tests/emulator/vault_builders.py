"""Small builders for the tests of the vault emulator."""

from __future__ import annotations

import io
import json
import random
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.utils import calculate_tree_hash

from tests.emulator.vault_rules import MIB

VAULT = "photos"
TOPIC = "arn:aws:sns:us-east-1:123456789012:glacier-jobs"
HOUR = 3600
DAY = 24 * HOUR


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes that differ from MiB to MiB."""
    return random.Random(seed).randbytes(size)


def tree_of(data: bytes) -> str:
    """Return botocore's tree hash of bytes, the oracle."""
    return calculate_tree_hash(io.BytesIO(data))


def upload(client: Any, data: bytes = b"content", description: str = "a file") -> str:
    """Upload an archive in one request and return its id."""
    return client.upload_archive(vaultName=VAULT, archiveDescription=description, body=data)["archiveId"]


def begin(client: Any, part_size: int = MIB, description: str = "a dump") -> str:
    """Begin a multipart upload and return its id."""
    answer = client.initiate_multipart_upload(vaultName=VAULT, archiveDescription=description, partSize=str(part_size))
    return answer["uploadId"]


def send_part(client: Any, upload_id: str, first: int, data: bytes) -> str:
    """Upload one part and return the checksum in the answer."""
    span = f"bytes {first}-{first + len(data) - 1}/*"
    answer = client.upload_multipart_part(vaultName=VAULT, uploadId=upload_id, range=span, body=data)
    return answer["checksum"]


def send_parts(client: Any, upload_id: str, data: bytes, part_size: int = MIB) -> None:
    """Upload bytes part by part."""
    for first in range(0, len(data), part_size):
        send_part(client, upload_id, first, data[first : first + part_size])


def complete(client: Any, upload_id: str, data: bytes) -> str:
    """Complete a multipart upload and return the archive's id."""
    answer = client.complete_multipart_upload(
        vaultName=VAULT, uploadId=upload_id, archiveSize=str(len(data)), checksum=tree_of(data)
    )
    return answer["archiveId"]


def retrieve(client: Any, archive_id: str, **parameters: Any) -> str:
    """Start an archive retrieval and return the job's id."""
    parameters = {"Type": "archive-retrieval", "ArchiveId": archive_id, **parameters}
    return client.initiate_job(vaultName=VAULT, jobParameters=parameters)["jobId"]


def ask_inventory(client: Any, **parameters: Any) -> str:
    """Start an inventory retrieval and return the job's id."""
    parameters = {"Type": "inventory-retrieval", **parameters}
    return client.initiate_job(vaultName=VAULT, jobParameters=parameters)["jobId"]


def describe(client: Any, job_id: str) -> dict[str, Any]:
    """Return a job."""
    return client.describe_job(vaultName=VAULT, jobId=job_id)


def output(client: Any, job_id: str, **options: Any) -> bytes:
    """Return the output of a job."""
    return client.get_job_output(vaultName=VAULT, jobId=job_id, **options)["body"].read()


def refusal(call: Any, /, *args: Any, **options: Any) -> tuple[int, str, str]:
    """Return status, code and message of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **options)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Return the first true answer of a condition that another thread brings about; the last answer if none comes."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer


def control(url: str, path: str, body: object = None, method: str | None = None) -> Any:
    """Send a control request and return its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_emulator{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())
