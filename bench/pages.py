"""How much longer the page in Airflow's UI and the command line take for a large catalog than for a small one.

    python -m bench.pages [--many]

Prints for each view the milliseconds with 100 backups and 10,000 archives of one application, those with 10,000 backups
and 1,000,000 archives, and their ratio; with `--many` of 100 applications, each with 100 backups and 1,000 archives,
and with 10,000 backups and 100,000 archives. One in a hundred files is away, as after years of deletions.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.processes import BenchFailed
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.pages import BackupFilter, Page, Pages
from glacier_provider.cli import main as glacier_backup
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.support.postgres import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Size:
    """How large a catalog is: each application has so many backups and archives."""

    applications: int
    backups: int
    archives: int

    @property
    def names(self) -> list[str]:
        return ["dms", *(f"app{number}" for number in range(2, self.applications + 1))]

    @property
    def name(self) -> str:
        """The application that is looked at: all archives of the others come before its own."""
        return self.names[-1]

    @property
    def newest(self) -> int:
        """Its newest backup."""
        return self.applications * self.backups

    @property
    def middle(self) -> int:
        """One of its backups, years ago."""
        return self.newest - self.backups // 2 * self.applications


ONE = Size(1, 100, 10_000), Size(1, 10_000, 1_000_000)
MANY = Size(100, 100, 1_000), Size(100, 10_000, 100_000)

FILL = """
INSERT INTO applications (id, name)
SELECT n, CASE n WHEN 1 THEN 'dms' ELSE 'app' || n END FROM generate_series(1, {applications}) AS n;
CREATE TEMPORARY TABLE asked AS
SELECT {backups}::bigint AS backups, {archives}::bigint AS archives, {applications}::bigint AS applications;
-- Backups of all applications come every day; of archives, those of one application come before those of the next.
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, checksum,
                              store_uri, key, state, retrieval_status, archived_at)
SELECT (app - 1) * archives + n, app, 'file', 'in/document ' || n || '.pdf',
       app + (n - 1) * backups / archives * applications, 1000, 1000, 'sha256:' || n,
       's3://bucket/prefix', 'file' || app || '/' || n, 'archived',
       CASE WHEN n % 100 = 0 THEN 'available' ELSE 'exists' END, now()
  FROM asked, generate_series(1, applications) AS app, generate_series(1, archives) AS n;
INSERT INTO backup_files
SELECT id, application_id, backup_id,
       CASE WHEN retrieval_status = 'available'
            THEN least(application_id + (backups - 1) * applications, backup_id + 50 * applications) END
  FROM asked, glacier_archives;
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, checksum,
                              store_uri, key, state, archived_at)
SELECT applications * archives + n, 1 + (n - 1) % applications, 'database', 'dump' || n, n, 5000, 5000, 'sha256:' || n,
       's3://bucket/prefix', 'dump' || n, 'archived', now()
  FROM asked, generate_series(1, applications * backups) AS n;
INSERT INTO application_data_backups (id, application_id, state, dag_id, dag_run_id, opened_at, closed_at, scanned_at,
       database_archive_id, manifest_archive_id, files_count, files_bytes, new_files_count, new_files_bytes)
SELECT n, 1 + (n - 1) % applications, 'complete', 'glacier_backup__' || (1 + (n - 1) % applications), 'run' || n,
       now() - (backups - 1 - (n - 1) / applications) * interval '1 day', now(), now(),
       applications * archives + n, applications * archives + n, archives, archives * 1000, 100, 100000
  FROM asked, generate_series(1, applications * backups) AS n;
"""


#: A restore under way of all that the application has, whose retrievals wait: as after the loss of a server.
RESTORE = """
INSERT INTO restores (id, application_id, backup_id, state, dag_id, dag_run_id, request, missing_noted)
VALUES (1, {applications}, {newest}, 'running', 'dag', 'run', jsonb_build_object('backup_id', {newest}), true);
INSERT INTO restore_archives (restore_id, archive_id, source)
SELECT 1, id, 'store' FROM glacier_archives WHERE application_id = {applications} AND kind = 'file';
INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, state, confirmed)
SELECT r.archive_id, 1, 'Bulk', 7, 'requested', true
  FROM restore_archives r JOIN glacier_archives a ON a.id = r.archive_id
 WHERE a.retrieval_status = 'available';
"""


def fill_restore(server: Server, size: Size) -> None:
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(RESTORE.format(applications=size.applications, newest=size.newest).encode())
        connection.execute("VACUUM ANALYZE restore_archives, glacier_retrievals")


def fill(server: Server, size: Size) -> None:
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        amounts = {"applications": size.applications, "backups": size.backups, "archives": size.archives}
        connection.execute(FILL.format(**amounts).encode())
        connection.execute("VACUUM ANALYZE")


def views(catalog: Pages, size: Size) -> Mapping[str, Callable[[], object]]:
    """Return what the page asks, by what the page is."""
    name, newest, middle = size.name, size.newest, size.middle
    its, back = BackupFilter(name), size.backups // 2
    some, before = range(middle, newest + 1, size.applications)[:25], middle - size.applications
    return {
        "overview": lambda: overview(catalog, size.names),
        "newest backups": lambda: catalog.backups(its, Page()),
        "backups years ago": lambda: catalog.backups(its, Page(offset=back)),
        "backups by files": lambda: catalog.backups(its, Page(sort="files")),
        "backups by duration": lambda: catalog.backups(its, Page(sort="duration", descending=False)),
        "backups failed": lambda: catalog.backups(BackupFilter(name, ("failed",)), Page()),
        "cost of a page": lambda: catalog.stored(name, some),
        "a backup": lambda: catalog.backup(name, middle),
        "files of a backup": lambda: catalog.files(name, newest),
        "files with a common name": lambda: catalog.files(name, newest, containing="document 7"),
        "files with a rare name": lambda: catalog.files(name, newest, containing="nothing like it"),
        "what came": lambda: catalog.changes(name, middle, previous=before, came=True),
        "what went": lambda: catalog.changes(name, middle, previous=before, came=False),
        "files away": lambda: catalog.files(name, middle, status="available"),
        "in which backups": lambda: catalog.backups_of_files(name, "nothing like it"),
        "this very file": lambda: catalog.backups_of_files(name, "in/document 700.pdf"),
        "restore preview": lambda: (catalog.backup(name, middle), catalog.set_aside(name, middle)),
        "what was proven": lambda: (catalog.proofs_of_backup(middle), catalog.drilled(some)),
        "work under way": lambda: (catalog.unfinished(name), catalog.pending(middle)),
        "restores": lambda: (catalog.restores(name), catalog.restores(name, backup_id=middle)),
    }


def endpoints(catalog: Catalog, size: Size) -> Mapping[str, Callable[[], object]]:
    """Return what the page's API asks beside the views of `Pages`."""
    pages, name, middle = catalog.pages, size.name, size.middle
    return {
        "plan of a deletion": lambda: (pages.backup(name, middle), catalog.deletions.plan(middle)),
        "progress of a restore": lambda: (pages.restore(name, 1), pages.restore_progress(1)),
        "verifications and drills": lambda: (pages.proofs([name]), pages.known_since([name])),
        "what the doctor asks": lambda: catalog.check(),
    }


def overview(catalog: Pages, names: list[str]) -> None:
    since = datetime.now(UTC) - timedelta(days=380)
    for states in (["running", "complete", "failed"], ["complete"], ["complete", "failed"]):
        catalog.newest(names, states)
    catalog.newest_restores(names)
    catalog.first(names)
    catalog.days(dict.fromkeys(names, "UTC"), since)
    catalog.growth(names, since)
    catalog.totals(names)
    catalog.proofs(names)


def commands(server: Server, size: Size) -> Mapping[str, Callable[[], object]]:
    """Return what the command line shows, by its words."""
    newest, middle = str(size.newest), str(size.middle)
    uri = f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/{server.dbname}"

    def command(name: str, *words: str, allowed: Container[int] = (0, None)) -> tuple[str, Callable[[], object]]:
        def run() -> None:
            os.environ["GLACIER_CATALOG_URI"] = uri
            with described(size.name) as path, redirect_stdout(io.StringIO()):
                status = glacier_backup([*words, "--applications", path])
            if status not in allowed:
                raise BenchFailed(f"glacier-backup {' '.join(words)} ended with {status}")

        return f"glacier-backup {name}", run

    return dict(
        [
            command("list", "list", "--application", size.name),
            command("list of all", "list"),
            command("list --state", "list", "--state", "failed"),
            command("show", "show", middle),
            command("archives", "archives", middle),
            command("archives of the newest", "archives", newest),
            command("restores", "restores", "--application", size.name),
            command("restores of all", "restores"),
            command("applications", "applications"),
            command("check", "check", allowed=(0, 1, 2)),
            command("metrics", "metrics"),
            command("costs", "costs", "--application", size.name),
            command("evidence", "evidence"),
            command("alerts", "alerts", "show"),
            command("retention", "retention", size.name),
            command("delete", "delete", size.name, middle),
        ]
    )


@contextmanager
def described(name: str) -> Iterator[str]:
    """Yield the path of an applications.yaml with this application."""
    fields = {
        "schedule": "'@daily'",
        "files_directory": f"/srv/{name}",
        "staging_directory": f"/var/{name}",
        "store": "s3://bucket/prefix",
        "postgres_conn_id": name,
        "catalog_conn_id": "catalog",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        lines = (f"    {field}: {value}" for field, value in fields.items())
        file.write("\n".join(["applications:", f"  {name}:", *lines, ""]))
        file.flush()
        yield file.name


def opened(server: Server, size: Size) -> Catalog:
    """Return a catalog of this size, opened as the page opens it."""
    catalog = a_catalog(server, size.name)
    catalog.migrate()
    fill(server, size)
    fill_restore(server, size)
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


def main(*, many: bool) -> None:
    with EmbeddedPostgres() as postgres:
        asked = []
        for name, size in zip(("small", "large"), MANY if many else ONE, strict=True):
            server = postgres.create_database(name)
            catalog = opened(server, size)
            asked.append({**views(catalog.pages, size), **endpoints(catalog, size), **commands(server, size)})
        for name in asked[0]:
            small, large = _best_of_both(asked[0][name], asked[1][name])
            print(f"{name:37}{small:8.1f} ms {large:8.1f} ms   ratio {large / small:5.1f}", flush=True)


if __name__ == "__main__":
    main(many="--many" in sys.argv[1:])
