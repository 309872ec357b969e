"""From catalog rows to what the API answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.overview import Overview as Views
from glacier_provider.catalog.overview import Where
from glacier_provider.core.plan import (
    RETRIEVAL_HOURS,
    Amount,
    Part,
    RestorePlan,
    RestoreRequest,
    Tier,
    plan_from_figures,
)
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import BackupNotRestorable, GlacierProviderError
from glacier_provider.stores.uri import S3Uri, parse_store_uri
from glacier_provider.ui import models
from glacier_provider.ui.access import ScheduledDag
from glacier_provider.ui.catalogs import problem_of, reading
from glacier_provider.ui.health import YEAR, Health, Schedule, calendar, judge


def backup_dag_of(name: str) -> str:
    return f"glacier_backup__{name}"


def restore_dag_of(name: str) -> str:
    return f"glacier_restore__{name}"


def application_of(dag_id: str) -> str | None:
    """Return the application whose backup or restore DAG this is."""
    prefix, _, name = dag_id.partition("__")
    return name if name and prefix in ("glacier_backup", "glacier_restore") else None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known from Airflow when cards are made."""

    now: datetime
    dags: Mapping[str, ScheduledDag]
    startable: set[str]


# --- cards ---------------------------------------------------------------------------------------------------------


def cards(applications: Sequence[Application], known: Known) -> list[models.Card]:
    """Return a card for each application; where a catalog cannot be asked, the card says why and how to mend it."""
    made: dict[str, models.Card] = {}
    for group in _by_catalog(applications):
        try:
            with reading(group[0]) as catalog:
                found = _cards_of_catalog(group, known, catalog.overview)
        except GlacierProviderError as error:
            found = [_unknown(application, known, error) for application in group]
        made.update((card.name, card) for card in found)
    return [made[application.name] for application in applications]


def _by_catalog(applications: Sequence[Application]) -> list[list[Application]]:
    groups: dict[tuple[str, str], list[Application]] = {}
    for application in applications:
        groups.setdefault((application.catalog_conn_id, application.catalog_schema), []).append(application)
    return list(groups.values())


def _cards_of_catalog(group: Sequence[Application], known: Known, views: Views) -> list[models.Card]:
    names = [application.name for application in group]
    since = known.now - timedelta(days=YEAR + 7)
    newest, complete = views.newest(names), views.newest(names, ["complete"])
    ended = views.newest(names, ["complete", "failed"])
    restores, first = views.newest_restores(names), views.first(names)
    days = _by_application(views.days({one.name: one.timezone for one in group}, since))
    growth = _by_application(views.growth(names, since))
    result = []
    for application in group:
        name = application.name
        schedule = Schedule(application.schedule, application.timezone)
        done, last = complete.get(name), ended.get(name)
        health, late_since = judge(
            schedule,
            now=known.now,
            complete_since=done["opened_at"] if done else None,
            last_ended=last["state"] if last else None,
        )
        states: dict[date, str] = {row["day"]: row["state"] for row in days.get(name, ())}
        start, letters = calendar(schedule, states, first=first.get(name), now=known.now)
        result.append(
            _bare_card(application, known).model_copy(
                update={
                    "health": health,
                    "late_since": late_since,
                    "newest": _maybe(models.Backup, newest.get(name)),
                    "complete": _maybe(models.Backup, done),
                    "restore": _maybe(models.Restore, restores.get(name)),
                    "calendar": models.Calendar(start=start, days=letters),
                    "growth": [
                        models.Growth(at=row["opened_at"], files=row["files_count"], bytes=row["bytes"])
                        for row in growth.get(name, ())
                    ],
                }
            )
        )
    return result


def _bare_card(application: Application, known: Known) -> models.Card:
    name = application.name
    backup, restore = backup_dag_of(name), restore_dag_of(name)
    dag = known.dags.get(backup)
    return models.Card(
        name=name,
        health=Health.UNKNOWN,
        schedule=application.schedule,
        timezone=application.timezone,
        next_run=dag.next_run if dag and not dag.paused else None,
        paused=dag.paused if dag else None,
        store=application.store,
        backup_dag=backup,
        restore_dag=restore,
        actions=models.Actions(back_up=backup in known.startable, restore=restore in known.startable),
    )


def _unknown(application: Application, known: Known, error: GlacierProviderError) -> models.Card:
    return _bare_card(application, known).model_copy(update={"problem": models.Problem(**problem_of(error))})


def _by_application(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["application"], []).append(row)
    return found


def _maybe(kind: Any, row: Row | None) -> Any:
    return None if row is None else kind.model_validate(row)


# --- work under way ------------------------------------------------------------------------------------------------


def work(application: Application, catalog: Catalog, now: datetime) -> models.Work:
    """Return what is going on: the application's newest backup and restore, if they have not ended."""
    views, name = catalog.overview, application.name
    backup = _running(views.newest([name]).get(name))
    restore = _running(views.newest_restores([name]).get(name))
    return models.Work(
        application=name,
        now=now,
        backup=backup_work(views, name, views.backup(name, backup)) if backup else None,
        restore=restore_work(views, views.restore(name, restore)) if restore else None,
    )


def _running(row: Row | None) -> int | None:
    return row["id"] if row is not None and row["state"] in ("running", "planned") else None


def work_of_run(application: Application, catalog: Catalog, dag_id: str, run_id: str, now: datetime) -> models.Work:
    """Return what one run does or did; neither backup nor restore when it has not opened one."""
    views, name = catalog.overview, application.name
    kind, number = views.work_of_run(name, dag_id, run_id) or ("", 0)
    return models.Work(
        application=name,
        now=now,
        backup=backup_work(views, name, views.backup(name, number)) if kind == "backup" else None,
        restore=restore_work(views, views.restore(name, number)) if kind == "restore" else None,
    )


def backup_work(views: Views, application: str, row: Row) -> models.BackupWork:
    """Return how far a backup is."""
    left = views.unfinished(application, row["id"]) if row["state"] == "running" else {}
    files = _amount(left.get("file"))
    new = Amount(row["new_files_count"] or 0, row["new_files_bytes"] or 0)
    # What an earlier, failed backup planned is uploaded by this one, and not among its new files.
    total = Amount(max(new.archives, files.archives), max(new.bytes, files.bytes))
    dump = row["database"]
    return models.BackupWork(
        backup=models.Backup.model_validate(row),
        phase=_backup_phase(row, files),
        left=_shown(files),
        total=_shown(total),
        dump=_shown(Amount(1, dump["stored_size"] or dump["original_size"])) if dump else None,
        dump_archived=bool(dump and dump["state"] == "archived"),
    )


def _backup_phase(row: Row, left: Amount) -> models.BackupPhase:
    if row["state"] != "running":
        return "ended"
    if row["snapshot_at"] is None:
        return "dump"
    if row["scanned_at"] is None:
        return "scan"
    dump = row["database"]
    return "upload" if left.archives or not dump or dump["state"] != "archived" else "close"


def restore_work(views: Views, row: Row) -> models.RestoreWork:
    """Return how far a restore is."""
    rows = views.restore_progress(row["id"])
    archives: dict[RetrievalStatus, Amount] = {}
    aside = Amount()
    for found in rows:
        amount = _amount(found)
        if found["source"] == "orphan" and found["status"] != "exists":
            aside = aside + amount
        else:
            status = RetrievalStatus(found["status"])
            archives[status] = archives.get(status, Amount()) + amount
    total = sum(archives.values(), aside)
    return models.RestoreWork(
        restore=models.Restore.model_validate(row),
        phase=_restore_phase(row, archives, aside),
        archives={status: _shown(amount) for status, amount in archives.items()},
        set_aside=_shown(aside),
        total=_shown(total),
        expected=[_expected(found) for found in rows if found["status"] == "pending" and found["tier"]],
    )


def _restore_phase(row: Row, archives: Mapping[RetrievalStatus, Amount], aside: Amount) -> models.RestorePhase:
    if row["state"] not in ("running", "planned"):
        return "ended"
    if row["state"] == "planned":
        return "request" if row["plan"] else "plan"
    if RetrievalStatus.AVAILABLE in archives:
        return "request"
    if RetrievalStatus.PENDING in archives:
        return "wait"
    if RetrievalStatus.READY in archives or aside.archives:
        return "download"
    request = RestoreRequest.from_params(row["request"])
    if request.database and "database" not in row["outcome"]:
        return "database"
    return "orphans" if request.orphans and "orphans" not in row["outcome"] else "close"


def _expected(row: Row) -> models.Expected:
    hours = _hours(row["store_uri"]).get(Tier(row["tier"]))
    return models.Expected(
        tier=row["tier"],
        waiting=_shown(_amount(row)),
        requested_at=row["first_request"],
        earliest=row["first_request"] + timedelta(hours=hours[0]) if hours else None,
        latest=row["last_request"] + timedelta(hours=hours[1]) if hours else None,
    )


def _amount(row: Row | None) -> Amount:
    return Amount(row["archives"], row["bytes"]) if row else Amount()


def _shown(amount: Amount) -> models.Amount:
    return models.Amount(archives=amount.archives, bytes=amount.bytes)


# --- what a restore would take -------------------------------------------------------------------------------------


def preview(
    application: Application, catalog: Catalog, backup_id: int, *, part: Part, tier: Tier | None
) -> models.Preview:
    """Return what a restore would take by what the catalog knows; nothing is written or asked of a store.

    Raise UnknownBackup or BackupNotRestorable.
    """
    views, name = catalog.overview, application.name
    row = views.backup(name, backup_id)
    if row["state"] != "complete":
        raise BackupNotRestorable(f"Backup {backup_id} is {row['state']}.")
    request = RestoreRequest(backup_id, part=part, tier=tier or Tier(application.retrieval_tier))
    places = _wanted(views.whereabouts(name, [backup_id])[backup_id], request)
    aside = views.set_aside(name, backup_id) if request.files else Amount()
    plan = _plan(application, row, request, places, aside)
    return models.Preview(
        backup_id=backup_id,
        part=part,
        tier=plan.tier,
        days=plan.days,
        tiers=[models.TierHours(tier=Tier(name), hours=hours) for name, hours in plan.hours.items()],
        database_bytes=plan.database_bytes,
        present=_shown(plan.present),
        set_aside=_shown(plan.set_aside),
        to_request=_shown(plan.to_request),
        pending=_shown(plan.pending),
        ready=_shown(plan.ready),
        as_of=row["last_scan"],
        restore_dag=restore_dag_of(name),
    )


def _wanted(places: Sequence[Where], request: RestoreRequest) -> list[Where]:
    """Return the places of what the request brings; the dump is the first, and a staged one is fetched again."""
    dump, files = places[:1], places[1:]
    staged = [replace(one, status=RetrievalStatus.AVAILABLE) for one in dump if one.status is RetrievalStatus.LOCAL]
    return [*((staged or dump) if request.database else ()), *(files if request.files else ())]


def _plan(
    application: Application, row: Row, request: RestoreRequest, places: Sequence[Where], aside: Amount
) -> RestorePlan:
    tier = request.tier or Tier(application.retrieval_tier)
    plan = RestorePlan(
        backup_id=row["id"],
        tier=tier,
        days=application.retrieval_days,
        database_bytes=(row["database_bytes"] or 0) if request.database else 0,
        present=_present(row) if request.files else Amount(),
        set_aside=aside,
    )
    for uri in sorted({place.store_uri for place in places}):
        hours = _hours(uri)
        rows = [("store", place.status, place.amount) for place in places if place.store_uri == uri]
        part = plan_from_figures(RestorePlan(row["id"], tier, plan.days), rows, retrieval=bool(hours))
        plan = replace(
            plan,
            to_request=plan.to_request + part.to_request,
            pending=plan.pending + part.pending,
            ready=plan.ready + part.ready,
            hours={**plan.hours, **{name.value: span for name, span in hours.items()}},
        )
    if not plan.to_request.archives:
        plan = replace(plan, hours={})
    return replace(plan, to_request=_less(plan.to_request, aside))


def _present(row: Row) -> Amount:
    there = row["archives"].get(RetrievalStatus.EXISTS.value)
    return there if there else Amount()


def _less(amount: Amount, other: Amount) -> Amount:
    return Amount(max(0, amount.archives - other.archives), max(0, amount.bytes - other.bytes))


def _hours(uri: str) -> Mapping[Tier, tuple[float, float]]:
    """Return the typical hours of each tier of a store; empty when it is read without a retrieval."""
    place = parse_store_uri(uri)
    if not isinstance(place, S3Uri):
        return RETRIEVAL_HOURS["VAULT"]
    return RETRIEVAL_HOURS.get(place.storage_class, {}) if place.is_cold else {}
