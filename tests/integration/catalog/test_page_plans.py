"""Over a million archives no question of a page goes through all of them: read from PostgreSQL's own plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.pages import ONE, Size, fill, views
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.pages import SEARCH_WINDOW, Pages
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.support.postgres import EmbeddedPostgres

pytestmark = pytest.mark.slow

_, LARGE = ONE

#: What a page may read of a table: the window, with what belongs to it, and what a page of 25 backups looks up.
MOST_ROWS = 3 * SEARCH_WINDOW
BIG = {"glacier_archives", "backup_files"}


@pytest.fixture(scope="module")
def large(postgres: EmbeddedPostgres) -> Iterator[Server]:
    server = postgres.create_database("a_million")
    with a_catalog(server) as catalog:
        catalog.migrate()
    fill(server, LARGE)
    yield server
    postgres.drop_database(server.dbname)


class Explained(Pages):
    """Pages whose every question is explained, after it was asked."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog._database)
        self.plans: list[tuple[str, dict[str, Any]]] = []
        connection = catalog._database.connection()
        connection.execute("SET plan_cache_mode TO force_custom_plan")
        connection.execute("SET jit TO off")
        asked = connection.cursor_factory

        class Cursor(asked):  # type: ignore[misc, valid-type]
            def execute(cursor, query: Any, params: Any = None, **options: Any) -> Any:
                text = query.decode() if isinstance(query, bytes) else query
                if text.lstrip().startswith(("SELECT", "WITH", "--")):
                    super().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", params, **options)
                    (plan,) = super().fetchone().values()
                    self.plans.append((text, plan[0]["Plan"]))
                return super().execute(query, params, **options)

        connection.cursor_factory = Cursor


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def read_rows(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


@pytest.mark.parametrize("page", list(views(Pages(None), Size(1, 100, 10_000))))  # type: ignore[arg-type]
def test_a_page_reads_by_index_and_a_bounded_number_of_rows(large: Server, page: str) -> None:
    with a_catalog(large) as catalog:
        explained = Explained(catalog)
        views(explained, LARGE)[page]()
        assert explained.plans
        for text, plan in explained.plans:
            for node in nodes(plan):
                where = f"{page}: {node['Node Type']} of {node.get('Relation Name')}\n{text}"
                if node.get("Relation Name") in BIG:
                    assert node["Node Type"] != "Seq Scan", where
                    assert read_rows(node) <= MOST_ROWS, where


def test_the_kept_figures_of_a_million_archives_are_right(large: Server) -> None:
    with a_catalog(large) as catalog:
        assert catalog.counts.wrong() == []
