"""Backups and restores through Airflow: the product's DAG files, a real database, a real directory, an emulated S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.postgres import Server
from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms, add_document, titles
from tests.support.postgres import EmbeddedPostgres

Make = Callable[..., ApplicationUnderTest]

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}
THREE_TITLES = ["Title of doc1.pdf", "Title of doc2.pdf", "Title of doc3.pdf"]


def back_up(app: ApplicationUnderTest) -> int:
    ran = run_dag(app, "backup")
    assert ran.state == "success", ran.tasks
    newest = app.catalog.lists.backups(app.application.name)[0]
    assert newest["state"] == "complete"
    return int(newest["id"])


def restore(app: ApplicationUnderTest, backup_id: int | str, **params: Any) -> dict[str, Any]:
    ran = run_dag(app, "restore", {"backup_id": backup_id, **params})
    assert ran.state == "success", ran.tasks
    newest = app.catalog.lists.restores(app.application.name)[0]
    assert newest["state"] == "complete"
    return newest


def lose_a_document(app: ApplicationUnderTest) -> None:
    app.sql("DELETE FROM tags WHERE document_id = 2")
    app.sql("DELETE FROM documents WHERE id = 2")
    (app.files / "doc2.pdf").unlink()


def catalog_rows(app: ApplicationUnderTest) -> dict[str, list[Any]]:
    tables = ("application_data_backups", "glacier_archives", "backup_files")
    with app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        return {table: connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall() for table in tables}


@pytest.mark.parametrize("inside", [True, False], ids=["catalog in the same database", "catalog in another"])
def test_last_weeks_backup_then_yesterdays(make_application: Make, inside: bool) -> None:
    dms = a_small_dms(make_application(catalog_inside=inside))
    last_week = back_up(dms)
    lose_a_document(dms)
    add_document(dms, "sub dir/doc4.pdf", "content 4")
    yesterday = back_up(dms)
    dms.sql("DROP TABLE tags")
    dms.sql("DROP TABLE documents")

    backups_before = catalog_rows(dms)["application_data_backups"]
    done = restore(dms, last_week)
    assert titles(dms) == THREE_TITLES
    assert dms.contents() == ORIGINAL
    assert done["outcome"]["orphans"]["moved"] == 1
    assert catalog_rows(dms)["application_data_backups"] == backups_before, "a restore never touches the catalog"

    done = restore(dms, yesterday)
    assert titles(dms) == ["Title of doc1.pdf", "Title of doc3.pdf", "Title of sub dir/doc4.pdf"]
    assert dms.contents() == {
        "doc1.pdf": b"content 1",
        "doc3.pdf": b"content 3",
        "sub dir/doc4.pdf": b"content 4",
    }
    assert done["plan"]["set_aside"]["archives"] == 1, "a file moved aside is moved back rather than paid for"
    assert done["plan"]["to_request"]["archives"] <= 1, "of the archives only the dump is retrieved"


def test_latest_means_the_newest_complete_backup(dms: ApplicationUnderTest) -> None:
    back_up(dms)
    lose_a_document(dms)
    newest = back_up(dms)
    dms.sql("DELETE FROM tags")
    assert restore(dms, "latest")["backup_id"] == newest
    assert dms.sql("SELECT count(*) FROM tags") == [(2,)]


def test_an_application_in_several_schemas_with_names_of_all_kinds(make_application: Make) -> None:
    dms = make_application(catalog_inside=True)
    dms.sql('CREATE SCHEMA "Größe & Maß"')
    dms.sql("CREATE TYPE \"Größe & Maß\".\"Status\" AS ENUM ('neu', 'alt')")
    dms.sql(
        'CREATE TABLE "Größe & Maß"."My ""quoted"" Täble" ("Id" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,'
        ' "Wert" text, s "Größe & Maß"."Status" DEFAULT \'neu\')'
    )
    dms.sql('INSERT INTO "Größe & Maß"."My ""quoted"" Täble" ("Wert") VALUES (\'ä\'), (E\'new\\nline\'), (\'%\')')
    dms.sql("CREATE SCHEMA second")
    dms.sql('CREATE VIEW second.v AS SELECT "Wert" FROM "Größe & Maß"."My ""quoted"" Täble"')
    dms.sql("CREATE TABLE legacy_glacier_archives_report (n integer)")
    dms.sql("INSERT INTO legacy_glacier_archives_report VALUES (42)")
    names = ["späße/ümläut.pdf", "-rf", "with space.txt", "100%.txt", ".hidden", "deep/er/and/deeper/f", "back\\slash"]
    for name in names:
        dms.write(name, f"content of {name}")
    dms.write("empty", b"")
    before = dms.contents()
    backup_id = back_up(dms)
    dms.sql('DROP SCHEMA "Größe & Maß" CASCADE')
    dms.sql("DROP TABLE legacy_glacier_archives_report")
    for path in sorted(dms.files.rglob("*")):
        if path.is_file():
            path.unlink()
    restore(dms, backup_id)
    assert dms.contents() == before
    assert dms.sql("SELECT * FROM second.v ORDER BY 1") == [("%",), ("new\nline",), ("ä",)]
    assert dms.sql("SELECT n FROM legacy_glacier_archives_report") == [(42,)]


def test_large_objects_and_extensions_come_back(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE EXTENSION citext")
    dms.sql("CREATE EXTENSION pg_trgm")
    dms.sql("CREATE TABLE words (w citext)")
    dms.sql("CREATE INDEX words_trgm ON words USING gin ((w::text) gin_trgm_ops)")
    dms.sql("INSERT INTO words VALUES ('Hello')")
    ((oid,),) = dms.sql("SELECT lo_from_bytea(0, 'a large object'::bytea)")
    backup_id = back_up(dms)
    dms.sql("DROP TABLE words")
    dms.sql("SELECT lo_unlink(%s)", oid)
    restore(dms, backup_id)
    assert dms.sql("SELECT w FROM words WHERE w = 'HELLO'") == [("Hello",)]
    assert dms.sql("SELECT convert_from(lo_get(%s), 'UTF8')", oid) == [("a large object",)]


def test_a_backup_restores_into_an_empty_database(make_application: Make, new_database: Callable[[], Server]) -> None:
    dms = a_small_dms(make_application())
    backup_id = back_up(dms)
    dms.server = new_database()
    restore(dms, backup_id)
    assert titles(dms) == THREE_TITLES


def test_a_newer_database_becomes_what_it_was(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
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


def test_a_missing_owner_role_is_told_before_anything_changes(
    make_application: Make, postgres: EmbeddedPostgres
) -> None:
    role = f"owner_{id(make_application)}"
    postgres.create_role(role)
    dms = a_small_dms(make_application())
    dms.sql(f"ALTER TABLE tags OWNER TO {role}")
    backup_id = back_up(dms)
    dms.sql("ALTER TABLE tags OWNER TO postgres")
    postgres.execute(f"DROP ROLE {role}")
    dms.sql("DELETE FROM tags")

    ran = run_dag(dms, "restore", {"backup_id": backup_id})
    assert ran.failed == ["plan_restore"], "before anything is requested"
    (failed, *_) = dms.catalog.lists.restores()
    assert role in failed["error"]
    assert dms.sql("SELECT count(*) FROM tags") == [(0,)], "nothing was changed"

    from dataclasses import replace

    dms.configure(restore=replace(dms.application.restore, owner="drop"))
    restore(dms, backup_id)
    assert dms.sql("SELECT count(*) FROM tags") == [(3,)]


def test_files_that_are_present_are_not_retrieved(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
    (dms.files / "doc2.pdf").unlink()
    dms.s3.forget_counts()
    done = restore(dms, backup_id)
    assert done["plan"]["present"]["archives"] == 2
    assert dms.s3.count("RestoreObject", bucket=dms.bucket) == 2, "the dump and one file"
    assert dms.contents() == ORIGINAL


def test_orphans_move_aside_and_come_back_by_undo(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
    dms.write("later/doc4.pdf", "content 4")
    _make_old(dms.files / "later" / "doc4.pdf")
    done = restore(dms, backup_id)
    aside = dms.orphans / f"dms-restore-{done['id']}" / "later" / "doc4.pdf"
    assert aside.read_bytes() == b"content 4"
    assert dms.contents() == ORIGINAL
    assert dms.undo_orphans(done["id"]) == {"moved_back": 1, "left": 0}
    assert dms.contents() == {**ORIGINAL, "later/doc4.pdf": b"content 4"}
    assert not aside.exists()


def test_only_the_chosen_tables_are_restored(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE TABLE settings (name text PRIMARY KEY, value text)")
    dms.sql("INSERT INTO settings VALUES ('colour', 'blue')")
    backup_id = back_up(dms)
    dms.sql("DELETE FROM settings")
    dms.sql("UPDATE documents SET title = 'changed'")
    restore(dms, backup_id, tables=["public.settings"])
    assert dms.sql("SELECT value FROM settings") == [("blue",)]
    assert titles(dms) == ["changed", "changed", "changed"]


def test_a_foreign_key_out_of_the_chosen_tables_is_made_as_far_as_rows_allow(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
    dms.sql("DELETE FROM tags")
    dms.sql("DELETE FROM documents WHERE file = 'doc2.pdf'")
    restore(dms, backup_id, tables=["public.tags"])
    assert dms.sql("SELECT count(*) FROM tags") == [(3,)]
    assert dms.sql("SELECT convalidated FROM pg_constraint WHERE conrelid = 'tags'::regclass") == [(False,)]
    (failed,) = dms.catalog.lists.restores()[0]["outcome"]["database"]["failed"]
    assert "NOT VALID" in failed["said"]


def test_only_the_files_are_restored(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
    lose_a_document(dms)
    restore(dms, backup_id, part="files")
    assert dms.contents() == ORIGINAL
    assert len(titles(dms)) == 2, "the database is left as it is"


@pytest.mark.parametrize("storage_class", ["DEEP_ARCHIVE", "GLACIER_IR"])
def test_the_other_classes_bring_a_backup_back_as_well(make_application: Make, storage_class: str) -> None:
    dms = a_small_dms(make_application(storage_class=storage_class))
    backup_id = back_up(dms)
    lose_a_document(dms)
    restore(dms, backup_id)
    assert dms.contents() == ORIGINAL
    assert titles(dms) == THREE_TITLES


def test_a_dump_in_directory_format_comes_back(dms: ApplicationUnderTest) -> None:
    from dataclasses import replace

    dms.configure(dump=replace(dms.application.dump, format="directory", jobs=2))
    backup_id = back_up(dms)
    lose_a_document(dms)
    restore(dms, backup_id)
    assert titles(dms) == THREE_TITLES


def test_a_backup_emits_its_figures_and_the_manifest_can_be_read_at_once(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
    row = dms.catalog.lists.backup(backup_id)
    manifest = dms.catalog.archives.get(row["manifest_archive_id"])
    client = dms.s3.client()
    answer = client.get_object(Bucket=dms.bucket, Key=manifest["key"])
    assert answer.get("StorageClass", "STANDARD") == "STANDARD"
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(
            select(AssetEvent)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetModel.name == "glacier_backup__dms")
        ).all()
    assert {"backup_id": backup_id, "state": "complete", "uploaded_files": 3}.items() <= events[-1].extra.items()


def _make_old(path: Path) -> None:
    import os

    os.utime(path, (1_700_000_000, 1_700_000_000))


def test_files_alone_with_none_missing_is_a_complete_restore(dms: ApplicationUnderTest) -> None:
    backup_id = back_up(dms)
    done = restore(dms, backup_id, part="files")
    assert done["plan"]["to_request"]["archives"] == 0
