"""Back up, change, restore: the main job, on a real database, a real directory and an emulated store."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.manifest import parse_manifest
from glacier_provider.core.parts import MIB
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import FileChanged, GlacierProviderError, RetrievalRefused
from glacier_provider.pipelines import backup, restore
from glacier_provider.pipelines.shared.step import step_of
from glacier_provider.postgres.dump.disk import table_of_contents
from tests.support.application import ApplicationUnderTest, a_small_dms, add_document, titles
from tests.support.postgres import EmbeddedPostgres

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}


def test_an_earlier_backup_comes_back_with_its_rows_and_its_files(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    before = titles(dms)
    (dms.files / "doc2.pdf").unlink()
    dms.sql("DELETE FROM tags")
    dms.sql("DELETE FROM documents WHERE file = 'doc2.pdf'")
    add_document(dms, "new/doc4.pdf", "content 4")
    second = dms.back_up()
    figures = dms.restore(first)
    assert titles(dms) == before
    assert dms.contents() == ORIGINAL
    assert (dms.orphans / "dms-restore-1" / "new" / "doc4.pdf").read_bytes() == b"content 4"
    assert figures["outcome"]["orphans"]["moved"] == 1
    assert second > first


def test_a_catalog_in_the_application_s_database_is_in_no_dump_and_outlives_every_restore(
    make_application: Callable[..., ApplicationUnderTest],
) -> None:
    dms = a_small_dms(make_application(catalog_inside=True))
    dms.catalog.migrate()
    first, second = (
        dms.back_up(),
        backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store),
    )
    dumped = backup.dump_database(dms.application, second, catalog=dms.catalog, server=dms.server)
    schemas = {entry.schema or entry.name for entry in table_of_contents(Path(dumped["path"])).entries}
    assert schemas.isdisjoint({"glacier_catalog"})
    dms.catalog.backups.fail(second, "enough was seen")
    figures = dms.restore(first)
    third = dms.back_up()
    states = {row["id"]: row["state"] for row in dms.catalog.lists.backups()}
    assert states == {first: "complete", second: "failed", third: "complete"}
    assert dms.catalog.restores.get(figures["restore_id"])["state"] == "complete"
    assert dms.restore(third)["outcome"]["database"]["restored"] > 0


def test_empty_files_come_back_without_a_retrieval(dms: ApplicationUnderTest) -> None:
    dms.write("empty", b"")
    backup_id = dms.back_up()
    (dms.files / "empty").unlink()
    planned = dms.plan(backup_id, part="files")
    assert planned["plan"]["to_request"]["archives"] == 0
    dms.bring(planned)
    assert dms.contents() == {**ORIGINAL, "empty": b""}


def test_a_large_file_moved_aside_is_moved_back_rather_than_paid_for(dms: ApplicationUnderTest) -> None:
    small = dms.back_up()
    content = bytes(range(256)) * 4096 * 20  # 20 MiB: archived in parts
    dms.write("large.bin", content)
    make_old(dms.files / "large.bin")
    with_large = dms.back_up()
    dms.restore(small)
    assert "large.bin" not in dms.contents()
    planned = dms.plan(with_large)
    assert planned["plan"]["set_aside"] == {"archives": 1, "bytes": len(content)}
    assert planned["plan"]["to_request"]["archives"] <= 1
    dms.bring(planned)
    dms.finish(planned["restore_id"])
    assert dms.contents() == {**ORIGINAL, "large.bin": content}


def test_orphans_with_names_of_all_kinds_come_back_by_undo(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    names = [b"back\\slash", b"raw\xff", "späße".encode(), b"-dash"]
    for name in names:
        path = os.path.join(os.fsencode(dms.files), name)
        with open(path, "wb") as file:
            file.write(b"later")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    done = dms.restore(first)
    assert done["outcome"]["orphans"]["moved"] == 4
    dms.plan(first)  # the next plan looks at the journal, and finds it true
    assert dms.undo_orphans(done["restore_id"]) == {"moved_back": 4, "left": 0}
    assert {name for name in os.listdir(os.fsencode(dms.files)) if name in names} == set(names)


def test_a_restore_with_other_directories_leaves_the_orphans_of_this_one_alone(
    dms: ApplicationUnderTest, tmp_path: Path
) -> None:
    first = dms.back_up()
    dms.write("later.txt", "later")
    make_old(dms.files / "later.txt")
    second = dms.back_up()
    done = dms.restore(first)
    here = dms.application
    (tmp_path / "drill").mkdir()
    dms.configure(files_directory=str(tmp_path / "drill"), orphan_directory=str(tmp_path / "drill orphans"))
    planned = dms.plan(second, part="files")
    assert planned["plan"]["set_aside"]["archives"] == 0
    dms.bring(planned)
    assert (tmp_path / "drill" / "later.txt").read_text() == "later"
    dms.application = here
    assert dms.undo_orphans(done["restore_id"]) == {"moved_back": 1, "left": 0}


def test_what_the_page_foretells_is_what_the_restore_plans(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    (dms.files / "doc2.pdf").unlink()
    dms.back_up()
    request = RestoreRequest.from_params({"backup_id": first})
    foretold, seen = restore.preview_restore(dms.application, request, catalog=dms.catalog)
    assert dms.catalog.lists.restores() == []
    assert dms.plan(first)["plan"] == foretold.as_dict()
    assert (foretold.present.archives, foretold.to_request.archives) == (2, 2)
    assert seen is not None


def test_a_damaged_orphan_is_retrieved_instead(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    dms.write("more.txt", b"more")
    make_old(dms.files / "more.txt")
    second = dms.back_up()
    done = dms.restore(first)
    (dms.orphans / f"dms-restore-{done['restore_id']}" / "more.txt").write_bytes(b"MORE")
    dms.restore(second)
    assert dms.contents() == {**ORIGINAL, "more.txt": b"more"}


def test_a_tier_that_the_class_does_not_have_is_refused_by_the_plan(
    make_application: Callable[..., ApplicationUnderTest],
) -> None:
    dms = a_small_dms(make_application(storage_class="DEEP_ARCHIVE"))
    dms.back_up()
    dms.s3.forget_counts()
    with pytest.raises(RetrievalRefused, match="Standard, Bulk"):
        dms.plan(tier="Expedited")
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 0


def test_a_large_file_that_changes_while_it_is_sent_is_archived_by_the_next_run(dms: ApplicationUnderTest) -> None:
    dms.write("large.bin", b"1" * 20 * MIB)
    changed = []

    def change_it(*_: object) -> None:
        if not changed:
            changed.append(dms.write("large.bin", b"2" * 21 * MIB))

    with pytest.raises(FileChanged), reading_calls(change_it):
        dms.back_up(Run("glacier_backup__dms", "one"))
    backup_id = dms.back_up(Run("glacier_backup__dms", "one"))
    (row,) = dms.catalog.lists.archives(backup_id, containing="large.bin")
    assert row["stored_size"] == 21 * MIB


def test_names_that_the_database_knows_and_the_directory_lacks_are_reported(dms: ApplicationUnderTest) -> None:
    dms.configure(references_query="SELECT file FROM documents")
    dms.sql("INSERT INTO documents (title, file) VALUES ('ghost', 'ghost.pdf')")
    backup_id = dms.back_up()
    report = dms.catalog.lists.backup(backup_id)["report"]
    assert (report["unarchived_references_count"], report["unarchived_references"]) == (1, ["ghost.pdf"])


def test_a_second_backup_sends_only_what_is_new(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    dms.write("new.txt", "new")
    dms.s3.forget_counts()
    backup_id = dms.back_up()
    assert dms.s3.count("PutObject", bucket=dms.bucket) == 3, "the new file, the dump, the manifest"
    row = dms.catalog.lists.backup(backup_id)
    assert (row["files_count"], row["new_files_count"]) == (4, 1)


def test_a_run_continued_after_its_dump_does_not_dump_again(dms: ApplicationUnderTest) -> None:
    run = dms.a_run()
    backup_id = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
    first = backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server)
    dms.sql("INSERT INTO documents (title, file) VALUES ('late', NULL)")
    again = backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server)
    assert again == first
    shutil.rmtree(first["path"])
    anew = backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server)
    assert anew["archive_id"] != first["archive_id"]


def test_a_task_cleared_after_the_run_failed_goes_on_and_completes_the_backup(dms: ApplicationUnderTest) -> None:
    run = dms.a_run()
    backup_id = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
    backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server)
    ranges = backup.scan_files(dms.application, backup_id, catalog=dms.catalog)
    dms.catalog.backups.fail(backup_id, "upload_database: the store was down")  # as `record_failure` does
    backup.upload_database(dms.application, backup_id, catalog=dms.catalog, store=dms.store)
    for share in ranges:
        wanted = ArchiveRange.from_dict(share)
        backup.upload_files(dms.application, backup_id, wanted, catalog=dms.catalog, store=dms.store)
    backup.close_backup(dms.application, backup_id, catalog=dms.catalog, store=dms.store)
    row = dms.catalog.lists.backup(backup_id)
    assert (row["state"], row["error"]) == ("complete", None)


def test_a_backup_stays_failed_while_another_branch_of_its_run_goes_on(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    documents = {path: path.read_bytes() for path in dms.files.iterdir()}
    for path in documents:
        path.unlink()
    run = Run("glacier_backup__dms", "one")
    backup_id = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
    with pytest.raises(GlacierProviderError) as stopped:
        backup.scan_files(dms.application, backup_id, catalog=dms.catalog)
    dms.catalog.backups.fail(backup_id, "scan_files: it is empty", step=step_of(stopped.value))  # as `record_failure`
    backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server)
    backup.upload_database(dms.application, backup_id, catalog=dms.catalog, store=dms.store)
    row = dms.catalog.lists.backup(backup_id)
    assert (row["state"], row["error"]) == ("failed", "scan_files: it is empty")
    dms.catalog.backups.take_lease("somebody else")  # it is free
    dms.catalog.backups.free_lease("somebody else")
    for path, content in documents.items():
        path.write_bytes(content)
    for share in backup.scan_files(dms.application, backup_id, catalog=dms.catalog):
        wanted = ArchiveRange.from_dict(share)
        backup.upload_files(dms.application, backup_id, wanted, catalog=dms.catalog, store=dms.store)
    assert dms.catalog.lists.backup(backup_id)["state"] == "running"
    backup.close_backup(dms.application, backup_id, catalog=dms.catalog, store=dms.store)
    assert dms.catalog.lists.backup(backup_id)["state"] == "complete"


def test_a_restore_stays_failed_while_others_of_its_tasks_go_on(dms: ApplicationUnderTest) -> None:
    request = RestoreRequest.from_params({"backup_id": dms.back_up()})
    restores = dms.catalog.restores
    restore_id = restores.open(Run("glacier_restore__dms", "one"), request.backup_id or 0, request)
    for step in ("one", "two"):
        restores.start(restore_id, step)
    restores.fail(restore_id, "no room", step="one")
    restores.start(restore_id, "two")
    assert (restores.get(restore_id)["state"], restores.get(restore_id)["error"]) == ("failed", "no room")
    restores.start(restore_id, "one")
    assert (restores.get(restore_id)["state"], restores.get(restore_id)["error"]) == ("running", None)
    restores.fail(restore_id, "no room", step="one")
    restores.start(restore_id)  # the last step, which begins when all others are through
    assert restores.get(restore_id)["state"] == "running"


def test_a_lost_reply_is_adopted_and_nothing_is_sent_twice(dms: ApplicationUnderTest) -> None:
    dms.s3.plan.inject("PutObject", "reset_after", count=2)
    backup_id = dms.back_up()
    rows = dms.catalog.lists.archives(backup_id)
    assert sorted(dms.keys_in_store()) == sorted(row["key"] for row in rows)


def test_manifests_follow_each_other_and_tell_every_change(dms: ApplicationUnderTest) -> None:
    for number in range(100):
        dms.write(f"many/{number}", str(number))
    first = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    dms.write("doc5.pdf", "content 5")
    second = dms.back_up()
    told = [manifest_of(dms, backup_id) for backup_id in (first, second)]
    assert told[0][0]["previous"] is None
    assert len(told[0][1]) == 103
    assert told[1][0]["previous"] == first
    assert ([file["filename"] for file in told[1][1]], len(told[1][2])) == (["doc5.pdf"], 1)


def test_the_application_keeps_running_while_an_excluded_table_is_left_alone(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE TABLE sessions (id integer)")
    dms.sql("INSERT INTO sessions VALUES (1)")
    dms.configure(restore=replace(dms.application.restore, exclude_tables=("public.sessions",)))
    backup_id = dms.back_up()
    dms.sql("INSERT INTO sessions VALUES (2)")
    dms.restore(backup_id)
    assert dms.sql("SELECT count(*) FROM sessions") == [(2,)]


def manifest_of(app: ApplicationUnderTest, backup_id: int) -> tuple[dict[str, Any], list[dict[str, Any]], list[int]]:
    row = app.catalog.archives.of_backup(backup_id, ArchiveKind.MANIFEST)
    assert row is not None
    body = app.s3.client().get_object(Bucket=app.bucket, Key=row["key"])["Body"].read()
    lines = list(parse_manifest(gzip.decompress(body).splitlines()))
    return lines[0][1], [value for kind, value in lines if kind == "file"], [v for kind, v in lines if kind == "gone"]


def make_old(path: Path) -> None:
    """As if it had been there long before the restore began."""
    os.utime(path, (1_700_000_000, 1_700_000_000))


@contextmanager
def reading_calls(act: Callable[..., None]) -> Iterator[None]:
    """Call `act` each time after a large file is read from, before the next part of it is."""
    from glacier_provider.files import FileSource

    original, one_at_a_time = FileSource.read_at, threading.Lock()

    def read_at(self: FileSource, start: int, size: int) -> bytes:
        if self.size <= 8 * MIB:
            return original(self, start, size)
        with one_at_a_time:
            data = original(self, start, size)
            act()
        return data

    with patch.object(FileSource, "read_at", read_at):
        yield


def test_a_restore_by_swap_puts_another_database_in_the_place_of_the_application_s(dms: ApplicationUnderTest) -> None:
    dms.configure(restore=replace(dms.application.restore, mode="swap"))
    first = dms.back_up()
    add_document(dms, "later.pdf", "later")
    dms.sql("CREATE TABLE made_later ()")
    dms.restore(first)
    assert titles(dms) == [f"Title of doc{number}.pdf" for number in (1, 2, 3)]
    assert dms.sql("SELECT to_regclass('made_later') IS NULL") == [(True,)]
    assert (dms.orphans / "dms-restore-1" / "later.pdf").read_text() == "later"


def test_many_large_objects_are_dumped_into_one_file_and_come_back(
    dms: ApplicationUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    dms.sql("SELECT count(lo_from_bytea(0, ('object ' || n)::bytea)) FROM generate_series(1, 1200) n")
    with caplog.at_level("INFO"):
        backup_id = dms.back_up()
    assert dms.catalog.backups.get(backup_id)["dump_format"] == "custom"
    assert any("1200 large objects" in record.getMessage() for record in caplog.records)
    before = dms.sql("SELECT md5(string_agg(lo_get(oid)::text, ',' ORDER BY oid)) FROM pg_largeobject_metadata")
    dms.sql("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    dms.restore(backup_id)
    after = dms.sql("SELECT md5(string_agg(lo_get(oid)::text, ',' ORDER BY oid)) FROM pg_largeobject_metadata")
    assert after == before


def test_many_small_tables_are_dumped_into_one_file_and_come_back(
    dms: ApplicationUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    dms.sql("""DO $$ BEGIN FOR n IN 1..1001 LOOP
      EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS n', n, n); IF n % 200 = 0 THEN COMMIT; END IF;
    END LOOP; END $$""")
    with caplog.at_level("INFO"):
        backup_id = dms.back_up()
    assert dms.catalog.backups.get(backup_id)["dump_format"] == "custom"
    assert any(" small tables, and" in record.getMessage() for record in caplog.records)
    dms.sql("DELETE FROM small_7")
    dms.sql("DROP TABLE small_1000")
    dms.restore(backup_id)
    assert dms.sql("SELECT a.n, b.n FROM small_7 a, small_1000 b") == [(7, 1000)]


def test_an_application_whose_database_has_no_encoding_comes_back_byte_by_byte(
    dms: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    """Its file names are in Latin-1, on the disk as in the database."""
    postgres.create_role("bytes_owner", password="of-the-owner", attributes="CREATEDB NOSUPERUSER")
    postgres.execute("CREATE DATABASE bytes OWNER bytes_owner TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    dms.server = postgres.server("bytes", user="bytes_owner", password="of-the-owner")
    with dms.server.connect(autocommit=True) as connection:
        connection.execute(b"CREATE TABLE documents (file text, note text)")
        connection.execute(b"INSERT INTO documents VALUES ('caf\xe9.pdf', 'gr\xfc\xdfe'), ('gone\xe9.pdf', '')")
    (dms.files / os.fsdecode(b"caf\xe9.pdf")).write_bytes(b"menu")
    dms.configure(references_query="SELECT file FROM documents")
    backup_id = dms.back_up()
    report = dms.catalog.backups.get(backup_id)["report"]
    assert report["unarchived_references"] == ["gone\\xe9.pdf"]
    dms.sql("DELETE FROM documents")
    (dms.files / os.fsdecode(b"caf\xe9.pdf")).unlink()
    dms.restore(backup_id)
    rows = dms.sql("SELECT file::bytea, note::bytea FROM documents ORDER BY file")
    assert rows == [(b"caf\xe9.pdf", b"gr\xfc\xdfe"), (b"gone\xe9.pdf", b"")]
    assert (dms.files / os.fsdecode(b"caf\xe9.pdf")).read_bytes() == b"menu"
