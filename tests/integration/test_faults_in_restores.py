"""What a restore brings and is not as it was is found before it takes anything's place, in a transaction and by swap.

The same faults are planted into drills (test_drill.py). Here each is in the dump, or in what the store gives, and
everything else fits: the living database is as it was, to the last row, and what is left beside is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from glacier_provider.core.checks import CHECKS_OF_RESTORES
from glacier_provider.errors import ArchiveMissing, ChecksFailed, GlacierProviderError
from glacier_provider.postgres import Server
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from tests.emulator.faults import FaultKind
from tests.integration.test_drill import IN_THE_DATABASE, drilled
from tests.support.application import ApplicationUnderTest
from tests.support.postgres import EmbeddedPostgres

Make = Callable[..., ApplicationUnderTest]

#: What an application of another kind has in its database, instead of ours.
ANOTHER = "DROP TABLE tags; DROP TABLE documents; DROP TABLE rooms; CREATE TABLE posts (id int)"
DATABASE_FAULTS = {
    **IN_THE_DATABASE,
    "a dump of another application": (ANOTHER, "row_counts", "public.documents is not there, and had 3 rows"),
}


@pytest.fixture(params=["transaction", "swap"])
def owned(make_application: Make, postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> ApplicationUnderTest:
    app = drilled(make_application, postgres, "owner")
    app.configure(restore=replace(app.application.restore, mode=request.param, checks=CHECKS_OF_RESTORES))
    return app


@contextmanager
def broken(app: ApplicationUnderTest, statements: str) -> Iterator[None]:
    """Have the application's database be a copy that lacks something, while it is backed up."""
    copy = app.server.with_database(f"{app.server.dbname}_broken")
    maintenance = app.server.with_database("postgres")
    with maintenance.connect(autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{copy.dbname}" TEMPLATE "{app.server.dbname}"'.encode())
    living, app.server = app.server, copy
    query = app.application.references_query
    app.configure(references_query=None)
    try:
        for one in statements.format(reader=f"reader_of_{living.dbname}").split("; "):
            app.sql(one)
        yield
    finally:
        app.server = living
        app.configure(references_query=query)
        with maintenance.connect(autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{copy.dbname}" WITH (FORCE)'.encode())


def everything(server: Server) -> dict[str, Any]:
    """All rows and objects of a database, by hashes; and which databases stand beside it."""
    with server.connect() as connection:
        connection.execute("SET LOCAL search_path = ''")
        known = take_fingerprint(over(connection), hashes=True)
        beside = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", (server.dbname,)
        ).fetchall()
    return {"tables": known.tables, "objects": known.objects, "databases": [row[0] for row in beside]}


def left_beside(server: Server, before: dict[str, Any]) -> list[str]:
    return sorted(set(everything(server)["databases"]) - set(before["databases"]))


@pytest.mark.parametrize("fault", DATABASE_FAULTS)
def test_a_fault_in_a_dump_is_found_with_figures_before_it_is_live(owned: ApplicationUnderTest, fault: str) -> None:
    statement, check, said = DATABASE_FAULTS[fault]
    kept = owned.catalog.backups.fingerprint(owned.back_up())
    assert kept is not None
    with broken(owned, statement):
        backup_id = owned.back_up()
    if check == "extensions":  # a dump names no version: there is another one where it is restored
        said = "extension pg_trgm is 1.6, and was 1.5"
        kept["objects"]["extension"]["pg_trgm"][0] = "1.5"
    owned.catalog.backups.note_fingerprint(backup_id, kept)
    owned.sql("INSERT INTO tags VALUES (1, 'of today')")
    before = everything(owned.server)
    planned = owned.plan(backup_id, part="database")
    owned.bring(planned)
    for _ in range(2):  # a next try finds it as the first did
        with pytest.raises(ChecksFailed, match=rf"{check}: [1-9]\d* of [1-9]\d* differ \(.*{re.escape(said)}") as found:
            owned.finish(planned["restore_id"])
        told = {one["name"]: one for one in found.value.results}
        assert told[check]["differing"] >= 1
        now = everything(owned.server)
        assert (now["tables"], now["objects"]) == (before["tables"], before["objects"])
        assert all(f'DROP DATABASE "{name}"' in found.value.message for name in left_beside(owned.server, before))
    assert len(left_beside(owned.server, before)) == (owned.application.restore.mode == "swap")
    assert owned.catalog.restores.get(planned["restore_id"])["outcome"].get("database") is None


def _lost(owned: ApplicationUnderTest) -> None:
    (key,) = [key for key in owned.keys_in_store() if "doc1.pdf" in key]
    owned.s3.client().delete_object(Bucket=owned.bucket, Key=key)


def _flipped(owned: ApplicationUnderTest) -> None:
    owned.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*doc1.pdf*"})


def _dump_flipped(owned: ApplicationUnderTest) -> None:
    owned.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*/database/*"})


def _of_another_version(owned: ApplicationUnderTest) -> None:
    """The store gives another content of the same length, with a checksum that fits that."""
    (key,) = [key for key in owned.keys_in_store() if "doc1.pdf" in key]
    told = owned.s3.client().head_object(Bucket=owned.bucket, Key=key)
    owned.s3.client().put_object(
        Bucket=owned.bucket, Key=key, Body=b"CONTENT 1", Metadata=told["Metadata"], StorageClass="GLACIER"
    )


FILE_FAULTS = {
    "a lost file": (_lost, r"The file doc1\.pdf of backup \d+ is in no store any more"),
    "a file with one flipped bit": (_flipped, r"The file doc1\.pdf of backup \d+ is LOST: what the store has is not"),
    "a file of another version": (
        _of_another_version,
        r"The file doc1\.pdf of backup \d+ is LOST: what the store has is not",
    ),
    "a dump with one flipped bit": (_dump_flipped, r"The dump of backup \d+ is LOST: what the store has is not"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_fault_in_a_store_is_found_before_anything_is_replaced(owned: ApplicationUnderTest, fault: str) -> None:
    plant, said = FILE_FAULTS[fault]
    backup_id = owned.back_up()
    for path in owned.files.iterdir():
        path.unlink()
    owned.write("of today.pdf", "today")
    owned.sql("INSERT INTO tags VALUES (1, 'of today')")
    before = everything(owned.server)
    plant(owned)
    with pytest.raises(GlacierProviderError) as found:
        owned.restore(backup_id)
    assert isinstance(found.value, ArchiveMissing)
    assert re.search(said, found.value.message)
    assert everything(owned.server) == before
    assert (owned.files / "of today.pdf").read_text() == "today"
    assert plant is _dump_flipped or not (owned.files / "doc1.pdf").exists()
