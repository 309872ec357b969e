"""The main job on a vault: what differs from S3 is nowhere but behind the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from glacier_provider.catalog.backups import Run
from glacier_provider.core.parts import MIB
from glacier_provider.errors import GlacierProviderError
from glacier_provider.reconciliation import Reconciled, reconcile
from glacier_provider.stores import client_config
from glacier_provider.stores.base import ArchiveStore
from glacier_provider.stores.uri import VaultUri, parse_store_uri
from glacier_provider.stores.vault import VaultStore
from tests.emulator.s3 import a_session
from tests.emulator.vault import VaultEmulator
from tests.support.application import ApplicationUnderTest, a_small_dms, titles

VAULT = "dms"
ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}


@dataclass
class OnAVault(ApplicationUnderTest):
    """An application whose archives go to an emulated vault."""

    vault: VaultEmulator | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def stores(self, uri: str) -> ArchiveStore:
        assert self.vault is not None
        if uri not in self._stores:
            client = a_session().client("glacier", endpoint_url=self.vault.url, config=client_config(uri))
            place = parse_store_uri(uri)
            assert isinstance(place, VaultUri)
            self._stores[uri] = VaultStore(place, client=client, part_size=8 * MIB, now=lambda: self.now())
        return self._stores[uri]

    def forget_stores(self) -> None:
        self._stores.clear()


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

    report = dms.catalog.listing.backup(backup_id)["report"]
    assert report["maybe_twice_count"] > 0
    told = reconciled(dms, vault)
    assert (told.deleted > 0, told.strays, told.foreign, told.doubtful) == (True, 0, 0, 0)
    assert all(len(ids) == 1 for ids in copies(vault).values())
    (dms.files / "large.bin").unlink()
    (dms.files / "more" / "7.txt").unlink()
    dms.restore(backup_id)
    assert dms.contents()["more/7.txt"] == b"more 7"


def reconciled(dms: OnAVault, vault: VaultEmulator) -> Reconciled:
    """Let days pass, until an inventory tells of all that was in doubt; return what the comparison came to."""
    later = timedelta(days=3)
    vault.clock.advance(later.total_seconds())
    dms.now = lambda: datetime.now(UTC) + later
    dms.forget_stores()
    vault.take_inventory(VAULT)
    vault.complete_jobs(vault.job_operations.initiate(VAULT, {"Type": "inventory-retrieval"}))
    (told,) = reconcile(dms.application, catalog=dms.catalog, stores=dms.stores)
    return told


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
