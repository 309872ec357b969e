"""Drills out of a vault, of hundreds of files, and of an application that swaps its database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from glacier_provider.applications.fields import DrillOptions
from glacier_provider.core.status import ProofState
from tests.support.application import ApplicationUnderTest
from tests.support.drill import DrillUnderTest, leftovers
from tests.support.postgres import EmbeddedPostgres
from tests.support.vault import OnAVault

Make = Callable[..., ApplicationUnderTest]


def drill_of(app: ApplicationUnderTest, **options: Any) -> DrillUnderTest:
    app.configure(drill=DrillOptions(which="newest", **options), references_query="SELECT file FROM documents")
    return DrillUnderTest(app)


@pytest.mark.slow
def test_a_drill_brings_a_backup_out_of_a_vault_and_finds_what_rots_there(on_a_vault: OnAVault) -> None:
    on_a_vault.vault.retrievals_take(0)
    on_a_vault.back_up()
    for path in on_a_vault.files.iterdir():
        path.unlink()
    closed = drill_of(on_a_vault, tier="Expedited").whole()
    assert (closed["state"], closed["findings"]) == (ProofState.PASSED, []), closed["lines"]
    assert closed["figures"]["files"]["checked"] == 3
    assert leftovers(on_a_vault) == []
    with on_a_vault.catalog_server.connect(autocommit=True) as connection:
        row = connection.execute(
            "SELECT key FROM glacier_catalog.glacier_archives WHERE filename = 'doc2.pdf'"
        ).fetchone()
    assert row is not None
    on_a_vault.vault.corrupt_archive(row[0])
    closed = drill_of(on_a_vault, tier="Expedited").whole()
    assert closed["state"] == ProofState.FOUND
    found = {one["what"]: one["names"] for one in closed["findings"]}
    assert found["lost"] == [f"doc2.pdf (backup {closed['backup_id']})"]
    assert leftovers(on_a_vault) == []


@pytest.mark.slow
def test_a_drill_of_all_of_hundreds_of_files_looks_at_each(dms: ApplicationUnderTest) -> None:
    for number in range(400):
        dms.write(f"many/{number % 7}/{number}.txt", f"file {number}")
    dms.write("one/large.bin", b"x" * (20 * 2**20))
    dms.back_up()
    for path in list(dms.files.rglob("*")):
        if path.is_file():
            path.unlink()
    closed = drill_of(dms, sample_files="all").whole()
    assert (closed["state"], closed["findings"]) == (ProofState.PASSED, []), closed["lines"]
    assert closed["figures"]["plan"]["files_of_backup"] == closed["figures"]["files"]["checked"] == 404
    assert closed["figures"]["files"]["missing"] == 0
    assert leftovers(dms) == []


@pytest.fixture
def swapped(make_application: Make, postgres: EmbeddedPostgres) -> ApplicationUnderTest:
    """An application of an owner who is no superuser, whose restores swap, with grants to roles, and by them."""
    app = make_application()
    name = app.server.dbname
    owner, reader = f"owner_of_{name}", f"reader_of_{name}"
    postgres.create_role(owner, password="plain", attributes="CREATEDB")
    postgres.create_role(reader, password="plain")
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    app.server = replace(app.server, user=owner, password="plain")
    for statement in (
        "CREATE TABLE documents (id serial PRIMARY KEY, file text)",
        "CREATE TABLE of_another (n int)",
        f"GRANT SELECT ON documents TO {reader} WITH GRANT OPTION",
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}",
    ):
        app.sql(statement)
    as_reader = replace(app.server, user=reader, password="plain")
    with as_reader.connect(autocommit=True) as connection:
        connection.execute("GRANT SELECT ON documents TO PUBLIC")  # granted by a role as which the owner cannot act
    app.configure(restore=replace(app.application.restore, mode="swap"))
    return app


def test_a_drill_of_an_application_that_swaps_tells_no_grant_that_its_restore_leaves_out(
    swapped: ApplicationUnderTest,
) -> None:
    swapped.write("a.pdf", "a")
    swapped.sql("INSERT INTO documents (file) VALUES ('a.pdf')")
    swapped.back_up()
    closed = drill_of(swapped).whole()
    assert (closed["state"], closed["findings"]) == (ProofState.PASSED, []), closed["lines"]
    assert leftovers(swapped) == []
