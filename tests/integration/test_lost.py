"""What is not in its store any more is known, said, gone on without, and healed while the file is there."""

from __future__ import annotations

import os
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.archive import Amount
from glacier_provider.errors import ArchiveMissing, BackupNotRestorable, StoreDenied
from glacier_provider.pipelines import backup
from glacier_provider.pipelines.reconcile import reconcile
from glacier_provider.stores.contract import ListedPart
from tests.integration.test_deletion import delete
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.support.application import ApplicationUnderTest


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def in_catalog(app: ApplicationUnderTest, statement: str) -> list[tuple[Any, ...]]:
    with app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def age(app: ApplicationUnderTest) -> None:
    """What was archived is old enough for a listing to tell."""
    in_catalog(app, "UPDATE glacier_archives SET archived_at = archived_at - interval '1 day'")


def key_of(app: ApplicationUnderTest, name: str) -> str:
    rows = in_catalog(app, "SELECT filename, key FROM glacier_archives WHERE state = 'archived' ORDER BY id")
    return [key for filename, key in rows if filename == name][-1]


def remove(app: ApplicationUnderTest, *names: str) -> None:
    """The store loses these archives, and nobody is told."""
    for name in names:
        app.s3.client().delete_object(Bucket=app.bucket, Key=key_of(app, name))


def empty(app: ApplicationUnderTest) -> None:
    client = app.s3.client()
    for entry in client.list_objects_v2(Bucket=app.bucket).get("Contents", []):
        client.delete_object(Bucket=app.bucket, Key=entry["Key"])


def lost_of(app: ApplicationUnderTest, backup_id: int) -> list[str]:
    return app.catalog.lost.of_backups([backup_id]).get(backup_id, {}).get("lost", [])


def states(app: ApplicationUnderTest, name: str) -> list[str]:
    rows = in_catalog(app, "SELECT filename, state FROM glacier_archives WHERE kind = 'file' ORDER BY id")
    return [state for filename, state in rows if filename == name]


def test_the_day_after_a_loss_it_is_known_and_healed_in_every_backup(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    first = app.back_up()
    age(app)
    remove(app, "doc.pdf")
    second = app.back_up()
    assert app.catalog.backups.get(second)["report"]["lost_found"] == ["doc.pdf"]
    assert states(app, "doc.pdf") == ["lost", "archived"]
    assert lost_of(app, first) == lost_of(app, second) == [], "the same content is archived anew: both are whole"
    (app.files / "doc.pdf").unlink()
    app.restore(first)
    assert (app.files / "doc.pdf").read_bytes() == b"the only copy"
    assert app.catalog.counts.wrong() == []


def test_another_content_of_the_same_length_heals_nothing(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"first content")
    first = app.back_up()
    age(app)
    remove(app, "doc.pdf")
    app.write("doc.pdf", b"other content")
    second = app.back_up()
    assert states(app, "doc.pdf") == ["lost", "archived"]
    assert (lost_of(app, first), lost_of(app, second)) == (["doc.pdf"], [])


def test_a_lost_file_that_is_gone_stays_lost_and_is_said(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    first = app.back_up()
    age(app)
    remove(app, "doc.pdf")
    (app.files / "doc.pdf").unlink()
    app.back_up()
    assert lost_of(app, first) == ["doc.pdf"]
    row = app.catalog.pages.backup(app.application.name, first)
    assert row["lost"] == Amount(1, 13)
    with pytest.raises(ArchiveMissing, match=r"The file doc\.pdf of backup \d+ is in no store any more.*without_lost"):
        app.plan(first)
    assert app.catalog.counts.wrong() == []


def test_a_restore_goes_on_without_what_is_lost_and_says_so(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    app.write("other.pdf", b"another")
    first = app.back_up()
    age(app)
    remove(app, "doc.pdf")
    for name in ("doc.pdf", "other.pdf"):
        (app.files / name).unlink()
    app.back_up()
    planned = app.plan(first, without_lost=True)
    assert any("LOST, in no store any more" in line and "doc.pdf" in line for line in planned["lines"])
    app.bring(planned)
    figures = app.finish(planned["restore_id"])
    assert (figures["outcome"]["lost_count"], figures["outcome"]["lost"]) == (1, ["doc.pdf"])
    assert (app.files / "other.pdf").read_bytes() == b"another"


@pytest.mark.parametrize("when", ["before the request", "before the download"])
def test_a_loss_that_the_restore_itself_finds_is_named_and_can_be_gone_on_without(
    app: ApplicationUnderTest, when: str
) -> None:
    app.write("doc.pdf", b"the only copy")
    app.write("other.pdf", b"another")
    if when == "before the download":
        app.configure(store=f"s3://{app.bucket}/at-once?storage_class=GLACIER_IR")
    first = app.back_up()
    for name in ("doc.pdf", "other.pdf"):
        (app.files / name).unlink()
    planned = app.plan(first)
    remove(app, "doc.pdf")
    with pytest.raises(ArchiveMissing, match=r"The file doc\.pdf of backup"):
        app.bring(planned)
    assert states(app, "doc.pdf") == ["lost"]
    figures = app.restore(first, without_lost=True)
    assert figures["outcome"]["lost"] == ["doc.pdf"]
    assert (app.files / "other.pdf").read_bytes() == b"another"


@pytest.mark.parametrize("content", ["the text", "anothers", "longer than it was"])
def test_what_is_lost_and_still_in_the_directory_is_no_orphan(app: ApplicationUnderTest, content: str) -> None:
    """It may be the last copy, or the next best; the backup contains a file of that name."""
    app.write("doc.pdf", "the text")
    first = app.back_up()
    app.catalog.lost.note([row[0] for row in in_catalog(app, DOC)], "Somebody deleted it.")
    app.write("doc.pdf", content)
    figures = app.restore(first, without_lost=content != "the text")
    assert (app.files / "doc.pdf").read_text() == content
    assert figures["outcome"]["orphans"]["moved"] == 0
    assert figures["outcome"]["lost"] == ([] if content == "the text" else ["doc.pdf"])


@pytest.mark.parametrize("move_orphans", [True, False])
def test_the_last_copy_of_what_is_lost_is_read_before_it_is_called_there(
    app: ApplicationUnderTest, move_orphans: bool
) -> None:
    """Another content behind the size, time and inode of a scan: nothing but the content vouches for a last copy."""
    app.write("doc.pdf", "the text")
    app.write("other.pdf", "the rest")
    first = app.back_up()
    app.catalog.lost.note([row[0] for row in in_catalog(app, DOC)], "Somebody deleted it.")
    file = app.files / "doc.pdf"
    before = file.stat()
    with file.open("r+") as stream:
        stream.write("TAMPERED"[: before.st_size])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    plan = app.plan(first, without_lost=True, move_orphans=move_orphans)["plan"]
    assert plan["lost" if plan["replaces"] else "differing"] == ("doc.pdf",)


DOC = "SELECT id FROM glacier_archives WHERE filename = 'doc.pdf'"


def test_the_hint_names_another_backup_only_when_that_has_the_file(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"first content")
    first = app.back_up()
    app.write("doc.pdf", b"and another content")
    second = app.back_up()
    in_catalog(app, "UPDATE glacier_archives SET state = 'lost' WHERE filename = 'doc.pdf' AND superseded")
    with pytest.raises(ArchiveMissing, match=f"Backup {second} has doc.pdf"):
        app.plan(first)
    in_catalog(app, "UPDATE glacier_archives SET state = 'lost' WHERE filename = 'doc.pdf'")
    with pytest.raises(ArchiveMissing) as error:
        app.plan(first)
    assert "has doc.pdf" not in str(error.value)


def test_reconciliation_notes_what_is_lost_and_takes_it_back(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    first = app.back_up()
    key = key_of(app, "doc.pdf")
    kept = app.s3.client().head_object(Bucket=app.bucket, Key=key)
    remove(app, "doc.pdf")
    (done,) = reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    assert done.lost == 1
    assert any("LOST" in line and "doc.pdf" in line for line in done.lines())
    assert lost_of(app, first) == ["doc.pdf"]
    put_back(app, key, kept)
    (done,) = reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    assert done.back == 1
    assert lost_of(app, first) == []


def put_back(app: ApplicationUnderTest, key: str, kept: dict[str, Any]) -> None:
    """The store has again what it had lost."""
    app.s3.client().put_object(
        Bucket=app.bucket,
        Key=key,
        Body=b"the only copy",
        Metadata=kept["Metadata"],
        ChecksumAlgorithm="SHA256",
        StorageClass="GLACIER",
    )


def lost_archived_anew_and_back(app: ApplicationUnderTest) -> tuple[list[int], str]:
    """Return the backups, and the key of what no backup needs any more."""
    app.write("doc.pdf", b"the only copy")
    first = app.back_up()
    key = key_of(app, "doc.pdf")
    kept = app.s3.client().head_object(Bucket=app.bucket, Key=key)
    age(app)
    remove(app, "doc.pdf")
    second = app.back_up()
    put_back(app, key, kept)
    reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    return [first, second], key


def test_what_turns_up_after_it_was_archived_anew_is_known_and_no_second_copy_that_nobody_knows(
    app: ApplicationUnderTest,
) -> None:
    (first, _), _ = lost_archived_anew_and_back(app)
    assert states(app, "doc.pdf") == ["archived", "archived"]
    assert in_catalog(app, "SELECT superseded FROM glacier_archives WHERE filename = 'doc.pdf' ORDER BY id") == [
        (True,),
        (False,),
    ]
    app.restore(first)
    assert app.catalog.counts.wrong() == []


def test_what_turns_up_after_it_was_archived_anew_goes_with_the_next_deletion(app: ApplicationUnderTest) -> None:
    """Also while the backup that made it stays: that contains the archive that was made anew."""
    (first, second), key = lost_archived_anew_and_back(app)
    app.back_up()
    delete(app, second)
    there = {entry["Key"] for entry in app.s3.client().list_objects_v2(Bucket=app.bucket)["Contents"]}
    assert key not in there
    (app.files / "doc.pdf").unlink()
    app.restore(first)
    assert (app.files / "doc.pdf").read_bytes() == b"the only copy"


def test_a_store_that_was_emptied_is_noticed_the_same_day_and_filled_again(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"one")
    first = app.back_up()
    age(app)
    empty(app)
    second = app.back_up()
    report = app.catalog.backups.get(second)["report"]
    assert report["store_changed"] == app.application.store
    assert app.catalog.backups.get(first)["state"] == "failed", "its dump is gone"
    (app.files / "doc.pdf").unlink()
    with pytest.raises(BackupNotRestorable, match="Its dump is not in the store"):
        app.plan(first)
    app.restore(second)
    assert (app.files / "doc.pdf").read_bytes() == b"one"


def test_a_store_with_the_marker_of_another_catalog_is_not_that_of_yesterday(
    app: ApplicationUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    app.back_up()
    app.store.leave_marker("dms", b'{"catalog": "another"}')  # type: ignore[attr-defined]
    second = app.back_up()
    assert app.catalog.backups.get(second)["report"]["store_changed"] == app.application.store
    assert "holds the marker of another catalog" in caplog.text


def test_an_archive_that_is_not_as_long_as_it_was_written_is_lost(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    app.back_up()
    age(app)
    app.s3.client().put_object(Bucket=app.bucket, Key=key_of(app, "doc.pdf"), Body=b"the only", StorageClass="GLACIER")
    second = app.back_up()
    assert app.catalog.backups.get(second)["report"]["lost_found"] == ["doc.pdf"]
    assert states(app, "doc.pdf") == ["lost", "archived"]


@pytest.mark.parametrize("how", ["removed", "changed"])
def test_what_was_written_and_is_not_there_when_it_is_looked_at_fails_the_backup(
    app: ApplicationUnderTest, how: str
) -> None:
    app.write("doc.pdf", b"the only copy")
    run = app.a_run()
    number = backup.open_backup(app.application, run, catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, number, catalog=app.catalog, server=app.server, store=app.store)
    (share,) = backup.scan_files(app.application, number, catalog=app.catalog)
    backup.upload_database(app.application, number, catalog=app.catalog, store=app.store)
    wanted = ArchiveRange.from_dict(share)
    backup.upload_files(app.application, number, wanted, catalog=app.catalog, store=app.store)
    if how == "removed":
        remove(app, "doc.pdf")
    else:
        app.s3.client().put_object(Bucket=app.bucket, Key=key_of(app, "doc.pdf"), Body=b"x", StorageClass="GLACIER")
    with pytest.raises(
        ArchiveMissing, match=r"confirmed doc\.pdf, and does not give it back.*clear the task scan_files"
    ):
        backup.close_backup(app.application, number, catalog=app.catalog, store=app.store)
    assert states(app, "doc.pdf") == ["lost"]
    assert app.back_up(run) == number
    assert states(app, "doc.pdf") == ["lost", "archived"]


def test_a_store_is_looked_at_with_as_many_requests_on_every_day(app: ApplicationUnderTest) -> None:
    def requests() -> dict[str, int]:
        app.s3.forget_counts()
        backup_id = backup.open_backup(app.application, app.a_run(), catalog=app.catalog, store=app.store)
        app.catalog.backups.free_lease(f"backup {backup_id}")
        return app.s3.counts()

    app.back_up()
    few = requests()
    for number in range(50):
        app.write(f"more/{number}", f"{number}")
    app.back_up()
    assert requests() == few


def test_a_store_that_went_back_to_an_older_copy_with_its_marker_is_looked_through(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a replica of a bucket: what lies in the cold is not replicated, the marker is."""
    app.back_up()
    app.write("doc9.pdf", b"the newest")
    app.back_up()
    age(app)
    remove(app, "doc1.pdf", "doc9.pdf")
    none_of_it = ListedPart([], "pre/dms/zzz")  # the share of the day
    listed = type(app.store).listed_after
    monkeypatch.setattr(
        type(app.store),
        "listed_after",
        lambda store, name, key, *, pages: none_of_it if pages == 1 else listed(store, name, key, pages=pages),
    )
    third = app.back_up()
    assert sorted(app.catalog.backups.get(third)["report"]["lost_found"]) == ["doc1.pdf", "doc9.pdf"]
    assert "store_changed" not in {k: v for k, v in app.catalog.backups.get(third)["report"].items() if v}


def test_what_is_lost_is_noticed_also_by_who_may_list_and_not_read(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise StoreDenied("s3:GetObject is denied.")

    app.write("doc.pdf", b"one")
    app.back_up()
    age(app)
    remove(app, "doc.pdf")
    monkeypatch.setattr(type(app.store), "marker", denied)
    second = app.back_up()
    assert app.catalog.backups.get(second)["report"]["lost_found"] == ["doc.pdf"]


def test_what_nobody_with_these_credentials_can_read_back_is_said_and_complete(
    app: ApplicationUnderTest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.write("doc.pdf", b"one")
    app.back_up()

    def denied(*_: Any, **__: Any) -> Any:
        raise StoreDenied("s3:GetObject is denied.")

    monkeypatch.setattr(type(app.store), "marker", denied)
    monkeypatch.setattr(type(app.store), "look_back", denied)
    last = app.back_up()
    row = app.catalog.backups.get(last)
    assert row["state"] == "complete"
    assert "s3:GetObject is denied" in row["report"]["read_back_denied"]
    assert "NOBODY WITH THESE CREDENTIALS CAN READ" in caplog.text


def test_a_rebuilt_catalog_knows_what_is_lost_and_the_next_backup_heals_it(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    first = app.back_up()
    remove(app, "doc.pdf")
    lose_the_catalog(app)
    rebuild(app)
    assert lost_of(app, first) == ["doc.pdf"]
    app.back_up()
    assert lost_of(app, first) == []


def test_what_was_healed_is_rebuilt_as_healed(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    first = app.back_up()
    age(app)
    remove(app, "doc.pdf")
    app.back_up()
    app.write("later.pdf", b"more")
    last = app.back_up()
    lose_the_catalog(app)
    rebuild(app)
    assert lost_of(app, first) == lost_of(app, last) == []
    for path in list(app.files.rglob("*.pdf")):
        path.unlink()
    app.restore(first)
    assert (app.files / "doc.pdf").read_bytes() == b"the only copy"


def test_an_archive_that_somebody_copied_into_its_own_place_is_the_same(app: ApplicationUnderTest) -> None:
    """As who has a bucket encrypted by another key: a hash of parts becomes one of the whole, or of other parts."""
    first = app.back_up()
    age(app)
    in_catalog(
        app,
        "UPDATE glacier_archives SET checksum = 'sha256-parts:8388608:' || repeat('0', 64) WHERE kind = 'database'",
    )
    second = app.back_up()
    assert "lost_found" not in app.catalog.backups.get(second)["report"]
    assert app.catalog.backups.get(first)["state"] == "complete"


@pytest.mark.parametrize("of", ["file", "database"])
def test_what_somebody_wrote_over_the_newest_archives_is_known_the_day_after(
    app: ApplicationUnderTest, of: str
) -> None:
    first = app.back_up()
    age(app)
    name = in_catalog(app, f"SELECT filename FROM glacier_archives WHERE kind = '{of}' ORDER BY id DESC")[0][0]
    client, key = app.s3.client(), key_of(app, name)
    body = b"x" * client.head_object(Bucket=app.bucket, Key=key)["ContentLength"]
    client.put_object(Bucket=app.bucket, Key=key, Body=body, StorageClass="GLACIER", ChecksumAlgorithm="SHA256")
    second = app.back_up()
    assert app.catalog.backups.get(second)["report"]["lost_found"] == [name]
    if of == "database":
        assert app.catalog.backups.get(first)["state"] == "failed"
    else:
        assert states(app, name) == ["lost", "archived"]
    assert app.catalog.backups.get(second)["state"] == "complete"
