"""How each application of a catalog is, in one question: for `check`, alerts and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.condition import Condition, Happening, Proven
from glacier_provider.core.metrics import Activity
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.status import ProofState

#: Figures of a report that has the first of its names only.
_NAMED = ("unreadable", "changed", "unarchived_references", "other_references", "missing_stores")
#: What may be of any kind of number, or missing.
_FIGURES = (
    *("rewritten", "database_bytes", "new_bytes", "seconds"),
    *("usual_of", "usual_database_bytes", "usual_new_bytes", "usual_seconds"),
)


class Conditions:
    """Read-only, of all applications of the catalog."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, names: Iterable[str] | None = None) -> dict[str, Condition]:
        """Return by name the condition of these applications, as far as the catalog knows them; None: of all."""
        wanted = None if names is None else list(names)
        return {row["application"]: _condition(row) for row in self._db.rows("condition_of_each", names=wanted)}

    def happenings(self, name: str, *, since: datetime) -> list[Happening]:
        """Return what happened to an application since a moment that is told once, and restores that wait."""
        return [Happening(**row) for row in self._db.rows("happenings_of_each", name=name, since=since)]

    def rewritten(self, name: str, *, since: datetime, share: float, least: float) -> Row | None:
        """Return `id`, `rewritten` and `vanished` of the newest backup of an application since a moment that lost so
        large a share of all files to other contents, or altogether; None: there is none."""
        return self._db.row("rewritten_backup", name=name, since=since, share=share, least=least)

    def activity(self, names: Iterable[str]) -> dict[str, Activity]:
        """Return by name what is under way in each of these applications."""
        wanted = list(names)
        unfinished: dict[str, tuple[int, int]] = {}
        for row in self._db.rows("totals", names=wanted):
            if row["what"] == "unfinished":
                archives, size = unfinished.get(row["application"], (0, 0))
                unfinished[row["application"]] = (archives + row["archives"], size + row["bytes"])
        return {
            row["application"]: Activity(
                *unfinished.get(row["application"], (0, 0)), row["retrievals"], row["since"], row["restores"]
            )
            for row in self._db.rows("activity_of_each", names=wanted)
        }


def _condition(row: Row) -> Condition:
    values = {name: value for name, value in row.items() if name not in ("report", "proven", *_FIGURES)}
    proven = {ProofKind(kind): _proven(one) for kind, one in (row["proven"] or {}).items()}
    figures: dict[str, Any] = {name: float(row[name] or 0) for name in _FIGURES}
    return Condition(**values, **figures, report=_report(row["report"] or {}), proven=proven)


def _report(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures as a report has them, which names several and has the rehearsal within."""
    report = {name: [value] if name in _NAMED else value for name, value in figures.items()}
    in_place = report.pop("in_place", None)
    return report | ({"rehearsal": {"in_place": in_place}} if in_place else {})


def _proven(values: Mapping[str, Any]) -> Proven:
    told = (*(values.get("told") or ()), *([values["error"]] if values.get("error") else []))
    return Proven(ProofState(values["state"]), _moment(values["ended_at"]), _moment(values["passed_at"]), told)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(float(seconds), UTC)
