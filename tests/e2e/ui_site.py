"""A whole Airflow with a small application, for the tests in a browser: what the demo is made of, in little."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import yaml
from playwright.sync_api import Browser, Page, Playwright, expect

from demo.airflow import PASSWORD, USER, Airflow, Installation, Rest
from demo.processes import CHECKOUT, Children, clean_environment
from demo.stores import S3Store
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

DAGS = tuple(f"glacier_{what}__dms" for what in ("backup", "restore", "delete"))
VIEWER = "vic"
PAGE = "/plugin/glacier-backups"
#: What a headless browser needs in a container, and what keeps it from calling home.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-proxy-server"),
]


#: Nothing moves any more, but for what turns for ever.
AT_REST = """document.getAnimations().every(
    one => one.playState !== 'running' || !isFinite(one.effect.getComputedTiming().endTime))"""
HISTORY = Path(__file__).with_name("a_year.sql")


def chromium() -> str | None:
    """Return the path of a Chromium that is installed on this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Site:
    """What runs: Airflow at `url`, with an application of some files and one table."""

    url: str
    home: Path
    files: Path
    postgres: EmbeddedPostgres
    application: Server
    catalog: Server
    rest: Rest
    store: str
    metadata: Server

    def hold_an_upload(self, seconds: float) -> None:
        """Let the store keep the next attached file waiting, so that a backup is under way for so long."""
        fault = {"operation": "PutObject", "kind": "hang", "seconds": seconds, "count": 1, "when": {"key": "*/files/*"}}
        httpx.post(f"{self.store}/_emulator/faults", json=fault, trust_env=False).raise_for_status()

    def password(self, user: str) -> str:
        passwords = json.loads((self.home / "passwords.json").read_text())
        return str(passwords[user])

    def token(self, user: str) -> str:
        login = {"username": user, "password": self.password(user)}
        with httpx.Client(base_url=self.url, timeout=120, trust_env=False) as client:
            return str(client.post("/auth/token", json=login).json()["access_token"])

    def remove_files(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.file(number).unlink()

    def file(self, number: int) -> Path:
        return self.files / "in" / f"document {number}.pdf"

    def back_up(self) -> None:
        """Make a backup of dms without the page."""
        self.rest.run(DAGS[0], {})

    def restore(self, backup_id: int) -> None:
        """Restore a backup of dms without the page."""
        self.rest.run(DAGS[1], {"backup_id": backup_id})

    def backups_of(self, application: str) -> int:
        """Return how many backups of an application the catalog has; 0 without a catalog."""
        with self.catalog.connect(autocommit=True) as connection:
            if connection.execute("SELECT to_regclass('glacier_catalog.applications')").fetchone() == (None,):
                return 0
        of = "SELECT id FROM glacier_catalog.applications WHERE name = %s"
        query = f"SELECT count(*) FROM glacier_catalog.application_data_backups WHERE application_id IN ({of})"
        return int(self._ask(query, application)[0][0])

    def runs_of_restores(self) -> list[str]:
        """Return the DAG run ids of all restores, the first one first."""
        return [run for (run,) in self._ask("SELECT dag_run_id FROM glacier_catalog.restores ORDER BY id")]

    def wait_for_restores(self, seconds: float = 300) -> None:
        """Return when no restore is under way."""
        open_ones = "SELECT count(*) FROM glacier_catalog.restores WHERE closed_at IS NULL"
        deadline = time.monotonic() + seconds
        while self._ask(open_ones)[0][0]:
            assert time.monotonic() < deadline, "a restore does not end"
            time.sleep(0.5)  # the catalog tells nobody: asked again

    def wait_for(self, there: Callable[[], bool], seconds: float = 300) -> None:
        """Return when something is there that a worker makes."""
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, "what a run was to make does not come"
            time.sleep(0.5)  # a directory tells nobody: looked at again

    def _ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.catalog.connect(autocommit=True) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def remember_a_year(self) -> None:
        """Give the two applications that are configured beside dms a history in the catalog."""
        with self.catalog.connect(autocommit=True) as connection:
            connection.execute("SET search_path TO glacier_catalog")
            connection.execute(HISTORY.read_bytes())

    def leave_a_dead_backup(self) -> int:
        """Begin a backup of dms that nobody goes on with: its run was deleted in Airflow some minutes ago."""
        connect = partial(self.catalog.connect, autocommit=True)
        with Catalog(connect, schema="glacier_catalog", application="dms") as catalog:
            backup_id = catalog.backups.open(Run(DAGS[0], "deleted in Airflow"))
        with self.catalog.connect(autocommit=True) as connection:
            quiet = "UPDATE glacier_catalog.applications SET lease_prolonged_at = now() - interval '5 minutes'"
            connection.execute(quiet.encode())
        return backup_id

    @contextmanager
    def looked_at_as_in_life(self) -> Iterator[None]:
        """Have applications.yaml say for a while that a restore looks every five minutes: estimates count the looks."""
        path = self.files.parent / "applications.yaml"
        before = path.read_text()
        path.write_text(before.replace("poll_seconds: 1\n", "poll_seconds: 300\n"))
        try:
            yield
        finally:
            path.write_text(before)

    @contextmanager
    def without_catalog(self) -> Iterator[None]:
        """Keep everybody from the catalog's database for a while."""
        name = self.catalog.dbname
        self.postgres.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self.postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            yield
        finally:
            self.postgres.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@contextmanager
def a_site(
    directory: Path, below: str = "", *, dms: Mapping[str, Any] | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Site]:
    """Start everything below a directory, Airflow below a path; it has ended when the block has.

    `dms`: what applications.yaml says of it besides; `settings`: more environment of Airflow's processes.
    """
    logs = directory / "logs"
    logs.mkdir()
    with ExitStack() as end:
        children = Children(logs, clean_environment())
        end.callback(children.stop)
        store = S3Store(children, directory)
        postgres = end.enter_context(EmbeddedPostgres(directory, settings={"max_connections": "200"}))
        end.callback(children.stop)  # here once more: Airflow ends before its database does
        application, catalog, metadata = (postgres.create_database(name) for name in ("dms", "catalog", "airflow"))
        airflow = Airflow(Installation(directory / "airflow", metadata, CHECKOUT / "dags"), children, below)
        migration = airflow.migrate()
        files = _fill(application, directory / "files")
        store.prepare()
        children.finish(migration, 240)
        airflow.start({**_environment(directory, application, catalog, store, dms or {}), **(settings or {})})
        rest = Rest(airflow.url, lambda _line: None, children.check)
        end.callback(rest.close)
        rest._http.timeout = httpx.Timeout(120)
        rest.wait_until_ready(DAGS, 240)
        yield Site(airflow.url, directory / "airflow", files, postgres, application, catalog, rest, store.url, metadata)


def _fill(application: Server, files: Path) -> Path:
    with application.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE documents (id integer PRIMARY KEY, file text)")
        connection.execute(
            "INSERT INTO documents SELECT n, 'in/document ' || n || '.pdf' FROM generate_series(1, 40) n"
        )
    (files / "in").mkdir(parents=True)
    for number in range(1, 41):
        (files / "in" / f"document {number}.pdf").write_bytes(b"%PDF" + bytes([number]) * 20_000)
    return files


def _environment(
    directory: Path, application: Server, catalog: Server, store: S3Store, more: Mapping[str, Any]
) -> dict[str, str]:
    entry = {
        "postgres_conn_id": "dms_database",
        "files_directory": str(directory / "files"),
        "staging_directory": str(directory / "staging"),
        "store": store.uri,
        "schedule": None,
        "settle_seconds": 0,
        "poll_seconds": 1,
        "references_query": "SELECT file FROM documents",
    }
    targets = {
        "restore_targets": {"copy": {"files_directory": str(directory / "copy")}},
        "restore": {"safety_dump": True},
    }
    others = {
        name: {**entry, "files_directory": str(directory / name), "schedule": "0 2 * * *"} for name in ("wiki", "shop")
    }
    path = directory / "applications.yaml"
    path.write_text(yaml.safe_dump({"applications": {"dms": {**entry, **targets, **more}, **others}}))
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,{VIEWER}:viewer",
        # On a busy machine the first answer takes longer than the five seconds that a task waits.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW_CONN_DMS_DATABASE": _connection(application),
        "AIRFLOW_CONN_GLACIER_CATALOG": _connection(catalog),
        "AIRFLOW_CONN_AWS_DEFAULT": store.connection(),
        "GLACIER_APPLICATIONS": str(path),
    }


def _connection(server: Server) -> str:
    named = {"host": server.host, "port": server.port, "login": server.user, "password": server.password}
    return json.dumps({"conn_type": "postgres", "schema": server.dbname, **named})


@contextmanager
def a_chromium(playwright: Playwright) -> Iterator[Browser]:
    """A Chromium with a profile of its own, which is gone afterwards."""
    browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
    try:
        yield browser
    finally:
        browser.close()


def a_page(browser: Browser, *, dark: bool = False, width: int = 1400, height: int = 900) -> Page:
    """Open a page in a context of its own: nobody is logged in, nothing is remembered, one theme is chosen."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en-GB"
    )
    context.set_default_timeout(60_000)
    context.add_init_script(f"try {{ localStorage.setItem('theme', '{'dark' if dark else 'light'}') }} catch {{}}")
    return context.new_page()


def log_in(page: Page, site: Site, user: str = USER) -> Page:
    """Log in as a person does."""
    page.goto(f"{site.url}/auth/login/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", PASSWORD if user == USER else site.password(user))
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)
    return page


@contextmanager
def another_site(html: str) -> Iterator[str]:
    """Serve a page of somebody else's, on the same host and another port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def settle(page: Page) -> None:
    """Wait until nothing is being loaded or moved any more."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.wait_for_function(AT_REST)


def shoot(page: Page, path: Path) -> None:
    """Keep a picture of what the page shows, when it has come to rest."""
    settle(page)
    page.screenshot(path=str(path))
