"""How much longer the page in Airflow's UI takes for a large catalog than for a small one.

    python -m bench.pages

Prints for each view of the page the milliseconds with 100 backups and 10,000 archives, those with 10,000 backups and
1,000,000 archives, and their ratio. One in a hundred files is away, as after years of deletions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from glacier_provider.catalog.overview import BackupFilter, Overview, Page
from glacier_provider.postgres.server import Server
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


def views(catalog: Overview, backups: int) -> Mapping[str, Callable[[], object]]:
    """Return what the page asks, by what the page is."""
    middle, dms = backups // 2, BackupFilter("dms")
    return {
        "overview": lambda: overview(catalog),
        "newest backups": lambda: catalog.backups(dms, Page()),
        "backups years ago": lambda: catalog.backups(dms, Page(offset=middle)),
        "backups by files": lambda: catalog.backups(dms, Page(sort="files")),
        "a backup": lambda: catalog.backup("dms", middle),
        "files of a backup": lambda: catalog.files("dms", backups),
        "files with a common name": lambda: catalog.files("dms", backups, containing="document 7"),
        "files with a rare name": lambda: catalog.files("dms", backups, containing="nothing like it"),
        "what came": lambda: catalog.changes("dms", middle, previous=middle - 1, came=True),
        "what went": lambda: catalog.changes("dms", middle, previous=middle - 1, came=False),
        "work under way": lambda: catalog.unfinished("dms", backups),
    }


def overview(catalog: Overview) -> None:
    since = datetime.now(UTC) - timedelta(days=380)
    for states in (["running", "complete", "failed"], ["complete"], ["complete", "failed"]):
        catalog.newest(["dms"], states)
    catalog.newest_restores(["dms"])
    catalog.first(["dms"])
    catalog.days({"dms": "UTC"}, since)
    catalog.growth(["dms"], since)


def milliseconds(server: Server, backups: int, archives: int) -> dict[str, float]:
    """Return the best of five of each view, over a catalog of this size."""
    with a_catalog(server) as catalog:
        catalog.migrate()
        fill(server, backups, archives)
        return {name: _best(ask) for name, ask in views(catalog.overview, backups).items()}


def _best(ask: Callable[[], object]) -> float:
    ask()
    spent = []
    for _ in range(5):
        begun = time.perf_counter()
        ask()
        spent.append(time.perf_counter() - begun)
    return 1000 * min(spent)


def main() -> None:
    with EmbeddedPostgres() as postgres:
        small = milliseconds(postgres.create_database("small"), *SMALL)
        large = milliseconds(postgres.create_database("large"), *LARGE)
    for name, spent in small.items():
        print(f"{name:26}{spent:8.1f} ms {large[name]:8.1f} ms   ratio {large[name] / spent:5.1f}")


if __name__ == "__main__":
    main()
