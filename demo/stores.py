"""Where the demo's archives sleep: an emulated store of either kind, which answers as AWS does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from demo.processes import Child, Children, wait_for_line
from demo.report import DemoFailed

RETRIEVAL_SECONDS = 5
REGION = "us-east-1"
KEY_ID = SECRET = "demo"  # the emulators ask for a signature and do not check whose


class DemoStore(Protocol):
    """An emulated store: started by its constructor, usable after `prepare`."""

    uri: str
    url: str

    def prepare(self) -> None:
        """Wait until the server answers, then create the bucket or vault."""
        ...

    def connection(self) -> str:
        """Return Airflow's connection to the server, as JSON."""
        ...

    def refusal(self, key: str) -> str:
        """Try to read an archive that nobody asked back; return the words of the refusal, or raise DemoFailed."""
        ...


class S3Store:
    """S3 with its archive classes."""

    uri = "s3://dms-backups/acme?storage_class=GLACIER"
    bucket = "dms-backups"

    def __init__(self, children: Children, directory: Path) -> None:
        self._ready = directory / "s3.ready"
        arguments = ["--port", "0", "--ready-file", str(self._ready), "--retrieval-seconds", str(RETRIEVAL_SECONDS)]
        self._child = _start(children, "s3", arguments)
        self.url = ""

    def prepare(self) -> None:
        self.url = _ready_url(self._ready, self._child)
        _client("s3", self.url).create_bucket(Bucket=self.bucket)

    def connection(self) -> str:
        return _connection(self.url)

    def refusal(self, key: str) -> str:
        from botocore.exceptions import ClientError

        try:
            _client("s3", self.url).get_object(Bucket=self.bucket, Key=key)
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "InvalidObjectState":
                return f"GET s3://{self.bucket}/{key}: 403 InvalidObjectState"
            raise DemoFailed(f"reading {key} gave {exc}, not InvalidObjectState") from exc
        raise DemoFailed(f"the archive {key} could be read without a retrieval")


class VaultStore:
    """A vault of the original Glacier API."""

    uri = "glacier://dms-backups"
    vault = "dms-backups"

    def __init__(self, children: Children, directory: Path) -> None:
        self._ready = directory / "vault.ready"
        arguments = ["--port", "0", "--ready-file", str(self._ready), "--directory", str(directory / "vault")]
        arguments += ["--standard-seconds", str(RETRIEVAL_SECONDS)]
        self._child = _start(children, "vault", arguments)
        self.url = ""

    def prepare(self) -> None:
        self.url = _ready_url(self._ready, self._child)
        _client("glacier", self.url).create_vault(accountId="-", vaultName=self.vault)

    def connection(self) -> str:
        return _connection(self.url)

    def refusal(self, key: str) -> str:
        """An archive of a vault has no read of its own: only a retrieval job has an output, and there is none."""
        from botocore.exceptions import ClientError

        client = _client("glacier", self.url)
        jobs = client.list_jobs(accountId="-", vaultName=self.vault)["JobList"]
        if any(job.get("ArchiveId") == key for job in jobs):
            raise DemoFailed(f"the archive {key} was asked back before the restore")
        try:
            client.get_job_output(accountId="-", vaultName=self.vault, jobId=key)
        except ClientError as exc:
            return f"no retrieval job, no output: {exc.response['Error']['Code']}"
        raise DemoFailed(f"the archive {key} could be read without a retrieval")


STORES: Mapping[str, type[S3Store] | type[VaultStore]] = {"s3": S3Store, "vault": VaultStore}


def _start(children: Children, name: str, arguments: list[str]) -> Child:
    return children.start(name, [sys.executable, "-m", f"tests.emulator.{name}", *arguments])


def _ready_url(path: Path, child: Child) -> str:
    text = wait_for_line(path, child)
    return str(json.loads(text)["url"]) if text.startswith("{") else text


def _connection(url: str) -> str:
    extra = {"endpoint_url": url, "region_name": REGION}
    return json.dumps({"conn_type": "aws", "login": KEY_ID, "password": SECRET, "extra": extra})


def _client(service: str, url: str) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, region_name=REGION)
    return session.client(service, endpoint_url=url, config=Config(proxies={}))
