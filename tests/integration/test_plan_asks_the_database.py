"""A restore that the database would refuse is refused before anything is requested, and paid for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest

from glacier_provider.applications import DumpOptions, RestoreOptions
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import (
    ConfigurationError,
    DatabaseRefused,
    DatabaseUnreachable,
    GlacierProviderError,
    MissingExtensions,
    MissingRoles,
    RestoreFailed,
    SelectionConflict,
    ToolMissing,
)
from glacier_provider.pipelines import restore
from glacier_provider.postgres import Server
from glacier_provider.postgres.restore.needs import Needs
from glacier_provider.postgres.restore.target import Target, inspect
from tests.support.application import ApplicationUnderTest


def planned(dms: ApplicationUnderTest, server: Server | None = None, **params: Any) -> dict[str, Any]:
    request = RestoreRequest.from_params({"backup_id": "latest", **params})
    return restore.plan_restore(
        dms.application,
        dms.a_run("restore"),
        request,
        catalog=dms.catalog,
        stores=dms.stores,
        server=server or dms.server,
    )


def refused(dms: ApplicationUnderTest, error: type[GlacierProviderError], server: Server | None = None) -> str:
    with pytest.raises(error) as caught:
        planned(dms, server)
    assert not dms.catalog.restores.get(dms.catalog.lists.restores()[0]["id"])["outcome"].get("database")
    return str(caught.value)


@pytest.fixture
def role(dms: ApplicationUnderTest) -> Iterator[str]:
    dms.sql("CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
    yield "clerk"
    if dms.sql("SELECT 1 FROM pg_roles WHERE rolname = 'clerk'"):
        dms.sql("DROP OWNED BY clerk CASCADE")
        dms.sql("DROP ROLE clerk")


def test_what_can_be_restored_is_planned(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    assert planned(dms)["ranges"] is not None


def test_a_server_that_does_not_answer(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    refused(dms, DatabaseUnreachable, replace(dms.server, host="127.0.0.1", port=1))
    planned(dms, replace(dms.server, host="127.0.0.1", port=1), part="files")  # it is not needed for files


def test_missing_roles(dms: ApplicationUnderTest, role: str) -> None:
    dms.sql(f"GRANT SELECT ON documents TO {role}")
    dms.back_up()
    dms.sql(f"DROP OWNED BY {role}")
    dms.sql(f"DROP ROLE {role}")
    assert role in refused(dms, MissingRoles)
    dms.configure(restore=RestoreOptions(privileges="drop"))
    planned(dms)
    dms.configure(restore=RestoreOptions(roles="create"))
    planned(dms)


def test_missing_extensions_and_tablespaces_and_an_older_server(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    needs = Needs.from_dict(dms.catalog.backups.get(backup_id)["report"]["dump_needs"])
    for changed, error in (
        (replace(needs, extensions=("no_such_extension",)), MissingExtensions),
        (replace(needs, tablespaces=("no_such_space",)), GlacierProviderError),
        (replace(needs, server_version="99.1"), RestoreFailed),
        (replace(needs, compression="unknown"), ToolMissing),
        (replace(needs, locks=10**9), RestoreFailed),
    ):
        dms.catalog.backups.add_to_report(backup_id, dump_needs=changed.as_dict())
        refused(dms, error)


def test_a_swap_that_cannot_be_made(dms: ApplicationUnderTest, role: str) -> None:
    dms.back_up()
    dms.configure(restore=RestoreOptions(mode="swap"))
    assert "CREATEDB" in refused(dms, DatabaseRefused, replace(dms.server, user=role, password=role))


def test_a_swap_of_the_database_that_holds_the_catalog(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    dms.configure(restore=RestoreOptions(mode="swap"), catalog_schema="glacier_catalog")
    if dms.catalog_server.dbname == dms.server.dbname:
        assert "holds the catalog" in refused(dms, ConfigurationError)


def test_what_stays_and_depends_on_what_is_replaced(dms: ApplicationUnderTest) -> None:
    dms.sql("CREATE SCHEMA reports CREATE VIEW titles AS SELECT title FROM public.documents")
    dms.configure(dump=DumpOptions(exclude_schemas=("reports",)))
    dms.back_up()
    planned(dms)  # the view goes with what it needs, and is made again


def test_a_backup_that_noted_nothing_is_planned_by_what_is_known(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    dms.catalog.backups.add_to_report(backup_id, dump_needs={})
    planned(dms)


def test_a_part_of_a_dump_is_not_refused_for_what_the_rest_needs(dms: ApplicationUnderTest, role: str) -> None:
    dms.sql(f"GRANT SELECT ON documents TO {role}")
    dms.back_up()
    dms.sql(f"DROP OWNED BY {role}")
    dms.sql(f"DROP ROLE {role}")
    planned(dms, tables=["public.tags"])
    dms.configure(restore=RestoreOptions(exclude_tables=("public.documents",)))
    planned(dms)


def test_a_swap_that_would_leave_something_behind(dms: ApplicationUnderTest) -> None:
    dms.configure(dump=DumpOptions(exclude_table_data=("public.tags",)), restore=RestoreOptions(mode="swap"))
    dms.back_up()
    assert "public.tags" in refused(dms, SelectionConflict)


def test_too_few_locks_are_no_matter_where_a_swap_can_be_made_instead(dms: ApplicationUnderTest, role: str) -> None:
    backup_id = dms.back_up()
    needs = Needs.from_dict(dms.catalog.backups.get(backup_id)["report"]["dump_needs"])
    dms.catalog.backups.add_to_report(backup_id, dump_needs=replace(needs, locks=10**9).as_dict())
    assert "swap or auto" in refused(dms, RestoreFailed)
    dms.configure(restore=RestoreOptions(mode="auto"))
    planned(dms)
    assert "CREATEDB" in refused(dms, DatabaseRefused, replace(dms.server, user=role, password=role))


@pytest.mark.parametrize("mode", ["transaction", "auto"])
def test_the_database_is_looked_at_once_before_it_is_restored_in_place(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch, mode: Literal["transaction", "auto"]
) -> None:
    looks: list[str] = []

    def counted(connection: Any, setting: str) -> Target:
        looks.append(setting)
        return inspect(connection, setting)

    dms.configure(restore=RestoreOptions(mode=mode))
    dms.back_up()
    monkeypatch.setattr("glacier_provider.postgres.restore.plan.inspect", counted)
    dms.restore(part="database")
    assert len(looks) == 1
