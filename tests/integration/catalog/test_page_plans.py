"""Over a million archives no question of a page goes through all of them: read from PostgreSQL's own plans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.pages import ONE, Size, fill, views
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.pages import SEARCH_WINDOW, Pages
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.postgres import Server
from glacier_provider.ui.views import restore_work
from tests.conftest import a_catalog
from tests.support.application import an_application
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


_COMMENTS = re.compile(r"^\s*--.*$", re.MULTILINE)


class Explained(Pages):
    """Pages whose every question is explained, after it was asked."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog._database)
        self.plans: list[tuple[str, dict[str, Any]]] = []
        connection = catalog._database.connection()
        connection.execute("SET plan_cache_mode TO force_custom_plan")
        connection.execute("SET jit TO off")
        usual = connection.cursor_factory

        class Cursor(usual):  # type: ignore[misc, valid-type]
            def execute(cursor, query: Any, params: Any = None, **options: Any) -> Any:
                text = query.decode() if isinstance(query, bytes) else query
                asked = _COMMENTS.sub("", text).replace("CREATE TEMPORARY TABLE going ON COMMIT DROP AS", "").strip()
                if asked.startswith(("SELECT", "WITH")):
                    super().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked}", params, **options)
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


RESTORE = """
SET session_replication_role = replica;
INSERT INTO restores (id, application_id, backup_id, state, dag_id, dag_run_id, request, missing_noted)
VALUES ({id}, 1, 1, 'running', 'glacier_restore__dms', 'run {id}', '{{"backup_id": 1}}', true);
INSERT INTO restore_archives (restore_id, archive_id, source)
SELECT {id}, n, 'store' FROM generate_series({first}, {last}) AS n;
INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, state, confirmed, requested_at, ready_at,
       expires_at)
SELECT n, {id}, 'Bulk', 7, CASE WHEN n % 10 = 0 THEN 'requested' ELSE 'ready' END, true, now() - interval '2 hours',
       CASE WHEN n % 10 <> 0 THEN now() - interval '1000 s' END, now() + interval '1 day'
  FROM generate_series({first}, {last}) AS n;
UPDATE glacier_archives SET retrieval_status = CASE WHEN id % 10 = 0 THEN 'pending' WHEN id % 10 < 5 THEN 'ready'
       ELSE 'exists' END WHERE id BETWEEN {first} AND {last};
"""


@pytest.fixture(scope="module")
def restoring(large: Server) -> Server:
    """The large catalog with two restores under way: one of ten files, and one of all others."""
    with large.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(RESTORE.format(id=1, first=1, last=10).encode())
        connection.execute(RESTORE.format(id=2, first=11, last=LARGE.archives).encode())
        connection.execute("VACUUM ANALYZE")
    return large


def test_how_far_a_restore_of_a_million_files_is_takes_as_few_questions_as_of_ten(
    restoring: Server, tmp_path: Path
) -> None:
    application = an_application(tmp_path, store="s3://bucket/prefix?storage_class=GLACIER")
    plans, told = [], []
    for number in (1, 2):
        with a_catalog(restoring) as catalog:
            pages = Explained(catalog)
            row = pages.restore("dms", number)
            told.append(restore_work(application, pages, row, datetime.now(UTC)))
            plans.append(pages.plans)
    assert len(plans[1]) == len(plans[0]) <= 8
    for text, plan in plans[1]:
        for node in nodes(plan):  # each row of each table once at most, and none by a question of its own
            if node.get("Relation Name") in {*BIG, "restore_archives", "glacier_retrievals"}:
                assert node["Actual Loops"] <= 10, text
                assert read_rows(node) <= 1.02 * LARGE.archives, text
    few, many = told
    assert {status: amount.archives for status, amount in few.archives.items()} == {
        RetrievalStatus.PENDING: 1,
        RetrievalStatus.READY: 4,
        RetrievalStatus.EXISTS: 5,
    }
    assert many.archives[RetrievalStatus.READY].archives == 4 * (LARGE.archives - 10) // 10
    assert (many.phase, many.rate) == ("wait", None), "nothing is brought before all is ready"
    with a_catalog(restoring) as catalog:
        pages = Explained(catalog)
        later = replace(application, catalog_conn_id="looked_at_again")
        again = restore_work(later, pages, pages.restore("dms", 2), datetime.now(UTC))
        assert again.model_copy(update={"restore": many.restore}) == many
        assert pages.plans
        for text, plan in pages.plans:
            for node in nodes(plan):
                assert read_rows(node) <= 100, f"what was counted by the look before is kept\n{text}"


def test_a_download_of_a_million_files_tells_its_rate_and_the_time_that_remains(
    restoring: Server, tmp_path: Path
) -> None:
    application = an_application(
        tmp_path, catalog_conn_id="asked_by_nobody_yet", store="s3://bucket/prefix?storage_class=GLACIER"
    )
    with restoring.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute("SET session_replication_role = replica")  # what was counted is not what is there any more
        connection.execute("DELETE FROM restore_looks")
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'ready' WHERE retrieval_status = 'pending'")
        connection.execute(
            "UPDATE glacier_retrievals SET state = 'ready', ready_at = requested_at WHERE ready_at IS NULL"
        )
    with a_catalog(restoring) as catalog:
        row = catalog.pages.restore("dms", 2)
        work = restore_work(application, catalog.pages, {**row, "state": "running"}, datetime.now(UTC))
    assert work.phase == "download"
    assert work.rate is not None
    assert work.rate.bytes_per_second == pytest.approx(500_000_000 / 1000, rel=0.5)
    assert work.rate.remaining_seconds == pytest.approx(1000, rel=0.5)
