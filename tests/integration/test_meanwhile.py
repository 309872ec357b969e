"""What happens while something waits: a backup for its lost dump, a restore for its retrievals."""

from __future__ import annotations

import pytest

from glacier_provider.errors import IllegalMove
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.reconcile import reconcile
from tests.integration.test_lost import in_catalog
from tests.support.application import ApplicationUnderTest, titles


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def key_of_dump(app: ApplicationUnderTest, backup_id: int) -> str:
    rows = in_catalog(app, "SELECT backup_id, key FROM glacier_archives WHERE kind = 'database' AND state = 'archived'")
    return str(dict(rows)[backup_id])


def away(app: ApplicationUnderTest, key: str) -> dict[str, object]:
    """Take an object away, as a rule of the bucket or a person does; return what puts it back, as a version does."""
    client = app.s3.client()
    client.restore_object(Bucket=app.bucket, Key=key, RestoreRequest={"Days": 1})
    kept = client.head_object(Bucket=app.bucket, Key=key)
    body = app.s3.objects.bucket(app.bucket).keys[key].value
    client.delete_object(Bucket=app.bucket, Key=key)
    return {
        "Bucket": app.bucket,
        "Key": key,
        "Body": body,
        "Metadata": kept["Metadata"],
        "ChecksumAlgorithm": "SHA256",
        "StorageClass": "GLACIER",
    }


def look_through(app: ApplicationUnderTest) -> None:
    reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)


def test_a_backup_whose_dump_comes_back_still_has_the_files_that_it_had(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"the only copy")
    first, second = app.back_up(), app.back_up()
    (app.files / "doc.pdf").unlink()
    app.back_up()
    version = away(app, key_of_dump(app, second))
    look_through(app)
    assert app.catalog.backups.get(second)["state"] == "failed"
    delete_backup(app.application, first, app.a_run("delete"), catalog=app.catalog, stores=app.stores, force=True)
    app.s3.client().put_object(**version)
    look_through(app)
    assert app.catalog.backups.get(second)["state"] == "complete"
    app.restore(second)
    assert (app.files / "doc.pdf").read_bytes() == b"the only copy"


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("content", [None, b"CONTENT"])
def test_a_restore_that_waited_while_another_one_was_made_brings_what_that_one_took_away(
    app: ApplicationUnderTest, was_there: bool, content: bytes | None
) -> None:
    """The other one moved the file aside, or has another content in its place."""
    app.write("doc.pdf", b"content")
    first = app.back_up()
    (app.files / "doc.pdf").unlink()
    if content is not None:
        app.write("doc.pdf", content)
    second = app.back_up()
    (app.files / "doc.pdf").unlink(missing_ok=True)
    if was_there:
        app.write("doc.pdf", b"content")
    run = app.a_run("restore")
    waiting = app.plan(first, run)
    app.bring(waiting)
    app.sql("UPDATE documents SET title = 'of today'")
    app.restore(second)
    assert app.contents().get("doc.pdf") == content
    with pytest.raises(
        IllegalMove, match=r"1 file of its backup left the directory, or changed: doc\.pdf.*plan_restore"
    ):
        app.finish(waiting["restore_id"])
    app.bring(app.plan(first, run))
    app.finish(waiting["restore_id"])
    assert app.contents()["doc.pdf"] == b"content"


def test_a_restore_that_waited_while_an_earlier_one_was_undone_brings_its_own_content(
    app: ApplicationUnderTest,
) -> None:
    app.write("doc.pdf", b"content")
    first = app.back_up()
    app.write("doc.pdf", b"CONTENT")
    app.back_up()
    undone = app.restore(first)["restore_id"]
    run = app.a_run("restore")
    waiting = app.plan(first, run)
    app.bring(waiting)
    app.undo_orphans(undone)
    assert app.contents()["doc.pdf"] == b"CONTENT"
    with pytest.raises(IllegalMove, match=r"1 file of its backup left the directory, or changed: doc\.pdf"):
        app.finish(waiting["restore_id"])
    app.bring(app.plan(first, run))
    app.finish(waiting["restore_id"])
    assert app.contents()["doc.pdf"] == b"content"


def test_a_restore_that_waited_while_a_person_deleted_files_brings_them(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"content")
    first, run = app.back_up(), app.a_run("restore")
    waiting = app.plan(first, run)
    app.bring(waiting)
    (app.files / "doc.pdf").unlink()
    with pytest.raises(IllegalMove, match=r"Since restore \d+ was planned, 1 file of its backup left the directory"):
        app.finish(waiting["restore_id"])
    app.bring(app.plan(first, run))
    app.finish(waiting["restore_id"])
    assert app.contents()["doc.pdf"] == b"content"


def test_a_restore_that_waited_while_the_directory_was_unmounted_says_so(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"content")
    waiting = app.plan(app.back_up())
    app.bring(waiting)
    app.sql("UPDATE documents SET title = 'of today'")
    unmounted = app.files.rename(app.files.with_name("elsewhere"))
    with pytest.raises(IllegalMove, match=r"left the directory.*is to be mounted, do that first.*plan_restore"):
        app.finish(waiting["restore_id"])
    assert set(titles(app)) == {"of today"}
    unmounted.rename(app.files)
    app.finish(waiting["restore_id"])
    assert app.contents()["doc.pdf"] == b"content"


def test_a_restore_of_files_alone_that_waited_is_not_complete_without_them(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"content")
    first = app.back_up()
    only = {"part": "files", "move_orphans": False}
    waiting = app.plan(first, **only)
    app.bring(waiting)
    (app.files / "doc.pdf").unlink()
    with pytest.raises(IllegalMove, match="Clear the task plan_restore"):
        app.finish(waiting["restore_id"])


def test_a_restore_that_is_planned_again_after_another_one_restores_the_database_again(
    app: ApplicationUnderTest,
) -> None:
    first, run = app.back_up(), app.a_run("restore")
    before = titles(app)
    app.sql("UPDATE documents SET title = 'of the second'")
    second = app.back_up()
    overtaken = app.plan(first, run)
    app.bring(overtaken)
    restore.restore_database(app.application, overtaken["restore_id"], catalog=app.catalog, server=app.server)
    assert titles(app) == before
    app.catalog.backups.run_is_over(run, "failed")
    app.plan(first, run)
    app.restore(second)
    with pytest.raises(IllegalMove, match="Another restore of dms was made"):
        app.finish(overtaken["restore_id"])
    app.bring(app.plan(first, run))
    app.finish(overtaken["restore_id"])
    assert titles(app) == before


def test_a_download_of_a_run_that_is_over_brings_nothing_into_what_another_restore_made(
    app: ApplicationUnderTest,
) -> None:
    app.write("doc.pdf", b"content")
    first = app.back_up()
    (app.files / "doc.pdf").unlink()
    second = app.back_up()
    run = app.a_run("restore")
    slept = app.plan(first, run)
    app.ask(slept)
    app.wait(slept["restore_id"])
    app.catalog.backups.run_is_over(run, "failed")
    app.restore(second)
    with pytest.raises(IllegalMove, match="Clear the task plan_restore"):
        app.download(slept)
    assert "doc.pdf" not in app.contents()
    app.bring(app.plan(first, run))
    app.finish(slept["restore_id"])
    assert app.contents()["doc.pdf"] == b"content"
