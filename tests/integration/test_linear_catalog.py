"""No statement of a backup or a restore costs the catalog the square of the archives, page by page or all at once.

The catalog's server tells how many rows it looks at. It knows its archives, and next to nothing of what a restore has
just written, until autovacuum comes by. Or it knows nothing at all, as in a first backup, and after pg_upgrade.
Reading a whole table is dear to it, as it is when tables are large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from glacier_provider.catalog import archives, deletions, drills, reconciliation, restores
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.reconcile import reconcile
from tests.conftest import a_catalog
from tests.support.application import ApplicationUnderTest, a_small_dms
from tests.support.postgres import EmbeddedPostgres
from tests.support.told import TELLING, looked_at

FEW, MANY, PAGE = 120, 480, 12
#: What four times as many files may cost at most: far less than what grows with their square, which is 16 times.
GROWN = 6
#: Rows that all pages of a statement look at whatever is asked of them.
ANYWAY = 2000


@pytest.fixture
def told() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(settings={**TELLING, "autovacuum": "off", "seq_page_cost": "100"}) as postgres:
        yield postgres


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (archives, deletions, drills, reconciliation, restores):
        monkeypatch.setattr(module, "PAGE_SIZE", PAGE)
    for name in ("LOOKED_AT_ONCE", "_ASKED_AT_ONCE"):
        monkeypatch.setattr(restores, name, PAGE)


@pytest.mark.seconds_long
@pytest.mark.parametrize("known", [True, False], ids=["known archives", "archives of which nothing is known"])
def test_no_statement_costs_more_of_an_archive_of_many_than_of_one_of_few(
    told: EmbeddedPostgres, make_application: Callable[..., ApplicationUnderTest], known: bool
) -> None:
    few, _ = work(told, a_small_dms(make_application(name=f"of{FEW}")), FEW, known)
    many, times = work(told, a_small_dms(make_application(name=f"of{MANY}")), MANY, known)
    by_page = {text for text in many if times[text] >= MANY // PAGE // 3}
    # Of few archives of which it knows nothing a server takes any index for as good: that shows in no large catalog.
    looked = many if known else {text: rows for text, rows in many.items() if text not in by_page}
    assert {text: (few[text], rows) for text, rows in looked.items() if rows > GROWN * few[text] + ANYWAY} == {}
    for table in ("away_files", "restore_figures"):
        assert [text for text in by_page if table in text], "what triggers do is seen, too"
    assert len(by_page) > 20


@pytest.mark.seconds_long
def test_a_restore_after_one_whose_retrievals_all_failed_costs_no_more_of_an_archive_of_many(
    told: EmbeddedPostgres, make_application: Callable[..., ApplicationUnderTest]
) -> None:
    few = once_more(told, a_small_dms(make_application(name=f"of{FEW}")), FEW)
    many = once_more(told, a_small_dms(make_application(name=f"of{MANY}")), MANY)
    assert {text: (few[text], rows) for text, rows in many.items() if rows > GROWN * few[text] + ANYWAY} == {}


def once_more(told: EmbeddedPostgres, app: ApplicationUnderTest, count: int) -> Counter[str]:
    """Ask for so many files, in vain, then for the same by another restore, and look at what that waits for; return how
    many rows each statement of this looked at. Of the first restore the server knows.
    """
    app.catalog.close()
    app.catalog_server = told.create_database(f"catalog_once_more_{count}")
    app.catalog = a_catalog(app.catalog_server, app.application.name)
    app.catalog.migrate()
    for number in range(count):
        app.write(f"{number // 40}/file {number}", f"file {number}")
    backup_id = app.back_up()
    for path in [path for path in app.files.rglob("*") if path.is_file()]:
        path.unlink()
    app.ask(app.plan(backup_id))
    ends = "SET search_path TO glacier_catalog; UPDATE glacier_retrievals SET state = 'failed';"
    told.execute(f"{ends} UPDATE glacier_archives SET retrieval_status = 'available'", app.catalog_server.dbname)
    told.execute("VACUUM ANALYZE", app.catalog_server.dbname)
    planned = app.plan(backup_id)
    app.ask(planned)
    before = looked_at(told)
    app.poll(planned["restore_id"])
    return looked_at(told) - before


def look_at(app: ApplicationUnderTest, restore_id: int) -> None:
    """Have what the restore brings be told as it changes, as if somebody had looked."""
    statement = b"INSERT INTO restore_looks (restore_id, counted) VALUES (%s, true)"
    app.catalog._database.connection().execute(statement, [restore_id])


def work(
    told: EmbeddedPostgres, app: ApplicationUnderTest, count: int, known: bool
) -> tuple[Counter[str], Counter[str]]:
    """Back up so many files, lose them, have others and others' contents, bring back what was, and all that follows.

    Return how many rows each statement looked at, and how often it was run.
    """
    app.catalog.close()
    app.catalog_server = told.create_database(f"catalog_of_{count}")
    app.catalog = a_catalog(app.catalog_server, app.application.name)
    app.catalog.migrate()
    earlier: Counter[str] = Counter()
    before = looked_at(told, times=earlier)
    names = [f"{number // 40}/file {number}" for number in range(count)]
    for name in names:
        app.write(name, name)
    first = app.back_up()
    if known:
        told.execute("VACUUM ANALYZE", app.catalog_server.dbname)
    for number, name in enumerate(names):
        (app.files / name).unlink()
        app.write(f"new/file {number}")
    for name in names[: count // 4]:
        app.write(name, "another content")
    planned = app.plan(first)
    look_at(app, planned["restore_id"])
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert app.undo_orphans(planned["restore_id"])["moved_back"] >= count
    app.back_up()
    reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    gone = delete_backup(app.application, first, app.a_run("delete"), catalog=app.catalog, stores=app.stores)
    assert gone["archives"] >= count // 4
    times: Counter[str] = Counter()
    return looked_at(told, times=times) - before, times - earlier
