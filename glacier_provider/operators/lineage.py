"""What OpenLineage is told of a task: what it read, what it wrote, and what was checked of it.

As Airflow's own operators tell it, by ``get_openlineage_facets_on_start`` and ``..._on_complete``, which nobody calls
but the provider apache-airflow-providers-openlineage. Nothing of that is imported before; and what goes wrong here is a
line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from glacier_provider.core.lineage import (
    Dataset,
    Flow,
    backup_of,
    backups_dataset,
    database_dataset,
    directory_dataset,
)
from glacier_provider.hooks.resources import find_application, server_of
from glacier_provider.operators.base import GlacierOperator

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from glacier_provider.applications import Application

log = logging.getLogger(__name__)

_Told = TypeVar("_Told")


class Ends:
    """The places between which an application's backups and restores move."""

    def __init__(self, application: Application) -> None:
        self.application = application

    @cached_property
    def database(self) -> Dataset:
        server = server_of(self.application.postgres_conn_id)
        return database_dataset(server.host, server.port, server.dbname, here=_here())

    @cached_property
    def directory(self) -> Dataset:
        return directory_dataset(self.application.files_directory, here=_here())

    def backup(self, backup_id: object) -> Dataset:
        return backup_of(backups_dataset(self.application.store, self.application.name), backup_id)

    def elsewhere(self, into: Mapping[str, Any]) -> tuple[Dataset | None, Dataset | None]:
        """Return the database and the directory of another place that a restore went to, where it has them."""
        database, directory = into.get("database"), into.get("files_directory")
        server = server_of(into.get("postgres_conn_id") or self.application.postgres_conn_id)
        return (
            database_dataset(server.host, server.port, database, here=_here()) if database else None,
            directory_dataset(directory, here=_here()) if directory else None,
        )


class LineageOperator(GlacierOperator):
    """An operator that says what it reads and writes: `flow` is what a kind of task has to say.

    `came_to` is what `execute` returned, kept by `told`; None before that.
    """

    came_to: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a kind of task that says nothing: told when its file is parsed, and not as a warning of each task."""
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_") and cls.flow is LineageOperator.flow:
            raise TypeError(
                f"{cls.__module__}.{cls.__qualname__} is a LineageOperator without `flow`. "
                "Let flow(ends) return what it reads and writes, or make it a GlacierOperator."
            )

    def told(self, came_to: _Told) -> _Told:
        """Keep what the task returns, and return it."""
        self.came_to = came_to
        return came_to

    def flow(self, ends: Ends) -> Flow | None:
        """Return what goes in and out, as far as it is known; None where it is not known yet."""
        raise NotImplementedError

    def get_openlineage_facets_on_start(self) -> OperatorLineage | None:
        """Return what is known before the task runs."""
        return _unfailing(self._lineage)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        """Return what is known once the task has run."""
        return _unfailing(self._lineage)

    def _lineage(self) -> OperatorLineage | None:
        application = find_application(self.application)
        flow = self.flow(Ends(application))
        return None if flow is None else _lineage_of(flow, owner=application.name)


def _unfailing(lineage: Callable[[], OperatorLineage | None]) -> OperatorLineage | None:
    try:
        return lineage()
    except Exception as error:  # no task is lost for what is said of it
        log.warning("OpenLineage is not told what this task reads and writes (%s).", type(error).__name__)
        log.debug("OpenLineage is not told.", exc_info=True)
        return None


def _here() -> str:
    from airflow.utils.net import get_hostname

    return str(get_hostname())


def _lineage_of(flow: Flow, *, owner: str) -> OperatorLineage:
    from airflow.providers.common.compat.openlineage.facet import InputDataset, OutputDataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(
        inputs=[
            InputDataset(one.namespace, one.name, facets=_facets(one, owner), inputFacets=_input_facets(one))
            for one in flow.inputs
        ],
        outputs=[
            OutputDataset(one.namespace, one.name, facets=_facets(one, owner), outputFacets=_output_facets(one))
            for one in flow.outputs
        ],
    )


def _facets(one: Dataset, owner: str) -> dict[str, Any]:
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
    from openlineage.client.generated.ownership_dataset import Owner, OwnershipDatasetFacet

    facets: dict[str, Any] = {"ownership": OwnershipDatasetFacet(owners=[Owner(f"application:{owner}", "MAINTAINER")])}
    if one.version is not None:
        facets["version"] = DatasetVersionDatasetFacet(datasetVersion=one.version)
    return facets


def _input_facets(one: Dataset) -> dict[str, Any]:
    from openlineage.client.generated.data_quality_assertions_dataset import (
        Assertion,
        DataQualityAssertionsDatasetFacet,
    )

    if not one.checks:
        return {}
    checks = [Assertion(assertion=name, success=passed) for name, passed in one.checks.items()]
    return {"dataQualityAssertions": DataQualityAssertionsDatasetFacet(assertions=checks)}


def _output_facets(one: Dataset) -> dict[str, Any]:
    from airflow.providers.common.compat.openlineage.facet import OutputStatisticsOutputDatasetFacet

    figures = {"rowCount": one.rows, "size": one.bytes, "fileCount": one.files}
    known = {name: figure for name, figure in figures.items() if figure is not None}
    return {"outputStatistics": OutputStatisticsOutputDatasetFacet(**known)} if known else {}
