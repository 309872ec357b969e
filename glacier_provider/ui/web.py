"""The FastAPI app behind the page. Every answer needs a login, and the right to read the application's backup runs.

Reading changes nothing. Five routes act, each by POST: one starts a deletion, one has the database that a restore
replaced brought back, one undoes orphans, one has a worker examine what is wrong, one frees the lease of a run that is
over. Backups and restores are started through Airflow's own API, with the person's own rights.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as PathValue
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from glacier_provider import __version__
from glacier_provider.applications import Application, Applications
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.pages import BackupFilter, Found, Page
from glacier_provider.core.deletion import DeletionPlan
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.metrics import CONTENT_TYPE
from glacier_provider.core.plan import RestorePart, RestoreRequest
from glacier_provider.core.status import BackupState, RetrievalStatus
from glacier_provider.core.tiers import Tier
from glacier_provider.errors import (
    BackupNotDeletable,
    BackupNotRestorable,
    CatalogError,
    ConfigurationError,
    GlacierProviderError,
    IllegalMove,
    LeaseHeld,
    UnknownBackup,
)
from glacier_provider.hooks.resources import Resources
from glacier_provider.pipelines.delete import plan_deletion, raise_refused
from glacier_provider.pipelines.free import free_lease, lease_of
from glacier_provider.ui import access, models, views
from glacier_provider.ui.access import MetricsReaderDep, Rights, RightsDep, Scheduler, SchedulerDep
from glacier_provider.ui.catalogs import applications, problem_of, read_only_catalog
from glacier_provider.ui.models import error_responses

STATIC = Path(__file__).parent / "static"
SAFE = {"GET", "HEAD", "OPTIONS"}
MOST = 2**63 - 1
UNREADABLE = "The applications cannot be told just now: applications.yaml cannot be read."
TEXT = r"^[^\x00]+$"

BackupId = Annotated[int, PathValue(ge=1, le=MOST)]
RestoreId = Annotated[int, PathValue(ge=1, le=MOST)]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[int, Query(ge=0, le=MOST, description="the `next` of the page before")]
Text = Annotated[str, Query(min_length=1, max_length=300, pattern=TEXT, description="part of a name; case is ignored")]
RunId = Annotated[str, Query(min_length=1, max_length=250, pattern=TEXT)]


def create_app() -> FastAPI:
    """Return the app that Airflow mounts."""
    app = FastAPI(
        title="Glacier backups",
        version=__version__,
        description="The catalog of backups, as the page in Airflow's UI shows it. "
        "Log in as for Airflow's own API: `Authorization: Bearer <token>` from `POST /auth/token`.",
        dependencies=[Depends(refuse_other_sites)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_exception_handler(GlacierProviderError, _tell)
    app.add_exception_handler(StarletteHTTPException, _tell_refusal)
    app.add_exception_handler(RequestValidationError, _tell_faults)
    app.include_router(api)
    app.add_api_route("/api/openapi.json", _document(app), include_in_schema=False)
    app.add_api_route("/metrics", get_metrics, include_in_schema=False)
    app.mount("/static", Revalidated(directory=STATIC), name="static")
    return app


class Revalidated(StaticFiles):
    """Static files that a browser asks for again, so that an upgrade is seen at once. They hold no data."""

    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


# --- who may what --------------------------------------------------------------------------------------------------


def refuse_other_sites(request: Request) -> None:
    """Refuse what another site makes a logged-in person's browser send: the login cookie does not protect against it.

    Browsers tell the site of a request on https and localhost; elsewhere they tell the origin of every POST. A body
    must be JSON, which a form cannot send.
    """
    if request.method in SAFE:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site in ("same-origin", "none")
    else:
        own = origin is None or urlsplit(origin).netloc in {request.headers.get("host"), *access.own_addresses()}
    if not own:
        raise HTTPException(403, "Requests from other sites are refused.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON, with Content-Type: application/json.")


def readable(application: str, rights: RightsDep) -> Application:
    """Return an application whose backup runs the person may read; who may not learns nothing of it."""
    if not rights.allowed("GET", [views.backup_dag_of(application)]):
        raise HTTPException(403, f"You may not read the runs of {views.backup_dag_of(application)}.")
    found = _applications(rights)
    if application in found.wrong:
        raise found.error_for(application, _seen(found, rights))
    if application not in found:
        raise HTTPException(404, f"There is no application {application!r} in {found.origin}.")
    return found.named(application)


def _applications(rights: Rights) -> Applications:
    """Return the applications; where the file cannot be told at all, only who may edit learns what it says."""
    try:
        return applications()
    except ConfigurationError as error:
        if rights.may_edit():
            raise
        raise ConfigurationError(
            UNREADABLE, hint="Whoever may edit DAGs is told here what is wrong with it."
        ) from error


def _seen(found: Applications, rights: Rights) -> dict[str, str]:
    """Return the applications, right or wrong, whose backup runs the person may read, with their backup DAGs."""
    dags = {name: views.backup_dag_of(name) for name in (*found, *found.wrong) if name}
    visible = rights.allowed("GET", dags.values())
    return {name: dag for name, dag in dags.items() if dag in visible}


ReadableDep = Annotated[Application, Depends(readable)]


def opened(application: ReadableDep) -> Iterator[Catalog]:
    with read_only_catalog(application) as catalog:
        yield catalog


CatalogDep = Annotated[Catalog, Depends(opened)]

# --- routes --------------------------------------------------------------------------------------------------------

api = APIRouter(prefix="/api", tags=["backups"])


@api.get("/overview", responses=error_responses())
def get_overview(rights: RightsDep, scheduler: SchedulerDep) -> models.CardCollectionResponse:
    """Every application that the person may see, at a glance. A catalog that cannot be asked is a card's `problem`, and
    so is what applications.yaml says of an application and cannot mean. What is wrong with the file itself is `problem`
    of the answer, with its words only for who may edit DAGs.
    """
    try:
        found = _applications(rights)
    except ConfigurationError as error:
        return models.CardCollectionResponse(
            now=datetime.now(UTC), applications=[], problem=models.ProblemResponse(**problem_of(error))
        )
    seen = _seen(found, rights)
    shown = [found[name] for name in seen if name in found]
    startable = rights.allowed("POST", [dag for one in shown for dag in views.dags_of(one.name)])
    known = views.Known(now=datetime.now(UTC), dags=scheduler.dags(set(seen.values())), startable=startable)
    wrong = [views.wrong_card(name, known, found.error_for(name, seen)) for name in seen if name in found.wrong]
    told = found.error_of("") if found.wrong.get("") and rights.may_edit() else None
    return models.CardCollectionResponse(
        now=known.now,
        applications=[*views.cards(shown, known), *wrong],
        problem=models.ProblemResponse(**problem_of(told)) if told else None,
    )


@api.get("/applications/{application}", responses=error_responses(_404="no such application"))
def get_application(application: ReadableDep, rights: RightsDep, scheduler: SchedulerDep) -> models.CardResponse:
    """One application at a glance."""
    dags = views.dags_of(application.name)
    doctor = views.doctor_dag_of(application.name)
    editable = frozenset({doctor} if rights.may_edit(doctor) else ())
    known = views.Known(datetime.now(UTC), scheduler.dags(dags), rights.allowed("POST", dags), editable)
    return views.cards([application], known)[0]


@api.get("/applications/{application}/backups", responses=error_responses(_404="no such application"))
def get_backups(
    application: ReadableDep,
    catalog: CatalogDep,
    state: Annotated[list[BackupState] | None, Query()] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    sort: Literal["id", "database", "duration", "files", "new_files", "uploaded"] = "id",
    order: Literal["asc", "desc"] = "desc",
    limit: Limit = 25,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> models.BackupCollectionResponse:
    """A page of the backups of an application; filtered, sorted and cut by the database."""
    wanted = BackupFilter(application.name, tuple(state or ()) or None, _aware(since), _aware(until))
    page = Page(limit=limit, offset=offset, sort=sort, descending=order == "desc")
    rows, total = catalog.pages.backups(wanted, page)
    return views.backup_page(application, rows, total, catalog.pages)


@api.get("/applications/{application}/backups/{backup_id}", responses=error_responses(_404="no such backup"))
def get_backup(application: ReadableDep, catalog: CatalogDep, backup_id: BackupId) -> models.BackupDetailResponse:
    """One backup: its dump and manifest with their checksums, its archives by retrieval status, its report."""
    return views.backup_detail(application, backup_id, catalog.pages)


@api.get("/applications/{application}/backups/{backup_id}/files", responses=error_responses(_404="no such backup"))
def get_files(
    application: ReadableDep,
    catalog: CatalogDep,
    backup_id: BackupId,
    containing: Text | None = None,
    status: RetrievalStatus | None = None,
    after: After = 0,
    limit: Limit = 50,
) -> models.FileArchiveCollectionResponse:
    """A page of the files of a backup, in the order in which they were archived."""
    found = catalog.pages.files(
        application.name, backup_id, containing=containing, status=status, after=after, limit=limit
    )
    return _file_page(found)


@api.get("/applications/{application}/backups/{backup_id}/changes", responses=error_responses(_404="no such backup"))
def get_changes(
    application: ReadableDep,
    catalog: CatalogDep,
    backup_id: BackupId,
    kind: Literal["came", "went"] = "came",
    after: After = 0,
    limit: Limit = 50,
) -> models.ChangedFileCollectionResponse:
    """A page of the files that came, or went, since the complete backup before."""
    previous = catalog.pages.backup(application.name, backup_id)["previous_complete"]
    rows = catalog.pages.changes(
        application.name, backup_id, previous=previous, came=kind == "came", after=after, limit=limit
    )
    found = [models.ChangedFileResponse.model_validate(row) for row in rows]
    return models.ChangedFileCollectionResponse(files=found, next=_next(rows, limit), previous=previous)


@api.get("/applications/{application}/files", responses=error_responses(_404="no such application"))
def get_backups_of_files(
    application: ReadableDep, catalog: CatalogDep, containing: Text, after: After = 0, limit: Limit = 50
) -> models.FileArchiveCollectionResponse:
    """In which backups is this file? One entry for each unbroken range of backups; a file of this very name first."""
    return _file_page(catalog.pages.backups_of_files(application.name, containing, after=after, limit=limit))


@api.get(
    "/applications/{application}/backups/{backup_id}/restore-preview",
    responses=error_responses(_404="no such backup, or no such place to restore into"),
)
def get_restore_preview(
    application: ReadableDep,
    catalog: CatalogDep,
    backup_id: BackupId,
    part: RestorePart = RestorePart.EVERYTHING,
    tier: Tier | None = None,
    days: Annotated[int | None, Query(ge=1, le=365, description="how long retrieved copies stay readable")] = None,
    into: Annotated[str | None, Query(max_length=5000, description="one of `restore_targets`, or JSON of one")] = None,
) -> models.RestorePreviewResponse:
    """What a restore would take and cost, by what the catalog last saw; asks no store and writes nothing."""
    try:
        request = RestoreRequest(backup_id, part=part, tier=tier, days=days, into=RestoreTarget.from_given(into))
        request = request.with_target(application.restore_targets or {})
    except ConfigurationError as error:
        raise HTTPException(404, str(error)) from error
    return views.preview(application, catalog, request)


@api.get("/applications/{application}/work", responses=error_responses(_404="no such application"))
def get_work(
    application: ReadableDep, catalog: CatalogDep, rights: RightsDep, scheduler: SchedulerDep
) -> models.WorkResponse:
    """The backup and the restore that are under way, of which of them the run is over all the same, and the lease."""
    found = views.work(application, catalog, datetime.now(UTC))
    return views.with_runs(found, catalog, scheduler.ended, partial(rights.allowed, "POST"))


@api.get("/runs", responses=error_responses(_404="not a run of a backup or restore DAG"))
def get_run(rights: RightsDep, scheduler: SchedulerDep, dag_id: RunId, dag_run_id: RunId) -> models.WorkResponse:
    """What one Airflow run of a backup or restore DAG does, or did."""
    name = views.application_of(dag_id)
    if name is None:
        raise HTTPException(404, f"{dag_id} is not a backup or restore DAG of this provider.")
    application = readable(name, rights)
    with read_only_catalog(application) as catalog:
        found = views.work_of_run(application, catalog, dag_id, dag_run_id, datetime.now(UTC))
        return views.with_runs(found, catalog, scheduler.ended, partial(rights.allowed, "POST"))


@api.get("/runs/tasks", responses=error_responses(_404="Airflow has no such run"))
def get_tasks(
    rights: RightsDep, scheduler: SchedulerDep, dag_id: RunId, dag_run_id: RunId
) -> models.TaskInstanceCollectionResponse:
    """The tasks of one Airflow run, with the addresses of their logs."""
    name = views.application_of(dag_id)
    if name is None:
        raise HTTPException(404, f"{dag_id} is not a DAG of this provider.")
    readable(name, rights)
    if not rights.allowed("GET", [dag_id]):
        raise HTTPException(403, f"You may not read the runs of {dag_id}.")
    found = scheduler.tasks(dag_id, dag_run_id)
    if found is None:
        raise HTTPException(404, f"Airflow has no run {dag_run_id} of {dag_id}.")
    return views.tasks(dag_id, dag_run_id, *found)


@api.get(
    "/applications/{application}/backups/{backup_id}/deletion-plan", responses=error_responses(_404="no such backup")
)
def get_deletion_plan(application: ReadableDep, backup_id: BackupId) -> models.DeletionPlanResponse:
    """What deleting a backup takes away, what stays, the early-deletion fee, and the words that confirm it."""
    return views.deletion_plan(application, _deletion(application, backup_id), datetime.now(UTC))


@api.post(
    "/applications/{application}/backups/{backup_id}/delete",
    status_code=201,
    responses=error_responses(
        _400="not JSON, whatever it says", _404="no such backup", _409="refused, or not confirmed", _415="not JSON"
    ),
)
def start_deletion(
    application: ReadableDep,
    rights: RightsDep,
    scheduler: SchedulerDep,
    backup_id: BackupId,
    wanted: models.DeleteBackupBody,
) -> models.StartedDAGRunResponse:
    """Start the deletion of a backup, confirmed by the typed words; needs the right to start deletions."""
    dag = views.delete_dag_of(application.name)
    if not rights.allowed("POST", [dag]):
        raise HTTPException(403, f"You may not start runs of {dag}.")
    plan = _deletion(application, backup_id)
    if wanted.confirm.strip() != plan.confirm:
        raise HTTPException(409, f"Type {plan.confirm} to confirm the deletion of backup {backup_id}.")
    raise_refused(plan, force=wanted.force)
    conf = {"backup_id": backup_id, "confirm": plan.confirm, "force": wanted.force}
    run_id = scheduler.start(dag, conf, by=rights.name)
    return models.StartedDAGRunResponse(dag_id=dag, dag_run_id=run_id, url=views.run_url(dag, run_id))


def _deletion(application: Application, backup_id: int) -> DeletionPlan:
    with read_only_catalog(application, temporary_tables=True) as catalog:
        catalog.pages.backup(application.name, backup_id)
        return plan_deletion(backup_id, catalog=catalog)


@api.get("/applications/{application}/restores", responses=error_responses(_404="no such application"))
def get_restores(
    application: ReadableDep,
    catalog: CatalogDep,
    backup_id: Annotated[int | None, Query(ge=1, le=MOST)] = None,
    limit: Limit = 20,
) -> models.RestoreCollectionResponse:
    """The newest restores of an application, or of one of its backups."""
    rows = catalog.pages.restores(application.name, backup_id=backup_id, limit=limit)
    return models.RestoreCollectionResponse(restores=[models.RestoreResponse.model_validate(row) for row in rows])


@api.post(
    "/applications/{application}/restores/{restore_id}/undo-orphans",
    status_code=201,
    responses=error_responses(
        _400="not JSON, whatever it says",
        _404="no such restore",
        _409="not possible now; `hint` says what is",
        _415="not JSON",
    ),
)
def start_moving_orphans_back(
    application: ReadableDep,
    rights: RightsDep,
    scheduler: SchedulerDep,
    restore_id: RestoreId,
    _confirmed: models.UndoOrphansBody,
) -> models.StartedDAGRunResponse:
    """Start moving back the files that a restore moved aside, by a worker; needs the right to start restores."""
    _require_right_to_undo(application, rights)
    with read_only_catalog(application) as catalog:
        catalog.pages.restore(application.name, restore_id)
    return _start_undoing(application, scheduler, restore_id, "files", by=rights.name)


@api.post(
    "/applications/{application}/restores/{restore_id}/undo-database",
    status_code=201,
    responses=error_responses(
        _400="not JSON, whatever it says",
        _404="no such restore",
        _409="not possible now; `hint` says what is",
        _415="not JSON",
    ),
)
def start_undoing_database(
    application: ReadableDep,
    rights: RightsDep,
    scheduler: SchedulerDep,
    restore_id: RestoreId,
    _confirmed: models.UndoDatabaseBody,
) -> models.StartedDAGRunResponse:
    """Start bringing back the database that a restore replaced, by a worker; needs the right to start restores."""
    from glacier_provider.pipelines.restore.safety import dumps_to_undo

    _require_right_to_undo(application, rights)
    with read_only_catalog(application) as catalog:
        row = catalog.pages.restore(application.name, restore_id)
        dumps_to_undo(application.name, {"application": application.name, **row})
    return _start_undoing(application, scheduler, restore_id, "database", by=rights.name)


def _require_right_to_undo(application: Application, rights: Rights) -> None:
    dag = views.restore_dag_of(application.name)
    if not rights.allowed("POST", [dag]):
        raise HTTPException(403, f"You may not start runs of {dag}.")


def _start_undoing(
    application: Application, scheduler: Scheduler, restore_id: int, what: str, *, by: str
) -> models.StartedDAGRunResponse:
    dag = views.undo_dag_of(application.name)
    run_id = scheduler.start(dag, {"restore_id": restore_id, "what": what}, by=by)
    return models.StartedDAGRunResponse(dag_id=dag, dag_run_id=run_id, url=views.run_url(dag, run_id))


@api.post(
    "/applications/{application}/examination",
    status_code=201,
    responses=error_responses(
        _400="not JSON, whatever it says", _404="no such application", _409="no such DAG", _415="not JSON"
    ),
)
def start_examination(
    application: ReadableDep, rights: RightsDep, scheduler: SchedulerDep, _wanted: models.ExamineBody
) -> models.StartedDAGRunResponse:
    """Have a worker look what is wrong with an application; needs the right to edit its DAGs."""
    dag = _examining(application, rights)
    run_id = scheduler.start(dag, {}, by=rights.name)
    return models.StartedDAGRunResponse(dag_id=dag, dag_run_id=run_id, url=views.run_url(dag, run_id))


@api.get(
    "/applications/{application}/examination",
    responses=error_responses(_404="no such application, or no such run"),
)
def get_examination(
    application: ReadableDep, rights: RightsDep, scheduler: SchedulerDep, dag_run_id: RunId
) -> models.ExaminationResponse:
    """What an examination has found so far; needs the right to edit the application's DAGs."""
    dag = _examining(application, rights)
    found = scheduler.tasks(dag, dag_run_id)
    if found is None:
        raise HTTPException(404, "There is no such run.")
    return views.examination(application, found[0], scheduler.returned(dag, dag_run_id, "examine"))


def _examining(application: Application, rights: Rights) -> str:
    """Return the DAG that examines an application; what it finds is for who may edit that."""
    dag = views.doctor_dag_of(application.name)
    if not rights.may_edit(dag):
        raise HTTPException(403, f"You may not edit {dag}.")
    return dag


@api.post(
    "/applications/{application}/free-lease",
    responses=error_responses(
        _400="not JSON, whatever it says",
        _404="no such application",
        _409="its run may be alive; `hint` says what then",
        _415="not JSON",
    ),
)
def free_the_lease(
    application: ReadableDep, rights: RightsDep, scheduler: SchedulerDep, wanted: models.FreeLeaseBody
) -> models.FreedLeaseResponse:
    """Free the lease of an application whose run is over; needs the right to start runs of the DAG that holds it."""

    def run_ended(run: Run) -> str | None:
        return scheduler.ended(run.dag_id, run.dag_run_id)

    with Resources(application) as resources:
        catalog = resources.catalog
        dag = views.dag_of_holder(lease_of(catalog, run_ended), application.name)
        if not rights.allowed("POST", [dag]):
            raise HTTPException(403, f"You may not start runs of {dag}.")
        return models.FreedLeaseResponse(**free_lease(catalog, run_ended, force=wanted.force).as_dict())


def get_metrics(rights: MetricsReaderDep) -> Response:
    """The figures of every application that the reader may see, as OpenMetrics text."""
    found = _applications(rights)
    seen = _seen(found, rights)
    wrong = [name for name in seen if name in found.wrong]
    text = views.metrics([found[name] for name in seen if name in found], datetime.now(UTC), wrong)
    return Response(text, media_type=CONTENT_TYPE)


# --- what the routes share -----------------------------------------------------------------------------------------


def _document(app: FastAPI) -> Any:
    def openapi(_rights: RightsDep) -> JSONResponse:
        return JSONResponse(app.openapi())

    # The name of the dependency is resolved where FastAPI looks for it: among the globals of this module.
    return openapi


def _tell(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GlacierProviderError)
    return JSONResponse(problem_of(error), status_code=_status(error))


def _tell_refusal(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    kind = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
    told = {"kind": kind, "detail": str(error.detail), "hint": ""}
    return JSONResponse(told, status_code=error.status_code, headers=error.headers)


def _tell_faults(_request: Request, error: Exception) -> JSONResponse:
    """Tell what is wrong with a request, by the name of the field; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)
    faults = (
        f"{'.'.join(str(part) for part in one['loc'][1:]) or one['loc'][0]}: {one['msg']}" for one in error.errors()
    )
    return JSONResponse({"kind": "InvalidRequest", "detail": "; ".join(faults), "hint": ""}, status_code=422)


def _status(error: GlacierProviderError) -> int:
    if isinstance(error, UnknownBackup):
        return 404
    if isinstance(error, BackupNotRestorable | BackupNotDeletable | IllegalMove | LeaseHeld):
        return 409
    return 503 if isinstance(error, CatalogError | ConfigurationError) else 409


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _file_page(found: Found) -> models.FileArchiveCollectionResponse:
    files = [models.FileArchiveResponse.model_validate(row) for row in found.rows]
    return models.FileArchiveCollectionResponse(files=files, next=found.next, searched=found.searched)


def _next(rows: list[dict[str, Any]], limit: int) -> int | None:
    return int(rows[-1]["id"]) if len(rows) == limit else None
