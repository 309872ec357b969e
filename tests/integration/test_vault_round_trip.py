"""The main job on a vault: what differs from S3 is nowhere but behind the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from glacier_provider.catalog.backups import Run
from glacier_provider.core.archive import Location
from glacier_provider.core.parts import MIB
from glacier_provider.core.status import ArchiveState
from glacier_provider.errors import GlacierProviderError
from glacier_provider.stores import client_config, open_store
from glacier_provider.stores.base import ArchiveStore
from glacier_provider.stores.reconcile import KnownArchive, Verdict, judge
from tests.emulator.s3 import a_session
from tests.emulator.vault import VaultEmulator
from tests.support.application import ApplicationUnderTest, a_small_dms, titles

VAULT = "dms"
ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}


@dataclass
class OnAVault(ApplicationUnderTest):
    """An application whose archives go to an emulated vault."""

    vault: VaultEmulator | None = None

    def stores(self, uri: str) -> ArchiveStore:
        assert self.vault is not None
        if uri not in self._stores:
            client = a_session().client("glacier", endpoint_url=self.vault.url, config=client_config(uri))
            self._stores[uri] = open_store(uri, client=client, part_size=8 * MIB)
        return self._stores[uri]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[VaultEmulator]:
    with VaultEmulator(tmp_path / "emulated-vault", standard_seconds=0.2) as emulator:
        emulator.client().create_vault(vaultName=VAULT)
        yield emulator


@pytest.fixture
def dms(make_application: Callable[..., ApplicationUnderTest], vault: VaultEmulator) -> OnAVault:
    made = make_application()
    application = replace(made.application, store=f"glacier://{VAULT}")
    on_vault = OnAVault(application, made.server, made.catalog, made.catalog_server, made.s3, vault=vault)
    a_small_dms(on_vault)
    return on_vault


def copies(vault: VaultEmulator) -> dict[tuple[str, int], list[str]]:
    """Return the ids that the vault holds for each archive of the catalog."""
    found: dict[tuple[str, int], list[str]] = {}
    for archive in vault.archives(digests=False):
        told = json.loads(archive["description"])
        found.setdefault((told["kind"], told["archive"]), []).append(archive["id"])
    return found


def test_an_earlier_backup_comes_back_from_a_vault(dms: OnAVault) -> None:
    large = bytes(range(256)) * 4096 * 20
    dms.write("large.bin", large)
    dms.write("deep/empty", b"")
    first = dms.back_up()
    before = titles(dms)
    for name in ("large.bin", "deep/empty", "doc2.pdf"):
        (dms.files / name).unlink()
    dms.sql("DELETE FROM tags")
    dms.sql("DELETE FROM documents WHERE file = 'doc2.pdf'")
    dms.back_up()
    dms.restore(first)
    assert titles(dms) == before
    assert dms.contents() == {**ORIGINAL, "large.bin": large, "deep/empty": b""}


def test_a_backup_under_fire_leaves_no_copy_that_the_inventory_does_not_explain(
    dms: OnAVault, vault: VaultEmulator
) -> None:
    for number in range(30):
        dms.write(f"more/{number}.txt", f"more {number}")
    dms.write("large.bin", b"0123456789abcdef" * (9 * MIB // 16))
    for operation in ("UploadArchive", "CompleteMultipartUpload", "InitiateMultipartUpload", "UploadMultipartPart"):
        vault.faults.inject(operation, "reset_after", every=3)
    backup_id = backed_up(dms)
    vault.faults.clear()
    rows = {row["id"]: row for row in dms.catalog.listing.archives(backup_id)}
    assert {row["state"] for row in rows.values()} == {"archived"}

    verdicts = reconciled(dms, vault)
    assert set(verdicts) == {Verdict.KNOWN, Verdict.SURPLUS}
    assert all(len(ids) == 1 for ids in copies(vault).values())
    (dms.files / "large.bin").unlink()
    (dms.files / "more" / "7.txt").unlink()
    dms.restore(backup_id)
    assert dms.contents()["more/7.txt"] == b"more 7"


def reconciled(dms: OnAVault, vault: VaultEmulator) -> list[Verdict]:
    """Judge everything in a new inventory and delete the copies too many; return the verdicts."""
    vault.take_inventory(VAULT)
    vault.complete_jobs(vault.job_operations.initiate(VAULT, {"Type": "inventory-retrieval"}))
    verdicts = []
    for archive in dms.store.archives(dms.application.name):
        assert archive.description is not None
        row = dms.catalog.archives.get(archive.description.archive_id)
        names = ("backup_id", "filename", "original_size", "key", "sha256")
        known = KnownArchive(ArchiveState(row["state"]), *(row[name] for name in names))
        verdicts.append(judge(archive, known, application=dms.application.name))
        if verdicts[-1] is Verdict.SURPLUS:
            dms.store.delete(Location(dms.store.uri, archive.key))
    return verdicts


def backed_up(dms: OnAVault) -> int:
    """Run the backup as Airflow would: again after an error that another try may mend."""
    run = Run("glacier_backup__dms", "under-fire")
    for _ in range(10):
        try:
            return dms.back_up(run)
        except GlacierProviderError as error:
            if not error.retryable:
                raise
    raise AssertionError("the backup did not get through in ten tries")
