"""What was tried is told as it was found, and not otherwise afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import IllegalMove
from glacier_provider.postgres import Server
from tests.support.backups import a_backup_row, a_proof_row, ago


def test_what_has_ended_is_not_told_otherwise(catalog: Catalog) -> None:
    proof_id = catalog.proofs.open(ProofKind.VERIFICATION, method="listing")
    catalog.proofs.note(proof_id, "listed", figures={"archives": 3})
    before = catalog.proofs.close(proof_id)
    with pytest.raises(IllegalMove):
        catalog.proofs.note(proof_id, "listed", figures={"archives": 4})
    with pytest.raises(IllegalMove):
        catalog.proofs.close(proof_id)
    assert catalog.proofs.get(proof_id) == before


def test_a_month_that_is_over_tells_nothing_that_came_after_it(catalog: Catalog, catalog_database: Server) -> None:
    until, name = ago(days=10), "dms"
    before = a_backup_row(catalog_database, name, "complete", until - timedelta(days=1))
    a_proof_row(catalog_database, name, "drill", "passed", until - timedelta(days=2))
    a_backup_row(catalog_database, name, "complete", until + timedelta(days=1))
    a_proof_row(catalog_database, name, "drill", "passed", until + timedelta(days=1))
    rows = catalog.evidence.month(until - timedelta(days=30), until)
    assert [row["id"] for row in rows.backups] == [before]
    assert rows.newest_backup is not None
    assert rows.newest_backup["id"] == before
    assert [row["ended_at"] for row in rows.passed] == [until - timedelta(days=2)]
    assert len(rows.proofs) == 1
