"""The catalog goes back in time (a failover that lost transactions, an older dump of it), and its backups go on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.archive import StoredArchive
from glacier_provider.errors import StoreUnavailable
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.stores.s3.store import S3Store
from glacier_provider.stores.vault.store import VaultStore
from tests.conftest import a_catalog
from tests.emulator.vault import VaultEmulator
from tests.integration.test_rebuild import known, lose_the_catalog, rebuild, some_history
from tests.support.application import ApplicationUnderTest, titles
from tests.support.postgres import EmbeddedPostgres
from tests.support.vault import VAULT, OnAVault


@dataclass
class Past:
    """The catalog as it was, to be put in the place of what it became."""

    app: ApplicationUnderTest
    tools: Path
    script: Path

    def keep(self) -> None:
        self._run("pg_dump", "--schema=glacier_catalog", f"--file={self.script}")

    def come_back(self) -> None:
        lose_the_catalog(self.app)
        with self.app.catalog_server.connect(autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS glacier_catalog CASCADE")
        self._run("psql", "-qX", "-v", "ON_ERROR_STOP=1", f"--file={self.script}")
        self.app.catalog = a_catalog(self.app.catalog_server, self.app.application.name)

    def _run(self, tool: str, *arguments: str) -> None:
        server = self.app.catalog_server
        address = [f"--host={server.host}", f"--port={server.port}", f"--username={server.user}"]
        command = [str(self.tools / tool), *address, f"--dbname={server.dbname}", *arguments]
        environment = {"PGPASSWORD": server.password or ""}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def a_past(app: ApplicationUnderTest, postgres: EmbeddedPostgres, tmp_path: Path) -> Past:
    return Past(app, postgres.bin_directory, tmp_path / "past.sql")


def replace_files(app: ApplicationUnderTest, letter: str, number: int = 4) -> dict[str, bytes]:
    """Have a set of files of their own in the directory."""
    for path in app.files.rglob("*.pdf"):
        path.unlink()
    for index in range(number):
        app.write(f"{letter}{index}.pdf", f"{letter} {index}")
    return app.contents()


def assert_comes_back(app: ApplicationUnderTest, backup_id: int, contents: dict[str, bytes]) -> None:
    for path in app.files.rglob("*.pdf"):
        path.unlink()
    app.restore(backup_id)
    assert app.contents() == contents


def test_ids_are_not_given_twice_and_both_lives_come_back(
    dms: ApplicationUnderTest, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    first, first_files = dms.back_up(), dms.contents()
    past = a_past(dms, postgres, tmp_path)
    past.keep()
    a_files = replace_files(dms, "a")
    second = dms.back_up()
    third = dms.back_up()
    past.come_back()
    b_files = replace_files(dms, "b")
    fourth = dms.back_up()
    assert fourth == third + 1 > second
    numbers = [stored.description.archive_id for stored in dms.store.archives() if stored.description]
    assert len(numbers) == len(set(numbers)), "each id means one thing"
    assert_comes_back(dms, fourth, b_files)
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert (rebuilt.complete, rebuilt.lost_count, rebuilt.broken, rebuilt.renumbered) == (4, 0, (), ())
    for backup_id, contents in ((first, first_files), (second, a_files), (third, a_files), (fourth, b_files)):
        assert_comes_back(dms, backup_id, contents)
    delete_backup(dms.application, second, dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    assert_comes_back(dms, third, a_files)


def test_ids_that_were_given_twice_mean_what_each_backup_meant_by_them(
    dms: ApplicationUnderTest, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier version did: nothing looked at the store before an id was used."""
    monkeypatch.setattr(S3Store, "ids_in_use", lambda *_, archive_id, backup_id: (archive_id, backup_id))
    dms.back_up()
    past = a_past(dms, postgres, tmp_path)
    past.keep()
    a_files = replace_files(dms, "a")
    second = dms.back_up()
    past.come_back()
    dms.catalog.writers.skip_ids(archive_id=0, backup_id=second)  # the manifest's key would be taken
    b_files = replace_files(dms, "b")
    third = dms.back_up()
    (dms.files / "b0.pdf").unlink()
    fourth, fewer = dms.back_up(), dms.contents()
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert (rebuilt.complete, rebuilt.lost_count, rebuilt.broken) == (4, 0, ())
    for backup_id, contents in ((second, a_files), (third, b_files), (fourth, fewer)):
        assert_comes_back(dms, backup_id, contents)
    for backup_id in (second, third):  # each archive goes by the key that it has
        delete_backup(dms.application, backup_id, dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    assert_comes_back(dms, fourth, fewer)
    assert not [key for key in (stored.key for stored in dms.store.archives(described=False)) if "-a0.pdf" in key]


def test_a_dump_whose_key_is_taken_is_archived_under_the_next_id(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    archive_id, _ = dms.catalog.writers.last_ids()
    client = dms.s3.client()
    (template,) = [one.key for one in dms.store.archives(described=False) if "/database/" in one.key]
    for number in range(archive_id + 1, archive_id + 3):
        folder, _, name = template.rpartition("/")
        key = f"{folder}/{number:012d}-{name.partition('-')[2]}"
        metadata = client.head_object(Bucket=dms.bucket, Key=template)["Metadata"]
        client.put_object(Bucket=dms.bucket, Key=key, Body=b"x", Metadata={**metadata, "archive-id": str(number)})
    dms.write("new.pdf", "new")
    backup_id = dms.back_up()
    row = dms.catalog.backups.get(backup_id)
    assert row["state"] == "complete"
    assert row["database_archive_id"] > archive_id + 2


def test_a_key_that_no_catalog_made_uses_up_no_ids(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    client = dms.s3.client()
    client.put_object(Bucket=dms.bucket, Key="pre/dms/files/999999999/999999999999-x", Body=b"x")
    client.put_object(Bucket=dms.bucket, Key="pre/dms/files/000000500/nothing of ours", Body=b"x")
    client.put_object(Bucket=dms.bucket, Key="pre/dms/files/000001000/000001000007-x", Body=b"x")
    backup_id = dms.back_up()
    assert dms.catalog.backups.get(backup_id)["database_archive_id"] == 1_000_008


@pytest.fixture
def newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS promises no order of an inventory."""
    listed = VaultStore.archives

    def reversed_archives(self: VaultStore, *args: Any, **kwargs: Any) -> Iterator[StoredArchive]:
        return reversed(list(listed(self, *args, **kwargs)))

    monkeypatch.setattr(VaultStore, "archives", reversed_archives)


def rebuilt_from_vault(app: OnAVault, vault: VaultEmulator) -> Any:
    vault.take_inventory(VAULT)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="again"):
            rebuild(app)
        vault.complete_jobs()
    return rebuild(app)


@pytest.mark.usefixtures("newest_first")
def test_backups_of_two_lives_in_a_vault_both_come_back_whatever_the_order_of_its_inventory(
    on_a_vault: OnAVault, vault: VaultEmulator, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    app = on_a_vault
    first, first_files = app.back_up(), app.contents()
    past = a_past(app, postgres, tmp_path)
    past.keep()
    a_files = replace_files(app, "a")
    second = app.back_up()
    past.come_back()
    b_files = replace_files(app, "b")
    assert app.back_up() == second
    (app.files / "b0.pdf").unlink()
    fewer = app.contents()
    third = app.back_up()
    lose_the_catalog(app)
    rebuilt = rebuilt_from_vault(app, vault)
    assert (rebuilt.backups, rebuilt.complete, rebuilt.lost_count, rebuilt.left_out) == (4, 4, 0, ())
    assert len(rebuilt.renumbered) == 2
    newest = app.catalog.backups.newest_complete()
    assert newest == third + 2, "the newest is the newest still"
    expected = {first: first_files, second: a_files, newest - 1: b_files, newest: fewer}
    for backup_id, contents in expected.items():
        assert_comes_back(app, backup_id, contents)
    assert app.catalog.counts.wrong() == []


def test_a_second_rebuild_brings_what_was_made_after_one_that_renumbered(
    on_a_vault: OnAVault, vault: VaultEmulator, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Its manifests tell the ids that the first rebuild gave; those before it know nothing of them."""
    app = on_a_vault
    app.back_up()
    past = a_past(app, postgres, tmp_path)
    past.keep()
    replace_files(app, "a")
    app.back_up()
    past.come_back()
    replace_files(app, "b")
    app.back_up()
    lose_the_catalog(app)
    assert rebuilt_from_vault(app, vault).renumbered
    (app.files / "b0.pdf").unlink()
    fewer, third = app.contents(), app.back_up()
    (app.files / "b1.pdf").unlink()
    fewest, fourth = app.contents(), app.back_up()
    app.pass_time(timedelta(days=2))  # the inventory of the first rebuild is still offered
    lose_the_catalog(app)
    rebuilt = rebuilt_from_vault(app, vault)
    assert (rebuilt.complete, rebuilt.broken, rebuilt.miscounted, rebuilt.lost_count) == (5, (), (), 0)
    newest = app.catalog.backups.newest_complete()
    assert newest is not None
    assert_comes_back(app, newest - fourth + third, fewer)
    assert_comes_back(app, newest, fewest)


@pytest.mark.usefixtures("newest_first")
def test_the_order_of_an_inventory_does_not_matter(on_a_vault: OnAVault, vault: VaultEmulator) -> None:
    some_history(on_a_vault)
    before = known(on_a_vault)
    lose_the_catalog(on_a_vault)
    rebuilt_from_vault(on_a_vault, vault)
    assert known(on_a_vault) == before


def test_after_an_ordinary_deletion_a_rebuild_has_nothing_to_say(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    delete_backup(dms.application, backups[0], dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    delete_backup(dms.application, backups[1], dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    before = known(dms)
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert (rebuilt.complete, rebuilt.broken, rebuilt.lost_count) == (2, (), 0)
    assert (rebuilt.left_out, rebuilt.strays) == ((), ())
    assert known(dms)["members"] == before["members"]
    assert dms.catalog.backups.get(backups[0])["state"] == "deleted"
    assert titles(dms)


def test_after_an_ordinary_deletion_the_rebuild_from_a_vault_has_nothing_to_say(
    on_a_vault: OnAVault, vault: VaultEmulator
) -> None:
    """A vault has no place for a note: the manifest of the next backup tells it."""
    backups = [on_a_vault.back_up()]
    (on_a_vault.files / "doc1.pdf").unlink()
    backups.append(on_a_vault.back_up())
    common: dict[str, Any] = {"catalog": on_a_vault.catalog, "stores": on_a_vault.stores}
    delete_backup(on_a_vault.application, backups[0], on_a_vault.a_run("delete"), **common)
    backups.append(on_a_vault.back_up())
    lose_the_catalog(on_a_vault)
    vault.take_inventory(VAULT)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            rebuild(on_a_vault)
        vault.complete_jobs()
    rebuilt = rebuild(on_a_vault)
    assert (rebuilt.complete, rebuilt.broken, rebuilt.lost_count) == (2, (), 0)
    assert on_a_vault.catalog.backups.get(backups[0])["state"] == "deleted"


def test_a_note_of_a_deletion_does_not_hide_a_backup_whose_dump_is_there(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    with dms.catalog_server.connect(autocommit=True) as connection:
        (sha256,) = connection.execute(
            "SELECT sha256 FROM glacier_catalog.glacier_archives WHERE kind = 'manifest' AND backup_id = %s",
            [backups[0]],
        ).fetchone()  # type: ignore[misc]
    dms.store.note_deletion("dms", backups[0], sha256)
    lose_the_catalog(dms)
    assert rebuild(dms).complete == 4


def test_a_manifest_that_was_written_again_makes_its_backup_no_younger(
    dms: ApplicationUnderTest, make_application: Callable[..., ApplicationUnderTest]
) -> None:
    """Copied, that is, or found lost and written again; and another application was first in the new catalog."""
    first = dms.back_up()
    newest_files = replace_files(dms, "b")
    dms.back_up()
    lose_the_catalog(dms)
    other = make_application("shop")
    other.catalog.close()
    other.catalog = a_catalog(dms.catalog_server, "shop")
    other.catalog.migrate()
    assert other.back_up() == first
    again = dms.s3.objects.key(dms.bucket, f"pre/dms/manifests/{first:012d}.json.gz")
    again.last_modified += timedelta(days=1)
    assert len(rebuild(dms).renumbered) == 2
    newest = dms.catalog.backups.newest_complete()
    assert newest is not None
    assert_comes_back(dms, newest, newest_files)
