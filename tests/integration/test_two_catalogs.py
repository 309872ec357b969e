"""Two catalogs on one store, the second a copy of the first: neither ever takes or deletes what is the other's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.errors import StoreUnavailable
from glacier_provider.pipelines import backup
from glacier_provider.pipelines.reconcile import reconcile
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.test_reconciliation import DAY, a_doubtful_backup, ids, in_catalog, known
from tests.support.application import ApplicationUnderTest
from tests.support.postgres import EmbeddedPostgres
from tests.support.vault import OnAVault

LARGE = b"0123456789abcdef" * (1 << 20)  # 16 MiB: two parts


@dataclass
class Copies:
    """Makes staging systems of a production: the same application name, vault and files, a copy of the catalog."""

    postgres: EmbeddedPostgres
    new_database: Callable[[], Server]
    directory: Path
    opened: ExitStack = field(default_factory=ExitStack)

    def by_pg_dump(self, production: ApplicationUnderTest) -> ApplicationUnderTest:
        """The catalog dumped, and restored into another database."""
        target = self.new_database()
        tools = self.postgres.bin_directory
        script = self.directory / "catalog.sql"
        source = production.catalog_server
        dump = [str(tools / "pg_dump"), "--no-owner", f"--file={script}", *_address(source)]
        subprocess.run(dump, check=True, env={"PGPASSWORD": source.password or ""})
        with target.connect(autocommit=True) as connection:
            connection.execute(b"DROP SCHEMA public")
        load = [str(tools / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", f"--file={script}", *_address(target)]
        subprocess.run(load, check=True, env={"PGPASSWORD": target.password or ""}, stdout=subprocess.DEVNULL)
        return self._on(production, target)

    def of_the_server(self, production: ApplicationUnderTest) -> ApplicationUnderTest:
        """The whole server copied byte by byte, as by pg_basebackup or from a snapshot of its disk."""
        other = EmbeddedPostgres(settings={"fsync": "on"})
        self.opened.enter_context(other)
        other.stop()
        production.catalog.close()
        self.postgres.execute("CHECKPOINT")
        self.postgres.stop()
        try:
            shutil.rmtree(other.data)
            subprocess.run(["cp", "-a", str(self.postgres.data), str(other.data)], check=True)
        finally:
            self.postgres.start()
        other.password = self.postgres.password
        other.start()
        return self._on(production, other.server(production.catalog_server.dbname))

    def _on(self, production: ApplicationUnderTest, server: Server) -> ApplicationUnderTest:
        catalog = self.opened.enter_context(a_catalog(server, application=production.application.name))
        here = self.directory / "staging-system"
        application = replace(
            production.application,
            files_directory=str(here / "files"),
            orphan_directory=str(here / "orphan_files"),
            staging_directory=str(here / "staging"),
        )
        for one, other in (
            (production.application.files_directory, application.files_directory),
            (production.application.staging_directory, application.staging_directory),
        ):
            if Path(one).exists():
                shutil.copytree(one, other)
        return replace(production, application=application, catalog=catalog, catalog_server=server, _stores={})


def _address(server: Server) -> list[str]:
    return [f"--host={server.host}", f"--port={server.port}", f"--username={server.user}", f"--dbname={server.dbname}"]


@pytest.fixture
def copies(postgres: EmbeddedPostgres, new_database: Callable[[], Server], tmp_path: Path) -> Iterator[Copies]:
    made = Copies(postgres, new_database, tmp_path)
    with made.opened:
        yield made


def both_write(one: ApplicationUnderTest, other: ApplicationUnderTest, name: str, content: bytes | str) -> None:
    one.write(name, content)
    other.write(name, content)


def opened(app: ApplicationUnderTest, run: Run) -> tuple[int, ArchiveRange]:
    """A backup that is dumped and scanned, and has sent nothing yet."""
    backup_id = backup.open_backup(app.application, run, catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, backup_id, catalog=app.catalog, server=app.server)
    (share,) = backup.scan_files(app.application, backup_id, catalog=app.catalog)
    return backup_id, ArchiveRange.from_dict(share)


def an_inventory_later(*apps: OnAVault) -> None:
    apps[0].pass_time(2 * DAY)
    for other in apps[1:]:
        other.ahead = apps[0].ahead
        other._stores.clear()
    apps[0].take_inventory()


def keys_of(app: ApplicationUnderTest) -> set[str]:
    return {row[0] for row in in_catalog(app, "SELECT key FROM glacier_archives WHERE state = 'archived'")}


# --- a copy, and both go on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["by_pg_dump", "of_the_server"])
def test_neither_deletes_what_the_other_made_since_they_parted(on_a_vault: OnAVault, copies: Copies, way: str) -> None:
    production = on_a_vault
    production.back_up()
    staging: OnAVault = getattr(copies, way)(production)
    same_place = staging.catalog.writers.place() == production.catalog.writers.place()
    assert same_place is (way == "of_the_server"), "then the mark of the backup alone tells them apart"
    both_write(production, staging, "new.pdf", "new")
    assert production.back_up() == staging.back_up(), "they count alike"
    (theirs,), (ours,) = (app.catalog.lists.archives(2, containing="new") for app in (production, staging))
    assert (theirs["id"], theirs["sha256"]) == (ours["id"], ours["sha256"]), "by all else they are the same"
    an_inventory_later(production, staging)
    for app in (staging, production):
        (told,) = app.reconciled(everything=True)
        assert (told.deleted, told.adopted, told.noted, told.missing) == (0, 0, 0, ())
        assert told.strays == 3, "dump, file and manifest of the other: named"
    assert known(production) | known(staging) == ids(production)


def test_neither_takes_or_deletes_what_the_other_sent_of_a_backup_that_ran_meanwhile(
    on_a_vault: OnAVault, copies: Copies
) -> None:
    """The nightly dump of all databases hits the catalog while its backup runs, and staging goes on with that run."""
    production, run = on_a_vault, on_a_vault.a_run()
    backup_id, wanted = opened(production, run)
    next(production.catalog.archives.unfinished_files(wanted))  # noted as on their way; nothing was sent
    staging: OnAVault = copies.by_pg_dump(production)  # type: ignore[assignment]
    assert staging.back_up(run) == backup_id
    production.catalog.backups.fail(backup_id, "its machine was lost")
    an_inventory_later(production, staging)
    (told,) = production.reconciled(everything=True)
    assert (told.adopted, told.deleted, told.strays) == (0, 0, 5)
    assert production.back_up(run) == backup_id
    an_inventory_later(production, staging)
    for app in (staging, production):
        (told,) = app.reconciled(everything=True)
        assert (told.adopted, told.deleted, told.missing) == (0, 0, ())
    assert not known(production) & known(staging)
    assert known(production) | known(staging) == ids(production)


def test_neither_ends_or_completes_an_upload_in_parts_of_the_other(on_a_vault: OnAVault, copies: Copies) -> None:
    production, run = on_a_vault, on_a_vault.a_run()
    production.write("large.bin", LARGE)
    backup_id, wanted = opened(production, run)
    production.vault.faults.inject("CompleteMultipartUpload", "unavailable")
    with suppress(StoreUnavailable):
        backup.upload_files(
            production.application, backup_id, wanted, catalog=production.catalog, store=production.store
        )
    production.vault.faults.clear()
    shared = known(production)
    staging: OnAVault = copies.by_pg_dump(production)  # type: ignore[assignment]
    staging.back_up(run)
    sent = production.vault.requests()["UploadMultipartPart"]["succeeded"]
    production.back_up(run)
    assert production.vault.requests()["UploadMultipartPart"]["succeeded"] == sent, "its parts were still there"
    assert known(production) & known(staging) == shared
    assert known(production) | known(staging) == ids(production)


def test_in_a_bucket_the_copy_does_not_take_an_object_of_the_other_for_its_own(
    dms: ApplicationUnderTest, copies: Copies
) -> None:
    dms.back_up()
    staging = copies.by_pg_dump(dms)
    before = keys_of(dms)
    both_write(dms, staging, "new.pdf", "new")
    dms.back_up()
    backup_id, wanted = opened(staging, staging.a_run())
    backup.upload_files(staging.application, backup_id, wanted, catalog=staging.catalog, store=staging.store)
    assert keys_of(dms) & keys_of(staging) == before
    backup.upload_database(staging.application, backup_id, catalog=staging.catalog, store=staging.store)
    staging.catalog.backups.fail(backup_id, "it ends here")
    for app in (staging, dms):
        (told,) = reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
        assert (told.deleted, told.adopted, told.noted, told.missing) == (0, 0, 0, ())
    assert keys_of(dms) | keys_of(staging) == {stored.key for stored in dms.store.archives(described=False)}


# --- one catalog that moved ----------------------------------------------------------------------------------------


def test_a_catalog_that_moved_goes_on_and_names_the_copies_of_before(on_a_vault: OnAVault, copies: Copies) -> None:
    first = a_doubtful_backup(on_a_vault)
    (copy,) = ids(on_a_vault) - known(on_a_vault)
    moved: OnAVault = copies.by_pg_dump(on_a_vault)  # type: ignore[assignment]
    moved.write("new.pdf", "new")
    second = a_doubtful_backup(moved)
    assert moved.catalog.backups.get(second)["new_files_count"] == 1
    an_inventory_later(moved)
    (told,) = moved.reconciled()
    assert (told.deleted, told.strays, told.named, told.missing) == (1, 1, (copy,), ())
    for path in moved.files.glob("*.pdf"):
        path.unlink()
    moved.restore(first)
    assert moved.contents()["doc1.pdf"] == b"content 1"


def test_a_moved_catalog_sends_again_what_it_had_sent_and_not_recorded(
    dms: ApplicationUnderTest, copies: Copies
) -> None:
    run = dms.a_run()
    backup_id, wanted = opened(dms, run)
    (page,) = dms.catalog.archives.unfinished_files(wanted)
    sent = page[0].description(dms.application.name, ArchiveKind.FILE)
    before = dms.store.put((dms.files / page[0].filename).read_bytes(), sent)
    moved = copies.by_pg_dump(dms)
    assert moved.back_up(run) == backup_id
    (row,) = moved.catalog.lists.archives(backup_id, containing=page[0].filename)
    assert row["key"] != before.location.key
    (told,) = reconcile(moved.application, catalog=moved.catalog, stores=moved.stores, everything=True)
    assert (told.deleted, told.named) == (0, (before.location.key,))


def test_a_place_is_told_also_by_a_server_that_keeps_its_identity_to_itself(
    postgres: EmbeddedPostgres, database: Server
) -> None:
    postgres.create_role("modest", password="p")
    try:
        with a_catalog(database) as catalog:
            catalog.migrate()
            assert len(catalog.writers.place().split("/")) == 3
            system = catalog.writers.place().split("/")[0]
            assert system.isdecimal()
        postgres.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", database.dbname)
        postgres.execute("GRANT USAGE ON SCHEMA glacier_catalog TO modest", database.dbname)
        postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA glacier_catalog TO modest", database.dbname)
        modest = postgres.server(database.dbname, user="modest", password="p")
        with a_catalog(modest) as catalog:
            assert catalog.writers.place().split("/")[0] == "unknown"
    finally:
        postgres.drop_database(database.dbname)
        postgres.execute("DROP ROLE modest")


def test_what_a_vault_holds_keeps_its_signature(on_a_vault: OnAVault) -> None:
    backup_id = on_a_vault.back_up()
    signature = on_a_vault.catalog.writers.of(backup_id)
    on_a_vault.take_inventory()
    told = [stored.description for stored in on_a_vault.store.archives()]
    assert {one.written_by for one in told if one} == {signature}
    assert on_a_vault.catalog.writers.of(4711) is None


@pytest.mark.parametrize("by_processes", [True, False])
def test_what_a_bucket_holds_keeps_its_signature_whoever_sent_it(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch, *, by_processes: bool
) -> None:
    monkeypatch.setattr("glacier_provider.pipelines.backup.upload.POOL_FROM", 1)
    dms.configure(upload_processes=int(by_processes))
    dms.write("large.bin", LARGE)
    signature = dms.catalog.writers.of(dms.back_up())
    told = {stored.key: stored.description for stored in dms.store.archives()}
    assert len(told) == 6
    assert {one.written_by for one in told.values() if one} == {signature}
