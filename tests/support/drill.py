"""A drill of an application under test, step by step as the DAG does it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.pipelines import drill, restore
from glacier_provider.pipelines.restore.elsewhere import Elsewhere, drill_database
from glacier_provider.postgres import Server
from glacier_provider.postgres.restore.elsewhere import begun_name
from tests.support.application import ApplicationUnderTest


@dataclass
class DrillUnderTest:
    """One run of a drill: each step can be called by itself, and faults planted between two of them."""

    app: ApplicationUnderTest
    run: Run = field(default_factory=lambda: Run("", ""))
    proof_id: int = 0
    planned: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.run.dag_id:
            self.run = self.app.a_run("drill")

    @property
    def elsewhere(self) -> Elsewhere:
        return self.app.elsewhere

    @property
    def common(self) -> dict[str, Any]:
        return {"catalog": self.app.catalog, "elsewhere": self.elsewhere}

    @property
    def restore_id(self) -> int:
        return int(self.planned["restore_id"])

    @property
    def into(self) -> dict[str, str]:
        told: dict[str, str] = self.app.catalog.restores.get(self.restore_id)["request"]["into"]
        return told

    @property
    def server(self) -> Server:
        """The scratch database, on the application's server."""
        return self.app.server.with_database(self.into["database"])

    def open(self) -> int:
        self.proof_id = drill.open_drill(self.app.application, self.run, **self.common)
        return self.proof_id

    def plan(self) -> dict[str, Any]:
        self.planned = drill.plan_drill(
            self.app.application, self.proof_id, self.run, stores=self.app.stores, **self.common
        )
        return self.planned

    @property
    def _ranges(self) -> list[ArchiveRange]:
        return [ArchiveRange.from_dict(share) for share in self.planned["ranges"]]

    def retrieve(self, seconds: float = 30) -> None:
        application, restore_id = self.app.application, self.restore_id
        common: dict[str, Any] = {"catalog": self.app.catalog, "stores": self.app.stores}
        for wanted in self._ranges:
            restore.request_retrievals(application, restore_id, wanted, **common)
        deadline = time.monotonic() + seconds
        while not restore.poll_retrievals(application, restore_id, **common).done:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def download(self) -> None:
        for wanted in self._ranges:
            drill.download_sample(
                self.app.application, self.proof_id, self.restore_id, wanted, stores=self.app.stores, **self.common
            )

    def restore_database(self) -> bool:
        return drill.restore_into_place(self.app.application, self.proof_id, self.restore_id, **self.common)

    def check_database(self) -> dict[str, Any]:
        return drill.check_drilled(self.app.application, self.proof_id, self.restore_id, **self.common)

    def restore_and_check(self) -> dict[str, Any]:
        return drill.restore_and_check(self.app.application, self.proof_id, self.restore_id, **self.common)

    def check_files(self) -> dict[str, Any]:
        return drill.check_files(self.app.application, self.proof_id, self.restore_id, catalog=self.app.catalog)

    def clear(self) -> dict[str, Any]:
        return drill.clear_drill(self.app.application, self.proof_id, **self.common)

    def close(self) -> dict[str, Any]:
        return drill.close_drill(self.app.application, self.proof_id, catalog=self.app.catalog, stores=self.app.stores)

    STEPS = ("open", "plan", "retrieve", "download", "restore_and_check", "check_files", "clear", "close")

    def whole(self) -> dict[str, Any]:
        """Run all of it; return what it came to."""
        for step in self.STEPS:
            closed = getattr(self, step)()
        result: dict[str, Any] = closed
        return result

    def up_to_the_checks(self) -> None:
        for step in self.STEPS[:4]:
            getattr(self, step)()


def leftovers(app: ApplicationUnderTest) -> list[str]:
    """Databases, directories and staging that drills of an application have left."""
    with app.server.with_database("postgres").connect(autocommit=True) as connection:
        named, begun = f"glacier_drill_{app.application.name}_%", begun_name(drill_database(app.application))
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s OR datname = %s", (named, begun)
        ).fetchall()
    staging = app.files.parent / "staging"
    found = [row[0] for row in rows]
    if staging.is_dir():
        found += [one.name for one in staging.iterdir() if "-restore-" in one.name or one.name.endswith("-drill")]
    return found
