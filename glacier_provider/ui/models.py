"""What the API answers. Sizes are bytes, times are UTC, `null` means not known or not yet."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from glacier_provider.core.plan import RestorePart
from glacier_provider.core.proof import ProofKind, Standing
from glacier_provider.core.status import BackupState, ProofState, RestoreState, RetrievalStatus
from glacier_provider.core.tiers import Tier
from glacier_provider.ui.health import Health


class BaseResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ProblemResponse(BaseResponse):
    """Why something cannot be told, and what mends it."""

    kind: str = Field(description="the name of the error", examples=["CatalogUnavailable"])
    detail: str
    hint: str


class AmountResponse(BaseResponse):
    archives: int = 0
    bytes: int = 0


#: An amount of money: decimal text, which JSON keeps exactly.
Money = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{6}$", examples=["12.345600"])]


class PricesResponse(BaseResponse):
    """Where estimates come from: one dated price table."""

    currency: str
    region: str
    as_of: date
    source: str
    overridden: bool = Field(description="whether applications.yaml lays figures of its own over the list prices")


class ClassCostResponse(BaseResponse):
    """What the archives in one store class cost a month."""

    store_class: str
    archives: int
    bytes: int
    monthly: Money


class MonthlyCostResponse(BaseResponse):
    """What an application's archives are estimated to cost a month."""

    monthly: Money
    currency: str
    archives: int
    bytes: int
    classes: list[ClassCostResponse]
    retrieve_everything: dict[str, Money] = Field(description="by tier; under the empty name: no tier is needed")
    retrieval_days: int = Field(description="for how long retrieved copies are kept, and billed")
    looks: Money = Field(description="what each backup asks the store beside its uploads: is it all there")
    rebuild: Money = Field(description="what rebuilding a lost catalog asks the store")
    delete_today: Money = Field(description="the early-deletion fee if everything were deleted today, at most")
    prices: PricesResponse


class AddedCostResponse(BaseResponse):
    """What one backup added to the bill: the storage of its dump and its new files a month; its requests, once."""

    monthly: Money
    upload: Money
    currency: str


class RetrievalCostResponse(BaseResponse):
    """What it is estimated to cost to bring archives back."""

    requests: Money
    bytes: Money
    reading: Money = Field(description="GETs of what is readable, HEADs and LISTs that look whether it is")
    temporary_copy: Money = Field(description="the retrieved copies, billed as STANDARD for the days that they stay")
    transfer_out: Money
    total: Money


class DrilledResponse(BaseResponse):
    """The last drill of a backup."""

    state: ProofState
    ended_at: datetime


class ProofResponse(BaseResponse):
    """A verification or a drill that has ended."""

    id: int
    kind: ProofKind
    state: ProofState
    method: str
    began_at: datetime
    ended_at: datetime
    backup_id: int | None = Field(description="null: it was about all backups")
    words: str = Field(description="what it came to", examples=["1.2 GB, 41 tables, 100 files, 6 min 20 s"])
    findings: list[str] = Field(description="what it found, a sentence each, the grave ones first")
    error: str | None
    evidence: int | None = Field(description="the number of its document; null: there is none yet")


class CheckedRestoreResponse(BaseResponse):
    """A restore that people asked for, whose database was checked before it took its place."""

    id: int
    state: RestoreState
    closed_at: datetime
    elsewhere: bool = Field(description="into another place, and not over the application's database")
    words: str = Field(description="what the checks came to", examples=["9 checks passed"])
    error: str | None = Field(description="which checks failed, with figures")


class StandingResponse(BaseResponse):
    """How it stands with the proofs of one kind: the last one, and the last that passed."""

    kind: ProofKind
    standing: Standing
    ended_at: datetime | None = None
    passed_at: datetime | None = None
    backup_id: int | None = Field(default=None, description="the backup that a drill last restored and passed")
    words: str = Field(default="", description="what the last one that passed came to")
    told: list[str] = Field(default=[], description="what is wrong, a sentence each")
    hint: str | None = Field(default=None, description="what to do next")


class BackupResponse(BaseResponse):
    """One backup. `archives`: of a complete one, by retrieval status; `retrieval_status` is the lowest of them."""

    id: int
    state: BackupState
    dag_id: str
    dag_run_id: str
    opened_at: datetime
    closed_at: datetime | None
    files_count: int | None
    files_bytes: int | None
    new_files_count: int | None
    new_files_bytes: int | None
    vanished_count: int | None = None
    returned_count: int | None = None
    database_bytes: int | None
    error: str | None
    unreadable_count: int = Field(default=0, description="files that could not be read and are not in it; on cards")
    shortfalls: list[str] = Field(default=[], description="what it is known to lack, a sentence each; on cards")
    lost: AmountResponse | None = Field(default=None, description="files in no store any more; of a complete one")
    unrestorable: str | None = Field(
        default=None, description="why it cannot be brought back, by its rehearsal; on cards"
    )
    archives: dict[RetrievalStatus, AmountResponse] = {}
    retrieval_status: RetrievalStatus | None = None
    cost: AddedCostResponse | None = Field(default=None, description="told in lists and details of one application")
    drilled: DrilledResponse | None = Field(default=None, description="told in lists and details of one application")


class BackupCollectionResponse(BaseResponse):
    backups: list[BackupResponse]
    total: int


class OwnArchiveResponse(BaseResponse):
    """The dump or the manifest of a backup."""

    id: int
    filename: str
    state: str
    stored_size: int | None
    sha256: str | None
    tree_hash: str | None
    checksum: str | None
    encoding: str
    store_uri: str
    key: str | None
    retrieval_status: RetrievalStatus
    archived_at: datetime | None


class BackupDetailResponse(BackupResponse):
    """A backup with its dump, its manifest, what it reported, and the backups beside it."""

    snapshot_at: datetime | None
    scanned_at: datetime | None
    server_version: str | None
    client_version: str | None
    dump_format: str | None
    database: OwnArchiveResponse | None
    manifest: OwnArchiveResponse | None
    report: dict[str, Any]
    proofs: list[ProofResponse] = []
    checked_restores: list[CheckedRestoreResponse] = []
    previous: int | None
    previous_complete: int | None
    next: int | None


class FileArchiveResponse(BaseResponse):
    """An archived file. It is in the backups from `first_backup_id` to `last_backup_id`; null: to this day."""

    id: int
    filename: str
    original_size: int
    state: str
    retrieval_status: RetrievalStatus
    archived_at: datetime | None
    first_backup_id: int
    last_backup_id: int | None
    sha256: str | None = None
    checksum: str | None = None
    store_uri: str | None = None
    key: str | None = None
    made_by_backup: int | None = None


class FileArchiveCollectionResponse(BaseResponse):
    """`next` is the value of `after` that gives the following page; null: there is none.

    One request looks through a bounded number of archives: a page may be short, or empty, and still have a `next`.
    """

    files: list[FileArchiveResponse]
    next: int | None = None
    searched: int | None = Field(default=None, description="how many archives were looked through without filling it")


class ChangedFileResponse(BaseResponse):
    id: int
    filename: str
    original_size: int
    state: str
    made_by_backup: int
    returned: bool = Field(description="archived by an earlier backup, away for some time, and back")


class ChangedFileCollectionResponse(BaseResponse):
    files: list[ChangedFileResponse]
    next: int | None = None
    previous: int | None = Field(description="the complete backup that is compared with; null: there is none")


class RestoreResponse(BaseResponse):
    id: int
    state: RestoreState
    backup_id: int
    dag_id: str
    dag_run_id: str
    opened_at: datetime
    closed_at: datetime | None
    error: str | None
    request: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    outcome: dict[str, Any] = {}
    orphans_aside: int = Field(default=0, description="files that this restore moved aside and that still lie there")


class RestoreCollectionResponse(BaseResponse):
    restores: list[RestoreResponse]


class CalendarResponse(BaseResponse):
    """A year of days: c complete, f failed, r running, d deleted since, m missing, ``.`` nothing was due."""

    start: date
    days: str


class GrowthResponse(BaseResponse):
    at: datetime
    files: int | None
    bytes: int


class ActionsResponse(BaseResponse):
    """What the person who asks may do."""

    back_up: bool
    restore: bool
    delete: bool
    examine: bool = Field(default=False, description="told of one application alone, not of all of them")


class CardResponse(BaseResponse):
    """One application at a glance."""

    name: str
    health: Health
    late_since: datetime | None = Field(default=None, description="when the backup was due that is missing")
    schedule: str | None
    timezone: str | None = Field(description="null: what applications.yaml says of the application is wrong")
    next_run: datetime | None = None
    paused: bool | None = Field(default=None, description="whether the backup DAG is paused; null: Airflow has none")
    store: str | None
    backup_dag: str
    restore_dag: str
    delete_dag: str
    actions: ActionsResponse
    newest: BackupResponse | None = None
    complete: BackupResponse | None = Field(default=None, description="the newest complete backup")
    restore: RestoreResponse | None = Field(default=None, description="the newest restore")
    cost: MonthlyCostResponse | None = None
    proofs: list[StandingResponse] = Field(default=[], description="of verifications and drills")
    calendar: CalendarResponse | None = None
    growth: list[GrowthResponse] = []
    problem: ProblemResponse | None = None


class CardCollectionResponse(BaseResponse):
    now: datetime
    applications: list[CardResponse]
    problem: ProblemResponse | None = Field(default=None, description="what is wrong with applications.yaml as a whole")


BackupPhase = Literal["dump", "scan", "upload", "close", "ended"]
RestorePhase = Literal["plan", "approve", "request", "wait", "download", "database", "orphans", "close", "ended"]


class RateResponse(BaseResponse):
    """How fast bytes go, on average since a moment, and how long the rest takes at that speed."""

    since: datetime
    bytes_per_second: float
    remaining_seconds: float


class BackupWorkResponse(BaseResponse):
    """A backup under way. `left` and `total` count files to upload; `dump` is null before it was made."""

    backup: BackupResponse
    phase: BackupPhase
    left: AmountResponse
    total: AmountResponse
    dump: AmountResponse | None
    dump_archived: bool
    rate: RateResponse | None = Field(default=None, description="of the upload; null before anything was sent")


class ExpectedRetrievalsResponse(BaseResponse):
    """Retrievals of one tier that a restore waits for, and when they are typically ready."""

    tier: str
    waiting: AmountResponse
    requested_at: datetime
    earliest: datetime | None
    latest: datetime | None


class RestoreWorkResponse(BaseResponse):
    """A restore under way: what it brings by retrieval status, the files to move back, what is waited for."""

    restore: RestoreResponse
    phase: RestorePhase
    archives: dict[RetrievalStatus, AmountResponse]
    set_aside: AmountResponse
    total: AmountResponse
    expected: list[ExpectedRetrievalsResponse]
    rate: RateResponse | None = Field(
        default=None,
        description="of the download, by the looks of the last two minutes; null before two, and while nothing comes",
    )


class LeaseResponse(BaseResponse):
    """Who holds the lease of an application: only one run at a time changes it."""

    holder: str = Field(description="as in `backup 42`")
    dag_id: str | None = Field(description="null where no run of Airflow holds it")
    dag_run_id: str | None
    since: datetime | None
    prolonged: datetime | None = Field(description="last; steps do it twice a minute")
    ended: str | None = Field(description="how Airflow says that its run ended; null while it may be alive")


class WorkResponse(BaseResponse):
    """What is going on, or what became of one run."""

    application: str
    now: datetime
    backup: BackupWorkResponse | None = None
    restore: RestoreWorkResponse | None = None
    over: list[Literal["backup", "restore"]] = Field(
        default=[], description="of these Airflow says that the run is over, although the catalog has them as under way"
    )
    lease: LeaseResponse | None = Field(default=None, description="null when nobody holds it")
    may_free: bool = Field(default=False, description="whether the person may free it, and end what is over")


class TierResponse(BaseResponse):
    tier: Tier
    hours: tuple[float, float] = Field(description="typical hours until everything is readable, from and to")
    cost: RetrievalCostResponse | None = Field(description="null where not every store of the backup has the tier")


class RestorePreviewResponse(BaseResponse):
    """What a restore would take, by what the catalog last saw; the restore itself looks again before it asks."""

    backup_id: int
    part: RestorePart
    tier: Tier
    days: int
    tiers: list[TierResponse] = Field(description="empty when nothing has to be retrieved from the cold")
    database_bytes: int
    present: AmountResponse
    set_aside: AmountResponse
    to_request: AmountResponse
    pending: AmountResponse
    ready: AmountResponse
    expected: list[ExpectedRetrievalsResponse] = Field(description="of what is pending, by tier")
    as_of: datetime | None = Field(description="when the directory was last compared with the catalog")
    restore_dag: str
    requests: int = Field(description="retrievals that are to be requested")
    cost: RetrievalCostResponse = Field(description="by the tier above")
    currency: str
    prices: PricesResponse
    budget: Money | None = Field(description="what a restore may cost without a person's approval")
    over_budget: bool = Field(description="the run will wait for an approval before it asks for anything")
    lost: AmountResponse = Field(default=AmountResponse(), description="files that are in no store any more")
    lost_names: list[str] = Field(default=[], description="the first of them")
    known: list[str] = Field(default=[], description="what the backup is known to lack, a sentence each")
    into: str = Field(default="", description="where it goes, when not into the application's own places")
    to_copy: AmountResponse = Field(
        default=AmountResponse(), description="files that are copied there from the application's own directory"
    )
    targets: list[str] = Field(default=[], description="other places that restores can go to, by name")


class TaskInstanceResponse(BaseResponse):
    """One task of a run; `map_index` -1: not mapped. `log_url` is relative to Airflow's own address."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None
    log_url: str


class TaskInstanceCollectionResponse(BaseResponse):
    """The tasks of one Airflow run, with links to their logs; `url` is relative to Airflow's own address."""

    dag_id: str
    dag_run_id: str
    state: str | None
    url: str
    tasks: list[TaskInstanceResponse]


class GoingResponse(BaseResponse):
    """Archives that go, of one store class, kind and day."""

    store_class: str
    kind: str
    archived_on: date
    age_days: int
    archives: int
    bytes: int
    fee: Money


class StayingResponse(BaseResponse):
    reason: str = Field(description="follows the word since")
    archives: int
    bytes: int


class DeletionPlanResponse(BaseResponse):
    """What deleting a backup takes away and what stays; nothing is changed by asking."""

    backup_id: int
    state: BackupState
    archives: int
    bytes: int
    goes: list[GoingResponse]
    stays: list[StayingResponse]
    fee: Money = Field(description="for what is deleted before the minimum storage duration of its class")
    saves_monthly: Money
    currency: str
    prices: PricesResponse
    refused: str | None = Field(description="why the backup cannot be deleted")
    forcible: bool = Field(description="whether `force` lifts the refusal")
    confirm: str = Field(description="the words that a person types to confirm it")
    delete_dag: str


class DeleteBackupBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confirm: str = Field(min_length=1, max_length=300, description="the `confirm` of the deletion plan, typed")
    force: bool = False


class StartedDAGRunResponse(BaseResponse):
    """A run that was started; `url` is relative to Airflow's own address."""

    dag_id: str
    dag_run_id: str
    url: str


class DiagnosisResponse(BaseResponse):
    """One thing that was looked at: how it is, and what mends it when it is not well."""

    about: str
    judgement: str = Field(description="well, doubtful (it works, and will be regretted), wrong, or not tried")
    told: str
    mend: str


class ExaminationResponse(BaseResponse):
    """What was found out about an application: by the API server at once, by a worker when its task has ended."""

    state: str | None = Field(description="of the DAG run: queued, running, success or failed")
    findings: list[DiagnosisResponse] = Field(description="what is wrong first")


class ExamineBody(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UndoOrphansBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confirm: Literal[True]


class UndoDatabaseBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confirm: Literal[True]


class FreeLeaseBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    force: bool = Field(default=False, description="also when Airflow does not say that the run is over")


class FreedLeaseResponse(BaseResponse):
    freed: str | None = Field(description="who held the lease; null when nobody did")
    run: str | None = None
    state: str | None = Field(default=None, description="how Airflow says that its run ended; null when forced")
    ended: list[str] = Field(description="what else was noted as failed, since its run is over")
    text: str = Field(description="what was done, in words")


def error_responses(**texts: str) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route for its documentation, as in `error_responses(_404="no such backup")`."""
    common = {
        "_401": "not logged in",
        "_403": "not allowed",
        "_422": "not a request that makes sense",
        "_503": "the catalog cannot be asked; `hint` mends it",
    }
    return {
        int(code[1:]): {"description": text, "model": ProblemResponse} for code, text in {**common, **texts}.items()
    }
