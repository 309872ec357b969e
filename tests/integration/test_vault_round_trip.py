"""The main job on a vault: what differs from S3 is nowhere but behind the store."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.core.archive import Location
from glacier_provider.core.parts import MIB
from glacier_provider.errors import GlacierProviderError, RetrievalFailed
from glacier_provider.pipelines.restore import request_retrievals
from glacier_provider.pipelines.restore.wait import raise_failed_retrievals
from glacier_provider.stores.contract import Retrieval
from tests.emulator.faults import FaultKind
from tests.emulator.vault import VaultEmulator
from tests.support.application import titles
from tests.support.vault import VAULT, OnAVault

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}


def copies(vault: VaultEmulator) -> dict[tuple[str, int], list[str]]:
    """Return the ids that the vault holds for each archive of the catalog."""
    found: dict[tuple[str, int], list[str]] = {}
    for archive in vault.archives(digests=False):
        told = json.loads(archive["description"])
        found.setdefault((told["kind"], told["archive"]), []).append(archive["id"])
    return found


def test_an_earlier_backup_comes_back_from_a_vault(on_a_vault: OnAVault) -> None:
    large = bytes(range(256)) * 4096 * 20
    on_a_vault.write("large.bin", large)
    on_a_vault.write("deep/empty", b"")
    first = on_a_vault.back_up()
    before = titles(on_a_vault)
    for name in ("large.bin", "deep/empty", "doc2.pdf"):
        (on_a_vault.files / name).unlink()
    on_a_vault.sql("DELETE FROM tags")
    on_a_vault.sql("DELETE FROM documents WHERE file = 'doc2.pdf'")
    on_a_vault.back_up()
    on_a_vault.restore(first)
    assert titles(on_a_vault) == before
    assert on_a_vault.contents() == {**ORIGINAL, "large.bin": large, "deep/empty": b""}


def test_a_retrieval_that_the_vault_gives_up_ends_the_wait_by_its_name(
    on_a_vault: OnAVault, vault: VaultEmulator
) -> None:
    on_a_vault.back_up()
    (on_a_vault.files / "doc1.pdf").unlink()
    planned = on_a_vault.plan(part="files")
    number, wanted = planned["restore_id"], ArchiveRange.from_dict(planned["ranges"][0])
    vault.faults.inject("InitiateJob", FaultKind.FAIL_JOB, nth=1)
    request_retrievals(on_a_vault.application, number, wanted, catalog=on_a_vault.catalog, stores=on_a_vault.stores)
    deadline = time.monotonic() + 30
    while not (seen := on_a_vault.poll(number)).failed:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    assert (seen.failed, seen.renewed) == (1, 0)
    with pytest.raises(RetrievalFailed, match=r"doc1\.pdf"):
        raise_failed_retrievals(number, catalog=on_a_vault.catalog)


def test_what_a_dead_process_asked_for_is_joined_by_one_that_had_looked_before(
    on_a_vault: OnAVault, vault: VaultEmulator
) -> None:
    on_a_vault.back_up()
    (on_a_vault.files / "doc1.pdf").unlink()
    planned = on_a_vault.plan(part="files")
    (wanted,) = (ArchiveRange.from_dict(share) for share in planned["ranges"])
    on_a_vault.catalog.restores.start(planned["restore_id"])
    intending = on_a_vault.catalog.restores.intend_retrievals(planned["restore_id"], wanted, tier="Standard", days=3)
    with closing(intending) as pages:
        (intent,) = next(pages)
    location = Location(intent.store_uri, intent.key)
    here = on_a_vault.stores(intent.store_uri)
    list(here.retrieval_reports([Retrieval(location, "Standard", None)]))  # it looked, and knows of no job

    on_a_vault._stores.clear()  # another process, which dies before it could note the answer
    dead = on_a_vault.stores(intent.store_uri)
    asked = dead.request_retrieval(location, tier="Standard", days=3, token="retrieval 1")
    on_a_vault._stores[intent.store_uri] = here
    on_a_vault.bring(planned)
    assert [job["JobId"] for job in jobs_of(vault)] == [asked.job_id]
    assert on_a_vault.contents() == ORIGINAL


def jobs_of(vault: VaultEmulator) -> list[dict[str, Any]]:
    listed = vault.job_operations.list_jobs(VAULT, None, None, status=None, completed=None)["JobList"]
    return [job for job in listed if job["Action"] == "ArchiveRetrieval"]


def test_a_backup_under_fire_leaves_no_copy_that_the_inventory_does_not_explain(
    on_a_vault: OnAVault, vault: VaultEmulator
) -> None:
    for number in range(30):
        on_a_vault.write(f"more/{number}.txt", f"more {number}")
    on_a_vault.write("large.bin", b"0123456789abcdef" * (9 * MIB // 16))
    for operation in ("UploadArchive", "CompleteMultipartUpload", "InitiateMultipartUpload", "UploadMultipartPart"):
        vault.faults.inject(operation, "reset_after", every=3)
    backup_id = backed_up(on_a_vault)
    vault.faults.clear()
    rows = {row["id"]: row for row in on_a_vault.catalog.lists.archives(backup_id)}
    assert {row["state"] for row in rows.values()} == {"archived"}

    report = on_a_vault.catalog.lists.backup(backup_id)["report"]
    assert report["maybe_twice_count"] > 0
    on_a_vault.pass_time(timedelta(days=3))
    on_a_vault.take_inventory()
    (told,) = on_a_vault.reconciled()
    assert (told.deleted > 0, told.strays, told.foreign, told.doubtful) == (True, 0, 0, 0)
    assert all(len(ids) == 1 for ids in copies(vault).values())
    (on_a_vault.files / "large.bin").unlink()
    (on_a_vault.files / "more" / "7.txt").unlink()
    on_a_vault.restore(backup_id)
    assert on_a_vault.contents()["more/7.txt"] == b"more 7"


def backed_up(on_a_vault: OnAVault) -> int:
    """Run the backup as Airflow would: again after an error that another try may mend."""
    run = Run("glacier_backup__dms", "under-fire")
    for _ in range(10):
        try:
            return on_a_vault.back_up(run)
        except GlacierProviderError as error:
            if not error.retryable:
                raise
    raise AssertionError("the backup did not get through in ten tries")
