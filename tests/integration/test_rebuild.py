"""The catalog is lost, the store is not: what was known before is known again (promise 9)."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.store_uri import parse_store_uri
from glacier_provider.errors import ArchiveMissing, IllegalMove, StoreUnavailable, UnsafeCatalogSchema
from glacier_provider.pipelines import backup
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.rebuild import Rebuilt, rebuild_catalog
from tests.conftest import a_catalog
from tests.emulator.vault import VaultEmulator
from tests.integration.test_cli import described, in_a_process, uri_of
from tests.support.application import ApplicationUnderTest, add_document, titles
from tests.support.vault import VAULT, OnAVault

#: What a rebuilt catalog has to tell as the lost one did. Times of closing and sizes of reports are not in the store.
BACKUPS = """
    SELECT id, state, dag_id, dag_run_id, opened_at, snapshot_at, scanned_at, server_version, client_version,
           dump_format, database_archive_id, manifest_archive_id, previous_backup_id, files_count, files_bytes,
           new_files_count, new_files_bytes, vanished_count, returned_count, report
      FROM glacier_catalog.application_data_backups WHERE state = 'complete' ORDER BY id"""
ARCHIVES = """
    SELECT id, kind, filename, backup_id, stored_size, sha256, tree_hash, checksum, encoding, store_uri, key, state,
           retrieval_status
      FROM glacier_catalog.glacier_archives WHERE state = 'archived' ORDER BY id"""
MEMBERS = """
    SELECT b.id AS backup_id, f.archive_id FROM glacier_catalog.application_data_backups b
      JOIN glacier_catalog.backup_files f ON f.first_backup_id <= b.id
           AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
     WHERE b.state = 'complete' ORDER BY 1, 2"""

NAMES = """
    SELECT b.id, a.filename FROM glacier_catalog.application_data_backups b
      JOIN glacier_catalog.backup_files f ON f.first_backup_id <= b.id
           AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
      JOIN glacier_catalog.glacier_archives a ON a.id = f.archive_id
     WHERE b.state = 'complete' ORDER BY 1, 2"""

FINGERPRINTS = "SELECT backup_id, fingerprint FROM glacier_catalog.fingerprints ORDER BY 1"


def known(app: ApplicationUnderTest) -> dict[str, list[tuple[Any, ...]]]:
    with app.catalog_server.connect(autocommit=True) as connection:
        queries = {"backups": BACKUPS, "archives": ARCHIVES, "members": MEMBERS, "fingerprints": FINGERPRINTS}
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}  # type: ignore[call-overload]


def names_of_backups(app: ApplicationUnderTest) -> list[tuple[Any, ...]]:
    with app.catalog_server.connect(autocommit=True) as connection:
        return connection.execute(NAMES).fetchall()


def lose_the_catalog(app: ApplicationUnderTest) -> None:
    app.catalog.close()
    with app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("DROP SCHEMA glacier_catalog CASCADE")
    app.catalog = a_catalog(app.catalog_server, app.application.name)


def rebuild(app: ApplicationUnderTest) -> Rebuilt:
    return rebuild_catalog(app.application, catalog=app.catalog, stores=app.stores)


def some_history(app: ApplicationUnderTest) -> list[int]:
    """Four backups: files come, go, and come back; the same name with another archive never."""
    app.write("nested/ünï\\code.bin", bytes(range(256)))
    app.write("empty", b"")
    backups = [app.back_up()]
    add_document(app, "doc4.pdf", "content 4")
    (app.files / "doc1.pdf").unlink()
    backups.append(app.back_up())
    app.write("doc1.pdf", "content 1")
    (app.files / "doc2.pdf").unlink()
    backups.append(app.back_up())
    app.write("large.bin", b"x" * 9_000_000)
    backups.append(app.back_up())
    return backups


def test_a_rebuilt_catalog_knows_all_that_the_lost_one_knew(dms: ApplicationUnderTest) -> None:
    some_history(dms)
    before = known(dms)
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert known(dms) == before
    assert len(before["fingerprints"]) == 4, "what restores are compared with"
    assert (rebuilt.backups, rebuilt.complete, rebuilt.adopted, rebuilt.lost_count) == (4, 4, 0, 0)
    assert dms.catalog.counts.wrong() == []  # what pages show was counted on the way
    assert not rebuilt.broken
    assert not rebuilt.strays


def test_an_old_backup_comes_back_by_its_id_from_a_rebuilt_catalog(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    lose_the_catalog(dms)
    rebuild(dms)
    for path in dms.files.rglob("*.pdf"):
        path.unlink()
    dms.sql("DELETE FROM tags; DELETE FROM documents")
    dms.restore(backups[1])
    assert titles(dms) == [f"Title of doc{number}.pdf" for number in (1, 2, 3, 4)]
    assert {name: content for name, content in dms.contents().items() if name.endswith("pdf")} == {
        f"doc{number}.pdf": f"content {number}".encode() for number in (2, 3, 4)
    }


def test_the_next_backup_after_a_rebuild_uploads_no_file_again(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    lose_the_catalog(dms)
    rebuild(dms)
    keys = {stored.key for stored in dms.store.archives(described=False)}
    dms.write("new.pdf", "new")
    newest = dms.back_up()
    assert newest == backups[-1] + 1
    added = {stored.key for stored in dms.store.archives(described=False)} - keys
    assert sorted(key.split("/")[-3 if "files" in key or "database" in key else -2] for key in added) == [
        "database",
        "files",
        "manifests",
    ]


def test_a_catalog_is_rebuilt_from_a_vault(on_a_vault: OnAVault, vault: VaultEmulator) -> None:
    backups = some_history(on_a_vault)
    before = known(on_a_vault)
    lose_the_catalog(on_a_vault)
    vault.take_inventory(VAULT)
    for _ in ("the inventory", "the manifests"):  # hours each, and the command says so
        with pytest.raises(StoreUnavailable, match="again"):
            rebuild(on_a_vault)
        vault.complete_jobs()
    rebuilt = rebuild(on_a_vault)
    assert known(on_a_vault) == before
    assert rebuilt.complete == len(backups)
    on_a_vault.restore(backups[0])
    assert on_a_vault.contents()["nested/ünï\\code.bin"] == bytes(range(256))


def test_archives_of_a_backup_without_manifest_are_taken_up(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    dms.write("late.pdf", "late")
    second = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    backup.dump_database(dms.application, second, catalog=dms.catalog, server=dms.server)
    (share,) = backup.scan_files(dms.application, second, catalog=dms.catalog)
    backup.upload_database(dms.application, second, catalog=dms.catalog, store=dms.store)
    wanted = ArchiveRange.from_dict(share)
    backup.upload_files(dms.application, second, wanted, catalog=dms.catalog, store=dms.store)
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert (rebuilt.backups, rebuilt.complete, rebuilt.adopted) == (2, 1, 2)
    third = dms.back_up()
    assert third == second + 1 > first
    assert dms.catalog.backups.get(third)["new_files_count"] == 0
    late = [
        stored for stored in dms.store.archives() if stored.description and stored.description.filename == "late.pdf"
    ]
    assert len(late) == 1


def test_what_the_store_has_lost_is_named(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    row = dms.catalog.archives.of_backup(backups[0], ArchiveKind.DATABASE)
    assert row is not None
    key_of = {stored.description.filename: stored.key for stored in dms.store.archives() if stored.description}
    client = dms.s3.client()
    client.delete_object(Bucket=dms.bucket, Key=row["key"])
    client.delete_object(Bucket=dms.bucket, Key=key_of["doc3.pdf"])
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert rebuilt.complete == 3
    assert rebuilt.broken == (f"Backup {backups[0]}: Its dump is not in the store: deleted, or lost.",)
    assert rebuilt.lost == (f"doc3.pdf (backup {backups[-1]})",)
    # It is still in the directory: the next backup archives it anew.
    assert dms.catalog.backups.get(dms.back_up())["new_files_count"] == 1
    (dms.files / "doc3.pdf").unlink()
    dms.restore()
    assert dms.contents()["doc3.pdf"] == b"content 3"


def test_an_old_backup_goes_on_telling_that_its_file_is_lost(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    key_of = {stored.description.filename: stored.key for stored in dms.store.archives() if stored.description}
    dms.s3.client().delete_object(Bucket=dms.bucket, Key=key_of["doc3.pdf"])
    lose_the_catalog(dms)
    rebuild(dms)
    (dms.files / "doc3.pdf").unlink()
    dms.back_up()
    with pytest.raises(ArchiveMissing, match=r"The file doc3\.pdf of backup .* is in no store"):
        dms.plan(backup_id)


def test_a_manifest_may_continue_an_earlier_one_than_that_before_it(dms: ApplicationUnderTest) -> None:
    """The second backup wrote its manifest, and failed before it was complete: the third continues the first."""
    first = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    dms.write("brief.txt", "in the second alone")
    second = dms.back_up()
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.application_data_backups SET state = 'failed', manifest_archive_id = NULL"
            " WHERE id = %s",
            (second,),
        )
    dms.write("doc1.pdf", "content 1")
    (dms.files / "brief.txt").unlink()
    third = dms.back_up()
    before = [row for row in known(dms)["members"] if row[0] != second]
    lose_the_catalog(dms)
    rebuild(dms)
    after = known(dms)["members"]
    assert [row for row in after if row[0] != second] == before
    assert {row[0] for row in after} == {first, second, third}


def test_files_behind_an_unreadable_manifest_stay_when_another_backup_is_deleted(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    (key,) = [s.key for s in dms.store.archives(described=False) if s.key.endswith(f"{backups[3]:012d}.json.gz")]
    client = dms.s3.client()
    metadata = client.get_object(Bucket=dms.bucket, Key=key)["Metadata"]
    client.put_object(Bucket=dms.bucket, Key=key, Body=b"no manifest", Metadata=metadata)
    lose_the_catalog(dms)
    rebuild(dms)
    delete_backup(dms.application, backups[0], dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    left = {stored.description.filename for stored in dms.store.archives() if stored.description}
    assert "large.bin" in left, "the fourth backup's alone, whose members nobody knows"


@pytest.mark.parametrize("content", [b"first", b"other"])
@pytest.mark.parametrize("changed_files", ["archive", "report"])
def test_a_name_whose_newest_version_is_behind_an_unreadable_manifest_is_in_the_next_backup_once(
    dms: ApplicationUnderTest, content: bytes, changed_files: str
) -> None:
    """The newest backup that can be read has the first version, one behind it the other; either may be there now."""
    dms.write("twice.txt", b"first")
    first = dms.back_up()
    second = dms.back_up()
    dms.write("twice.txt", b"other")
    third = dms.back_up()
    (key,) = [s.key for s in dms.store.archives(described=False) if s.key.endswith(f"{second:012d}.json.gz")]
    dms.s3.client().delete_object(Bucket=dms.bucket, Key=key)
    lose_the_catalog(dms)
    assert rebuild(dms).complete == 1
    assert dms.catalog.backups.get(third)["state"] == "failed"
    dms.configure(changed_files=changed_files)
    dms.write("twice.txt", content)
    fourth = dms.back_up()
    assert [number for number, name in names_of_backups(dms) if name == "twice.txt"] == [first, fourth]
    (dms.files / "twice.txt").unlink()
    dms.restore(fourth)
    if changed_files == "archive":
        assert dms.contents()["twice.txt"] == content
    dms.restore(first)
    assert dms.contents()["twice.txt"] == b"first"


def test_what_was_scanned_before_the_tables_were_emptied_is_scanned_again(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute(
            "TRUNCATE glacier_catalog.application_data_backups, glacier_catalog.glacier_archives CASCADE"
        )
    assert dms.catalog.backups.get(dms.back_up())["new_files_count"] == 3


def test_backups_behind_an_unreadable_manifest_are_named_and_the_others_come_back(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    place = parse_store_uri(dms.application.store)
    key = next(s.key for s in dms.store.archives(described=False) if s.key.endswith(f"{backups[2]:012d}.json.gz"))
    client = dms.s3.client()
    reply = client.get_object(Bucket=place.bucket, Key=key)  # type: ignore[union-attr]
    cut = gzip.compress(b"".join(gzip.decompress(reply["Body"].read()).splitlines(keepends=True)[:-1]))
    client.put_object(Bucket=place.bucket, Key=key, Body=cut, Metadata=reply["Metadata"])  # type: ignore[union-attr]
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert rebuilt.complete == 2
    assert [sentence.partition(":")[0] for sentence in rebuilt.broken] == [
        f"Backup {n}" for n in sorted(backups[2:])[::-1]
    ]
    assert "cannot be read" in rebuilt.broken[-1]
    dms.restore(backups[1])


def test_nothing_is_written_when_the_store_holds_no_manifest(dms: ApplicationUnderTest) -> None:
    with pytest.raises(ArchiveMissing, match="holds no manifest"):
        rebuild(dms)
    dms.back_up()


def test_a_catalog_that_is_in_use_is_not_rebuilt(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    before = known(dms)
    with pytest.raises(UnsafeCatalogSchema, match="knows 1 backups"):
        rebuild(dms)
    assert known(dms) == before


def test_a_rebuild_that_is_cut_leaves_nothing_and_is_begun_again(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_history(dms)
    before = known(dms)
    lose_the_catalog(dms)
    with monkeypatch.context() as cut:
        cut.setattr(type(dms.catalog.rebuild), "finish", _cut)
        with pytest.raises(IllegalMove):
            rebuild(dms)
    assert not known(dms)["archives"]
    rebuild(dms)
    assert known(dms) == before


def _cut(*_: object, **__: object) -> None:
    raise IllegalMove("The process died here.")


def command(app: ApplicationUnderTest, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `glacier-backup rebuild-catalog` in a process of its own, on a night without Airflow."""
    configured = tmp_path / "applications.yaml"
    configured.write_text(described(app))
    argv = ("-m", "glacier_provider.cli", "rebuild-catalog", "dms", "--applications", str(configured))
    uri = uri_of(app.catalog_server)
    return in_a_process(*argv, GLACIER_CATALOG_URI=uri, **variables)


def credentials(app: ApplicationUnderTest) -> dict[str, str]:
    """What boto3 finds by itself."""
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**keys, "AWS_ENDPOINT_URL": app.s3.url, "AWS_EC2_METADATA_DISABLED": "true"}


def test_the_command_needs_neither_airflow_nor_its_connections(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    some_history(dms)
    before = known(dms)
    lose_the_catalog(dms)
    ended = command(dms, tmp_path, **credentials(dms))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("4 backups, of which 4 complete")
    assert known(dms) == before


def test_the_command_takes_the_application_s_aws_connection(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    dms.back_up()
    lose_the_catalog(dms)
    extra = json.dumps({"region_name": "us-east-1", "endpoint_url": dms.s3.url})
    given = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    ended = command(dms, tmp_path, AIRFLOW_CONN_AWS_DEFAULT=json.dumps(given))
    assert ended.returncode == 0, ended.stderr


def test_the_command_ends_with_1_when_something_is_lost(dms: ApplicationUnderTest, tmp_path: Path) -> None:
    dms.back_up()
    key = next(s.key for s in dms.store.archives() if s.description and s.description.filename == "doc3.pdf")
    dms.s3.client().delete_object(Bucket=dms.bucket, Key=key)
    lose_the_catalog(dms)
    ended = command(dms, tmp_path, **credentials(dms))
    assert ended.returncode == 1
    assert "In a complete backup, and in no store: doc3.pdf" in ended.stdout
    assert "RebuiltInPart" in ended.stderr


def test_a_backup_of_which_fewer_files_are_known_than_were_counted_says_so_in_the_plan_and_in_a_rebuild(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    dms.back_up()
    close = backup.close_backup

    def count_more_and_close(*args: Any, **kwargs: Any) -> Any:
        with dms.catalog_server.connect(autocommit=True) as connection:
            connection.execute("UPDATE glacier_catalog.application_data_backups SET files_count = 5 WHERE id = 2")
        return close(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(backup, "close_backup", count_more_and_close)
        assert dms.back_up() == 2
    told = "The catalog knows 3 files of it, and 5 were counted when it was made: 2 of them cannot be brought."
    assert told in dms.plan(2)["lines"]
    assert not [line for line in dms.plan(1)["lines"] if "counted" in line]
    lose_the_catalog(dms)
    assert rebuild(dms).miscounted == (f"Backup 2: {told}",)
    assert told in dms.plan(2)["lines"]
