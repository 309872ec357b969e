"""What a verification or a drill came to is left in the store, in a chain that shows what was removed or altered."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from glacier_provider import cli
from glacier_provider.core.evidence import read_evidence, sha256_of
from glacier_provider.core.month import month_page
from glacier_provider.core.proof import Finding, ProofKind
from glacier_provider.errors import ArchiveMissing, ProofFailed
from glacier_provider.pipelines import evidence, verify
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.month import facts_of_month
from tests.emulator.faults import FaultKind
from tests.integration.test_cli_deletion import Answer
from tests.integration.test_lost import in_catalog
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.integration.test_verification import an_old_backup, found, verified
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest
from tests.support.backups import a_backup_row
from tests.support.vault import OnAVault


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    dms.catalog.migrate()
    return dms


def key(app: ApplicationUnderTest, number: int) -> str:
    return f"pre/{app.application.name}/evidence/{number:012d}.json"


def document(app: ApplicationUnderTest, number: int) -> Any:
    return json.loads(body(app, number))


def body(app: ApplicationUnderTest, number: int) -> bytes:
    reply = app.s3.client().get_object(Bucket=app.bucket, Key=key(app, number))
    assert reply.get("StorageClass", "STANDARD") == "STANDARD"
    return bytes(reply["Body"].read())


def numbers(app: ApplicationUnderTest) -> list[int]:
    return [number for number, _, _ in app.store.evidence(app.application.name, longest=10**6)]  # type: ignore[attr-defined]


def a_drill(app: ApplicationUnderTest, backup_id: int | None, *findings: Finding) -> int:
    """End a drill, without its evidence: as of a process that was killed then."""
    proof_id = app.catalog.proofs.open(ProofKind.DRILL, method="scratch", backup_id=backup_id, asked_by="ann")
    app.catalog.proofs.note(proof_id, "tables", figures={"tables": 2}, findings=findings)
    app.catalog.proofs.close(proof_id, figures={"times": {"recovery": 4.5}})
    return proof_id


def leave(app: ApplicationUnderTest) -> None:
    evidence.leave_evidence(app.application, catalog=app.catalog, stores=app.stores)


def faults(app: ApplicationUnderTest) -> tuple[str, ...]:
    return evidence.evidence_in_stores(app.application, catalog=app.catalog, stores=app.stores).faults


def test_what_is_proven_leaves_documents_that_say_all_and_are_chained(app: ApplicationUnderTest) -> None:
    backup_id = an_old_backup(app)
    verified(app)
    a_drill(app, backup_id, Finding("row_count", "Rows are missing in:", 1, ("film",)))  # killed before its evidence
    verified(app)
    assert numbers(app) == [1, 2, 3], "the next one writes what a killed process left"
    first, second = document(app, 1), document(app, 2)
    assert (first["kind"], first["outcome"], first["previous_sha256"]) == ("verification", "passed", None)
    assert first["checks"] == [{"name": "listing", "passed": True}]
    assert second["previous_sha256"] == sha256_of(body(app, 1))
    assert (second["kind"], second["outcome"], second["by"]["asked_by"]) == ("drill", "found", "ann")
    assert (second["backup"]["id"], second["recovery_seconds"]) == (backup_id, 4.5)
    assert second["backup"]["server_version"] == app.catalog.backups.get(backup_id)["server_version"]
    assert second["findings"][0]["names"] == ["film"]
    assert {"glacier_provider", "catalog_server"} <= set(second["versions"])
    assert read_evidence(body(app, 3)).number == 3
    assert faults(app) == ()
    for number in (1, 2, 3):  # old enough for a listing to tell
        app.s3.objects.key(app.bucket, key(app, number)).last_modified -= timedelta(hours=1)
    assert found(verified(app)) == {}, "evidence is no stranger in its store"
    listed = [one.key for one in app.store.archives(app.application.name, described=False)]
    assert not [one for one in listed if "/evidence/" in one], "and no archive"


def test_what_is_altered_or_removed_is_noticed_and_put_right(app: ApplicationUnderTest) -> None:
    for _ in range(3):
        a_drill(app, None)
    leave(app)
    before = body(app, 2)
    app.s3.client().put_object(Bucket=app.bucket, Key=key(app, 2), Body=before.replace(b'"passed"', b'"found"'))
    assert faults(app) == (
        "Document 2 is not the one that 3 continues: one of the two was altered.",
        "Document 2 is not what the catalog wrote.",
    )
    closed = verified(app)
    assert (closed["state"], found(closed)) == ("found", {"evidence_altered": (1, ["2"])})
    app.s3.client().delete_object(Bucket=app.bucket, Key=key(app, 2))
    closed = verified(app)
    assert (closed["state"], found(closed)) == ("passed", {"evidence_missing": (1, ["2"])})
    assert (body(app, 2), faults(app)) == (before, ())


def test_evidence_in_an_earlier_store_is_part_of_the_chain(app: ApplicationUnderTest) -> None:
    a_drill(app, None)
    leave(app)
    app.configure(store=f"s3://{app.bucket}/later?storage_class=GLACIER", earlier_stores=(app.application.store,))
    a_drill(app, None)
    leave(app)
    chain = evidence.evidence_in_stores(app.application, catalog=app.catalog, stores=app.stores)
    assert (len(chain.documents), chain.faults) == (2, ())


def test_what_is_missing_and_altered_in_the_catalog_is_not_written_as_evidence(app: ApplicationUnderTest) -> None:
    for _ in range(2):
        a_drill(app, None)
    leave(app)
    app.s3.client().delete_object(Bucket=app.bucket, Key=key(app, 1))
    in_catalog(app, "UPDATE evidence SET document = replace(document, 'passed', 'found') WHERE number = 1")
    closed = verified(app)
    assert (closed["state"], found(closed)) == ("found", {"evidence_missing": (1, ["1"])})
    assert closed["findings"][0]["told"] == "Evidence is missing:"
    assert numbers(app) == [2, 3]


def test_a_lost_answer_makes_no_second_document(app: ApplicationUnderTest) -> None:
    a_drill(app, None)
    leave(app)
    in_catalog(app, "UPDATE evidence SET key = NULL, store_uri = NULL RETURNING 1")
    leave(app)
    assert (numbers(app), faults(app)) == ([1], ())
    assert in_catalog(app, "SELECT key FROM evidence") == [(key(app, 1),)]


def test_a_document_of_another_life_is_continued_and_not_replaced(app: ApplicationUnderTest) -> None:
    a_drill(app, None)
    leave(app)
    a_drill(app, None)
    leave(app)
    theirs = body(app, 2)
    # A catalog that went back in time knows of one document less.
    in_catalog(app, "DELETE FROM evidence WHERE number = 2 RETURNING 1")
    leave(app)
    assert body(app, 2) == theirs
    assert document(app, 3)["previous_sha256"] == sha256_of(theirs)
    assert faults(app) == ()


def test_a_document_that_another_catalog_wrote_meanwhile_takes_the_number(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_drill(app, None)
    write = evidence._write

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(evidence, "_write", write)
        app.s3.client().put_object(Bucket=app.bucket, Key=key(app, 1), Body=b"of somebody else")
        write(*args, **kwargs)

    monkeypatch.setattr(evidence, "_write", late)
    leave(app)
    assert body(app, 1) == b"of somebody else"
    assert document(app, 2)["previous_sha256"] == sha256_of(b"of somebody else")


def test_evidence_that_may_not_be_written_is_told_and_written_later(app: ApplicationUnderTest) -> None:
    an_old_backup(app)
    app.s3.deny(app.bucket, ["PutObject"])
    closed = verified(app)
    app.s3.allow(app.bucket)
    with pytest.raises(ProofFailed, match=r"(?s)The verification passed. Its evidence .*s3:PutObject"):
        verify.raise_unproven(closed)
    row = app.catalog.proofs.newest(ProofKind.VERIFICATION)
    assert row is not None
    assert (row["state"], numbers(app)) == ("passed", [])
    leave(app)
    assert numbers(app) == [1]


def test_a_rebuilt_catalog_knows_what_was_proven_and_goes_on_with_the_chain(app: ApplicationUnderTest) -> None:
    backup_id = an_old_backup(app)
    a_drill(app, backup_id, Finding("row_count", "Rows are missing in:", 1, ("film",)))
    leave(app)
    before = app.catalog.proofs.newest(ProofKind.DRILL)
    app.s3.client().put_object(Bucket=app.bucket, Key=key(app, 2), Body=b'{"evidence": 1, "number": 2}')
    lose_the_catalog(app)
    app.catalog.migrate()
    a_backup_row(app.catalog_server, "other", "complete", datetime.now(UTC))  # which takes the id
    assert rebuild(app).strays == ()
    after = app.catalog.proofs.newest(ProofKind.DRILL)
    assert before is not None
    assert after is not None
    same = ("kind", "method", "state", "began_at", "ended_at", "figures", "findings")
    assert [after[name] for name in same] == [before[name] for name in same]
    (backup,) = app.catalog.lists.backups(app.application.name)
    assert after["backup_id"] == backup["id"] != backup_id
    verified(app)
    assert document(app, 3)["previous_sha256"] == sha256_of(body(app, 2))


def test_evidence_that_somebody_wrote_breaks_nothing_in_a_rebuilt_catalog(app: ApplicationUnderTest) -> None:
    """What cannot be so proves nothing; what can be is shown as it is, and counts as no money."""
    a_drill(app, an_old_backup(app))
    leave(app)
    now = datetime.now(UTC)
    whole = {**document(app, 1), "began_at": now.isoformat(), "ended_at": now.isoformat()}
    finding = {"what": "x", "told": "x", "count": 1, "names": [], "grave": True}
    changes: list[dict[str, Any]] = [
        {"findings": [{**finding, "grave": "maybe"}]},
        {"application": "another"},
        {"began_at": "0001-01-01T00:00:00+23:59"},
        {"ended_at": (now + timedelta(days=400)).isoformat()},  # it would be the last proof for long
        *({"figures": {"plan": {"cost": cost, "currency": 5}}} for cost in ("much", "NaN", "-1000", "1e400", 7, [])),
        {"figures": {"database": 5, "files": {"checked": "all"}, "times": {"recovery": "long"}, "spans": 3}},
        {"figures": {"database": {"bytes": -1, "tables": True, "checks": [5, {}]}}, "findings": [finding]},
    ]
    for number, change in enumerate(changes, 2):
        made = json.dumps({**whole, **change, "number": number}).encode()
        app.s3.client().put_object(Bucket=app.bucket, Key=key(app, number), Body=made)
    lose_the_catalog(app)
    rebuild(app)
    known = app.catalog.proofs.listed(limit=100)
    assert len(known) == 1 + len(changes) - 4
    assert app.catalog.drills.cost_this_month(0) == 7
    name = app.application.name
    assert app.catalog.pages.proofs([name])[name][0]["state"] == "passed"
    month = f"{now:%Y-%m}"
    assert "1 passed" not in month_page(facts_of_month(app.application, month, catalog=app.catalog))
    with settings_of(app):
        assert cli.main(["evidence", name, "--json"]) == 0
        assert cli.main(["list", "--application", name]) == 0
        assert cli.main(["check"]) in (0, 1, 2)
        assert cli.main(["metrics"]) == 0


def test_a_vault_keeps_none_and_the_catalog_has_them(
    on_a_vault: OnAVault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    on_a_vault.catalog.migrate()
    proof_id = on_a_vault.catalog.proofs.open(ProofKind.VERIFICATION, method="listing")
    on_a_vault.catalog.proofs.close(proof_id)
    leave(on_a_vault)
    chain = evidence.evidence_of_catalog(on_a_vault.application, catalog=on_a_vault.catalog)
    assert (len(chain.documents), chain.faults) == (1, ())
    assert (
        evidence.evidence_in_stores(on_a_vault.application, catalog=on_a_vault.catalog, stores=on_a_vault.stores).faults
        == ()
    )
    with settings_of(on_a_vault):
        assert cli.main(["evidence", "--verify"]) == 0
        assert "(the catalog alone has it): 1 document, whole; the last is 1" in capsys.readouterr().out
        assert cli.main(["evidence", "--save", str(tmp_path / "kept")]) == 0
        with on_a_vault.catalog_server.connect(autocommit=True) as connection:
            connection.execute("UPDATE glacier_catalog.evidence SET document = replace(document, 'passed', 'failed')")
        assert cli.main(["evidence", "--verify"]) == 1
        assert "Document 1 is not what the catalog wrote." in capsys.readouterr().out
    assert cli.main(["evidence", "--verify", "--directory", str(tmp_path / "kept")]) == 0


def test_the_command_lists_verifies_saves_and_reads_what_was_downloaded(
    app: ApplicationUnderTest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(*argv: object) -> Answer:
        capsys.readouterr()
        with settings_of(app):
            code = cli.main(["evidence", *map(str, argv)])
        return Answer(code, *capsys.readouterr())

    for _ in range(3):
        a_drill(app, None)
    leave(app)
    assert [row["number"] for row in run("--json").json] == [3, 2, 1]
    told = run("dms", "--verify")
    assert (told.code, told.out) == (0, f"dms: 3 documents, whole; the last is 3, SHA-256 {sha256_of(body(app, 3))}.\n")
    told = run("--save", tmp_path / "kept")
    assert (told.code, told.out.partition(" written")[0]) == (0, "3 new documents")
    assert f"3 documents, whole; the last is 3, SHA-256 {sha256_of(body(app, 3))}" in told.out
    second = tmp_path / "kept" / f"{2:012d}.json"
    kept = second.read_bytes()
    second.write_bytes(kept.replace(b"passed", b"failed"))
    told = run("--save", tmp_path / "kept")
    assert (told.code, "has 1 document that the catalog has with another content: 2." in told.err) == (1, True)
    assert second.read_bytes() != kept, "nothing is overwritten"
    second.write_bytes(kept)
    assert run("--save", tmp_path / "kept").out.startswith("0 new documents written")
    now = datetime.now(UTC)
    page = tmp_path / "page.html"
    assert run("--month", f"{now:%Y-%m}", "--html", page).code == 0
    assert sha256_of(body(app, 3)) in page.read_text()
    assert run("--month", f"{now:%Y-%m}", "--html", tmp_path / "no" / "page.html").code == 1
    assert "has not begun" in run("--month", "2999-01", "--html", page).err
    downloaded = ("--verify", "--directory", tmp_path / "kept")
    assert run(*downloaded).code == 0
    (tmp_path / "kept" / f"{2:012d}.json").unlink()
    told = run(*downloaded)
    assert (told.code, "Document 2 is missing." in told.out) == (1, True)
    assert run("--verify", "--directory", tmp_path).code == 1
    app.s3.client().delete_object(Bucket=app.bucket, Key=key(app, 3))
    told = run("--verify")
    assert (told.code, "Document 3, which the catalog knows, is missing." in told.out) == (1, True)


# --- what restores come upon ---------------------------------------------------------------------------------------


def rotten(app: ApplicationUnderTest, name: str) -> None:
    app.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": f"*{name}*"})
    (app.files / name).unlink()


def test_what_a_restore_finds_to_be_another_content_leaves_a_document_at_once(app: ApplicationUnderTest) -> None:
    backup_id = app.back_up()
    rotten(app, "doc1.pdf")
    for said in ("is LOST: what the store has is not what was written", "or not as it was written"):  # found once
        with pytest.raises(ArchiveMissing, match=rf"doc1\.pdf of backup \d+ .*{said}"):
            app.restore(backup_id)
    assert numbers(app) == [1]
    told = document(app, 1)
    assert (told["kind"], told["method"], told["outcome"]) == ("verification", "restore", "found")
    (finding,) = told["findings"]
    assert (finding["count"], finding["names"]) == (1, [f"doc1.pdf (backup {backup_id})"])
    assert [one["key"].endswith("-doc1.pdf") for one in told["corrupt"]] == [True], "a rebuilt catalog knows it by that"
    assert told["figures"]["restore"]["lost"] == 1
    assert told["backup"]["id"] == backup_id
    assert faults(app) == ()
    rotten(app, "doc2.pdf")
    with pytest.raises(ArchiveMissing):
        app.restore(backup_id, part="files", only_files=["doc2.pdf"], into={"files_directory": f"{app.files}-desk"})
    assert (numbers(app), faults(app)) == ([1, 2], ())


def test_what_a_restore_finds_while_a_verification_is_under_way_is_told_by_that(app: ApplicationUnderTest) -> None:
    backup_id = app.back_up()
    rotten(app, "doc1.pdf")
    under_way = app.catalog.proofs.open(ProofKind.VERIFICATION, method="listing")
    with pytest.raises(ArchiveMissing):
        app.restore(backup_id)
    assert numbers(app) == []
    closed = verify.close_verification(app.application, under_way, catalog=app.catalog, stores=app.stores)
    assert [one["names"] for one in closed["findings"] if one["what"] == "lost"] == [[f"doc1.pdf (backup {backup_id})"]]
    assert numbers(app) == [1]


def test_a_store_that_takes_no_evidence_stops_no_restore_and_gets_it_with_the_next(app: ApplicationUnderTest) -> None:
    backup_id = app.back_up()
    rotten(app, "doc1.pdf")
    app.s3.plan.inject("PutObject", FaultKind.ACCESS_DENIED, when={"key": "*/evidence/*"})
    figures = app.restore(backup_id, without_lost=True)
    assert figures["outcome"]["lost"] == ["doc1.pdf"]
    assert numbers(app) == []
    app.s3.plan.clear()
    leave(app)
    assert document(app, 1)["method"] == "restore"


def test_the_page_of_a_month_knows_the_backups_that_were_deleted_since(dms: ApplicationUnderTest) -> None:
    failed = dms.catalog.backups.open(dms.a_run())
    dms.catalog.backups.fail(failed, "dump_database: the disk was full")
    complete = dms.back_up()
    for backup_id in (failed, complete):
        delete_backup(
            dms.application, backup_id, dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores, force=True
        )
    told = facts_of_month(dms.application, f"{datetime.now(UTC):%Y-%m}", catalog=dms.catalog)
    assert told.newest_backup is not None
    assert told.newest_backup["id"] == complete
    assert "1 complete, 1 failed" in re.sub("<[^>]*>", "", month_page(told))


def test_what_is_corrupt_is_known_after_a_rebuild_though_an_earlier_store_is_gone(app: ApplicationUnderTest) -> None:
    backup_id = app.back_up()
    rotten(app, "doc1.pdf")
    with pytest.raises(ArchiveMissing):
        app.restore(backup_id)
    lose_the_catalog(app)
    app.configure(earlier_stores=("s3://nobody-has-this-bucket/pre?storage_class=GLACIER",))
    rebuild(app)
    assert app.catalog.lost.of_backups([backup_id])[backup_id]["lost"] == ["doc1.pdf"]
