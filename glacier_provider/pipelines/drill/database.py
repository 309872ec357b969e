"""`restore_and_check`: the dump of a drill restored, and looked at from outside, as its application would."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import name_from_bytes
from glacier_provider.core.checks import CHECKS, GRANTS, REFERENCES, CheckResult
from glacier_provider.core.drill import AMCHECK, NOT_RESTORED, PRIVATE_SERVER, findings_of_checks
from glacier_provider.core.proof import Finding
from glacier_provider.core.text import NAMED
from glacier_provider.errors import BackupNotRestorable, ConfigurationError, DumpError, FileMissing, RestoreError
from glacier_provider.pipelines.drill.place import drill_place
from glacier_provider.pipelines.drill.step import drill_step
from glacier_provider.pipelines.restore.database import checks_wanted, restore_database
from glacier_provider.pipelines.restore.elsewhere import Elsewhere, Place, target_place_of
from glacier_provider.pipelines.shared.progress import Progress

if TYPE_CHECKING:
    from glacier_provider.postgres import Server

log = logging.getLogger(__name__)


def restore_and_check(
    application: Application, proof_id: int, restore_id: int, *, catalog: Catalog, elsewhere: Elsewhere
) -> dict[str, Any]:
    """Restore the dump into the drill's place and check it there; return figures. A private server lives meanwhile."""
    restore = catalog.restores.get(restore_id)
    place = target_place_of(application, restore, elsewhere)
    assert place is not None  # a drill goes nowhere else
    backup = catalog.backups.get(restore["backup_id"])
    if place.target.postgres_conn_id == PRIVATE_SERVER and restore["outcome"].get("database"):
        catalog.restores.add_outcome(restore_id, database=None)  # the server that an earlier try had is gone
    with drill_place(application, place.target, backup, elsewhere, lambda: None) as there:
        restored = restore_into_place(application, proof_id, restore_id, catalog=catalog, elsewhere=there)
        if not restored:
            return {"restored": False}
        return check_drilled(application, proof_id, restore_id, catalog=catalog, elsewhere=there)


def restore_into_place(
    application: Application, proof_id: int, restore_id: int, *, catalog: Catalog, elsewhere: Elsewhere
) -> bool:
    """Restore the dump; return whether that could be done. That it could not is a finding."""
    unchecked = replace(application, assertions=None, restore=replace(application.restore, checks=()))
    with drill_step(catalog, proof_id, "database"):
        try:
            restore_database(
                unchecked,
                restore_id,
                catalog=catalog,
                server=elsewhere.server(application.postgres_conn_id),
                elsewhere=elsewhere,
            )
        except (RestoreError, DumpError, FileMissing, BackupNotRestorable) as error:
            log.error("The dump could not be restored: %s", error)
            catalog.proofs.note(
                proof_id,
                "database",
                figures={"restored": False},
                findings=[Finding(NOT_RESTORED, f"The database was not restored: {error}")],
            )
            return False
    return True


def check_drilled(
    application: Application, proof_id: int, restore_id: int, *, catalog: Catalog, elsewhere: Elsewhere
) -> dict[str, Any]:
    """Check the restored database by all that `drill.checks` and `assertions` say; note and return figures."""
    with drill_step(catalog, proof_id, "checks"):
        restore = catalog.restores.get(restore_id)
        place = target_place_of(application, restore, elsewhere)
        assert place is not None
        checked = _Checks(application, restore, place, catalog)
        results = checked.results()
        for one in results:
            log.info("Check %s.", one)
        figures = {
            "restored": True,
            **checked.measured(),
            "checks": [one.as_dict() for one in results],
            "not_checked": checked.not_checked,
            "warnings": restore["outcome"]["database"].get("warnings", [])[:NAMED],
        }
        catalog.proofs.note(proof_id, "database", figures=figures, findings=findings_of_checks(results))
    return figures


class _Checks:
    """The checks of one drill; `not_checked` says which of them could not be made."""

    def __init__(self, application: Application, restore: Row, place: Place, catalog: Catalog) -> None:
        self._application, self._restore, self._catalog = application, restore, catalog
        self._server: Server = place.server
        self._wanted = application.drill.checks
        self.not_checked: list[str] = []
        self._tell: Callable[[], None] = lambda: Progress(log, "the checks").heartbeat("checking")
        names = [name for name in CHECKS if name in self._wanted]
        self._checks = checks_wanted(application, restore["backup_id"], names, catalog)

    def results(self) -> list[CheckResult]:
        from glacier_provider.postgres.checks.restored import NotRestored, check_restored

        exempt = [NotRestored.from_dict(one) for one in self._restore["outcome"]["database"].get("exempt", ())]
        results = list(check_restored(self._server, self._checks, exempt))
        if self._checks.expected is None:
            self.not_checked.append(
                "The backup noted nothing of its database that it could be compared with (see dump.fingerprint)."
            )
        elif GRANTS in self._wanted and any(one.desc in ("ACL", "DEFAULT ACL") for one in exempt):
            self.not_checked.append("Grants: the restore could not make all of them, as its warnings say.")
        if REFERENCES in self._wanted and self._application.references_query:
            results.append(self._references(self._application.references_query))
        if AMCHECK in self._wanted:
            results += self._pages()
        return results

    def measured(self) -> dict[str, Any]:
        from glacier_provider.postgres.checks.restored import measure_restored

        expected = self._checks.expected
        measured = measure_restored(self._server, self._checks.catalog_schema)
        return {**measured, "rows": None if expected is None else expected.rows}

    def _references(self, query: str) -> CheckResult:
        """Return whether the backup has each name that the restored database knows."""
        from glacier_provider.postgres.checks.restored import each_reference

        count = 0
        missing: set[str] = set()

        def take(names: list[str]) -> None:
            nonlocal count
            count += len(names)
            known = [name_from_bytes(name.encode("utf-8", "surrogateescape")) for name in names]
            missing.update(self._catalog.scans.unarchived_references(self._restore["backup_id"], known))

        try:
            each_reference(self._server, query, take)
        except ConfigurationError as error:
            return CheckResult(REFERENCES, 1, 1, (error.message,))
        return CheckResult(REFERENCES, count, len(missing), tuple(sorted(missing)[:NAMED]))

    def _pages(self) -> list[CheckResult]:
        from glacier_provider.postgres import tools_for
        from glacier_provider.postgres.checks.amcheck import check_pages

        found = check_pages(self._server, tools_for(self._server, self._application.pg_bin_directory), self._tell)
        if isinstance(found, str):
            self.not_checked.append(found)
            return []
        return [found]
