"""What monitoring collects of applications, as OpenMetrics text. Pure.

The text is Prometheus' own format as well: the node exporter's textfile collector reads it.
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from glacier_provider.core.condition import DEFAULT_LIMITS, Condition, Proven, overall_grade, troubles_of
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.restorability import cannot_be_brought_back
from glacier_provider.core.status import ProofState

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class StoredClass:
    """What an application has in one storage class of its stores."""

    storage_class: str
    archives: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What is under way: archives that are still to be uploaded, retrievals that are waited for, restores."""

    unfinished: int = 0
    unfinished_bytes: int = 0
    retrievals: int = 0
    retrievals_since: datetime | None = None
    restores: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of one application. `monthly_cost` is in `currency`; None: it is not known what prices hold."""

    condition: Condition
    stored: Sequence[StoredClass] = ()
    activity: Activity = Activity()
    monthly_cost: Decimal | None = None
    currency: str = ""


Samples = Iterator[tuple[Mapping[str, str], float]]
#: What a family of figures tells, and its samples of an application.
Family = tuple[str, Callable[[Measured], Samples]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of figures with its samples: labels, and the value."""

    name: str
    words: str
    samples: Sequence[tuple[Mapping[str, str], float]]

    def as_dict(self) -> dict[str, Any]:
        told = [{"labels": dict(labels), "value": value} for labels, value in self.samples]
        return {"name": self.name, "help": self.words, "samples": told}


def metrics_of(
    measured: Iterable[Measured], *, catalogs: Mapping[str, bool], now: datetime, wrong: Iterable[str] = ()
) -> list[Metric]:
    """Return the figures of applications; `catalogs` tells of each, by name, whether it could be asked.

    `wrong` are the names of entries of applications.yaml of which no backups are made.
    """
    applications = sorted(measured, key=lambda one: one.condition.application)
    metrics = [
        Metric(
            name,
            words,
            [
                ({"application": one.condition.application, **labels}, value)
                for one in applications
                for labels, value in of(one)
            ],
        )
        for name, (words, of) in {**_FAMILIES, **_ages(now)}.items()
    ]
    up = [({"catalog": name}, float(up)) for name, up in sorted(catalogs.items())]
    metrics.append(Metric("glacier_catalog_up", "Whether the catalog could be asked.", up))
    entries = [({"application": name}, 1.0) for name in sorted(wrong)]
    metrics.append(Metric("glacier_application_wrong", "Whether its entry in applications.yaml is wrong.", entries))
    # Without it, a file that nobody writes anew would be taken for today's.
    collected: list[tuple[dict[str, str], float]] = [({}, now.timestamp())]
    metrics.append(Metric("glacier_collected_timestamp_seconds", "When these figures were collected.", collected))
    return [one for one in metrics if one.samples or one.name == "glacier_catalog_up"]


def metrics_text(
    measured: Iterable[Measured], *, catalogs: Mapping[str, bool], now: datetime, wrong: Iterable[str] = ()
) -> str:
    """Return the figures of applications as OpenMetrics text; `catalogs` and `wrong` as for `metrics_of`."""
    lines: list[str] = []
    for one in metrics_of(measured, catalogs=catalogs, now=now, wrong=wrong):
        lines += [f"# TYPE {one.name} gauge", f"# HELP {one.name} {one.words}"]
        lines += [_sample(one.name, labels, value) for labels, value in one.samples]
    return "\n".join([*lines, "# EOF", ""])


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    number = float(value)
    written = int(number) if number.is_integer() else repr(number)
    return f"{name}{{{told}}} {written}" if told else f"{name} {written}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _one(value: float | None, **labels: str) -> Samples:
    if value is not None:
        yield labels, float(value)


def _of_complete(one: Measured, value: float | None) -> Samples:
    return _one(value if one.condition.complete_id is not None else None)


def _moment(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _duration(one: Measured) -> float | None:
    since, at = one.condition.complete_since, one.condition.complete_at
    return None if since is None or at is None else (at - since).total_seconds()


def _differences(one: Measured) -> Samples:
    if one.condition.complete_id is None:
        return
    for what in ("unreadable", "changed", "unarchived_references", "other_references"):
        yield {"kind": what}, float(one.condition.report.get(f"{what}_count") or 0)
    yield {"kind": "vanished"}, float(one.condition.vanished)


def _tasks(one: Measured) -> Samples:
    seconds = one.condition.report.get("task_seconds")
    for task, value in sorted(seconds.items()) if isinstance(seconds, Mapping) else ():
        if isinstance(value, int | float):
            yield {"task": str(task)}, float(value)


def _proofs(one: Measured, of: str) -> Samples:
    for kind in ProofKind:
        proven = one.condition.proven.get(kind, Proven())
        if of == "passed" and proven.passed_at is not None:
            yield {"kind": kind.value}, proven.passed_at.timestamp()
        elif of == "ok" and proven.state is not None:
            yield {"kind": kind.value}, float(proven.state is ProofState.PASSED)


def _ages(now: datetime) -> dict[str, Family]:
    def backup_age(one: Measured) -> Samples:
        age = one.condition.backup_age(now)
        return _one(None if age is None else age.total_seconds())

    def proof_age(one: Measured) -> Samples:
        for kind in ProofKind:
            age = one.condition.proof_age(kind, now)
            yield from _one(None if age is None else age.total_seconds(), kind=kind.value)

    def state(one: Measured) -> Samples:
        troubles = troubles_of(one.condition, now=now, backup=DEFAULT_LIMITS)
        return _one(float(overall_grade(trouble.grade for trouble in troubles)))

    return {
        "glacier_state": (
            "How the backups are, as glacier-backup check tells without options: 0 OK, 1 WARNING, 2 CRITICAL.",
            state,
        ),
        "glacier_backup_age_seconds": ("How long ago the last complete backup ended.", backup_age),
        "glacier_proof_age_seconds": ("How long ago a verification or drill last passed.", proof_age),
    }


_FAMILIES: dict[str, Family] = {
    "glacier_backup_last_complete_timestamp_seconds": (
        "When the last complete backup ended.",
        lambda one: _one(_moment(one.condition.complete_at)),
    ),
    "glacier_backup_last_complete_id": (
        "The number of the last complete backup.",
        lambda one: _one(one.condition.complete_id),
    ),
    "glacier_backup_duration_seconds": ("How long the last complete backup took.", lambda one: _one(_duration(one))),
    "glacier_backup_task_seconds": (
        "How long each task of the last complete backup took; of several that did a share each, together.",
        _tasks,
    ),
    "glacier_backup_failed": (
        "Whether the last backup that ended failed.",
        lambda one: _one(float(one.condition.failed_id is not None)),
    ),
    "glacier_backup_running_since_timestamp_seconds": (
        "When the backup that is under way began.",
        lambda one: _one(_moment(one.condition.running_since)),
    ),
    "glacier_backup_restorable": (
        "Whether the rehearsal of the last complete backup found nothing that keeps it from being restored.",
        lambda one: _of_complete(one, float(cannot_be_brought_back(one.condition.report) is None)),
    ),
    "glacier_backup_files": ("Files in the last complete backup.", lambda one: _of_complete(one, one.condition.files)),
    "glacier_backup_bytes": (
        "Size of the last complete backup, files and dump.",
        lambda one: _of_complete(one, one.condition.bytes),
    ),
    "glacier_backup_differences": (
        "Files of the last complete backup that are not as they should be, by kind.",
        _differences,
    ),
    "glacier_archives_lost": ("Lost archives that backups need.", lambda one: _one(one.condition.lost)),
    "glacier_proof_last_passed_timestamp_seconds": (
        "When a verification or drill last passed.",
        lambda one: _proofs(one, "passed"),
    ),
    "glacier_proof_ok": ("Whether the last verification or drill passed.", lambda one: _proofs(one, "ok")),
    "glacier_stored_archives": (
        "Archives in the stores, by storage class.",
        lambda one: (({"storage_class": held.storage_class}, float(held.archives)) for held in one.stored),
    ),
    "glacier_stored_bytes": (
        "Size of the archives in the stores, by storage class.",
        lambda one: (({"storage_class": held.storage_class}, float(held.bytes)) for held in one.stored),
    ),
    "glacier_storage_cost_per_month": (
        "What the archives cost a month by the prices of applications.yaml.",
        lambda one: _one(None if one.monthly_cost is None else float(one.monthly_cost), currency=one.currency),
    ),
    "glacier_uploads_unfinished": (
        "Archives that are still to be uploaded.",
        lambda one: _one(one.activity.unfinished),
    ),
    "glacier_uploads_unfinished_bytes": (
        "Size of the archives that are still to be uploaded.",
        lambda one: _one(one.activity.unfinished_bytes),
    ),
    "glacier_retrievals_waiting": ("Retrievals that are waited for.", lambda one: _one(one.activity.retrievals)),
    "glacier_retrievals_waiting_since_timestamp_seconds": (
        "When the oldest retrieval that is waited for was requested.",
        lambda one: _one(_moment(one.activity.retrievals_since)),
    ),
    "glacier_restores_running": ("Restores under way.", lambda one: _one(one.activity.restores)),
}
