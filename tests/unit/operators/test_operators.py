"""Operators are thin: what they are given reaches one function of the pipelines, and errors reach Airflow."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestorePart, RestoreRequest
from glacier_provider.core.tiers import Tier
from glacier_provider.errors import CatalogUnavailable, ConfigurationError, StoreUnavailable, ToolMissing
from glacier_provider.hooks import resources
from glacier_provider.operators.backup_steps import CloseBackupOperator, OpenBackupOperator, ScanFilesOperator
from glacier_provider.operators.base import GlacierOperator, task_errors
from glacier_provider.operators.glacier_upload import GlacierUploadOperator
from glacier_provider.operators.orphan_file import OrphanFileOperator
from glacier_provider.operators.pg_dump import PgDumpOperator
from glacier_provider.operators.restore_steps import (
    CloseRestoreOperator,
    DownloadArchivesOperator,
    PlanRestoreOperator,
    RequestRetrievalsOperator,
)
from glacier_provider.operators.selective_pg_restore import SelectivePgRestoreOperator
from glacier_provider.pipelines import backup, restore
from glacier_provider.postgres.tools.run import Tool
from glacier_provider.sensors.glacier_job import GlacierJobSensor
from glacier_provider.stores.s3.store import S3Store
from tests.support.clean_environment import APPLICATIONS
from tests.unit.operators.builders import APPLICATION, CONNECTIONS, SETTINGS, a_context, an_asset

RANGE = {"first": 3, "last": 9, "archives": 5, "bytes": 500}
RUN = Run("glacier_backup__dms", "manual__1")


#: Opened once for all tests: every opening reads the models of AWS's services anew.
open_store_once = functools.cache(resources.open_store_of)


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CONNECTIONS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(resources, "open_store_of", open_store_once)


@dataclass(frozen=True)
class Step:
    """An operator, its arguments, and the call of a pipeline function that these come to.

    `passed` are the values behind the application; `opened` the collaborators that the function gets by keyword.
    """

    kind: type[GlacierOperator]
    call: Callable[..., Any]
    passed: tuple[Any, ...]
    opened: frozenset[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    answer: Any = None

    def make(self, **changes: Any) -> Any:
        return self.kind(task_id="step", **{"application": SETTINGS, **self.arguments, **changes})

    @property
    def pipeline(self) -> Any:
        return backup if self.call.__module__.startswith(backup.__name__) else restore


def _step(kind: Any, call: Any, passed: Sequence[Any], opened: str, **arguments: Any) -> Step:
    return Step(kind, call, tuple(passed), frozenset(opened.split()), arguments, {"figure": 1})


STEPS = {
    "open backup": _step(OpenBackupOperator, backup.open_backup, [RUN], "catalog store stores"),
    "dump": _step(PgDumpOperator, backup.dump_database, [7], "catalog server store", backup_id=7),
    "scan": _step(ScanFilesOperator, backup.scan_files, [7], "catalog", backup_id=7),
    "upload dump": _step(GlacierUploadOperator, backup.upload_database, [7], "catalog store", backup_id=7),
    "upload files": _step(
        GlacierUploadOperator,
        backup.upload_files,
        [7, ArchiveRange(**RANGE)],
        "catalog store last_try",
        backup_id=7,
        archives=RANGE,
    ),
    "close backup": _step(CloseBackupOperator, backup.close_backup, [7], "catalog store", backup_id=7),
    "request": _step(
        RequestRetrievalsOperator,
        restore.request_retrievals,
        [5, ArchiveRange(**RANGE)],
        "batches catalog stores",
        restore_id=5,
        archives=RANGE,
    ),
    "download": _step(
        DownloadArchivesOperator,
        restore.download_archives,
        [5, ArchiveRange(**RANGE)],
        "catalog elsewhere stores",
        restore_id=5,
        archives=RANGE,
    ),
    "restore database": _step(
        SelectivePgRestoreOperator, restore.restore_database, [5], "catalog elsewhere server", restore_id=5
    ),
    "move orphans": _step(OrphanFileOperator, restore.move_orphans, [5], "catalog", restore_id=5),
    "undo orphans": _step(OrphanFileOperator, restore.undo_orphans, [5], "catalog run", restore_id=5, undo=True),
    "close restore": _step(CloseRestoreOperator, restore.close_restore, [5], "catalog", restore_id=5),
}
PLAN = _step(PlanRestoreOperator, restore.plan_restore, [], "catalog elsewhere stores", request={"backup_id": 42})
ALL = {**STEPS, "plan": PLAN}

each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
every_step = pytest.mark.parametrize("step", ALL.values(), ids=ALL)


@pytest.fixture
def called(step: Step) -> Iterator[mock.Mock]:
    """The step's pipeline function, replaced by one of the same signature."""
    with mock.patch.object(step.pipeline, step.call.__name__, autospec=True, return_value=step.answer) as function:
        yield function


# --- what an operator holds ----------------------------------------------------------------------------------------


@every_step
def test_arguments_are_kept_as_they_were_given(step: Step) -> None:
    """Airflow renders templates and XComs into them later: a constructor that looks at them sees text."""
    given = {**step.arguments, "application": "{{ var.value.application }}"}
    given |= {name: f"{{{{ {name} }}}}" for name in step.arguments}
    operator = step.make(**given)
    assert {name: getattr(operator, name) for name in given} == given


@every_step
def test_every_argument_of_an_operator_can_be_templated(step: Step) -> None:
    names = [
        parameter.name
        for kind in step.kind.__mro__
        if issubclass(kind, GlacierOperator)
        for parameter in inspect.signature(kind.__init__).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert set(names) == set(step.kind.template_fields)
    assert all(hasattr(step.make(), name) for name in step.kind.template_fields)


def test_every_operator_and_sensor_takes_an_application_by_name_or_in_place() -> None:
    for given in ("dms", SETTINGS):
        assert OpenBackupOperator(task_id="x", application=given).application == given
        assert GlacierJobSensor(task_id="x", application=given, restore_id=1).application == given


def test_arguments_have_to_be_named() -> None:
    with pytest.raises(TypeError):
        PgDumpOperator("dms", 7, task_id="x")  # type: ignore[misc]


# --- what an operator does -----------------------------------------------------------------------------------------


@each_step
def test_an_operator_makes_one_call_and_returns_its_answer(step: Step, called: mock.Mock) -> None:
    answer = step.make().execute(a_context())
    assert answer == step.answer
    called.assert_called_once()
    application, *passed = called.call_args.args
    assert (application, tuple(passed)) == (APPLICATION, step.passed)
    assert set(called.call_args.kwargs) == step.opened


@every_step
def test_the_collaborators_are_those_of_the_applications_connections(step: Step, called: mock.Mock) -> None:
    called.return_value = {"ranges": []} if step is PLAN else step.answer
    step.make().execute(a_context())
    given = called.call_args.kwargs
    assert isinstance(given["catalog"], Catalog)
    assert given["catalog"].schema == "glacier_catalog"
    if "server" in given:
        assert str(given["server"]) == "database 'dms' at 127.0.0.1:1 as 'app'"
    if "stores" in given:
        assert isinstance(given["stores"](APPLICATION.store), S3Store)
    if "store" in given:
        assert isinstance(given["store"], S3Store)
        assert str(given["store"].uri) == APPLICATION.store


@each_step
def test_ids_may_come_as_text_from_templates(step: Step, called: mock.Mock) -> None:
    texts = {name: str(value) for name, value in step.arguments.items() if isinstance(value, int)}
    step.make(**texts).execute(a_context())
    assert called.call_args.args[1:] == step.passed


@each_step
def test_an_application_is_found_by_its_name(step: Step, called: mock.Mock) -> None:
    import yaml

    entry = {name: value for name, value in SETTINGS.items() if name != "name"}
    APPLICATIONS.write_text(yaml.safe_dump({"applications": {"dms": entry}}))
    step.make(application="dms").execute(a_context())
    assert called.call_args.args[0] == APPLICATION


@pytest.mark.parametrize(("undo", "name"), [("False", "move_orphans"), ("true", "undo_orphans")])
def test_undo_may_come_as_text_from_a_template(undo: str, name: str) -> None:
    """The text "False" is not empty, and thus true in Python."""
    with mock.patch.object(restore, name, autospec=True) as called:
        OrphanFileOperator(task_id="x", application=SETTINGS, restore_id=5, undo=undo).execute(a_context())  # type: ignore[arg-type]
    called.assert_called_once()


def test_an_undo_that_is_neither_is_refused() -> None:
    operator = OrphanFileOperator(task_id="x", application=SETTINGS, restore_id=5, undo="yes")  # type: ignore[arg-type]
    with pytest.raises(AirflowFailException, match="undo is 'yes'"):
        operator.execute(a_context())


# --- the plan ------------------------------------------------------------------------------------------------------

PLANNED = {"restore_id": 5, "backup_id": 42, "plan": {"tier": "Bulk"}, "ranges": [RANGE]}


def plan_with(request: Any, context: Any) -> tuple[Any, Any]:
    """Run the plan's operator; return what it returned and the call it made."""
    with mock.patch.object(restore, "plan_restore", autospec=True, return_value=dict(PLANNED)) as called:
        answer = PLAN.make(request=request).execute(context)
    return answer, called.call_args


def test_a_plan_returns_its_ranges_and_pushes_the_rest() -> None:
    context = a_context()
    answer, call = plan_with({"backup_id": 42, "tier": "Bulk", "part": "files"}, context)
    assert answer == [RANGE]
    assert context["ti"].values == {"restore_id": 5, "backup_id": 42, "plan": {"tier": "Bulk"}}
    assert call.args == (APPLICATION, RUN, RestoreRequest(42, RestorePart.FILES, Tier.BULK))


def test_a_plan_without_a_request_takes_the_params_of_the_run() -> None:
    _, call = plan_with(None, a_context(params={"backup_id": "latest", "days": 3}))
    assert call.args[2] == RestoreRequest(None, days=3)


def test_a_request_that_cannot_be_read_fails_at_once() -> None:
    with pytest.raises(AirflowFailException, match=r"ConfigurationError: backup_id is 'x'.*\{\"backup_id\": 42\}"):
        PLAN.make(request={"backup_id": "x"}).execute(a_context())


# --- assets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [STEPS["close backup"], STEPS["close restore"]], ids=["backup", "restore"])
def test_the_figures_of_a_run_are_on_the_events_of_its_assets(step: Step, called: mock.Mock) -> None:
    context, outlets = a_context(), [an_asset("one"), an_asset("two")]
    step.make(outlets=outlets).execute(context)
    assert [context["outlet_events"][asset].extra for asset in outlets] == [step.answer, step.answer]


@pytest.mark.parametrize("step", [STEPS["close backup"]], ids=["backup"])
def test_a_run_without_assets_has_no_events(step: Step, called: mock.Mock) -> None:
    context = a_context()
    step.make().execute(context)
    assert len(context["outlet_events"]) == 0


# --- errors --------------------------------------------------------------------------------------------------------


@every_step
def test_an_unknown_application_fails_at_once_and_names_the_known_ones(step: Step, called: mock.Mock) -> None:
    APPLICATIONS.write_text("applications: {}")
    with pytest.raises(
        AirflowFailException, match=r"ConfigurationError: There is no application 'shop'.*none"
    ) as caught:
        step.make(application="shop").execute(a_context())
    assert isinstance(caught.value.__cause__, ConfigurationError)
    called.assert_not_called()


@every_step
def test_an_application_in_place_with_a_wrong_field_fails_at_once(step: Step, called: mock.Mock) -> None:
    with pytest.raises(AirflowFailException, match="field 'connections'"):
        step.make(application={**SETTINGS, "connections": "many"}).execute(a_context())
    called.assert_not_called()


@every_step
def test_a_missing_connection_fails_at_once_and_says_where_to_add_it(
    step: Step, called: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GLACIER_CATALOG")
    with pytest.raises(AirflowFailException, match=r"no Airflow connection glacier_catalog.*AIRFLOW_CONN_GLACIER_CATA"):
        step.make().execute(a_context())
    called.assert_not_called()


@every_step
def test_an_error_that_lasts_fails_the_task_without_another_try(step: Step, called: mock.Mock) -> None:
    called.side_effect = cause = ToolMissing("There is no pg_dump.")
    with pytest.raises(AirflowFailException) as caught:
        step.make().execute(a_context())
    assert str(caught.value) == f"ToolMissing: {cause}"
    assert "pg_bin_directory" in str(caught.value)
    assert caught.value.__cause__ is cause


@every_step
def test_an_error_that_may_pass_is_left_to_airflows_retries(step: Step, called: mock.Mock) -> None:
    called.side_effect = cause = StoreUnavailable("It is busy.")
    with pytest.raises(StoreUnavailable) as caught:
        step.make().execute(a_context())
    assert caught.value is cause


@every_step
def test_a_foreign_error_keeps_its_type(step: Step, called: mock.Mock) -> None:
    called.side_effect = ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        step.make().execute(a_context())


@every_step
def test_the_catalog_is_closed_whatever_happens(step: Step, called: mock.Mock) -> None:
    for outcome in (None, StoreUnavailable()):
        called.side_effect, called.return_value = outcome, {"ranges": []}
        with mock.patch.object(Catalog, "close", autospec=True) as close:
            try:
                step.make().execute(a_context())
            except StoreUnavailable:
                assert outcome is not None
            close.assert_called_once()


def test_no_secret_of_a_connection_stands_in_an_error() -> None:
    """The catalog's server does not answer; its password was part of what was tried."""
    with pytest.raises(CatalogUnavailable) as caught:
        STEPS["scan"].make().execute(a_context())
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_what_is_well_passes() -> None:
    with task_errors():
        pass


# --- the end of a task from outside --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PgDumpOperator, SelectivePgRestoreOperator])
def test_a_killed_task_ends_its_tools(kind: Any) -> None:
    given = {"backup_id": 7} if kind is PgDumpOperator else {"restore_id": 5}
    with Tool(["/bin/sleep", "600"], None) as tool:
        kind(task_id="x", application=SETTINGS, **given).on_kill()
        assert tool.process.wait(timeout=30) != 0


def test_operators_are_operators_of_airflow() -> None:
    assert all(issubclass(step.kind, BaseOperator) for step in ALL.values())


@pytest.mark.parametrize("step", [STEPS["upload files"]])
@pytest.mark.parametrize(("number", "last"), [(1, False), (3, False), (4, True)])
def test_the_last_try_of_an_upload_is_told(step: Step, called: mock.Mock, number: int, last: bool) -> None:
    context = a_context()
    context["ti"].try_number = number
    step.make().execute(context)
    assert called.call_args.kwargs["last_try"] is last
