"""Time passes: copies end, large files take theirs, and what is said stays true."""

from __future__ import annotations

from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.archive import Description, Receipt
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.pipelines.restore import preview_restore, request_retrievals
from glacier_provider.stores.s3.store import S3Store
from tests.support.application import ApplicationUnderTest


def in_catalog(app: ApplicationUnderTest, statement: str) -> list[tuple[Any, ...]]:
    with app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def test_copies_whose_time_is_over_are_cold_wherever_somebody_looks(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    for path in dms.files.rglob("*.pdf"):
        path.unlink()
    first = dms.plan(backup_id)
    dms.bring(first)
    dms.finish(first["restore_id"])
    for path in dms.files.rglob("*.pdf"):
        path.unlink()
    warm = dms.plan(backup_id)["plan"]
    assert (warm["to_request"]["archives"], warm["ready"]["archives"]) == (0, 4), "on offer still"
    in_catalog(dms, "UPDATE glacier_retrievals SET expires_at = now() - interval '1 minute'")
    preview, _ = preview_restore(
        dms.application, RestoreRequest.from_params({"backup_id": backup_id}), catalog=dms.catalog
    )
    assert preview.ready.archives == 0, "the page"
    counts = dms.catalog.lists.backup(backup_id)["archives"]
    assert RetrievalStatus.READY.value not in counts, "the listing"
    planned = dms.plan(backup_id)
    assert planned["plan"]["to_request"] == first["plan"]["to_request"]
    assert planned["plan"]["cost"] == first["plan"]["cost"] != "0.000000"
    dms.bring(planned)
    dms.finish(planned["restore_id"])
    assert dms.catalog.counts.wrong() == []


def test_a_plan_names_the_tier_by_which_what_was_asked_for_earlier_is_waited_for(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    for path in dms.files.rglob("*.pdf"):
        path.unlink()
    planned = dms.plan(backup_id, tier="Bulk")
    for share in planned["ranges"]:
        wanted = ArchiveRange.from_dict(share)
        request_retrievals(dms.application, planned["restore_id"], wanted, catalog=dms.catalog, stores=dms.stores)
    again = dms.plan(backup_id, tier="Expedited")
    assert [line for line in again["lines"] if "by Bulk: 4 archives" in line and "waits for that tier" in line]
    assert not [line for line in dms.plan(backup_id, tier="Bulk")["lines"] if "waits for that tier" in line]


def test_small_files_are_known_before_a_large_one_is_sent(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        dms.write(f"small{number}", f"content {number}")
    for name in ("between", "zz"):
        dms.write(f"{name}.bin", b"x" * 9_000_000)
    seen: list[int] = []
    put_large = S3Store.put_large

    def watched(self: S3Store, source: Any, description: Description, journal: Any) -> Receipt:
        rows = in_catalog(dms, "SELECT count(*) FROM glacier_archives WHERE state = 'archived' AND kind = 'file'")
        seen.append(rows[0][0])
        return put_large(self, source, description, journal)

    monkeypatch.setattr(S3Store, "put_large", watched)
    dms.back_up()
    assert seen == [43, 44]
