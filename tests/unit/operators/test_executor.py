"""What Airflow's executor is told with the tasks of an application: its pods."""

from __future__ import annotations

import json
import logging
import pickle
import sys
from typing import Any

import pytest
import yaml

from glacier_provider.applications import Application, parse_application
from glacier_provider.errors import ConfigurationError
from glacier_provider.hooks.pods import pod_of
from glacier_provider.operators.base import default_args
from tests.support.pods import CHECKOUT, Mount, mounts_of

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


def test_a_pod_that_says_nothing_of_containers_leaves_the_tasks_own_as_it_is() -> None:
    pytest.importorskip("kubernetes.client")
    pod, unknown = pod_of({"spec": {"nodeSelector": {"any": "label"}}})
    assert [one.name for one in pod.spec.containers] == ["base"]
    assert (pod.spec.node_selector, unknown) == ({"any": "label"}, [])


def with_typo(*, where: str) -> dict[str, Any]:
    """Return the pod with one name misspelt."""
    told: dict[str, Any] = json.loads(json.dumps(POD).replace(f'"{where}"', f'"{where.lower()}"'))
    assert told != POD
    return told


@pytest.mark.parametrize(
    ("pod", "named"),
    [
        (with_typo(where="volumeMounts"), '"spec.containers[0].volumemounts"'),
        (with_typo(where="subPath"), '"spec.containers[0].volumeMounts[0].subpath"'),
        ({"spec": {"fsGroup": 1000, "nodeSelector": {"any": "label"}}}, '"spec.fsGroup"'),
    ],
)
def test_a_field_that_kubernetes_does_not_know_is_named_and_the_rest_is_told(
    caplog: pytest.LogCaptureFixture, pod: dict[str, Any], named: str
) -> None:
    pytest.importorskip("kubernetes.client")
    assert "pod_override" in default_args(an_application(executor_config={"pod_override": pod}))["executor_config"]
    assert f"library: executor_config.pod_override has what no pod has: {named}." in caplog.text


@pytest.mark.parametrize("pod", [with_typo(where="mountPath"), {"spec": {"containers": [{"name": "base", "env": 1}]}}])
def test_what_is_no_pod_takes_away_no_dag_and_is_named(caplog: pytest.LogCaptureFixture, pod: dict[str, Any]) -> None:
    pytest.importorskip("kubernetes.client")
    assert "executor_config" not in default_args(an_application(executor_config={"pod_override": pod}))
    assert "library: left out, since executor_config.pod_override is no pod" in caplog.text


def the_guides_pod() -> Any:
    """Return the pod of the guide's example; Kubernetes knows all of its fields."""
    section = (CHECKOUT / "docs" / "deployment.md").read_text().split("## KubernetesExecutor\n")[1]
    told = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    pod, unknown = pod_of(told["applications"]["library"]["executor_config"]["pod_override"])
    assert unknown == []
    return pod


def test_kubernetes_knows_all_of_the_guides_example() -> None:
    pytest.importorskip("kubernetes.client")
    pod = the_guides_pod()
    assert pod.spec.security_context.fs_group_change_policy == "OnRootMismatch"
    volumes = {one.name for one in pod.spec.volumes}
    assert {one.name for one in pod.spec.containers[0].volume_mounts} == volumes


def test_the_guides_pod_is_laid_over_a_template_as_the_guide_says() -> None:
    generator = pytest.importorskip("airflow.providers.cncf.kubernetes.pod_generator").PodGenerator
    template, _ = pod_of(
        {
            "spec": {
                "securityContext": {"runAsUser": 50000, "fsGroup": 0, "runAsNonRoot": True},
                "containers": [
                    {"name": "base", "image": "a", "volumeMounts": [{"name": "logs", "mountPath": "/logs"}]}
                ],
                "volumes": [{"name": "logs", "emptyDir": {}}],
            }
        }
    )
    pod = generator.reconcile_pods(template, the_guides_pod())
    (base,) = pod.spec.containers
    assert base.image == "a"
    assert {one.mount_path for one in base.volume_mounts} == {"/logs", "/srv/library", "/srv/glacier/staging"}
    assert {one.name for one in pod.spec.volumes} == {"logs", "files", "staging"}
    context = pod.spec.security_context
    assert (context.run_as_user, context.fs_group, context.run_as_non_root) == (1000, 1000, None), "it is the whole"
