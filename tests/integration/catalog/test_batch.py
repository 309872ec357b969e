"""What a report of many tells of an archive counts once, and the worst of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.proof import ProofKind
from tests.integration.catalog.test_backups import a_backup


def test_what_a_report_tells_of_twice_is_as_it_was_written_only_if_it_says_so_each_time(catalog: Catalog) -> None:
    a_backup(catalog, 1, ["a", "b"])
    proof_id = catalog.proofs.open(ProofKind.VERIFICATION, method="content")
    before = datetime.now(UTC) + timedelta(hours=1)
    (due,) = catalog.batch.due(before)
    catalog.batch.plan(proof_id, due, operation="S3ComputeObjectChecksum", before=before)
    (job,) = catalog.batch.of_proof(proof_id)
    rows = catalog._database.connection().execute(
        b"SELECT key, right(checksum, 64) AS sha256 FROM glacier_archives WHERE kind = 'file' ORDER BY id"
    )
    (a, of_a), (b, of_b) = ((row["key"], row["sha256"]) for row in rows.fetchall())
    told = [(a, 200, "", of_a), (a, 200, "", of_a), (b, 200, "", of_b), (b, 200, "", "f" * 64)]
    with catalog.transaction():
        found = catalog.batch.compare(job, told)
    assert (found.matched, found.differing.names) == (1, ("b",))
