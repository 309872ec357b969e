"""What compares all with all asks for other joins; what follows it is planned as the catalog's role has it."""

from __future__ import annotations

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.postgres import Server
from tests.conftest import a_catalog


def nested_loops(catalog: Catalog) -> object:
    with catalog._database.connection().cursor() as cursor:
        row = cursor.execute(b"SHOW enable_nestloop").fetchone()
    return row and next(iter(row.values()))


@pytest.mark.parametrize("setting", ["on", "off"])
def test_nested_loops_are_left_out_within_it_and_come_back_as_they_were(catalog_database: Server, setting: str) -> None:
    with a_catalog(catalog_database) as catalog:
        connection = catalog._database.connection()
        connection.execute(f"ALTER ROLE CURRENT_USER SET enable_nestloop = {setting}".encode())
    try:
        with a_catalog(catalog_database) as catalog, catalog._database.transaction():
            with catalog._database.at_once():
                assert nested_loops(catalog) == "off"
            assert nested_loops(catalog) == setting
    finally:
        with a_catalog(catalog_database) as catalog:
            catalog._database.connection().execute(b"ALTER ROLE CURRENT_USER RESET enable_nestloop")
