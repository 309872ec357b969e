"""An application under test: a real database and directory, an emulated store, and the pipelines run on them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.pipelines import backup, restore
from glacier_provider.pipelines.restore.elsewhere import Elsewhere
from glacier_provider.postgres import Server
from glacier_provider.stores import client_config, open_store
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.s3.keys import is_no_archive
from tests.emulator.s3 import S3Emulator

_runs = itertools.count(1)


@dataclass
class ApplicationUnderTest:
    """What the tests of the pipelines drive, step by step as the DAGs do."""

    application: Application
    server: Server
    catalog: Catalog
    catalog_server: Server
    s3: S3Emulator
    others: list[Application] = field(default_factory=list)
    _stores: dict[str, ArchiveStore] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        return Path(self.application.files_directory)

    @property
    def orphans(self) -> Path:
        return Path(self.application.orphan_directory)

    @property
    def bucket(self) -> str:
        return self.application.store.removeprefix("s3://").partition("/")[0]

    @property
    def store(self) -> ArchiveStore:
        return self.stores(self.application.store)

    def stores(self, uri: str) -> ArchiveStore:
        if uri not in self._stores:
            client = self.s3.client(config=client_config(uri))
            self._stores[uri] = open_store(uri, client=client, part_size=self.application.part_size_mib * 1024 * 1024)
        return self._stores[uri]

    def keys_in_store(self) -> list[str]:
        """What lies in the bucket but for the marker by which the store is known again, and evidence."""
        listed = self.s3.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [entry["Key"] for entry in listed if not is_no_archive(entry["Key"])]

    @property
    def other_endpoints(self) -> dict[str, str]:
        """The services that are not at the emulated S3's address, by name."""
        return {}

    @property
    def elsewhere(self) -> Elsewhere:
        """Other servers by their connection: `<name>_db` is the application's, any other one the catalog's."""
        own = self.application.postgres_conn_id
        return Elsewhere(
            lambda conn_id: self.server if conn_id == own else self.catalog_server,
            lambda: [self.application, *self.others],
        )

    def configure(self, **changes: Any) -> None:
        self.application = replace(self.application, **changes)

    # --- files and rows ---

    def write(self, name: str, content: bytes | str = b"content") -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def contents(self) -> dict[str, bytes]:
        """Every file in the directory with its bytes, the product's temporary directory left out."""
        return {
            str(path.relative_to(self.files)): path.read_bytes()
            for path in self.files.rglob("*")
            if path.is_file() and ".glacier-tmp" not in path.parts
        }

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.server.connect(autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    # --- runs ---

    def back_up(self, run: Run | None = None, *, rehearse: bool = False) -> int:
        """Run the whole backup pipeline, without the rehearsal unless it is asked for; return the backup's id."""
        backup_id = backup.open_backup(
            self.application, run or self.a_run(), catalog=self.catalog, store=self.store, stores=self.stores
        )
        backup.dump_database(self.application, backup_id, catalog=self.catalog, server=self.server, store=self.store)
        if rehearse:
            backup.rehearse_restore(self.application, backup_id, catalog=self.catalog, server=self.server)
        ranges = backup.scan_files(self.application, backup_id, catalog=self.catalog)
        backup.upload_database(self.application, backup_id, catalog=self.catalog, store=self.store)
        for share in ranges:
            wanted = ArchiveRange.from_dict(share)
            backup.upload_files(self.application, backup_id, wanted, catalog=self.catalog, store=self.store)
        backup.close_backup(self.application, backup_id, catalog=self.catalog, store=self.store)
        return backup_id

    def plan(self, backup_id: int | str = "latest", run: Run | None = None, **params: Any) -> dict[str, Any]:
        request = RestoreRequest.from_params({"backup_id": backup_id, **params})
        return restore.plan_restore(
            self.application,
            run or self.a_run("restore"),
            request,
            catalog=self.catalog,
            stores=self.stores,
            elsewhere=self.elsewhere,
        )

    def restore(self, backup_id: int | str = "latest", **params: Any) -> dict[str, Any]:
        """Run the whole restore pipeline, waiting for retrievals; return `close_restore`'s figures."""
        planned = self.plan(backup_id, **params)
        self.bring(planned)
        return self.finish(planned["restore_id"])

    def bring(self, planned: dict[str, Any]) -> None:
        """Request, wait and download what a plan tells."""
        self.ask(planned)
        self.wait(planned["restore_id"])
        self.download(planned)

    def ask(self, planned: dict[str, Any]) -> None:
        for wanted in map(ArchiveRange.from_dict, planned["ranges"]):
            restore.request_retrievals(
                self.application, planned["restore_id"], wanted, catalog=self.catalog, stores=self.stores
            )

    def download(self, planned: dict[str, Any]) -> None:
        for wanted in map(ArchiveRange.from_dict, planned["ranges"]):
            restore.download_archives(
                self.application,
                planned["restore_id"],
                wanted,
                catalog=self.catalog,
                stores=self.stores,
                elsewhere=self.elsewhere,
            )

    def wait(self, restore_id: int, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not self.poll(restore_id).done:
            assert time.monotonic() < deadline, restore.describe_still_missing(restore_id, catalog=self.catalog)
            time.sleep(0.05)

    def poll(self, restore_id: int) -> restore.Waiting:
        return restore.poll_retrievals(self.application, restore_id, catalog=self.catalog, stores=self.stores)

    def finish(self, restore_id: int) -> dict[str, Any]:
        """The database, the orphans and the end of a restore whose archives are all in place."""
        restore.restore_database(
            self.application, restore_id, catalog=self.catalog, server=self.server, elsewhere=self.elsewhere
        )
        restore.move_orphans(self.application, restore_id, catalog=self.catalog)
        return restore.close_restore(self.application, restore_id, catalog=self.catalog)

    def undo_orphans(self, restore_id: int) -> dict[str, int]:
        return restore.undo_orphans(self.application, restore_id, catalog=self.catalog)

    def a_run(self, kind: str = "backup") -> Run:
        return Run(f"glacier_{kind}__{self.application.name}", f"manual__{next(_runs)}")


def an_application(directory: Path, *, name: str = "dms", store: str, **settings: Any) -> Application:
    """An application whose directories lie below `directory` and exist."""
    files = directory / "files"
    files.mkdir(parents=True, exist_ok=True)
    return Application(
        name=name,
        postgres_conn_id=f"{name}_db",
        files_directory=str(files),
        orphan_directory=str(directory / "orphan_files"),
        staging_directory=str(directory / "staging"),
        store=store,
        **{"settle_seconds": 0, **settings},
    )


Make = Callable[..., ApplicationUnderTest]


def a_small_dms(app: ApplicationUnderTest) -> ApplicationUnderTest:
    """Give an application three documents: rows in its database, files in its directory."""
    app.sql(
        "CREATE TABLE documents (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " title text NOT NULL, file text UNIQUE)"
    )
    app.sql("CREATE TABLE tags (document_id integer REFERENCES documents, tag text)")
    for number in (1, 2, 3):
        add_document(app, f"doc{number}.pdf", f"content {number}")
    app.sql("INSERT INTO tags SELECT id, 'tag' FROM documents")
    return app


def add_document(app: ApplicationUnderTest, name: str, content: bytes | str) -> None:
    app.sql("INSERT INTO documents (title, file) VALUES (%s, %s)", f"Title of {name}", name)
    app.write(name, content)


def titles(app: ApplicationUnderTest) -> list[str]:
    return [row[0] for row in app.sql("SELECT title FROM documents ORDER BY id")]
