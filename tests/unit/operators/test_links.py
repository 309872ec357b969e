"""Where a task's links in Airflow's UI lead."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from glacier_provider.get_provider_info import get_provider_info
from glacier_provider.operators import links
from glacier_provider.operators.backup_steps import OpenBackupOperator
from glacier_provider.operators.glacier_upload import GlacierUploadOperator
from glacier_provider.operators.links import BackupLink, StoreLink, console_url
from glacier_provider.operators.restore_steps import CloseRestoreOperator
from tests.unit.operators.builders import CONNECTIONS, SETTINGS


def upload(**more: Any) -> GlacierUploadOperator:
    return GlacierUploadOperator(**{"task_id": "x", "application": SETTINGS, "backup_id": 7, **more})


def page_of(operator: Any) -> str:
    return BackupLink().get_link(operator, ti_key=None)


def test_a_task_of_a_backup_leads_to_it_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_of(upload()) == "/plugin/glacier-backups/dms/backups/7"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/below/")
    assert page_of(upload()) == "https://airflow.example.com/below/plugin/glacier-backups/dms/backups/7"


def test_a_task_of_no_backup_leads_to_the_application_or_its_restores() -> None:
    assert page_of(OpenBackupOperator(task_id="x", application="dms")) == "/plugin/glacier-backups/dms"
    close = CloseRestoreOperator(task_id="x", application="dms", restore_id=3)
    assert page_of(close) == "/plugin/glacier-backups/dms?tab=restores"
    assert page_of(upload(backup_id=None)) == "/plugin/glacier-backups/dms", "open_backup was marked by hand"


@pytest.mark.parametrize(
    ("store", "region", "url"),
    [
        ("s3://bck/pre/fix", None, "https://console.aws.amazon.com/s3/buckets/bck?prefix=pre%2Ffix%2F"),
        ("s3://bck", None, "https://console.aws.amazon.com/s3/buckets/bck"),
        (
            "s3://bck?region=eu-central-1",
            "eu-west-1",
            "https://console.aws.amazon.com/s3/buckets/bck?region=eu-central-1",
        ),
        ("s3://bck", "cn-north-1", "https://console.amazonaws.cn/s3/buckets/bck?region=cn-north-1"),
        ("s3://bck", "us-gov-west-1", "https://console.amazonaws-us-gov.com/s3/buckets/bck?region=us-gov-west-1"),
        ("glacier://v.1", "eu-west-1", "https://console.aws.amazon.com/glacier/home?region=eu-west-1#/vault/v.1"),
        ("ftp://b", None, ""),
    ],
)
def test_a_store_is_shown_by_aws_console_in_its_region(store: str, region: str | None, url: str) -> None:
    assert console_url(store, region) == url


def test_a_store_of_another_service_has_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CONNECTIONS.items():
        monkeypatch.setenv(name, value)
    assert StoreLink().get_link(upload(), ti_key=None) == "", "its connection has an endpoint_url"
    monkeypatch.setenv("AIRFLOW_CONN_DMS_AWS", "aws://AKIATEST:geheim@/?region_name=us-east-1")
    link = StoreLink().get_link(upload(), ti_key=None)
    assert link == "https://console.aws.amazon.com/s3/buckets/bucket?region=us-east-1&prefix=pre%2F"


def test_a_store_that_is_not_known_has_no_link_and_fails_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_DMS_AWS", raising=False)
    assert StoreLink().get_link(upload(application={**SETTINGS, "aws_conn_id": "nowhere"}), ti_key=None) == ""
    assert StoreLink().get_link(upload(application="unknown"), ti_key=None) == ""


def test_airflow_keeps_the_links_of_a_task_and_is_told_of_each() -> None:
    with DAG(dag_id="x", schedule=None) as dag:
        upload()
    (task,) = DagSerialization.to_dict(dag)["dag"]["tasks"]
    kept = task["__var"]["_operator_extra_links"]
    assert kept == {"On the backups page": "_link_BackupLink", "The store in AWS's console": "_link_StoreLink"}
    known = [f"{links.__name__}.{one.__name__}" for one in (BackupLink, StoreLink)]
    assert get_provider_info()["extra-links"] == known
