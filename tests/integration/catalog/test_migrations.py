"""The catalog's schema: made on first use, by one of many; never over something else."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.migrate import migrate, newest_version
from glacier_provider.catalog.queries import queries
from glacier_provider.core import status
from glacier_provider.errors import CatalogNotReady, CatalogUnavailable, UnsafeCatalogSchema
from glacier_provider.postgres import Server
from tests.conftest import a_catalog


def test_first_use_creates_the_schema_and_a_second_changes_nothing(database: Server) -> None:
    catalog = a_catalog(database)
    assert catalog.migrate() == newest_version()
    assert catalog.migrate() == newest_version()
    catalog.check()


def test_many_workers_that_start_at_once_make_one_schema(database: Server) -> None:
    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(lambda _: migrate(database.connect, "glacier_catalog"), range(6)))
    assert set(versions) == {newest_version()}
    assert a_catalog(database).backups.application_id == 1


def test_a_schema_with_an_evil_name_is_only_a_name(database: Server) -> None:
    catalog = a_catalog(database, schema='My "Catalog"; x')
    catalog.migrate()
    assert catalog.backups.application_id == 1
    assert catalog.lists.backups() == []


def test_a_schema_that_holds_something_else_is_refused(database: Server) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE public.documents (id integer)")
    with pytest.raises(UnsafeCatalogSchema, match="documents"):
        a_catalog(database, schema="public").migrate()


def test_a_catalog_newer_than_the_package_is_left_alone(catalog: Catalog, catalog_database: Server) -> None:
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.catalog_version SET version_num = '9999'")
    with pytest.raises(CatalogNotReady, match="9999"):
        catalog.migrate()


def test_asking_a_catalog_that_is_not_there_says_how_to_make_it(database: Server) -> None:
    with pytest.raises(CatalogNotReady, match="glacier-backup migrate"):
        a_catalog(database).lists.backups()
    with pytest.raises(CatalogNotReady, match="not there yet"):
        a_catalog(database).check()


def test_an_unreachable_catalog_is_told_from_a_missing_one(database: Server) -> None:
    elsewhere = Server("127.0.0.1", 1, "nobody", "geheim-4711", "nothing")
    with pytest.raises(CatalogUnavailable) as caught:
        a_catalog(elsewhere).lists.backups()
    assert "geheim-4711" not in str(caught.value)


def test_every_query_is_valid_sql_against_the_schema(catalog: Catalog, catalog_database: Server) -> None:
    """PREPARE parses each query and finds every table and column, without running it."""
    texts = {name: re.sub(r"%\((\w+)\)[sb]", "NULL", text).replace("%%", "%") for name, text in queries().items()}
    for name in ("page_of_backups", "sorted_page_of_backups"):
        texts[name] = texts[name].format(direction="DESC", figure="b.files_count")
    texts["keep_progress"] = texts["keep_progress"].format(counted_progress=texts["counted_progress"])
    made = [text.replace("ON COMMIT DROP", "") for text in texts.values() if "CREATE TEMPORARY TABLE" in text]
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog, pg_catalog")
        # Those that are made from others come after them.
        for statement in sorted(made, key=lambda text: bool(re.search(r"TABLE \w+\s+AS\b", text))):
            for table in re.findall(r"CREATE TEMPORARY TABLE (\w+)", statement):
                connection.execute(f"DROP TABLE IF EXISTS pg_temp.{table}".encode())  # two queries make the same
            connection.execute(statement.encode())
        for name, text in texts.items():
            if re.match(r"(--[^\n]*\n)*(CREATE|ANALYZE|DROP|SET)", text):
                continue
            body = re.sub(r"(LIMIT|OFFSET|FETCH FIRST) (\(?)NULL", r"\1 \g<2>1", text)
            try:
                connection.execute("PREPARE q AS " + body)
            except Exception as error:
                raise AssertionError(f"{name}: {error}") from error
            connection.execute("DEALLOCATE q")


@pytest.mark.parametrize(
    ("table", "column", "states"),
    [
        ("application_data_backups", "state", status.BackupState),
        ("glacier_archives", "state", status.ArchiveState),
        ("glacier_archives", "retrieval_status", status.RetrievalStatus),
        ("glacier_retrievals", "state", status.RetrievalState),
        ("restores", "state", status.RestoreState),
        ("proofs", "state", status.ProofState),
        ("batch_jobs", "state", status.BatchJobState),
    ],
)
def test_the_schema_knows_the_states_of_the_lifecycles(
    catalog: Catalog, catalog_database: Server, table: str, column: str, states: type
) -> None:
    with catalog_database.connect(autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'c'",
            [f"glacier_catalog.{table}"],
        ).fetchall()
    known = [re.findall(r"'(\w+)'::text", row[0]) for row in rows if re.search(rf"\({column} = ANY", row[0])]
    assert known == [[state.value for state in states]]


def test_numbered_migrations_come_in_pairs_of_python_and_sql() -> None:
    folder = files("glacier_provider.catalog.migrations") / "versions"
    names = {path.name for path in folder.iterdir() if path.name[:4].isdigit()}
    for name in names:
        stem = name.rsplit(".", 1)[0]
        assert {f"{stem}.py", f"{stem}.sql"} <= names


def test_two_applications_share_a_catalog(catalog: Catalog, catalog_database: Server) -> None:
    other = a_catalog(catalog_database, application="library")
    assert catalog.backups.application_id != other.backups.application_id
