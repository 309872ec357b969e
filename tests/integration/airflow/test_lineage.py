"""OpenLineage's own extractor hears from our operators what they read and wrote. Needs the extra `lineage`."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.utils.net import get_hostname
from airflow.utils.state import TaskInstanceState

from glacier_provider.operators import drill_steps, restore_steps, verify_steps
from glacier_provider.operators.backup_steps import CloseBackupOperator, OpenBackupOperator, ScanFilesOperator
from glacier_provider.operators.glacier_upload import GlacierUploadOperator
from glacier_provider.operators.lineage import LineageOperator
from glacier_provider.operators.pg_dump import PgDumpOperator
from glacier_provider.operators.restore_steps import CloseRestoreOperator
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest
from tests.unit.operators.builders import a_context

pytest.importorskip("airflow.providers.openlineage", reason="the extra `lineage` is not installed")


class Told:
    """Runs operators by hand, and returns what OpenLineage's extractor has of each before it runs and after."""

    def __init__(self) -> None:
        from airflow.providers.openlineage.extractors.manager import ExtractorManager

        self.manager = ExtractorManager()
        self.dag = DAG("told")
        self.results: list[Any] = []

    def run(self, kind: Any, name: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        task = kind(task_id=name, application="dms", dag=self.dag, **arguments)
        before = self.lineage(task, TaskInstanceState.RUNNING)
        self.results.append(task.execute(a_context(task)))
        return before, self.lineage(task, TaskInstanceState.SUCCESS)

    def lineage(self, task: Any, state: TaskInstanceState) -> dict[str, Any]:
        """Return inputs and outputs, as they are sent."""
        from openlineage.client.serde import Serde

        run: Any = SimpleNamespace(run_id="manual__1", dag_id="told")
        told = self.manager.extract_metadata(run, task, state, SimpleNamespace(task=task))
        return {
            kind: [json.loads(Serde.to_json(one)) for one in datasets]
            for kind, datasets in (("inputs", told.inputs), ("outputs", told.outputs))
        }


def named(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["namespace"], one["name"]) for one in datasets]


def checks_of(dataset: dict[str, Any]) -> dict[str, bool]:
    facet = dataset["inputFacets"].get("dataQualityAssertions", {"assertions": []})
    return {one["assertion"]: one["success"] for one in facet["assertions"]}


def statistics_of(dataset: dict[str, Any]) -> dict[str, int]:
    figures = dataset["outputFacets"].get("outputStatistics", {})
    return {name: figures[name] for name in ("rowCount", "size", "fileCount") if figures.get(name) is not None}


def test_a_backup_and_a_restore_tell_what_they_read_and_wrote(dms: ApplicationUnderTest) -> None:
    told, here = Told(), get_hostname()
    bucket = dms.application.store.removeprefix("s3://").partition("/")[0]
    store, server = (f"s3://{bucket}", "pre/dms"), dms.server
    database = (f"postgres://{server.host}:{server.port}", server.dbname)
    if not server.host or server.host.startswith("/"):
        database = (f"postgres://{here}:{server.port}", server.dbname)
    directory = (f"file://{here}", dms.application.files_directory)
    with settings_of(dms):
        told.run(OpenBackupOperator, "open_backup")
        number = told.results[-1]
        before, after = told.run(PgDumpOperator, "dump_database", backup_id=number)
        assert (named(before["inputs"]), named(before["outputs"])) == ([database], [store])
        assert statistics_of(before["outputs"][0]) == {}
        assert statistics_of(after["outputs"][0]) == {"size": told.results[-1]["size"]}
        assert after["outputs"][0]["facets"]["version"]["datasetVersion"] == str(number)
        (owner,) = after["outputs"][0]["facets"]["ownership"]["owners"]
        assert (owner["name"], owner["type"]) == ("application:dms", "MAINTAINER")

        told.run(ScanFilesOperator, "scan_files", backup_id=number)
        (wanted,) = told.results[-1]
        _, dump = told.run(GlacierUploadOperator, "upload_database", backup_id=number)
        assert (named(dump["inputs"]), named(dump["outputs"])) == ([database], [store])
        _, files = told.run(GlacierUploadOperator, "upload_files", backup_id=number, archives=wanted)
        assert (named(files["inputs"]), named(files["outputs"])) == ([directory], [store])
        assert statistics_of(files["outputs"][0]) == {"size": 27, "fileCount": 3}

        _, closed = told.run(CloseBackupOperator, "close_backup", backup_id=number)
        assert named(closed["inputs"]) == [database, directory]
        assert statistics_of(closed["outputs"][0])["fileCount"] == 3
        assert checks_of(closed["inputs"][1]) == {"every file can be read": True}

        (dms.files / "doc2.pdf").unlink()
        restore_id = dms.restore(number)["restore_id"]
        before, restored = told.run(CloseRestoreOperator, "close_restore", restore_id=restore_id)
        assert before == {"inputs": [], "outputs": []}
        assert (named(restored["inputs"]), named(restored["outputs"])) == ([store], [database, directory])
        assert restored["inputs"][0]["facets"]["version"]["datasetVersion"] == str(number)
        assert checks_of(restored["inputs"][0])["row_counts"] is True


def of_closed(kind: Any, came_to: Any) -> dict[str, Any]:
    told = Told()
    task = kind(task_id="close", application="dms", dag=told.dag, proof_id=1)
    task.told(came_to)
    return told.lineage(task, TaskInstanceState.SUCCESS)


def test_a_drill_and_a_verification_tell_what_they_found(dms: ApplicationUnderTest) -> None:
    checks = [{"name": "schema", "passed": True}, {"name": "row_counts", "passed": False}]
    drilled = {"state": "found", "backup_id": 7, "figures": {"database": {"checks": checks}}}
    with settings_of(dms):
        (backup,) = of_closed(drill_steps.CloseDrillOperator, drilled)["inputs"]
        assert checks_of(backup) == {"schema": True, "row_counts": False, "drill": False}
        assert backup["facets"]["version"]["datasetVersion"] == "7"
        (all_of_them,) = of_closed(verify_steps.CloseVerificationOperator, {"state": "passed", "method": "content"})[
            "inputs"
        ]
        assert checks_of(all_of_them) == {"verification by content": True}
        assert "version" not in all_of_them["facets"]


def test_a_restore_elsewhere_tells_where(dms: ApplicationUnderTest) -> None:
    figures = {
        "backup_id": 7,
        "part": "everything",
        "into": {"database": "staging", "files_directory": "/srv/staging"},
        "plan": {"database_bytes": 5},
        "outcome": {"database": {"restored": 3}},
    }
    told = Told()
    task = restore_steps.CloseRestoreOperator(task_id="close", application="dms", dag=told.dag, restore_id=1)
    task.told(figures)
    with settings_of(dms):
        outputs = told.lineage(task, TaskInstanceState.SUCCESS)["outputs"]
    assert [one["name"] for one in outputs] == ["staging", "/srv/staging"]


def test_what_cannot_be_told_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by an application that is unknown by now, nor by a fault of ours."""
    told = Told()
    task = PgDumpOperator(task_id="dump", application={"name": "nonsense"}, dag=told.dag, backup_id=1)
    assert told.lineage(task, TaskInstanceState.SUCCESS) == {"inputs": [], "outputs": []}
    monkeypatch.setattr(LineageOperator, "flow", lambda *_: 1 / 0)
    assert task.get_openlineage_facets_on_complete(None) is None
