"""Backups and restores of a small application, from the first step to the last: what was lost comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.errors import UnknownBackup
from glacier_provider.postgres import Server
from tests.support.application import ApplicationUnderTest, Make, a_small_dms, titles

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}
THREE_TITLES = ["Title of doc1.pdf", "Title of doc2.pdf", "Title of doc3.pdf"]


def restore(app: ApplicationUnderTest, backup_id: int | str, **params: Any) -> dict[str, Any]:
    app.restore(backup_id, **params)
    newest = app.catalog.lists.restores(app.application.name)[0]
    assert newest["state"] == "complete"
    return newest


def lose_a_document(app: ApplicationUnderTest) -> None:
    app.sql("DELETE FROM tags WHERE document_id = 2")
    app.sql("DELETE FROM documents WHERE id = 2")
    (app.files / "doc2.pdf").unlink()


def test_latest_means_the_newest_complete_backup(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    lose_a_document(dms)
    newest = dms.back_up()
    dms.sql("DELETE FROM tags")
    assert restore(dms, "latest")["backup_id"] == newest
    assert dms.sql("SELECT count(*) FROM tags") == [(2,)]


def test_the_latest_of_none_is_told_as_such(dms: ApplicationUnderTest) -> None:
    with pytest.raises(UnknownBackup, match=r"There is no latest backup: dms has no complete one\. Make one first"):
        dms.plan("latest")


def test_large_objects_and_extensions_come_back(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE EXTENSION citext")
    dms.sql("CREATE EXTENSION pg_trgm")
    dms.sql("CREATE TABLE words (w citext)")
    dms.sql("CREATE INDEX words_trgm ON words USING gin ((w::text) gin_trgm_ops)")
    dms.sql("INSERT INTO words VALUES ('Hello')")
    ((oid,),) = dms.sql("SELECT lo_from_bytea(0, 'a large object'::bytea)")
    backup_id = dms.back_up()
    dms.sql("DROP TABLE words")
    dms.sql("SELECT lo_unlink(%s)", oid)
    restore(dms, backup_id)
    assert dms.sql("SELECT w FROM words WHERE w = 'HELLO'") == [("Hello",)]
    assert dms.sql("SELECT convert_from(lo_get(%s), 'UTF8')", oid) == [("a large object",)]


def test_a_backup_restores_into_an_empty_database(make_application: Make, new_database: Callable[[], Server]) -> None:
    dms = a_small_dms(make_application())
    backup_id = dms.back_up()
    dms.server = new_database()
    restore(dms, backup_id)
    assert titles(dms) == THREE_TITLES


def test_a_newer_database_becomes_what_it_was(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    dms.sql("ALTER TABLE documents ADD COLUMN size bigint")
    dms.sql("CREATE TABLE audits (document_id integer REFERENCES documents, at timestamptz)")
    dms.sql("CREATE VIEW recent AS SELECT title FROM documents")
    dms.sql("CREATE SCHEMA later CREATE TABLE things (n integer)")
    restore(dms, backup_id)
    rows = dms.sql(
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    )
    assert rows == [("public", "documents"), ("public", "tags")]
    assert dms.sql("SELECT * FROM documents WHERE id = 1") == [(1, "Title of doc1.pdf", "doc1.pdf")]


def test_files_that_are_present_are_not_retrieved(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    (dms.files / "doc2.pdf").unlink()
    dms.s3.forget_counts()
    done = restore(dms, backup_id)
    assert done["plan"]["present"]["archives"] == 2
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 2, "the dump and one file"
    assert dms.contents() == ORIGINAL


def test_orphans_move_aside_and_come_back_by_undo(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    dms.write("later/doc4.pdf", "content 4")
    _make_old(dms.files / "later" / "doc4.pdf")
    done = restore(dms, backup_id)
    aside = dms.orphans / f"dms-restore-{done['id']}" / "later" / "doc4.pdf"
    assert aside.read_bytes() == b"content 4"
    assert dms.contents() == ORIGINAL
    assert dms.undo_orphans(done["id"]) == {"moved_back": 1, "left": 0}
    assert dms.contents() == {**ORIGINAL, "later/doc4.pdf": b"content 4"}
    assert not aside.exists()


def test_a_foreign_key_out_of_the_chosen_tables_is_made_as_far_as_rows_allow(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    dms.sql("DELETE FROM tags")
    dms.sql("DELETE FROM documents WHERE file = 'doc2.pdf'")
    restore(dms, backup_id, tables=["public.tags"])
    assert dms.sql("SELECT count(*) FROM tags") == [(3,)]
    assert dms.sql("SELECT convalidated FROM pg_constraint WHERE conrelid = 'tags'::regclass") == [(False,)]
    (failed,) = dms.catalog.lists.restores()[0]["outcome"]["database"]["failed"]
    assert "NOT VALID" in failed["said"]


def test_only_the_files_are_restored(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    lose_a_document(dms)
    restore(dms, backup_id, part="files")
    assert dms.contents() == ORIGINAL
    assert len(titles(dms)) == 2, "the database is left as it is"


@pytest.mark.parametrize("storage_class", ["DEEP_ARCHIVE", "GLACIER_IR"])
def test_the_other_classes_bring_a_backup_back_as_well(make_application: Make, storage_class: str) -> None:
    dms = a_small_dms(make_application(storage_class=storage_class))
    backup_id = dms.back_up()
    lose_a_document(dms)
    restore(dms, backup_id)
    assert dms.contents() == ORIGINAL
    assert titles(dms) == THREE_TITLES


def test_a_dump_in_directory_format_comes_back(dms: ApplicationUnderTest) -> None:
    dms.configure(dump=replace(dms.application.dump, format="directory", jobs=2))
    backup_id = dms.back_up()
    lose_a_document(dms)
    restore(dms, backup_id)
    assert titles(dms) == THREE_TITLES


def _make_old(path: Path) -> None:
    os.utime(path, (1_700_000_000, 1_700_000_000))


def test_files_alone_with_none_missing_is_a_complete_restore(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    done = restore(dms, backup_id, part="files")
    assert done["plan"]["to_request"]["archives"] == 0
