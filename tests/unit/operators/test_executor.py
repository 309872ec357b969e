"""What Airflow's executor is told with the tasks of an application: its pods."""

from __future__ import annotations

import logging
import pickle
import sys
from typing import Any

import pytest

from glacier_provider.applications import Application, parse_application
from glacier_provider.errors import ConfigurationError
from glacier_provider.operators.base import default_args
from tests.support.pods import Mount, mounts_of

POD = {
    "spec": {
        "containers": [
            {
                "name": "base",
                "volumeMounts": [
                    {"name": "files", "mountPath": "/srv/library", "subPath": "library", "readOnly": True},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
            }
        ],
        "volumes": [
            {"name": "files", "persistentVolumeClaim": {"claimName": "uploads"}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }
}


def an_application(**settings: Any) -> Application:
    entry = {
        "postgres_conn_id": "library_db",
        "files_directory": "/srv/library/uploads",
        "staging_directory": "/srv/staging",
        "store": "s3://bucket/prefix?storage_class=GLACIER",
    }
    return parse_application("library", {**entry, **settings}, origin="here.yaml")


def test_a_pod_becomes_one_that_the_executor_can_send_to_another_process() -> None:
    kubernetes = pytest.importorskip("kubernetes.client")
    told = default_args(an_application(executor_config={"pod_override": POD, "other": 1}))["executor_config"]
    pod = told["pod_override"]
    assert isinstance(pod, kubernetes.V1Pod)
    assert kubernetes.ApiClient().sanitize_for_serialization(pod) == POD
    assert told["other"] == 1
    assert pickle.loads(pickle.dumps(pod)) == pod
    mounts = [Mount("/srv/library", "/claims/uploads/library", read_only=True), Mount("/scratch")]
    assert mounts_of(pod, {"uploads": "/claims/uploads"}) == mounts


def test_without_the_client_a_pod_is_left_out_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with caplog.at_level(logging.WARNING):
        assert "executor_config" not in default_args(an_application(executor_config={"pod_override": POD}))
    assert "library: executor_config.pod_override is left out" in caplog.text
    assert "apache-airflow-providers-cncf-kubernetes is missing" in caplog.text


def test_an_application_without_one_tells_the_executor_nothing() -> None:
    assert "executor_config" not in default_args(an_application())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("pod", "must be a mapping"),
        ({"pod_override": {}}, "pod_override has no spec"),
        ({"pod_override": {"spec": []}}, "pod_override has no spec"),
        ({"pod_override": {"spec": {"containers": [{"image": "x"}]}}}, "its containers have names"),
        ({"pod_override": {"spec": {"since": object()}}}, "texts, numbers, lists"),
    ],
)
def test_what_is_no_pod_is_refused_with_the_reason(given: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        an_application(executor_config=given)
