"""The operators of deletion and reconciliation: what they pass on, and what they refuse before anything is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from glacier_provider.core.deletion import DeletionPlan
from glacier_provider.core.status import BackupState
from glacier_provider.operators.delete_steps import DeleteBackupOperator, PlanDeletionOperator
from glacier_provider.operators.reconcile import MOST_WAITS, ReconcileOperator
from glacier_provider.pipelines import delete as deletion
from glacier_provider.pipelines import reconcile as reconciliation
from glacier_provider.pipelines.reconcile import Reconciled
from tests.unit.operators.builders import APPLICATION, CONNECTIONS, SETTINGS, a_context

CONFIRMED = {"backup_id": 42, "confirm": "dms-42"}
PLAN = DeletionPlan("dms", 42, BackupState.COMPLETE)


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CONNECTIONS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def planned() -> Iterator[mock.Mock]:
    with mock.patch.object(deletion, "plan_deletion", autospec=True, return_value=PLAN) as called:
        yield called


@pytest.fixture
def deleted() -> Iterator[mock.Mock]:
    with mock.patch.object(deletion, "delete_backup", autospec=True, return_value={"archives": 3}) as called:
        yield called


def plan(**request: Any) -> Any:
    return PlanDeletionOperator(task_id="plan", application=SETTINGS, request=request).execute(a_context())


def delete(**request: Any) -> Any:
    return DeleteBackupOperator(task_id="delete", application=SETTINGS, request=request).execute(a_context())


def test_a_confirmed_deletion_is_planned_and_done(planned: mock.Mock, deleted: mock.Mock) -> None:
    assert plan(**CONFIRMED) == PLAN.as_dict()
    assert planned.call_args.args == (42,)
    assert delete(**CONFIRMED) == {"archives": 3}
    assert deleted.call_args.args[:2] == (APPLICATION, 42)
    assert deleted.call_args.kwargs["force"] is False


@pytest.mark.parametrize("confirm", ["", "dms", "42", "dms-4", "library-42"])
def test_without_the_right_words_nothing_is_called(planned: mock.Mock, deleted: mock.Mock, confirm: str) -> None:
    for work in (plan, delete):
        with pytest.raises(AirflowFailException, match='give "confirm": "dms-42"'):
            work(backup_id=42, confirm=confirm)
    deleted.assert_not_called()


@pytest.mark.parametrize(
    "request_",
    [{}, {"backup_id": "latest", "confirm": "dms-latest"}, {**CONFIRMED, "backup": 42}, {**CONFIRMED, "force": "x"}],
)
def test_a_request_that_makes_no_sense_is_refused(deleted: mock.Mock, request_: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="ConfigurationError"):
        delete(**request_)
    deleted.assert_not_called()


@pytest.mark.parametrize(("force", "passes"), [(True, True), ("true", True), ("False", False)])
def test_what_can_be_forced_is_refused_until_it_is(planned: mock.Mock, force: object, passes: bool) -> None:
    planned.return_value = DeletionPlan("dms", 42, BackupState.COMPLETE, refused="It is the newest.", forcible=True)
    if passes:
        assert plan(**CONFIRMED, force=force)["forcible"] is True
    else:
        with pytest.raises(
            AirflowFailException, match=r"newest\. Nothing was changed\. To delete it all the same, give force"
        ):
            plan(**CONFIRMED, force=force)


@pytest.mark.parametrize(("given", "everything"), [(False, False), ("True", True)])
def test_a_reconciliation_returns_what_came_of_each_store(given: Any, everything: bool) -> None:
    done = [Reconciled("glacier://dms", doubtful=1)]
    with mock.patch.object(reconciliation, "reconcile", autospec=True, return_value=done) as called:
        answer = ReconcileOperator(task_id="x", application=SETTINGS, everything=given).execute(a_context())
    assert answer == [done[0].as_dict()]
    assert called.call_args.args == (APPLICATION,)
    assert called.call_args.kwargs["everything"] is everything


def test_an_inventory_that_is_being_made_is_waited_for_without_a_worker_and_not_for_ever() -> None:
    operator = ReconcileOperator(task_id="reconcile", application=SETTINGS)
    awaited = [Reconciled("glacier://vault", doubtful=1, awaited=True)]
    with mock.patch.object(reconciliation, "reconcile", autospec=True, return_value=awaited):
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(a_context())
        assert (deferred.value.method_name, deferred.value.kwargs) == ("execute_again", {"waits": 1})
        assert operator.execute_again(a_context(), None, MOST_WAITS) == [awaited[0].as_dict()]
    settled = [Reconciled("glacier://vault", doubtful=0, awaited=True), Reconciled("glacier://other", doubtful=1)]
    with mock.patch.object(reconciliation, "reconcile", autospec=True, return_value=settled):
        assert len(operator.execute(a_context())) == 2
