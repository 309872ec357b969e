from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from glacier_provider.core.archive import ArchiveKind, Description, Location, Receipt, StoredArchive
from glacier_provider.core.reconciliation import KnownArchive, Verdict, receipt_of, verdict_of
from glacier_provider.core.status import ArchiveState

TOLD = Description("library", ArchiveKind.FILE, 7, 3, "a/b.pdf", 100, "ab" * 32, written_by="5f0c")
FOUND = StoredArchive("found-key", 100, TOLD, "treehash:" + "cd" * 32)
KNOWN = KnownArchive(ArchiveState.ARCHIVED, 3, "a/b.pdf", 100, "other-key", "ab" * 32, written_by="5f0c")


def verdict(found: StoredArchive = FOUND, known: KnownArchive | None = KNOWN) -> Verdict:
    return verdict_of(found, known, application="library")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ArchiveState.PLANNED, Verdict.ADOPT),
        (ArchiveState.UPLOADING, Verdict.ADOPT),
        (ArchiveState.ARCHIVED, Verdict.SURPLUS),
        (ArchiveState.DELETING, Verdict.SURPLUS),
        (ArchiveState.DELETED, Verdict.SURPLUS),
        (ArchiveState.FAILED, Verdict.SURPLUS),  # noted before, under another key
    ],
)
def test_the_state_in_the_catalog_decides(state: ArchiveState, expected: Verdict) -> None:
    assert verdict(known=replace(KNOWN, state=state)) is expected


def test_the_archive_of_the_receipt_is_known_whatever_its_state() -> None:
    for state in set(ArchiveState) - {ArchiveState.DELETED, ArchiveState.LOST}:
        assert verdict(known=replace(KNOWN, state=state, key="found-key", size=5)) is Verdict.KNOWN


def test_what_was_deleted_and_is_still_listed_is_deleted_again() -> None:
    assert verdict(known=replace(KNOWN, state=ArchiveState.DELETED, key="found-key")) is Verdict.SURPLUS


def test_what_may_be_the_last_copy_is_never_deleted() -> None:
    lost = replace(KNOWN, lost=True)
    assert verdict(known=lost) is Verdict.STRAY
    assert verdict(known=replace(lost, state=ArchiveState.LOST)) is Verdict.STRAY
    assert verdict(known=replace(lost, state=ArchiveState.LOST, key="found-key")) is Verdict.STRAY


def test_what_was_lost_and_is_there_again_as_it_was_is_archived_again_whoever_wrote_it() -> None:
    lost = replace(KNOWN, state=ArchiveState.LOST, key="found-key", checksum=FOUND.checksum, lost=True)
    assert verdict(known=lost) is Verdict.BACK
    assert verdict(known=replace(lost, written_by=None)) is Verdict.BACK, "a rebuilt catalog signs otherwise"
    assert verdict(known=replace(lost, checksum="treehash:" + "00" * 32)) is Verdict.STRAY
    assert verdict(known=replace(lost, size=99)) is Verdict.STRAY
    assert verdict(replace(FOUND, checksum=None), replace(lost, checksum=None)) is Verdict.STRAY
    assert verdict(known=replace(lost, key="other-key")) is Verdict.STRAY


@pytest.mark.parametrize("written_by", ["77aa", None])
def test_what_another_catalog_wrote_is_never_adopted_noted_or_deleted(written_by: str | None) -> None:
    """None: in the earlier form of a description, which does not tell."""
    theirs = replace(FOUND, description=replace(TOLD, written_by=written_by))
    for known in (KNOWN, replace(KNOWN, written_by=None)):
        for state in ArchiveState:
            assert verdict(theirs, replace(known, state=state)) is Verdict.STRAY
            assert verdict(theirs, replace(known, state=state, key=None)) is Verdict.STRAY
        deleted = replace(known, state=ArchiveState.DELETED, key="found-key")
        assert verdict(theirs, deleted) is Verdict.STRAY


def test_what_was_given_up_and_is_found_is_noted_and_never_deleted_for_that() -> None:
    given_up = replace(KNOWN, state=ArchiveState.FAILED, key=None)
    assert verdict(known=given_up) is Verdict.NOTE
    assert verdict(known=replace(given_up, sha256=None)) is Verdict.NOTE
    assert verdict(known=replace(given_up, sha256="00" * 32)) is Verdict.STRAY


def test_nothing_is_deleted_on_the_strength_of_its_name_alone() -> None:
    """Large files have no hash of the whole: then the store's checksum has to be that of the receipt."""
    large = replace(FOUND, description=replace(TOLD, sha256=None))
    unhashed = replace(KNOWN, sha256=None)
    assert verdict(large, unhashed) is Verdict.STRAY
    assert verdict(large, replace(unhashed, checksum="treehash:" + "00" * 32)) is Verdict.STRAY
    assert verdict(large, replace(unhashed, checksum=FOUND.checksum)) is Verdict.SURPLUS


def test_a_manifest_that_was_written_again_leaves_a_copy_that_is_known_by_its_hash() -> None:
    now = replace(KNOWN, sha256="00" * 32, size=120)
    assert verdict(known=now) is Verdict.STRAY
    assert verdict(known=replace(now, earlier_sha256s=("ab" * 32,))) is Verdict.SURPLUS
    assert verdict(known=replace(now, state=ArchiveState.UPLOADING, earlier_sha256s=("ab" * 32,))) is Verdict.STRAY


@pytest.mark.parametrize(
    "changes", [{"size": 101}, {"backup_id": 4}, {"filename": "a/c.pdf"}, {"sha256": "00" * 32}, {"sha256": None}]
)
def test_what_disagrees_in_any_point_is_never_deleted_or_adopted(changes: dict[str, Any]) -> None:
    for state in (ArchiveState.UPLOADING, ArchiveState.ARCHIVED):
        found = verdict(known=replace(KNOWN, state=state, **changes))
        unproven = changes == {"sha256": None} and state is ArchiveState.UPLOADING
        assert found is (Verdict.ADOPT if unproven else Verdict.STRAY)


def test_an_archive_whose_size_is_not_what_it_says_is_never_touched() -> None:
    assert verdict(found=replace(FOUND, size=99)) is Verdict.STRAY


def test_an_id_that_the_catalog_does_not_know_is_never_touched() -> None:
    assert verdict(known=None) is Verdict.STRAY


def test_archives_of_others_are_foreign() -> None:
    assert verdict(found=replace(FOUND, description=None)) is Verdict.FOREIGN
    assert verdict(found=replace(FOUND, description=replace(TOLD, application="shop"))) is Verdict.FOREIGN


def test_a_name_known_by_its_hash_is_recognised() -> None:
    hashed = "sha256:" + hashlib.sha256(b"a/b.pdf").hexdigest()
    assert verdict(found=replace(FOUND, description=replace(TOLD, filename=hashed))) is Verdict.SURPLUS


def test_an_adopted_archive_has_the_receipt_that_its_listing_tells() -> None:
    assert receipt_of(FOUND, "glacier://v") == Receipt(
        Location("glacier://v", "found-key"), 100, "treehash:" + "cd" * 32, adopted=True
    )
    with pytest.raises(ValueError, match="found-key"):
        receipt_of(replace(FOUND, checksum=None), "glacier://v")
