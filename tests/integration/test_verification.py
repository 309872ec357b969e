"""What sleeps in the stores is compared with the catalog where it lies, and what is not as it should be is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import IllegalMove, LeaseHeld, ProofFailed
from glacier_provider.pipelines import verify
from glacier_provider.pipelines.shared import listing
from tests.integration.test_lost import age, in_catalog, key_of, remove, states
from tests.support.application import ApplicationUnderTest
from tests.support.vault import OnAVault


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def verified(app: ApplicationUnderTest) -> dict[str, Any]:
    """Run a verification by listing; return what it came to."""
    proof_id = verify.open_verification(app.application, catalog=app.catalog, method="listing")
    verify.verify_listing(app.application, proof_id, catalog=app.catalog, stores=app.stores)
    return verify.close_verification(app.application, proof_id, catalog=app.catalog, stores=app.stores)


def found(closed: Mapping[str, Any]) -> dict[str, tuple[int, list[str]]]:
    return {one["what"]: (one["count"], one["names"]) for one in closed["findings"]}


def an_old_backup(app: ApplicationUnderTest) -> int:
    backup_id = app.back_up()
    age(app)
    return backup_id


def put(app: ApplicationUnderTest, key: str, body: bytes, **options: Any) -> None:
    """Put an object as if that had been an hour ago."""
    app.s3.client().put_object(Bucket=app.bucket, Key=key, Body=body, **options)
    app.s3.objects.key(app.bucket, key).last_modified = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)


def test_a_store_that_has_what_it_should_passes(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    closed = verified(app)
    assert (closed["state"], found(closed), closed["figures"]["listing"]["listed"]) == ("passed", {}, 5)
    row = app.catalog.proofs.newest(ProofKind.VERIFICATION)
    assert row is not None
    assert (row["state"], row["method"], row["kind"]) == ("passed", "listing", "verification")
    verify.raise_unproven(closed)


def test_what_is_missing_is_lost_and_named_with_its_backups(app: ApplicationUnderTest) -> None:
    first = an_old_backup(app)
    second = app.back_up()
    remove(app, "doc1.pdf")
    closed = verified(app)
    assert closed["state"] == "found"
    assert found(closed) == {"lost": (1, [f"doc1.pdf (backups {first} to {second})"])}
    assert states(app, "doc1.pdf") == ["lost"]
    with pytest.raises(ProofFailed, match=r"LOST: 1 archive cannot be brought back: doc1.pdf"):
        verify.raise_unproven(closed)
    again = verified(app)
    assert (again["state"], list(found(again))) == ("passed", ["lost_before"]), "it is known, and told each time"


def test_what_has_another_size_is_lost_and_how_it_was_learned_is_said(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    put(app, key_of(app, "doc2.pdf"), b"x", StorageClass="GLACIER")
    assert list(found(verified(app))) == ["lost"]
    ((how,),) = in_catalog(app, "SELECT lost_how FROM glacier_archives WHERE state = 'lost'")
    assert "with another size" in how


def test_a_dump_that_is_missing_fails_its_backup(app: ApplicationUnderTest) -> None:
    first = an_old_backup(app)
    ((key,),) = in_catalog(app, "SELECT key FROM glacier_archives WHERE kind = 'database'")
    app.s3.client().delete_object(Bucket=app.bucket, Key=key)
    assert found(verified(app))["lost"][0] == 1
    assert app.catalog.backups.get(first)["state"] == "failed"


def test_what_the_catalog_does_not_know_is_counted_and_named(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    for number in range(3):
        put(app, f"pre/dms/files/stray{number}", b"xy")
    app.s3.client().put_object(Bucket=app.bucket, Key="pre/dms/files/of-just-now", Body=b"x")
    closed = verified(app)
    assert closed["state"] == "passed", "nothing of ours is wrong"
    assert found(closed)["unknown"] == (3, [f"pre/dms/files/stray{number}" for number in range(3)])


def test_what_lies_in_another_class_is_found(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    put(app, key_of(app, "doc3.pdf"), b"content 3", StorageClass="STANDARD")
    closed = verified(app)
    assert (closed["state"], found(closed)) == ("found", {"class": (1, ["doc3.pdf"])})


def test_parts_of_a_listing_come_to_what_the_whole_does(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        app.write(f"many/{number}.txt", f"{number}")
    an_old_backup(app)
    remove(app, "many/0.txt", "many/7.txt", "many/11.txt")
    monkeypatch.setattr("tests.emulator.s3_objects.MAX_KEYS", 2)
    monkeypatch.setattr(listing, "PART_PAGES", 2)
    closed = verified(app)
    assert closed["figures"]["listing"]["listed"] == 14
    assert found(closed)["lost"][0] == 3


def test_a_short_page_is_not_the_end_of_a_listing(app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores may give fewer keys than asked for, and say that more come: none of those is lost."""
    an_old_backup(app)
    monkeypatch.setattr("tests.emulator.s3_objects.MAX_KEYS", 2)
    app.back_up()
    assert in_catalog(app, "SELECT 1 FROM glacier_archives WHERE state = 'lost'") == []


def test_a_store_that_may_not_be_listed_is_a_finding(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    app.s3.deny(app.bucket)
    try:
        closed = verified(app)
    finally:
        app.s3.allow(app.bucket)
    assert (closed["state"], list(found(closed))) == ("failed", ["not_looked", "evidence_not_looked"])
    assert in_catalog(app, "SELECT 1 FROM glacier_archives WHERE state = 'lost'") == []


def test_old_versions_are_counted_and_what_a_delete_marker_hides_can_be_brought_back(
    app: ApplicationUnderTest,
) -> None:
    client = app.s3.client()
    client.put_bucket_versioning(Bucket=app.bucket, VersioningConfiguration={"Status": "Enabled"})
    an_old_backup(app)
    remove(app, "doc1.pdf")
    closed = verified(app)
    told = found(closed)
    assert told["lost"][0] == 1
    assert told["hidden"] == (1, ["doc1.pdf"])
    assert any("1 old version" in line and "1 delete marker" in line for line in closed["lines"])


def test_archives_without_the_lock_that_was_asked_for_are_named(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    locked = app.application.store + "&object_lock_days=30"
    in_catalog(app, f"UPDATE glacier_archives SET store_uri = '{app.stores(locked).uri}'")
    app.configure(store=locked)
    assert found(verified(app))["unlocked"][0] == 3
    for days, unlocked in ((20, 3), (31, None)):
        for name in ("doc1.pdf", "doc2.pdf", "doc3.pdf"):
            one = app.s3.objects.key(app.bucket, key_of(app, name))
            one.lock_mode, one.lock_until = (
                "COMPLIANCE",
                f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}",
            )
        assert found(verified(app)).get("unlocked", (None,))[0] == unlocked, days


def test_a_verification_that_was_killed_is_gone_on_with(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    first = verify.open_verification(app.application, catalog=app.catalog, method="listing", run=app.a_run("verify"))
    remove(app, "doc1.pdf")
    verify.verify_listing(app.application, first, catalog=app.catalog, stores=app.stores)
    # Killed here; the next one does it again, and tells what the first one found.
    closed = verified(app)
    assert (closed["proof_id"], found(closed)["lost"][0]) == (first, 1)
    assert len(app.catalog.proofs.listed()) == 1
    with pytest.raises(IllegalMove, match="has ended already"):
        app.catalog.proofs.note(first, "listing")


def test_two_verifications_do_not_look_at_once(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    proof_id = verify.open_verification(app.application, catalog=app.catalog, method="listing")
    with app.catalog.beside() as other, other.alone("the verification of dms"), pytest.raises(LeaseHeld):
        verify.verify_listing(app.application, proof_id, catalog=app.catalog, stores=app.stores)


# --- vaults ---


def test_a_vault_is_verified_by_the_tree_hashes_of_its_inventory(on_a_vault: OnAVault) -> None:
    app = on_a_vault
    app.back_up()
    age(app)
    waiting = verified(app)
    assert (waiting["state"], "No inventory came" in waiting["error"]) == ("failed", True)
    app.pass_time(timedelta(days=2))
    app.take_inventory()
    assert verified(app)["state"] == "passed"
    key = key_of(app, "doc2.pdf")
    app.vault.store.execute("UPDATE archives SET tree = ? WHERE id = ?", "0" * 64, key)
    app.pass_time(timedelta(days=2))
    app.take_inventory()
    closed = verified(app)
    assert found(closed)["lost"][0] == 1
    ((how,),) = in_catalog(app, "SELECT lost_how FROM glacier_archives WHERE state = 'lost'")
    assert "told another checksum" in how
