"""What drills may cost, and which files their samples have."""

from __future__ import annotations

from decimal import Decimal

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.drill import FileSample
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import DatabaseUnreachable
from glacier_provider.pipelines.drill.step import drill_step
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.catalog.test_backups import STORE, a_run, completed, dumped, upload_all


def a_drill(catalog: Catalog, cost: str, *, months_ago: int = 0) -> int:
    proof_id = catalog.proofs.open(ProofKind.DRILL, method="scratch")
    catalog.proofs.note(proof_id, "plan", figures={"cost": cost})
    catalog.proofs.close(proof_id)
    began = f"date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '{months_ago} months'"
    with catalog.transaction():
        catalog.proofs._db.connection().execute(f"UPDATE proofs SET began_at = {began} WHERE id = {proof_id}".encode())
    return proof_id


def test_a_budget_is_charged_with_the_other_drills_of_its_application_in_this_month(
    catalog: Catalog, catalog_database: Server
) -> None:
    a_drill(catalog, "8", months_ago=1)
    a_drill(catalog, "0.25")
    this = a_drill(catalog, "0.5")
    with a_catalog(catalog_database, "another") as other:
        a_drill(other, "2")
    assert catalog.drills.cost_this_month(this) == Decimal("0.25")


def a_backup_of_sizes(catalog: Catalog, sizes: list[int]) -> int:
    backup_id = catalog.backups.open(a_run(1))
    dumped(catalog, backup_id)
    catalog.scans.record(backup_id, ((f"{size}.bin", size) for size in sizes), store_uri=STORE)
    upload_all(catalog)
    catalog.scans.new_versions(backup_id)
    completed(catalog, backup_id)
    return backup_id


def sampled(catalog: Catalog, restore_id: int, backup_id: int, sample: FileSample) -> int:
    """Plan a sample; return the bytes of its files."""
    backup = catalog.backups.get(backup_id)
    catalog.drills.plan_sample(restore_id, backup, sample, files=True, database=False, keep_placed=False)
    return sum(row["stored_size"] for page in catalog.drills.files(restore_id) for row in page)


def test_fewer_files_of_a_sample_cost_what_the_sample_of_so_many_would(catalog: Catalog) -> None:
    backup_id = a_backup_of_sizes(catalog, [2**n for n in range(12)])
    restore_id = catalog.restores.open(a_run(2), backup_id, RestoreRequest(backup_id))
    for seed in (1, 2):
        fewer = [sampled(catalog, restore_id, backup_id, FileSample(files, seed)) for files in range(1, 12)]
        assert sampled(catalog, restore_id, backup_id, FileSample(None, seed)) == 2**12 - 1
        told = [catalog.drills.figures(restore_id, FileSample(None, seed), files) for files in range(1, 12)]
        assert [sum(row["bytes"] for row in rows) for rows in told] == fewer


def test_what_stopped_a_step_is_told_until_a_later_try_does_it(catalog: Catalog) -> None:
    proof_id = catalog.proofs.open(ProofKind.DRILL, method="scratch")
    with pytest.raises(DatabaseUnreachable), drill_step(catalog, proof_id, "database"):
        raise DatabaseUnreachable("It is away.")
    assert [one["what"] for one in catalog.proofs.get(proof_id)["findings"]] == ["not_done"]
    with drill_step(catalog, proof_id, "database"):
        pass
    assert catalog.proofs.get(proof_id)["findings"] == []
