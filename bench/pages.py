"""How much longer the page in Airflow's UI takes for a large catalog than for a small one.

    python -m bench.pages

Prints for each view of the page the milliseconds with 100 backups and 10,000 archives, those with 10,000 backups and
1,000,000 archives, and their ratio. One in a hundred files is away, as after years of deletions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.pages import BackupFilter, Page, Pages
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.support.postgres import EmbeddedPostgres

SMALL, LARGE = (100, 10_000), (10_000, 1_000_000)

FILL = """
INSERT INTO applications (id, name) VALUES (1, 'dms');
CREATE TEMPORARY TABLE asked AS SELECT {backups}::bigint AS backups, {archives}::bigint AS archives;
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, checksum,
                              store_uri, key, state, retrieval_status, archived_at)
SELECT n, 1, 'file', 'in/document ' || n || '.pdf', 1 + (n - 1) * backups / archives, 1000, 1000, 'sha256:' || n,
       's3://bucket/prefix', 'file' || n, 'archived', CASE WHEN n % 100 = 0 THEN 'available' ELSE 'exists' END, now()
  FROM asked, generate_series(1, archives) AS n;
INSERT INTO backup_files
SELECT id, 1, backup_id, CASE WHEN retrieval_status = 'available' THEN least(backups, backup_id + 50) END
  FROM asked, glacier_archives;
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, checksum,
                              store_uri, key, state, archived_at)
SELECT archives + n, 1, 'database', 'dump' || n, n, 5000, 5000, 'sha256:' || n, 's3://bucket/prefix', 'dump' || n,
       'archived', now()
  FROM asked, generate_series(1, backups) AS n;
INSERT INTO application_data_backups (id, application_id, state, dag_id, dag_run_id, opened_at, closed_at, scanned_at,
       database_archive_id, manifest_archive_id, files_count, files_bytes, new_files_count, new_files_bytes)
SELECT n, 1, 'complete', 'glacier_backup__dms', 'run' || n, now() - (backups - n) * interval '1 day', now(), now(),
       archives + n, archives + n, archives, archives * 1000, 100, 100000
  FROM asked, generate_series(1, backups) AS n;
"""


def fill(server: Server, backups: int, archives: int) -> None:
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(FILL.format(backups=backups, archives=archives).encode())
        connection.execute("VACUUM ANALYZE")


def views(catalog: Pages, backups: int) -> Mapping[str, Callable[[], object]]:
    """Return what the page asks, by what the page is."""
    middle, dms = backups // 2, BackupFilter("dms")
    return {
        "overview": lambda: overview(catalog),
        "newest backups": lambda: catalog.backups(dms, Page()),
        "backups years ago": lambda: catalog.backups(dms, Page(offset=middle)),
        "backups by files": lambda: catalog.backups(dms, Page(sort="files")),
        "backups by duration": lambda: catalog.backups(dms, Page(sort="duration", descending=False)),
        "backups failed": lambda: catalog.backups(BackupFilter("dms", ("failed",)), Page()),
        "cost of a page": lambda: catalog.stored("dms", range(middle, middle + 25)),
        "a backup": lambda: catalog.backup("dms", middle),
        "files of a backup": lambda: catalog.files("dms", backups),
        "files with a common name": lambda: catalog.files("dms", backups, containing="document 7"),
        "files with a rare name": lambda: catalog.files("dms", backups, containing="nothing like it"),
        "what came": lambda: catalog.changes("dms", middle, previous=middle - 1, came=True),
        "what went": lambda: catalog.changes("dms", middle, previous=middle - 1, came=False),
        "files away": lambda: catalog.files("dms", middle, status="available"),
        "in which backups": lambda: catalog.backups_of_files("dms", "nothing like it"),
        "this very file": lambda: catalog.backups_of_files("dms", "in/document 7000.pdf"),
        "restore preview": lambda: (catalog.backup("dms", middle), catalog.set_aside("dms", middle)),
        "what was proven": lambda: (catalog.proofs_of_backup(middle), catalog.drilled(range(middle, middle + 25))),
        "work under way": lambda: catalog.unfinished("dms"),
    }


def overview(catalog: Pages) -> None:
    since = datetime.now(UTC) - timedelta(days=380)
    for states in (["running", "complete", "failed"], ["complete"], ["complete", "failed"]):
        catalog.newest(["dms"], states)
    catalog.newest_restores(["dms"])
    catalog.first(["dms"])
    catalog.days({"dms": "UTC"}, since)
    catalog.growth(["dms"], since)
    catalog.totals(["dms"])
    catalog.proofs(["dms"])


def opened(server: Server, backups: int, archives: int) -> Catalog:
    """Return a catalog of this size, opened as the page opens it."""
    catalog = a_catalog(server)
    catalog.migrate()
    fill(server, backups, archives)
    connection = catalog._database.connection()
    connection.execute("SET jit TO off")
    connection.execute("SET plan_cache_mode TO force_custom_plan")
    return catalog


def _best_of_both(small: Callable[[], object], large: Callable[[], object]) -> tuple[float, float]:
    """Return the best milliseconds of nine of each, in turns: what else the machine does meets both."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(10):
        for ask, times in zip((small, large), spent, strict=True):
            begun = time.perf_counter()
            ask()
            times.append(1000 * (time.perf_counter() - begun))
    return min(spent[0][1:]), min(spent[1][1:])


def main() -> None:
    with EmbeddedPostgres() as postgres:
        sizes = {"small": SMALL, "large": LARGE}
        catalogs = [opened(postgres.create_database(name), *size) for name, size in sizes.items()]
        asked = [views(catalog.pages, size[0]) for catalog, size in zip(catalogs, sizes.values(), strict=True)]
        for name in asked[0]:
            small, large = _best_of_both(asked[0][name], asked[1][name])
            print(f"{name:26}{small:8.1f} ms {large:8.1f} ms   ratio {large / small:5.1f}")
        for catalog in catalogs:
            catalog.close()


if __name__ == "__main__":
    main()
