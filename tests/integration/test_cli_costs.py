"""``glacier-backup costs``, ``check-counts`` and ``index-names``, on a real catalog."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.postgres import Server
from tests.integration.catalog.test_backups import a_backup
from tests.integration.test_cli import Answer, run, uri_of

__all__ = ["run"]

Run = Callable[..., Answer]


@pytest.fixture
def two(catalog: Catalog) -> list[int]:
    return [a_backup(catalog, 1, ["a.pdf", "b.pdf"]), a_backup(catalog, 2, ["a.pdf"])]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog_database: Server) -> Path:
    """An applications.yaml with the application dms, whose catalog is named in the environment."""
    entry = {
        "postgres_conn_id": "dms",
        "files_directory": str(tmp_path / "files"),
        "staging_directory": str(tmp_path / "staging"),
        "store": "s3://bucket/prefix",
        "prices": {"currency": "EUR", "classes": {"GLACIER": {"storage": 1000}}},
    }
    path = tmp_path / "applications.yaml"
    path.write_text(yaml.safe_dump({"applications": {"dms": entry, "other": {**entry, "files_directory": "/srv/o"}}}))
    monkeypatch.setenv("GLACIER_APPLICATIONS", str(path))
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))
    return path


def test_the_cost_of_an_application_is_told_by_class(run: Run, file: Path, two: list[int]) -> None:
    answer = run("costs", "dms")
    assert answer.code == 0, answer.err
    assert "GLACIER" in answer.out
    assert "STANDARD" in answer.out
    assert "0.12 EUR a month" in answer.out  # 4 times 32 KB at 1000 a GB
    assert "To retrieve everything by Bulk, copies kept 7 days: " in answer.out
    assert "What each backup asks the store beside its uploads: less than 0.01 EUR. To rebuild" in answer.out
    assert "with own figures (https://aws.amazon.com/s3/pricing/)" in answer.out


def test_costs_are_told_as_json(run: Run, file: Path, two: list[int]) -> None:
    told = run("costs", "dms", "--json").json
    assert (told["application"], told["currency"]) == ("dms", "EUR")
    classes = {one["store_class"]: one for one in told["classes"]}
    assert (classes["GLACIER"]["archives"], classes["STANDARD"]["archives"]) == (4, 2)
    assert Decimal(classes["GLACIER"]["delete_today_at_most"]) == pytest.approx(
        3 * Decimal(classes["GLACIER"]["monthly"]), rel=Decimal("0.001")
    )
    assert list(told["retrieve_everything"]) == ["Expedited", "Standard", "Bulk"]


def test_an_application_without_backups_costs_nothing(run: Run, file: Path, two: list[int]) -> None:
    answer = run("costs", "other")
    assert (answer.code, "0.00 EUR a month" in answer.out) == (0, True)


def test_the_application_has_to_be_named(run: Run, file: Path, two: list[int]) -> None:
    answer = run("costs")
    assert (answer.code, "Name one: dms, other" in answer.err) == (1, True)
    assert run("costs", "nosuch").code == 1


def test_right_figures_are_told_to_be_right(run: Run, file: Path, two: list[int]) -> None:
    answer = run("check-counts")
    assert (answer.code, answer.out) == (0, "The kept figures are right.\n")
    assert run("check-counts", "--json").json == {"wrong": [], "repaired": False}


def test_wrong_figures_are_told_and_repaired(run: Run, file: Path, two: list[int], catalog_database: Server) -> None:
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM glacier_catalog.archive_counts")
        connection.execute("DELETE FROM glacier_catalog.archive_count_changes")
    found = run("check-counts")
    assert (found.code, "--repair" in found.err) == (1, True)
    assert "stored" in found.out
    assert run("check-counts", "--repair").code == 0
    assert run("check-counts").code == 0


def test_names_are_indexed_and_the_index_removed(
    run: Run, file: Path, two: list[int], catalog_database: Server
) -> None:
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("DROP EXTENSION IF EXISTS pg_trgm CASCADE")
        refused = run("index-names")
        assert (refused.code, "CREATE EXTENSION pg_trgm" in refused.err) == (1, True)
        connection.execute("CREATE EXTENSION pg_trgm SCHEMA public")
        assert run("index-names").out == "Filenames are indexed.\n"
        assert run("index-names").out == "Filenames are indexed already.\n"
        assert run("index-names", "--json").json == {"indexed": True}
        assert run("index-names", "--drop", "--json").json == {"indexed": False}
        connection.execute("DROP EXTENSION pg_trgm")
