"""What `dag.test` of Airflow 3.2 leaves out and its processes do, as those of 3.3 do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from airflow import __version__

IS_3_2 = __version__.startswith("3.2.")


@contextmanager
def as_its_processes_do() -> Iterator[None]:
    """Have callbacks learn why a task failed, and a task that waits for a person what that person answered."""
    if not IS_3_2:
        yield
        return
    from airflow.sdk.execution_time import task_runner

    finalize = task_runner.finalize

    def with_the_error(ti: Any, state: Any, context: Any, log: Any, error: Any = None) -> None:
        context["exception"] = error  # `task_runner.main` does
        finalize(ti, state, context, log, error)

    asked = "airflow.providers.standard.triggers.hitl.get_hitl_detail_content_detail"
    with mock.patch.object(task_runner, "finalize", with_the_error), mock.patch(asked, _answer):
        yield


def _answer(ti_id: Any) -> Any:
    """Return what a person answered, as the triggerer is told it."""
    from uuid import UUID

    from airflow.api_fastapi.execution_api.datamodels.hitl import HITLDetailResponse
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        detail = session.scalars(select(HITLDetail).where(HITLDetail.ti_id == UUID(str(ti_id)))).one()
        return HITLDetailResponse.from_hitl_detail_orm(detail)
