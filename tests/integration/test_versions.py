"""A name is not an identity: files whose names are given again, whose content changes, what a restore makes of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.errors import ArchiveCold, FileMissing, NameTaken
from glacier_provider.pipelines import restore
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


def archives_of(app: ApplicationUnderTest, name: str) -> list[tuple[int, str]]:
    """Size and state of everything that was archived under a name, in its order."""
    rows = in_catalog(app, "SELECT filename, original_size, state FROM glacier_archives ORDER BY id")
    return [(row[1], row[2]) for row in rows if row[0] == name]


def replaced_content(app: ApplicationUnderTest, way: str) -> None:
    """Have doc.pdf, which was b"Alice's invoice", hold b"Bob's  invoice"."""
    path = app.files / "doc.pdf"
    before = path.stat()
    if way == "vanished between two backups":
        path.unlink()
        app.back_up()
        app.write("doc.pdf", b"Bob's  invoice.")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif way == "written in place":
        app.write("doc.pdf", b"Bob's  invoice.")
    elif way == "another inode":
        app.write("new", b"Bob's  invoice.")
        os.utime(app.files / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(app.files / "new", path)
    elif way == "another size":
        app.write("doc.pdf", b"Bob's invoice, which is longer")


WAYS = ("vanished between two backups", "written in place", "another inode", "another size")


@pytest.mark.parametrize("way", WAYS)
def test_another_content_under_a_name_is_another_archive_and_each_backup_has_its_own(
    app: ApplicationUnderTest, way: str
) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    replaced_content(app, way)
    last = app.back_up()
    bobs = (app.files / "doc.pdf").read_bytes()
    assert app.catalog.backups.get(last)["report"]["new_versions"] == ["doc.pdf"]
    for wanted, content in ((first, b"Alice's invoice"), (last, bobs)):
        (app.files / "doc.pdf").unlink()
        app.restore(wanted)
        assert (app.files / "doc.pdf").read_bytes() == content
    assert app.catalog.counts.wrong() == []


def test_a_file_that_was_only_touched_is_the_archive_that_it_was(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    os.utime(app.files / "doc.pdf", (1, 1))
    second = app.back_up()
    assert archives_of(app, "doc.pdf") == [(15, "archived")]
    row = app.catalog.backups.get(second)
    assert (row["new_files_count"], row["returned_count"], row["vanished_count"]) == (0, 0, 0)
    assert in_catalog(
        app,
        "SELECT count(*) FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id"
        " WHERE a.filename = 'doc.pdf'",
    ) == [(1,)], "one range, as if nothing had been"
    assert row["report"]["new_versions_count"] == 0
    assert first < second


def test_a_content_that_comes_back_is_not_archived_again(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    second = app.back_up()
    app.write("doc.pdf", b"Alice's invoice")
    third = app.back_up()
    assert archives_of(app, "doc.pdf") == [(15, "archived"), (15, "archived")]
    for wanted, content in ((second, b"Bob's  invoice."), (third, b"Alice's invoice"), (first, b"Alice's invoice")):
        app.restore(wanted)
        assert (app.files / "doc.pdf").read_bytes() == content
    assert app.catalog.counts.wrong() == []


def test_a_large_file_is_compared_as_well(app: ApplicationUnderTest) -> None:
    content = os.urandom(9 * 1024 * 1024)
    app.write("film.mp4", content)
    app.back_up()
    os.utime(app.files / "film.mp4", (1, 1))
    app.back_up()
    app.write("film.mp4", content[:-1] + bytes([content[-1] ^ 1]))
    app.back_up()
    assert [size for size, _ in archives_of(app, "film.mp4")] == [len(content)] * 2


def test_changes_can_be_only_reported(app: ApplicationUnderTest) -> None:
    app.configure(changed_files="report")
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's invoice, which is longer")
    second = app.back_up()
    assert archives_of(app, "doc.pdf") == [(15, "archived")]
    assert app.catalog.backups.get(second)["report"]["changed"] == [
        {"name": "doc.pdf", "archived_size": 15, "size": 30}
    ]
    assert "known" not in app.plan(first)["plan"] or not app.plan(first)["plan"]["known"]
    planned = app.plan(second)
    assert any("doc.pdf" in line and "earlier content" in line for line in planned["lines"])


def test_a_restore_replaces_what_has_another_content_and_that_can_be_undone(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    app.back_up()
    planned = app.plan(first)
    assert any("moved aside" in line and "doc.pdf" in line for line in planned["lines"])
    app.bring(planned)
    assert (app.files / "doc.pdf").read_bytes() == b"Bob's  invoice.", "not before the database is in place"
    figures = app.finish(planned["restore_id"])
    assert (app.files / "doc.pdf").read_bytes() == b"Alice's invoice"
    assert figures["outcome"]["orphans"]["replaced"] == 1
    aside = app.orphans / f"{app.application.name}-restore-{planned['restore_id']}" / "doc.pdf"
    assert aside.read_bytes() == b"Bob's  invoice."
    assert app.catalog.counts.wrong() == []
    restore.undo_orphans(app.application, planned["restore_id"], catalog=app.catalog)
    assert (app.files / "doc.pdf").read_bytes() == b"Bob's  invoice."
    assert app.catalog.counts.wrong() == []


def test_a_staged_version_that_went_is_told_with_the_task_that_brings_it_again(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    planned = app.plan(first)
    app.bring(planned)
    for path in (
        Path(app.application.staging_directory) / f"{app.application.name}-restore-{planned['restore_id']}" / "versions"
    ).iterdir():
        path.unlink()
    with pytest.raises(FileMissing, match=r"doc\.pdf.*not in staging.*Clear the task download"):
        app.finish(planned["restore_id"])
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert (app.files / "doc.pdf").read_bytes() == b"Alice's invoice"


def test_a_restore_replaces_another_file_of_the_same_size_and_time(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    times = (app.files / "doc.pdf").stat()
    app.write("new", b"Bob's  invoice.")
    os.utime(app.files / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(app.files / "new", app.files / "doc.pdf")
    app.restore(first)
    assert (app.files / "doc.pdf").read_bytes() == b"Alice's invoice"


def test_what_another_restore_moved_aside_is_not_paid_for(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    second = app.back_up()
    app.restore(first)
    planned = app.plan(second)
    assert planned["plan"]["set_aside"]["archives"] == 1
    assert planned["plan"]["to_request"]["archives"] == 1, "the dump alone"
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert (app.files / "doc.pdf").read_bytes() == b"Bob's  invoice."


@pytest.mark.parametrize("later", [b"Bob's  invoice.", b"Bob's invoice, which is longer", b""])
def test_of_several_that_lie_aside_under_one_name_that_comes_back_which_is_meant(
    app: ApplicationUnderTest, later: bytes
) -> None:
    without = app.back_up()
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.restore(without)
    app.write("doc.pdf", later)
    second = app.back_up()
    app.restore(without)
    assert not (app.files / "doc.pdf").exists()
    for backup_id, content in ((first, b"Alice's invoice"), (second, later), (first, b"Alice's invoice")):
        planned = app.plan(backup_id)
        assert planned["plan"]["set_aside"]["archives"] == 1
        app.bring(planned)
        app.finish(planned["restore_id"])
        assert (app.files / "doc.pdf").read_bytes() == content


@pytest.mark.parametrize("replaced", [False, True], ids=["missing", "replaced"])
@pytest.mark.parametrize("way", ["another content", "gone"])
def test_what_lies_aside_and_is_another_since_the_plan_comes_from_the_store(
    app: ApplicationUnderTest, way: str, replaced: bool
) -> None:
    without = app.back_up()
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    aside = app.orphans / f"{app.application.name}-restore-{app.restore(without)['restore_id']}" / "doc.pdf"
    if replaced:
        app.write("doc.pdf", b"Bob's invoice, which is longer")
    planned = app.plan(first)
    assert planned["plan"]["set_aside"]["archives"] == 1
    aside.unlink()
    if way == "another content":
        aside.write_bytes(b"Eve's invoice!!")
    with pytest.raises(ArchiveCold, match=r"retrieval was not asked for\. Clear the task request_retrievals"):
        app.bring(planned)
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert (app.files / "doc.pdf").read_bytes() == b"Alice's invoice"


def test_a_name_that_was_taken_by_another_file_meanwhile_stops_what_comes_back(app: ApplicationUnderTest) -> None:
    without = app.back_up()
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.restore(without)
    planned = app.plan(first)
    app.write("doc.pdf", b"written while the restore waited")
    with pytest.raises(NameTaken, match=r"doc\.pdf"):
        app.bring(planned)
    assert (app.files / "doc.pdf").read_bytes() == b"written while the restore waited"


def test_after_a_restore_the_next_backup_goes_on_with_what_is_there(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    app.back_up()
    app.restore(first)
    third = app.back_up()
    assert archives_of(app, "doc.pdf") == [(15, "archived"), (15, "archived")]
    app.write("doc.pdf", b"Bob's  invoice.")
    app.restore(third)
    assert (app.files / "doc.pdf").read_bytes() == b"Alice's invoice"


def test_orphans_that_are_not_to_be_moved_leave_what_differs_alone(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    planned = app.plan(first, move_orphans=False)
    assert any("Left alone" in line and "doc.pdf" in line for line in planned["lines"])
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert (app.files / "doc.pdf").read_bytes() == b"Bob's  invoice."


def test_a_restore_of_files_alone_brings_the_content_of_the_backup(app: ApplicationUnderTest) -> None:
    app.write("doc.pdf", b"Alice's invoice")
    first = app.back_up()
    app.write("doc.pdf", b"Bob's  invoice.")
    app.restore(first, part="files")
    assert (app.files / "doc.pdf").read_bytes() == b"Alice's invoice"


def test_what_the_database_expects_of_its_files_is_compared(app: ApplicationUnderTest) -> None:
    sha256 = hashlib.sha256(b"as it is").hexdigest()
    app.write("doc.pdf", b"as it is")
    app.write("small.pdf", b"as it is")
    app.write("odd.pdf", b"as it is")
    values = f"('doc.pdf', '{sha256}'), ('small.pdf', '7'), ('odd.pdf', '{'0' * 32}'), ('', NULL), ('none.pdf', NULL)"
    app.configure(references_query=f"SELECT * FROM (VALUES {values}) AS f (name, expected)")
    backup_id = app.back_up()
    report = app.catalog.backups.get(backup_id)["report"]
    assert report["unarchived_references"] == ["none.pdf"]
    assert (report["references_compared"], report["references_not_compared"]) == (2, 1)
    assert report["other_references"] == [{"name": "small.pdf", "expected": "7"}]
    lines = app.plan(backup_id)["lines"]
    assert any("none.pdf" in line for line in lines)
    assert any("small.pdf" in line and "another content" in line for line in lines)
