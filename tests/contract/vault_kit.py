"""The vault store under the store contract, on a vault and an emulator of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config

from glacier_provider.core.store_uri import VaultUri, parse_store_uri
from glacier_provider.stores.vault.store import VaultStore, vault_client_config
from tests.contract.kit import HOUR, PART, Waiting
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import a_session
from tests.emulator.vault import VaultEmulator

VAULT = "contract"
_ACTS = {
    "delete": "DeleteArchive",
    "put": "UploadArchive",
    "begin": "InitiateMultipartUpload",
    "part": "UploadMultipartPart",
    "complete": "CompleteMultipartUpload",
    "retrieve": "InitiateJob",
    "read": "GetJobOutput",
}


@dataclass
class VaultKit(Waiting):
    """The vault store."""

    emulator: VaultEmulator

    def __post_init__(self) -> None:
        self.emulator.archive_operations.create_vault(VAULT)

    def open(self, *, attempts: int = 1, uri: str = f"glacier://{VAULT}", **options: Any) -> VaultStore:
        return open_vault(self.emulator.url, uri, attempts, now=self.emulator.clock.now, **options)

    def missing(self) -> VaultStore:
        return self.open(uri="glacier://there-is-no-such-vault")

    def address(self) -> list[str]:
        return [self.emulator.url, f"glacier://{VAULT}"]

    def deny(self) -> None:
        self.emulator.faults.inject("*", FaultKind.ACCESS_DENIED)

    def break_next(self, act: str, kind: FaultKind, *, part: int | None = None, **options: Any) -> None:
        when = {} if part is None else {"range": f"bytes {(part - 1) * PART}-*"}
        self.emulator.faults.inject(_ACTS[act], kind, when=when, **{"count": 1, **options})

    def mend(self) -> None:
        self.emulator.faults.clear()

    def keys(self) -> list[str]:
        return [archive["id"] for archive in self.emulator.archives(VAULT, digests=False)]

    def publish(self) -> None:
        """Have AWS take an inventory and a job bring it, without a request."""
        self.emulator.take_inventory(VAULT)
        job = self.emulator.job_operations.initiate(VAULT, {"Type": "inventory-retrieval"})
        self.emulator.complete_jobs(job)

    def done(self, act: str) -> int:
        return self.emulator.requests().get(_ACTS[act], {"succeeded": 0})["succeeded"]

    def pass_time(self, seconds: float) -> None:
        self.emulator.clock.advance(seconds)

    def finish_retrievals(self) -> None:
        self.pass_time(8 * HOUR + 1)


def open_vault(url: str, uri: str, attempts: int = 1, read_timeout: float = 60, **options: Any) -> VaultStore:
    """Open a vault store at an endpoint; `options` go to VaultStore."""
    place = parse_store_uri(uri)
    assert isinstance(place, VaultUri)
    config = vault_client_config(place).merge(Config(read_timeout=read_timeout))
    client = a_session().client("glacier", endpoint_url=url, config=config)
    return VaultStore(place, client=client, **{"part_size": PART, "attempts": attempts, **options})


def open_uploads(kit: VaultKit) -> list[dict[str, Any]]:
    """Return what the descriptions of open uploads tell."""
    return [json.loads(upload["description"]) for upload in kit.emulator.uploads(VAULT)]


def an_emulator(directory: Path, **options: Any) -> VaultEmulator:
    """Return an emulator that forgets deleted archives at once, so that nothing retrieves them."""
    return VaultEmulator(directory, **{"deleted_archive_seconds": 0, **options})
