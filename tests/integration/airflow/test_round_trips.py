"""Backups and restores through Airflow: the product's DAG files, a real database, a real directory, an emulated S3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

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


def test_only_the_chosen_tables_are_restored(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE TABLE settings (name text PRIMARY KEY, value text)")
    dms.sql("INSERT INTO settings VALUES ('colour', 'blue')")
    backup_id = back_up(dms)
    dms.sql("DELETE FROM settings")
    dms.sql("UPDATE documents SET title = 'changed'")
    restore(dms, backup_id, tables=["public.settings"])
    assert dms.sql("SELECT value FROM settings") == [("blue",)]
    assert titles(dms) == ["changed", "changed", "changed"]


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

    dms.configure(restore=replace(dms.application.restore, owner="drop"))
    restore(dms, backup_id)
    assert dms.sql("SELECT count(*) FROM tags") == [(3,)]
