"""T9: the catalog after a simulated year: 365 daily backups of 1,000,000 files of which 0.1 % change each day.

Files are real, in memory where there is room, and each day's scan is `scan_files`. Uploads are noted in the catalog and
not made. A day's change is half new files and half deleted ones. Since the next day follows at once, directories that
changed are not settled yet, and are read once more.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import data, scanned
from bench.child import python
from bench.harness import Case, Contender, Target
from bench.workshop import Workshop
from glacier_provider.catalog.backups import Run
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

FILES = 1_000_000
DAYS = 365
CHANGE = 0.001
OURS = "a year"
TABLES = ("glacier_archives", "backup_files", "scanned_directories", "application_data_backups")


@contextmanager
def a_year(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    count = workshop.scaled(FILES, least=2000)
    days = max(5, int(DAYS * min(1.0, workshop.scale * 4)))
    with (
        workshop.serving(EmbeddedPostgres(workshop.scratch("t09-catalog"), settings=data.SETTINGS)) as postgres,
        _in_memory(workshop, count) as tree,
    ):

        def before() -> None:
            shutil.rmtree(tree, ignore_errors=True)
            data.hashed_tree(tree, count)
            server = scanned.archived(postgres, scanned.an_application(tree))
            argument.write_text(repr(data.address(server)))

        argument = workshop.scratch("t09") / "database"
        arguments = {"database": str(argument), "files": str(tree), "count": count, "days": days}
        yield [python(OURS, "bench.cases.t09_year:live", arguments=arguments, items=count, before=before, timeout=7200)]


@contextmanager
def _in_memory(workshop: Workshop, count: int) -> Iterator[Path]:
    """Yield a place for the files; a million empty ones take 1 GB of memory there."""
    roomy = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 3000 * count
    parent = Path(tempfile.mkdtemp(prefix="glacier-bench-", dir="/dev/shm" if roomy else workshop.directory))
    try:
        yield parent / "files"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def live(database: str, files: str, count: int, days: int) -> dict[str, float]:
    """Change files, scan, note the uploads, day by day; return times and rows."""
    import ast

    server = Server(**ast.literal_eval(Path(database).read_text()))
    year = _Year(server, Path(files), count)
    spent = [year.day(day) for day in range(2, days + 2)]
    rows = year.rows()
    work = count + year.changes + days
    few = max(1, min(10, days // 5))
    second, last = (statistics.median(wall for wall, _ in part) for part in (spent[:few], spent[-few:]))
    second_cpu, last_cpu = (statistics.median(cpu for _, cpu in part) for part in (spent[:few], spent[-few:]))
    return {
        "second_day": second,
        "last_day": last,
        "last_by_second": last / second,
        "second_day_cpu": second_cpu,
        "last_day_cpu": last_cpu,
        "last_by_second_cpu": last_cpu / second_cpu,
        **{f"rows_{table}": float(number) for table, number in rows.items()},
        "largest_table_by_work": max(rows.values()) / work,
        "all_rows_by_work": sum(rows.values()) / work,
        "bytes": year.bytes(),
        "changes": float(year.changes),
    }


class _Year:
    def __init__(self, server: Server, files: Path, count: int) -> None:
        self._server = server
        self._files = files
        self._chance = random.Random(1)
        self._half = max(1, int(count * CHANGE / 2))
        self._next = count
        self._there = list(data.hashed_names(count))
        self.changes = 0

    def day(self, number: int) -> tuple[float, float]:
        """Live one day; return the seconds of its scan, and its CPU seconds: this process's and its server's."""
        for _ in range(self._half):
            place = self._chance.randrange(len(self._there))
            self._there[place], self._there[-1] = self._there[-1], self._there[place]
            (self._files / self._there.pop()).unlink()
        for name in data.hashed_names(self._half, first=self._next):
            path = self._files / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self._there.append(name)
        self._next += self._half
        self.changes += 2 * self._half
        application = scanned.an_application(self._files, size_check="never")
        with scanned.opened(self._server) as catalog:
            server = catalog._database.connection().info.backend_pid
            begun, cpu = time.perf_counter(), _cpu(server)
            figures = scanned.scan(application, catalog, Run("bench", f"day {number}"))
            spent = time.perf_counter() - begun, _cpu(server) - cpu
            assert (figures["files_count"], figures["new_files_count"]) == (len(self._there), self._half), figures
            assert figures["vanished_count"] == self._half
        self._sent()
        return spent

    def _sent(self) -> None:
        with self._server.connect(autocommit=True) as connection:
            connection.execute("SET search_path TO glacier_catalog")
            connection.execute(scanned.ARCHIVED)

    def rows(self) -> dict[str, int]:
        return {table: self._ask(f"SELECT count(*) FROM glacier_catalog.{table}") for table in TABLES}

    def bytes(self) -> float:
        return float(self._ask("SELECT pg_database_size(current_database())"))

    def _ask(self, question: str) -> int:
        with self._server.connect(autocommit=True) as connection:
            return int(connection.execute(question).fetchall()[0][0])  # type: ignore[call-overload]


def _cpu(server: int) -> float:
    """Return the CPU seconds of this process and of its server's."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


CASES = (
    Case(
        "t09",
        "a year of daily backups of 1,000,000 files, 0.1 % changed each day",
        a_year,
        (
            Target(
                "T9 rows of the largest table / (files + changes + backups)",
                OURS,
                None,
                1.1,
                measure="largest_table_by_work",
                counted=True,
            ),
            Target("T9 last day / second day", OURS, None, 1.2, measure="last_by_second"),
            Target("T9 last day / second day, CPU", OURS, None, 1.2, measure="last_by_second_cpu"),
        ),
        most_rounds=1,
    ),
)
