"""What the page and the command line look at is no more of a catalog that is thirty times as large.

PostgreSQL's own plans tell the rows that each question goes through, so that neither the machine nor its load matters.
The application that is looked at is the last one: all archives of the others come before its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from bench.pages import Size, endpoints, fill, fill_restore, views
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.catalog.test_page_plans import Explained, nodes, read_rows
from tests.support.postgres import EmbeddedPostgres

pytestmark = pytest.mark.seconds_long

#: With as many backups as the page draws days of.
SMALL, LARGE = Size(2, 400, 6_000), Size(2, 12_000, 180_000)
ENDPOINTS = ("plan of a deletion", "progress of a restore", "verifications and drills")
#: What a question reads that costs no noticeable time: how many backups there are is counted in an index.
FEW = 25_000


@pytest.fixture(scope="module")
def both(postgres: EmbeddedPostgres) -> Iterator[tuple[Server, Server]]:
    servers = postgres.create_database("thirtieth"), postgres.create_database("whole")
    for server, size in zip(servers, (SMALL, LARGE), strict=True):
        with a_catalog(server) as catalog:
            catalog.migrate()
        fill(server, size)
        fill_restore(server, size)
        # Of two applications one has half of each table, which is read whole; of a hundred nobody would.
        postgres.execute(f"ALTER DATABASE {server.dbname} SET seq_page_cost TO 16", server.dbname)
    yield servers
    for server in servers:
        postgres.drop_database(server.dbname)


def lists(catalog: Catalog, size: Size) -> Mapping[str, Callable[[], object]]:
    """Return what the command line asks beside what the page does."""
    name, newest, middle = size.name, size.newest, size.middle
    return {
        "list": lambda: catalog.lists.backups(name),
        "list of all": lambda: catalog.lists.backups(),
        "list --state": lambda: catalog.lists.backups(state="failed"),
        "show": lambda: (catalog.lists.backup(middle), catalog.lost.of_backups([middle])),
        "archives": lambda: catalog.lists.archives(middle),
        "archives of the newest": lambda: catalog.lists.archives(newest, offset=300),
        "restores": lambda: (catalog.lists.restores(name), catalog.lists.restores(backup_id=middle)),
        "check": lambda: catalog.conditions.of(),
        "retention": lambda: catalog.deletions.count_to_judge(),
        "metrics": lambda: (catalog.conditions.activity(size.names), catalog.pages.totals(size.names)),
    }


def asked(server: Server, size: Size, what: str) -> int:
    """Return how many rows the questions of a view go through."""
    with a_catalog(server, size.name) as catalog:
        more = {**lists(catalog, size), **endpoints(catalog, size)}
        if what in more:
            more[what]()  # what the first look counts is kept
        explained = Explained(catalog)
        views_of: dict[str, Callable[[], Any]] = {**views(explained, size), **more}
        views_of[what]()
        return round(sum(read_rows(node) for _, plan in explained.plans for node in nodes(plan)))


@pytest.mark.parametrize("what", [*views(None, SMALL), *lists(None, SMALL), *ENDPOINTS])  # type: ignore[arg-type]
def test_a_view_of_thirty_times_as_much_goes_through_no_more_rows(both: tuple[Server, Server], what: str) -> None:
    small, large = (asked(server, size, what) for server, size in zip(both, (SMALL, LARGE), strict=True))
    assert large <= FEW + 2 * small, f"{what}: {small} rows of the small catalog, {large} of the large one"
