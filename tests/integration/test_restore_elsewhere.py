"""A restore into another database and directory: all that a restore is, and the application stays as it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import GlacierProviderError, LeaseHeld, LeaseLost, TargetRefused
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.restore.elsewhere import require_claimed, target_place_of
from glacier_provider.postgres import Server
from glacier_provider.postgres.restore.elsewhere import begun_name, drop_marked, look_at_database, mark_database
from tests.support.application import ApplicationUnderTest, a_small_dms, add_document, an_application, titles
from tests.support.postgres import EmbeddedPostgres

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}
Make = Callable[..., ApplicationUnderTest]


@dataclass
class Staging:
    """An application of an owner who is no superuser, and the places that its restores can go to."""

    app: ApplicationUnderTest
    postgres: EmbeddedPostgres
    database: str
    directory: Path

    @cached_property
    def backup_id(self) -> int:
        return self.app.back_up()

    @property
    def into(self) -> dict[str, str]:
        return {"database": self.database, "files_directory": str(self.directory)}

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with self.app.server.with_database(self.database).connect(autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def titles(self) -> list[str]:
        return [row[0] for row in self.sql("SELECT title FROM documents ORDER BY id")]

    def contents(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file() and ".glacier-tmp" not in path.parts
        }

    def databases(self) -> list[str]:
        """The place's database, and what is left of its making."""
        of_place = f"datname ~ '^{self.database}' OR datname = '{begun_name(self.database)}'"
        found = self.postgres.execute(f"SELECT datname FROM pg_database WHERE {of_place} ORDER BY 1")
        return [row[0] for row in found]


@pytest.fixture
def staging(make_application: Make, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Staging]:
    app = make_application()
    owner = f"owner_of_{app.server.dbname}"
    postgres.create_role(owner, password="plain", attributes="CREATEDB")
    postgres.execute(f"ALTER DATABASE {app.server.dbname} OWNER TO {owner}")
    app.server = replace(app.server, user=owner, password="plain")
    a_small_dms(app)
    place = Staging(app, postgres, f"{app.server.dbname}_staging", tmp_path / "staging uploads")
    app.configure(restore_targets={"staging": place.into})
    yield place
    for name in place.databases():
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def everything_known_of(app: ApplicationUnderTest) -> list[Any]:
    """What the catalog says of an application, without the restores themselves."""
    with app.catalog_server.connect() as connection:
        connection.execute("SET search_path = glacier_catalog")
        return [
            connection.execute(
                "SELECT id, state, retrieval_status FROM glacier_archives WHERE kind = 'file' ORDER BY id"
            ).fetchall(),
            connection.execute("SELECT * FROM file_identities ORDER BY archive_id").fetchall(),
            connection.execute("SELECT lease_holder FROM applications").fetchall(),
            connection.execute("SELECT * FROM orphan_moves").fetchall(),
        ]


def test_a_backup_comes_back_in_another_database_and_directory_and_the_application_stays(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    before = titles(app)
    add_document(app, "later.pdf", "later")
    app.sql("DELETE FROM tags")
    known = everything_known_of(app)
    figures = app.restore(backup_id, into="staging")
    assert staging.titles() == before
    assert staging.contents() == ORIGINAL
    assert staging.sql("SELECT count(*) FROM tags") == [(3,)]
    assert titles(app) == [*before, "Title of later.pdf"]
    assert app.contents() == {**ORIGINAL, "later.pdf": b"later"}
    assert everything_known_of(app) == known
    row = app.catalog.restores.get(figures["restore_id"])
    assert row["request"]["into"] == {"name": "staging", **staging.into}
    assert row["last_lease_token"] is None
    assert app.catalog.pages.newest_restores([app.application.name]) == {}


def test_files_that_the_application_still_has_are_copied_and_nothing_is_paid_for_them(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    (app.files / "doc2.pdf").unlink()
    app.s3.forget_counts()
    planned = app.plan(backup_id, into="staging")
    assert planned["plan"]["to_copy"]["archives"] == 2
    assert planned["plan"]["to_request"]["archives"] == 2  # the dump and doc2
    assert f"into staging (database {staging.database!r}" in planned["lines"][0]
    assert any("To copy from the application's own directory" in line for line in planned["lines"])
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert app.s3.count("RestoreObject", bucket=app.bucket) == 2
    assert staging.contents() == ORIGINAL


def test_a_file_that_only_looks_as_it_was_is_not_copied_but_asked_for(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    path = app.files / "doc1.pdf"
    info = path.stat()
    path.write_bytes(b"CONTENT 1")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    planned = app.plan(backup_id, into="staging")
    with pytest.raises(GlacierProviderError, match="retrieval was not asked for") as asked:
        app.bring(planned)
    assert "request_retrievals" in asked.value.hint
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert staging.contents() == ORIGINAL


def test_another_restore_into_the_same_place_takes_what_the_first_left(staging: Staging) -> None:
    app = staging.app
    first = app.back_up()
    add_document(app, "sub/doc4.pdf", "content 4")
    second = app.back_up()
    app.restore(second, into="staging")
    assert "sub/doc4.pdf" in staging.contents()
    staging.sql("CREATE TABLE of_a_tester (n int)")
    (staging.directory / "of a tester").write_text("x")
    app.restore(first, into=staging.into)
    assert staging.contents() == ORIGINAL
    assert staging.sql("SELECT to_regclass('of_a_tester')") == [(None,)]
    assert len(staging.titles()) == 3
    assert staging.databases() == [staging.database]


def test_the_version_of_the_backup_comes_whatever_the_name_holds_today(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    (app.files / "doc1.pdf").unlink()
    app.write("doc1.pdf", "another content")
    app.back_up()
    app.restore(backup_id, into="staging")
    assert staging.contents() == ORIGINAL
    assert app.contents()["doc1.pdf"] == b"another content"


@pytest.mark.parametrize("part", ["database", "files"])
def test_a_target_with_one_place_takes_what_goes_there(staging: Staging, part: str) -> None:
    backup_id = staging.app.back_up()
    field = "database" if part == "database" else "files_directory"
    staging.app.restore(backup_id, into={field: staging.into[field]})
    assert (staging.databases() != []) == (part == "database")
    assert staging.directory.exists() == (part == "files")


def test_only_some_tables_come_into_a_database_of_their_own(staging: Staging) -> None:
    backup_id = staging.app.back_up()
    staging.app.restore(backup_id, into="staging", part="database", tables=["public.documents"])
    assert len(staging.titles()) == 3
    assert staging.sql("SELECT to_regclass('tags')") == [(None,)]


def test_a_subscription_does_not_come_and_that_is_said(dms: ApplicationUnderTest, postgres: EmbeddedPostgres) -> None:
    """It would write what its publisher has now into the restored database."""
    dms.configure(restore=replace(dms.application.restore, mode="swap"))
    there = f"{dms.server.dbname}_other"
    never = "CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = NONE)"
    dms.sql(f"CREATE SUBSCRIPTION of_an_application {never}")
    figures = dms.restore(dms.back_up(), part="database", into={"database": there})
    of = "SELECT d.datname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
    assert postgres.execute(f"{of} WHERE subname = 'of_an_application'") == [(dms.server.dbname,)]
    assert any("it would write into the restored" in said for said in figures["outcome"]["database"]["warnings"])
    dms.sql("DROP SUBSCRIPTION of_an_application")
    postgres.drop_database(there)


@pytest.mark.parametrize("mode", ["swap", "transaction"])
def test_what_refers_to_rows_that_the_dump_left_out_comes_as_far_as_it_can(staging: Staging, mode: str) -> None:
    app = staging.app
    dump, options = app.application.dump, app.application.restore
    app.configure(dump=replace(dump, exclude_table_data=("public.documents",)), restore=replace(options, mode=mode))
    app.restore(staging.backup_id, into="staging")
    assert staging.sql("SELECT count(*) FROM documents") == [(0,)]
    assert staging.sql("SELECT count(*) FROM tags") == [(3,)]
    (failed,) = app.catalog.lists.restores()[0]["outcome"]["database"]["failed"]
    assert "tags_document_id_fkey" in failed["object"]
    assert "NOT VALID" in failed["said"]


def test_what_fails_is_listed_and_taken_when_a_person_accepts(staging: Staging) -> None:
    app = staging.app
    app.configure(restore=replace(app.application.restore, mode="swap", on_error="list"))
    app.sql(
        "CREATE FUNCTION known(integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 <= (SELECT count(*) FROM documents)'"
    )
    app.sql("CREATE TABLE visits (document integer CHECK (known(document)))")
    app.sql("INSERT INTO visits VALUES (1)")
    planned = app.plan(app.back_up(), into="staging")
    app.bring(planned)
    with pytest.raises(GlacierProviderError, match=r"TABLE DATA public\.visits"):
        app.finish(planned["restore_id"])
    assert app.catalog.restores.accept_errors(planned["restore_id"]) == 1
    figures = app.finish(planned["restore_id"])
    assert figures["outcome"]["database"]["failed_count"] == 1
    assert staging.sql("SELECT count(*) FROM tags") == [(3,)]
    assert staging.databases() == [staging.database]


def test_lost_files_are_gone_on_without_when_that_is_asked_for(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    (app.files / "doc2.pdf").unlink()
    for key in app.keys_in_store():
        if "doc2.pdf" in key:
            app.s3.client().delete_object(Bucket=app.bucket, Key=key)
    planned = app.plan(backup_id, into="staging", without_lost=True)
    app.bring(planned)
    figures = app.finish(planned["restore_id"])
    assert figures["outcome"]["lost"] == ["doc2.pdf"]
    assert set(staging.contents()) == {"doc1.pdf", "doc3.pdf"}


# --- two at once, and what a kill leaves ---------------------------------------------------------------------------


def test_a_backup_is_made_while_a_restore_into_another_place_is_under_way(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    planned = app.plan(backup_id, into="staging")
    app.bring(planned)
    later = app.back_up()
    app.finish(planned["restore_id"])
    assert later > backup_id
    app.restore(backup_id)  # and so is a restore into its own place


def test_two_restores_do_not_fill_one_place_at_once(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    first, second = app.plan(backup_id, into="staging"), app.plan(backup_id, into="staging")
    app.bring(first)
    with pytest.raises(LeaseHeld, match=f"Restore {first['restore_id']} of dms is under way into the same place"):
        app.bring(second)
    app.finish(first["restore_id"])
    app.bring(second)
    app.finish(second["restore_id"])
    assert staging.contents() == ORIGINAL


def test_a_database_is_filled_by_one_process_at_a_time(staging: Staging) -> None:
    app, place = staging.app, staging.app.server.with_database(staging.database)
    planned = app.plan(staging.backup_id, into="staging")
    app.bring(planned)
    with app.catalog.beside() as other, other.alone(f"the restore into {place.dbname} at {place.host}:{place.port}"):
        with pytest.raises(LeaseHeld):
            app.finish(planned["restore_id"])
        assert staging.databases() == []
    app.finish(planned["restore_id"])


def test_a_name_that_leads_to_another_database_is_refused(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the names that poolers have do."""
    own, connect = staging.app.server, Server.connect

    def led(server: Server, **given: Any) -> Any:
        return connect(own if server.dbname == "an_alias" else server, **given)

    monkeypatch.setattr(Server, "connect", led)
    with pytest.raises(TargetRefused, match=f"leads to the database '{own.dbname}'"):
        look_at_database(own.with_database("an_alias"))


def test_a_restore_whose_place_was_taken_over_does_nothing_more(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    first = app.plan(backup_id, into="staging")
    app.bring(first)
    app.catalog.restores.fail(first["restore_id"], "its worker died")
    second = app.plan(backup_id, into="staging")
    app.bring(second)
    with pytest.raises(LeaseHeld):
        app.bring(first)
    rows = [app.catalog.restores.get(planned["restore_id"]) for planned in (first, second)]
    slept, awake = (target_place_of(app.application, row, app.elsewhere) for row in rows)
    assert slept is not None
    assert awake is not None
    require_claimed(awake)
    with pytest.raises(LeaseLost, match="is no longer this restore's"):  # in the middle of bringing files
        require_claimed(slept)
    app.finish(second["restore_id"])
    assert staging.contents() == ORIGINAL


def test_a_restore_that_is_planned_again_keeps_what_it_brought(staging: Staging) -> None:
    app = staging.app
    backup_id = app.back_up()
    run = app.a_run("restore")
    shutil.rmtree(app.files)
    app.files.mkdir()
    app.bring(app.plan(backup_id, run, into="staging"))
    again = app.plan(backup_id, run, into="staging")
    assert again["plan"]["present"]["archives"] == 3
    app.bring(again)
    app.finish(again["restore_id"])
    assert staging.contents() == ORIGINAL


# --- refused --------------------------------------------------------------------------------------------------------


def refused(staging: Staging, into: Any, match: str, kind: type[Exception] = TargetRefused) -> None:
    app = staging.app
    backup_id = staging.backup_id
    before, files = titles(app), app.contents()
    app.s3.forget_counts()
    with pytest.raises(kind, match=match):
        app.plan(backup_id, into=into)
    assert app.s3.count("RestoreObject", bucket=app.bucket) == 0
    assert (titles(app), app.contents()) == (before, files)


def test_the_applications_own_database_is_refused_under_any_name(staging: Staging) -> None:
    app = staging.app
    own = app.server.dbname
    refused(staging, {"database": own}, "is the database of the application dms")
    app.configure(postgres_conn_id="by_another_name")
    other_name = replace(app.server, host="localhost")
    app_elsewhere = app.elsewhere

    def server(conn_id: str) -> Any:
        return {"by_another_name": app.server, "other": other_name}.get(conn_id, app.catalog_server)

    request = RestoreRequest.from_params({"backup_id": "latest", "into": {"postgres_conn_id": "other"}})
    with pytest.raises(TargetRefused, match="is the database of the application dms"):
        restore.plan_restore(
            app.application,
            app.a_run("restore"),
            request,
            catalog=app.catalog,
            stores=app.stores,
            elsewhere=replace(app_elsewhere, server=server),
        )


def test_the_catalogs_database_is_refused(staging: Staging) -> None:
    refused(staging, {"postgres_conn_id": "glacier_catalog"}, "is the (catalog's database|database of the application)")


def test_a_database_with_foreign_objects_is_refused_and_an_empty_one_is_taken(staging: Staging) -> None:
    backup_id = staging.app.back_up()
    owner = staging.app.server.user
    staging.postgres.execute(f"CREATE DATABASE {staging.database} OWNER {owner}")
    staging.sql("CREATE TABLE of_somebody (n int)")
    refused(staging, "staging", "holds objects, and no restore of this product filled it")
    staging.sql("DROP TABLE of_somebody")
    staging.postgres.execute(f"ALTER ROLE {owner} NOCREATEDB")
    staging.app.restore(backup_id, into="staging")
    staging.sql("DELETE FROM tags")
    staging.app.restore(backup_id, into="staging")  # ours by now: replaced in place, as none can be made
    assert staging.sql("SELECT count(*) FROM tags") == [(3,)]


def test_a_marker_that_was_carried_into_another_database_makes_nothing_ours(staging: Staging) -> None:
    staging.app.restore(staging.app.back_up(), into="staging")
    (comment,) = staging.sql(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    )[0]
    copy = f"{staging.database}_copy"
    staging.postgres.execute(f"CREATE DATABASE {copy} TEMPLATE {staging.database} OWNER {staging.app.server.user}")
    staging.postgres.execute(f"COMMENT ON DATABASE {copy} IS '{comment}'")
    refused(staging, {"database": copy}, "no restore of this product filled it")


def test_the_dumps_own_comment_of_a_database_stays_beside_the_marker(staging: Staging) -> None:
    app = staging.app
    app.sql(f"COMMENT ON DATABASE {app.server.dbname} IS 'the library'")
    app.configure(restore=replace(app.application.restore, database_properties="dump"))
    app.restore(app.back_up(), into="staging")
    app.restore(into="staging")
    (comment,) = staging.sql(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    )[0]
    assert comment.startswith("the library [glacier_provider: dms-restore_")


def test_directories_of_applications_are_refused_by_any_path(staging: Staging, tmp_path: Path) -> None:
    app = staging.app
    link = tmp_path / "a link"
    link.symlink_to(app.files)
    app.orphans.mkdir(exist_ok=True)
    other = an_application(tmp_path / "other", name="shop", store="s3://other")
    app.others = [other]
    paths = [app.files, link, app.files / "new", link / "new", app.files.parent, app.orphans, other.files_directory]
    for path in paths:
        refused(staging, {"files_directory": str(path)}, "is, lies in, or holds")


def test_a_directory_with_foreign_files_is_refused_and_none_of_them_is_touched(staging: Staging) -> None:
    staging.directory.mkdir()
    (staging.directory / "of somebody").write_text("x")
    refused(staging, "staging", "holds files, and no restore of this product filled it")
    assert staging.contents() == {"of somebody": b"x"}


def test_a_copy_of_a_directory_that_was_filled_is_not_ours(staging: Staging, tmp_path: Path) -> None:
    staging.app.restore(staging.app.back_up(), into="staging")
    shutil.copytree(staging.directory, tmp_path / "copy")
    refused(staging, {"files_directory": str(tmp_path / "copy")}, "no restore of this product filled it")


# --- killed ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Passes every handler, as a kill does."""


TARGET = "glacier_provider.files.target"
DATABASE = "glacier_provider.postgres.restore.elsewhere"
INSTANTS = [
    (f"{TARGET}._write", 1),
    (f"{TARGET}._clear", 1),
    (f"{TARGET}._write", 2),
    ("glacier_provider.pipelines.restore.download._note_placed_elsewhere", 1),
    (f"{DATABASE}._create", 1),
    (f"{DATABASE}._begin", 1),
    (f"{DATABASE}._mark_begun", 1),
    ("glacier_provider.pipelines.restore.database._in_place", 1),
    (f"{DATABASE}.mark_whole", 1),
]


@contextmanager
def killed_at(place: str, number: int, *, after: bool) -> Iterator[None]:
    """Have the process die before or after the n-th call of a function."""
    module, _, name = place.rpartition(".")
    original, calls = getattr(import_module(module), name), iter(range(1, 100))

    def dying(*arguments: Any, **named: Any) -> Any:
        dies = next(calls) == number
        if dies and not after:
            raise Killed
        answer = original(*arguments, **named)
        if dies:
            raise Killed
        return answer

    with patch(place, dying), pytest.raises(Killed):
        yield


def test_a_restore_that_is_killed_at_any_new_step_goes_on_and_leaves_nothing(staging: Staging) -> None:
    app = staging.app
    first = app.back_up()
    add_document(app, "sub/doc4.pdf", "content 4")
    second = app.back_up()
    ends = {first: ORIGINAL, second: app.contents()}
    app.restore(second, into="staging")
    for turn, (instant, after) in enumerate(product(INSTANTS, (False, True))):
        backup_id = (first, second)[turn % 2]
        planned = app.plan(backup_id, into="staging")
        with killed_at(*instant, after=after):
            app.bring(planned)
            app.finish(planned["restore_id"])
        app.bring(planned)
        app.finish(planned["restore_id"])
        assert staging.contents() == ends[backup_id], (instant, after)
        assert len(staging.titles()) == len(ends[backup_id]), (instant, after)
        assert staging.databases() == [staging.database], (instant, after)
        assert not [path for path in Path(app.application.staging_directory).rglob("*") if path.is_file()]


@pytest.mark.parametrize("next_one", ["the same", "another"])
def test_a_restore_that_is_killed_before_it_marked_what_it_made_leaves_nothing_that_is_nobodys(
    staging: Staging, next_one: str
) -> None:
    """Between CREATE DATABASE and the marker: no transaction takes the two."""
    app = staging.app
    backup_id = app.back_up()
    planned = app.plan(backup_id, into="staging")
    app.bring(planned)
    with killed_at(f"{DATABASE}._begin", 1, after=True):
        app.finish(planned["restore_id"])
    assert staging.databases() == [begun_name(staging.database)], "nothing is there by the name that people know"
    if next_one == "another":
        app.catalog.backups._run_ended = lambda _run: "failed"
        planned = app.plan(backup_id, into="staging")
        app.bring(planned)
    app.finish(planned["restore_id"])
    assert staging.databases() == [staging.database]
    there = look_at_database(app.server.with_database(staging.database))
    assert (there.mark or "").startswith(f"{app.application.name}-restore_{planned['restore_id']}_")


def test_what_another_restore_began_to_make_is_left_to_it(staging: Staging) -> None:
    place, begun = staging.app.server.with_database(staging.database), begun_name(staging.database)
    staging.postgres.create_database(begun, owner=place.user)
    mark_database(place.with_database(begun), "dms-restore_7_20260101000000")
    drop_marked(place, "dms-restore_8_20260101000000", made=True)
    assert staging.databases() == [begun]
    drop_marked(place, "dms-restore_7_20260101000000", made=True)
    assert staging.databases() == []


def test_what_somebody_put_into_a_database_that_was_begun_is_not_dropped(staging: Staging) -> None:
    begun = begun_name(staging.database)
    staging.postgres.create_database(begun, owner=staging.app.server.user)
    staging.postgres.execute("CREATE TABLE mine (id int)", begun)
    planned = staging.app.plan(staging.backup_id, into="staging")
    staging.app.bring(planned)
    with pytest.raises(TargetRefused, match=f"{begun}.* holds objects"):
        staging.app.finish(planned["restore_id"])
    assert staging.postgres.execute("SELECT count(*) FROM mine", begun) == [(0,)]
    staging.postgres.drop_database(begun)
