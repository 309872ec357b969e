"""From catalog rows to what the API answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from glacier_provider.applications import Application
from glacier_provider.applications.schedule import Schedule, proofs_due, proofs_missed
from glacier_provider.catalog.backups import Run, RunEnded
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.pages import Pages
from glacier_provider.catalog.progress import RestoreProgress
from glacier_provider.core import dags
from glacier_provider.core.archive import Amount
from glacier_provider.core.checks import checks_in_words
from glacier_provider.core.cost import early_deletion, of_tier, plain, storage_cost
from glacier_provider.core.dags import dag_id_of
from glacier_provider.core.deletion import DeletionPlan
from glacier_provider.core.diagnosis import Judgement
from glacier_provider.core.findings import known_of_backup
from glacier_provider.core.metrics import Measured, metrics_text
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.proof import (
    Finding,
    ProofKind,
    Standing,
    finding_lines,
    next_step,
    proof_words,
    standing_of,
)
from glacier_provider.core.restorability import cannot_be_brought_back
from glacier_provider.core.status import PLACED, ProofState, RetrievalStatus
from glacier_provider.core.text import NAMED, counted
from glacier_provider.core.tiers import Tier, retrieval_hours
from glacier_provider.errors import ConfigurationError, GlacierProviderError
from glacier_provider.hooks.doctor import examine_airflow
from glacier_provider.pipelines.free import Holder, lease_of
from glacier_provider.pipelines.metrics import measured
from glacier_provider.pipelines.restore import preview_restore
from glacier_provider.ui import models, money
from glacier_provider.ui.access import ScheduledDag, TaskState
from glacier_provider.ui.catalogs import problem_of, read_only_catalog
from glacier_provider.ui.health import YEAR, Health, calendar, health_of
from glacier_provider.ui.looks import Looks, Paces


def backup_dag_of(name: str) -> str:
    return dag_id_of(dags.BACKUP, name)


def restore_dag_of(name: str) -> str:
    return dag_id_of(dags.RESTORE, name)


def delete_dag_of(name: str) -> str:
    return dag_id_of(dags.DELETE, name)


def undo_dag_of(name: str) -> str:
    return dag_id_of(dags.UNDO, name)


def doctor_dag_of(name: str) -> str:
    return dag_id_of(dags.DOCTOR, name)


def dags_of(name: str) -> list[str]:
    return [backup_dag_of(name), restore_dag_of(name), delete_dag_of(name)]


def application_of(dag_id: str) -> str | None:
    """Return the application whose backup, restore or deletion DAG this is."""
    _, _, name = dag_id.partition("__")
    return name if name and dag_id in dags_of(name) else None


def run_url(dag_id: str, run_id: str) -> str:
    """Return the address of a run in Airflow's UI, relative to Airflow's own."""
    return f"dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


#: Which of these DAGs' runs a person may start.
Startable = Callable[[Iterable[str]], set[str]]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known from Airflow when cards are made."""

    now: datetime
    dags: Mapping[str, ScheduledDag]
    startable: set[str]
    editable: frozenset[str] = frozenset()


# --- cards ---------------------------------------------------------------------------------------------------------


def cards(applications: Sequence[Application], known: Known) -> list[models.CardResponse]:
    """Return a card for each application; where a catalog cannot be asked, the card says why and how to mend it."""
    made: dict[str, models.CardResponse] = {}
    for group in _by_catalog(applications):
        try:
            with read_only_catalog(group[0]) as catalog:
                found = _cards_of_catalog(group, known, catalog.pages)
        except GlacierProviderError as error:
            found = [_card_with_problem(application, known, error) for application in group]
        made.update((card.name, card) for card in found)
    return [made[application.name] for application in applications]


def metrics(applications: Sequence[Application], now: datetime, wrong: Sequence[str] = ()) -> str:
    """Return the figures of applications for monitoring; those of a catalog that cannot be asked are left out, and that
    is told. So is whose entries are wrong."""
    found: list[Measured] = []
    catalogs: dict[str, bool] = {}
    for group in _by_catalog(applications):
        name = f"{group[0].catalog_conn_id}/{group[0].catalog_schema}"
        prices = {one.name: one.price_table for one in group}
        try:
            with read_only_catalog(group[0]) as catalog:
                expected = [one.name for one in group if one.is_expected(now)]
                found += measured(catalog, prices, prices=prices, expected=expected)
        except GlacierProviderError:
            catalogs[name] = False
        else:
            catalogs[name] = True
    return metrics_text(found, catalogs=catalogs, now=now, wrong=wrong)


def _by_catalog(applications: Sequence[Application]) -> list[list[Application]]:
    groups: dict[tuple[str, str], list[Application]] = {}
    for application in applications:
        groups.setdefault((application.catalog_conn_id, application.catalog_schema), []).append(application)
    return list(groups.values())


def _shortfalls(backup: Row) -> list[str]:
    """Return what the newest complete backup is known to lack, a sentence each, and what of all backups is lost."""
    said = list(known_of_backup(backup["report"]))
    if backup["report"].get("read_back_denied"):
        said.append("Nobody with these credentials can read it back.")
    if backup["lost_count"]:
        said.append(f"{counted(backup['lost_count'], 'archive')} of its backups cannot be brought back any more.")
    return said


def _standings(
    application: Application, rows: Sequence[Row], known_since: datetime | None, now: datetime
) -> list[models.StandingResponse]:
    """Return how it stands with verifications and drills; of those that are neither asked for nor were ever made,
    nothing."""
    by_kind = {ProofKind(row["kind"]): row for row in rows}
    passed = {kind: row["passed_at"] for kind, row in by_kind.items()}
    missed = proofs_missed(application, passed, known_since=known_since, now=now)
    asked = proofs_due(application, now)
    found = []
    for kind in (ProofKind.DRILL, ProofKind.VERIFICATION):
        row = by_kind.get(kind)
        standing = standing_of(
            ProofState(row["state"]) if row else None,
            missed=kind in missed,
            asked_for=kind in asked,
        )
        if standing is Standing.OFF:
            continue
        told = _wrong_of_proof(row) if row and standing is Standing.FAILED else []
        found.append(
            models.StandingResponse(
                kind=kind,
                standing=standing,
                ended_at=row["ended_at"] if row else None,
                passed_at=row["passed_at"] if row else None,
                backup_id=row["passed_backup_id"] if row else None,
                words=proof_words(kind, row["passed_figures"]) if row and row["passed_id"] else "",
                told=told,
                hint=next_step(standing, kind, application.name, has_dag=_has_dag(application, kind)),
            )
        )
    return found


def _has_dag(application: Application, kind: ProofKind) -> bool:
    return (application.drill.which if kind is ProofKind.DRILL else application.verify.by) != "off"


def _wrong_of_proof(row: Row) -> list[str]:
    error = [row["error"]] if row["error"] else []
    return error + [one for one in row["told"] or [] if one not in error]


def _cards_of_catalog(group: Sequence[Application], known: Known, pages: Pages) -> list[models.CardResponse]:
    names = [application.name for application in group]
    since = known.now - timedelta(days=YEAR + 7)
    newest, complete = pages.newest(names), pages.newest(names, ["complete"])
    ended = pages.newest(names, ["complete", "failed"])
    restores, first = pages.newest_restores(names), pages.first(names)
    known_since = pages.known_since(names)
    held, proofs = pages.totals(names), pages.proofs(names)
    days = pages.days({one.name: one.timezone for one in group}, since)
    growth = pages.growth(names, since)
    result = []
    for application in group:
        name = application.name
        schedule = Schedule(application.schedule, application.timezone)
        done, last = complete.get(name), ended.get(name)
        if done:
            done = {**done, "unrestorable": cannot_be_brought_back(done["report"])}
        standings = _standings(application, proofs[name], known_since.get(name), known.now)
        health, late_since = health_of(
            schedule,
            now=known.now,
            complete_since=done["opened_at"] if done else None,
            last_ended=last["state"] if last else None,
            unrestorable=bool(done and done["unrestorable"]),
            unproven=any(one.standing in (Standing.FAILED, Standing.OVERDUE) for one in standings),
            shortfalls=len(_shortfalls(done)) if done else 0,
            paused=(dag := known.dags.get(backup_dag_of(name))) is not None and dag.paused,
        )
        start, letters = calendar(schedule, days.get(name, {}), first=first.get(name), now=known.now)
        result.append(
            _bare_card(application, known).model_copy(
                update={
                    "health": health,
                    "late_since": late_since,
                    "newest": _maybe(models.BackupResponse, newest.get(name)),
                    "complete": _maybe(models.BackupResponse, done and {**done, "shortfalls": _shortfalls(done)}),
                    "restore": _maybe(models.RestoreResponse, restores.get(name)),
                    "cost": money.monthly(application, held[name]) if held[name] else None,
                    "proofs": standings,
                    "calendar": models.CalendarResponse(start=start, days=letters),
                    "growth": [
                        models.GrowthResponse(at=one.opened_at, files=one.files, bytes=one.bytes)
                        for one in growth.get(name, ())
                    ],
                }
            )
        )
    return result


def _bare_card(application: Application, known: Known) -> models.CardResponse:
    return _card_without_figures(application.name, known).model_copy(
        update={"schedule": application.schedule, "timezone": application.timezone, "store": application.store}
    )


def wrong_card(name: str, known: Known, error: ConfigurationError) -> models.CardResponse:
    """Return the card of an application that applications.yaml describes wrongly."""
    problem = models.ProblemResponse(**problem_of(error))
    return _card_without_figures(name, known).model_copy(update={"problem": problem})


def _card_without_figures(name: str, known: Known) -> models.CardResponse:
    backup, restore, delete = dags_of(name)
    dag = known.dags.get(backup)
    return models.CardResponse(
        name=name,
        health=Health.UNKNOWN,
        schedule=None,
        timezone=None,
        store=None,
        next_run=dag.next_run if dag and not dag.paused else None,
        paused=dag.paused if dag else None,
        backup_dag=backup,
        restore_dag=restore,
        delete_dag=delete,
        actions=models.ActionsResponse(
            back_up=backup in known.startable,
            restore=restore in known.startable,
            delete=delete in known.startable,
            examine=doctor_dag_of(name) in known.editable,
        ),
    )


def _card_with_problem(application: Application, known: Known, error: GlacierProviderError) -> models.CardResponse:
    return _bare_card(application, known).model_copy(update={"problem": models.ProblemResponse(**problem_of(error))})


def _maybe(kind: Any, row: Row | None) -> Any:
    return None if row is None else kind.model_validate(row)


# --- backups -------------------------------------------------------------------------------------------------------


def backup_page(
    application: Application, rows: Sequence[Row], total: int, pages: Pages
) -> models.BackupCollectionResponse:
    """Return a page of backups, each with what it added to the bill."""
    ids = [row["id"] for row in rows]
    held, drilled = pages.stored(application.name, ids), pages.drilled(ids)
    return models.BackupCollectionResponse(
        backups=[
            models.BackupResponse.model_validate(
                {
                    **row,
                    "cost": money.added(application, held[row["id"]], row),
                    "drilled": drilled.get(row["id"]),
                }
            )
            for row in rows
        ],
        total=total,
    )


def backup_detail(application: Application, backup_id: int, pages: Pages) -> models.BackupDetailResponse:
    row = pages.backup(application.name, backup_id)
    held = pages.stored(application.name, [backup_id])[backup_id]
    return models.BackupDetailResponse.model_validate(
        {
            **row,
            "cost": money.added(application, held, row["report"]),
            "drilled": pages.drilled([backup_id]).get(backup_id),
            "proofs": [_proof(one) for one in pages.proofs_of_backup(backup_id)],
            "checked_restores": [
                {**one, "words": checks_in_words(one["checks"] or ())} for one in pages.checked_restores(backup_id)
            ],
        }
    )


def _proof(row: Row) -> models.ProofResponse:
    kind = ProofKind(row["kind"])
    findings = finding_lines([Finding.from_dict(one) for one in row["findings"]], row["error"])
    return models.ProofResponse.model_validate(
        {**row, "words": proof_words(kind, row["figures"]), "findings": findings[:NAMED]}
    )


# --- runs and deletions --------------------------------------------------------------------------------------------


def tasks(
    dag_id: str, run_id: str, state: str | None, found: Sequence[TaskState]
) -> models.TaskInstanceCollectionResponse:
    """Return the tasks of a run with the addresses of their logs."""
    url = run_url(dag_id, run_id)
    return models.TaskInstanceCollectionResponse(
        dag_id=dag_id,
        dag_run_id=run_id,
        state=state,
        url=url,
        tasks=[models.TaskInstanceResponse(**asdict(one), log_url=f"{url}/tasks/{_log_path(one)}") for one in found],
    )


def _log_path(task: TaskState) -> str:
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"{quote(task.task_id, safe='')}{mapped}"


def deletion_plan(application: Application, plan: DeletionPlan, now: datetime) -> models.DeletionPlanResponse:
    """Return what deleting a backup takes away, with the money that it costs and saves."""
    prices = application.price_table
    stored = [one.stored for one in plan.goes]
    ages = [one.age_days(now) for one in plan.goes]
    return models.DeletionPlanResponse(
        backup_id=plan.backup_id,
        state=plan.state,
        archives=plan.total.archives,
        bytes=plan.total.bytes,
        goes=[
            models.GoingResponse(
                store_class=held.store_class,
                kind=one.kind.value,
                archived_on=one.archived_on,
                age_days=int(age),
                archives=one.amount.archives,
                bytes=one.amount.bytes,
                fee=plain(early_deletion([(held, age)], prices)),
            )
            for one, held, age in zip(plan.goes, stored, ages, strict=True)
        ],
        stays=[models.StayingResponse.model_validate(one.as_dict()) for one in plan.stays],
        fee=plain(early_deletion(zip(stored, ages, strict=True), prices)),
        saves_monthly=plain(storage_cost(stored, prices)),
        currency=prices.currency,
        prices=money.prices_response(prices),
        refused=plan.refused,
        forcible=plan.forcible,
        confirm=plan.confirm,
        delete_dag=delete_dag_of(application.name),
    )


# --- work under way ------------------------------------------------------------------------------------------------


def with_runs(
    work: models.WorkResponse, catalog: Catalog, ended: Callable[[str, str], str | None], startable: Startable
) -> models.WorkResponse:
    """Note who holds the lease, and what the catalog has as under way although its run is over.

    `ended` tells how a run ended, if it did; `startable`, which DAGs' runs the person may start.
    """

    def run_ended(run: Run) -> str | None:
        return ended(run.dag_id, run.dag_run_id)

    holder = lease_of(catalog, run_ended)
    rows = {"backup": work.backup and work.backup.backup, "restore": work.restore and work.restore.restore}
    over = [
        kind
        for kind, row in rows.items()
        if row and row.state in ("running", "planned") and _is_over(Run(row.dag_id, row.dag_run_id), holder, run_ended)
    ]
    may_free = bool(startable([dag_of_holder(holder, work.application)]))
    lease = holder and _lease_response(holder)
    return work.model_copy(update={"over": over, "lease": lease, "may_free": may_free})


def _is_over(run: Run, holder: Holder | None, run_ended: RunEnded) -> bool:
    """Whether a run is over: who holds the lease may be alive though Airflow does not know it."""
    return bool(holder.ended if holder is not None and holder.run == run else run_ended(run))


def _lease_response(holder: Holder) -> models.LeaseResponse:
    return models.LeaseResponse(
        holder=holder.name,
        dag_id=holder.run.dag_id if holder.run else None,
        dag_run_id=holder.run.dag_run_id if holder.run else None,
        since=holder.since,
        prolonged=holder.prolonged,
        ended=holder.ended,
    )


def dag_of_holder(holder: Holder | None, application: str) -> str:
    """Return the DAG whose runs a person must be allowed to start to free what this one holds."""
    dag = holder.run.dag_id if holder is not None and holder.run is not None else ""
    if dag == undo_dag_of(application):
        return restore_dag_of(application)
    return dag if dag in dags_of(application) else backup_dag_of(application)


def work(application: Application, catalog: Catalog, now: datetime) -> models.WorkResponse:
    """Return what is going on: the application's newest backup and restore, if they have not ended."""
    pages, name = catalog.pages, application.name
    backup = _running(pages.newest([name]).get(name))
    restore = _running(pages.newest_restores([name]).get(name))
    return models.WorkResponse(
        application=name,
        now=now,
        backup=backup_work(pages, name, pages.backup(name, backup), now) if backup else None,
        restore=restore_work(application, pages, pages.restore(name, restore), now) if restore else None,
    )


def _running(row: Row | None) -> int | None:
    return row["id"] if row is not None and row["state"] in ("running", "planned") else None


def work_of_run(
    application: Application, catalog: Catalog, dag_id: str, run_id: str, now: datetime
) -> models.WorkResponse:
    """Return what one run does or did; neither backup nor restore when it has not opened one."""
    pages, name = catalog.pages, application.name
    kind, number = pages.work_of_run(name, dag_id, run_id) or ("", 0)
    return models.WorkResponse(
        application=name,
        now=now,
        backup=backup_work(pages, name, pages.backup(name, number), now) if kind == "backup" else None,
        restore=restore_work(application, pages, pages.restore(name, number), now) if kind == "restore" else None,
    )


def backup_work(pages: Pages, application: str, row: Row, now: datetime) -> models.BackupWorkResponse:
    """Return how far a backup is."""
    files = pages.unfinished(application) if row["state"] == "running" else Amount()
    new = Amount(row["new_files_count"] or 0, row["new_files_bytes"] or 0)
    # What an earlier, failed backup planned is uploaded by this one, and not among its new files.
    total = Amount(max(new.archives, files.archives), max(new.bytes, files.bytes))
    dump = row["database"]
    phase = _backup_phase(row, files)
    return models.BackupWorkResponse(
        backup=models.BackupResponse.model_validate(row),
        phase=phase,
        rate=_rate(row["scanned_at"], now, total.bytes - files.bytes, files.bytes) if phase == "upload" else None,
        left=_amount_response(files),
        total=_amount_response(total),
        dump=_amount_response(Amount(1, dump["stored_size"] or dump["original_size"])) if dump else None,
        dump_archived=bool(dump and dump["state"] == "archived"),
    )


def _rate(since: datetime | None, now: datetime, done: int, left: int) -> models.RateResponse | None:
    """Return the speed of a step that began at a time; None before anything was done."""
    seconds = (now - since).total_seconds() if since else 0.0
    if since is None or seconds <= 0 or done <= 0:
        return None
    speed = done / seconds
    return models.RateResponse(since=since, bytes_per_second=speed, remaining_seconds=left / speed)


def _rate_of(pace: tuple[datetime, float] | None, left: int) -> models.RateResponse | None:
    """Return the speed of a step, as two looks tell it."""
    if pace is None:
        return None
    return models.RateResponse(since=pace[0], bytes_per_second=pace[1], remaining_seconds=left / pace[1])


def _backup_phase(row: Row, left: Amount) -> models.BackupPhase:
    if row["state"] != "running":
        return "ended"
    if row["snapshot_at"] is None:
        return "dump"
    if row["scanned_at"] is None:
        return "scan"
    dump = row["database"]
    return "upload" if left.archives or not dump or dump["state"] != "archived" else "close"


#: How far restores are: until it is kept, the catalog needs seconds to say it of a million files.
_progress: Looks[RestoreProgress] = Looks()
_paces = Paces()


def restore_work(application: Application, pages: Pages, row: Row, now: datetime) -> models.RestoreWorkResponse:
    """Return how far a restore is, or was a while ago, if that takes long to find out."""
    told, now = _restore_progress(application, pages, row, now)
    archives: dict[RetrievalStatus, Amount] = {}
    aside = Amount()
    for found in told.archives:
        amount = _amount(found)
        if found["source"] in ("orphan", "directory") and found["status"] != "exists":
            aside = aside + amount
        else:
            status = RetrievalStatus(found["status"])
            archives[status] = archives.get(status, Amount()) + amount
    total = sum(archives.values(), aside)
    phase = _restore_phase(row, archives, aside)
    placed = sum((archives.get(status, Amount()) for status in PLACED), Amount())
    what = (application.catalog_conn_id, application.catalog_schema, row["id"])
    pace = _paces.of(what, now, placed.bytes) if row["closed_at"] is None else None
    return models.RestoreWorkResponse(
        restore=models.RestoreResponse.model_validate(row),
        phase=phase,
        rate=_rate_of(pace, total.bytes - placed.bytes) if phase == "download" else None,
        archives={status: _amount_response(amount) for status, amount in archives.items()},
        set_aside=_amount_response(aside),
        total=_amount_response(total),
        expected=[_expected(found) for found in told.requests] if RetrievalStatus.PENDING in archives else [],
    )


def _restore_progress(
    application: Application, pages: Pages, row: Row, now: datetime
) -> tuple[RestoreProgress, datetime]:
    """Return what a restore brings, and when that was so; what is over is told as it ended."""
    if row["closed_at"] is not None:
        return pages.restore_progress(row["id"]), now
    what = (application.catalog_conn_id, application.catalog_schema, row["id"], row["state"])
    return _progress.at(what, lambda: pages.restore_progress(row["id"]))


def _restore_phase(row: Row, archives: Mapping[RetrievalStatus, Amount], aside: Amount) -> models.RestorePhase:
    if row["state"] not in ("running", "planned"):
        return "ended"
    if row["state"] == "planned":
        return _planned_phase(row)
    if archives.get(RetrievalStatus.AVAILABLE, Amount()).bytes:  # nothing is asked for of empty files
        return "request"
    if RetrievalStatus.PENDING in archives:
        return "wait"
    if RetrievalStatus.READY in archives or RetrievalStatus.AVAILABLE in archives or aside.archives:
        return "download"
    request = RestoreRequest.from_params(row["request"])
    if request.database and "database" not in row["outcome"]:
        return "database"
    return "orphans" if request.orphans and "orphans" not in row["outcome"] else "close"


def _planned_phase(row: Row) -> models.RestorePhase:
    if not row["plan"]:
        return "plan"
    return "approve" if row["plan"].get("over_budget") or row["request"].get("approve") else "request"


def _expected(row: Row) -> models.ExpectedRetrievalsResponse:
    hours = retrieval_hours(row["store_uri"]).get(Tier(row["tier"]))
    return models.ExpectedRetrievalsResponse(
        tier=row["tier"],
        waiting=_amount_response(_amount(row)),
        requested_at=row["first_request"],
        earliest=row["first_request"] + timedelta(hours=hours[0]) if hours else None,
        latest=row["last_request"] + timedelta(hours=hours[1]) if hours else None,
    )


def _amount(row: Row | None) -> Amount:
    return Amount(row["archives"], row["bytes"]) if row else Amount()


def _amount_response(amount: Amount) -> models.AmountResponse:
    return models.AmountResponse(archives=amount.archives, bytes=amount.bytes)


# --- what a restore would take -------------------------------------------------------------------------------------


def preview(application: Application, catalog: Catalog, request: RestoreRequest) -> models.RestorePreviewResponse:
    """Return what a restore would take, as the page tells it; raise as `preview_restore`."""
    plan, as_of = preview_restore(application, request, catalog=catalog)
    return models.RestorePreviewResponse(
        backup_id=plan.backup_id,
        part=request.with_target(application.restore_targets or {}).part,
        tier=plan.tier,
        days=plan.days,
        tiers=[
            models.TierResponse(
                tier=Tier(name),
                hours=hours,
                cost=money.retrieval_response(plan.costs[name]) if name in plan.costs else None,
            )
            for name, hours in plan.hours.items()
        ],
        database_bytes=plan.database_bytes,
        present=_amount_response(plan.present),
        set_aside=_amount_response(plan.set_aside),
        to_request=_amount_response(plan.to_request),
        pending=_amount_response(plan.pending),
        ready=_amount_response(plan.ready),
        expected=[_expected(row) for row in catalog.pages.pending(plan.backup_id)] if plan.pending.archives else [],
        as_of=as_of,
        restore_dag=restore_dag_of(application.name),
        requests=plan.to_request.archives,
        cost=money.retrieval_response(of_tier(plan.costs, plan.tier.value)),
        currency=plan.currency,
        prices=money.prices_response(application.price_table),
        budget=None if plan.budget is None else plain(plan.budget),
        over_budget=plan.over_budget,
        lost=models.AmountResponse(archives=plan.lost_count),
        lost_names=list(plan.lost),
        known=list(plan.known),
        into=plan.into,
        to_copy=_amount_response(plan.to_copy),
        targets=list(application.restore_targets or {}),
    )


# --- examinations --------------------------------------------------------------------------------------------------

_FIRST = (Judgement.WRONG, Judgement.DOUBTFUL, Judgement.UNTRIED, Judgement.WELL)


def examination(application: Application, state: str | None, returned: Any) -> models.ExaminationResponse:
    """Return what was found out about an application: what Airflow lacks by this server, the rest by a worker's task,
    which `returned` it; what is no diagnosis is left out."""
    found = [one.as_dict() for one in examine_airflow(application)]
    if isinstance(returned, Mapping) and isinstance(returned.get("findings"), list):
        found += [one for one in returned["findings"] if isinstance(one, dict)]
    told = []
    for one in found:
        with suppress(ValidationError):
            told.append(models.DiagnosisResponse.model_validate(one))
    order = [judgement.value for judgement in _FIRST]
    told.sort(key=lambda one: order.index(one.judgement) if one.judgement in order else len(order))
    return models.ExaminationResponse(state=state, findings=told)
