"""The names by which OpenLineage knows what a task reads and writes."""

from __future__ import annotations

import pytest

from glacier_provider.core.lineage import backup_of, backups_dataset, database_dataset, directory_dataset
from glacier_provider.errors import ConfigurationError


@pytest.mark.parametrize(
    ("host", "namespace"),
    [
        ("db.example.com", "postgres://db.example.com:5433"),
        ("/var/run/postgresql", "postgres://worker-1:5433"),
        ("@abstract", "postgres://worker-1:5433"),
        ("", "postgres://worker-1:5433"),
    ],
)
def test_a_database_is_named_by_its_server(host: str, namespace: str) -> None:
    dataset = database_dataset(host, 5433, "library", here="worker-1")
    assert (dataset.namespace, dataset.name) == (namespace, "library")


def test_a_directory_is_named_by_its_machine() -> None:
    dataset = directory_dataset("/srv/library/uploads", here="worker-1")
    assert (dataset.namespace, dataset.name) == ("file://worker-1", "/srv/library/uploads")


@pytest.mark.parametrize(
    ("store", "named"),
    [
        ("s3://my-backups/production?storage_class=GLACIER", ("s3://my-backups", "production/library")),
        ("s3://my-backups", ("s3://my-backups", "library")),
        ("glacier://my-vault?region=eu-central-1", ("glacier://my-vault", "library")),
    ],
)
def test_backups_are_named_by_their_place_in_the_store(store: str, named: tuple[str, str]) -> None:
    dataset = backups_dataset(store, "library")
    assert (dataset.namespace, dataset.name) == named


def test_a_store_that_is_none_has_no_name() -> None:
    with pytest.raises(ConfigurationError):
        backups_dataset("ftp://x", "library")


@pytest.mark.parametrize(("backup_id", "version"), [(7, "7"), ("7", "7"), (None, None), ("{{ a template }}", None)])
def test_a_backup_is_a_version_once_its_number_is_known(backup_id: object, version: str | None) -> None:
    assert backup_of(backups_dataset("s3://bck", "library"), backup_id).version == version
