"""What the executor is told with each task of an application: a pod, as applications.yaml writes it, becomes one."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glacier_provider.applications import Application

log = logging.getLogger(__name__)

POD = "pod_override"


def executor_config(application: Application) -> dict[str, Any]:
    """Return the application's `executor_config` as executors read it: its `pod_override` is a V1Pod.

    https://airflow.apache.org/docs/apache-airflow-providers-cncf-kubernetes/stable/kubernetes_executor.html#pod-override
    Without Kubernetes' Python client there is no executor that reads a pod: it is left out, and the log says so.
    """
    told = dict(application.executor_config or {})
    if (given := told.pop(POD, None)) is not None:
        try:
            told[POD] = _pod(given)
        except ImportError:
            log.warning(
                "%s: executor_config.%s is left out: the package apache-airflow-providers-cncf-kubernetes is missing.",
                *(application.name, POD),
            )
    return told


def _pod(given: dict[str, Any]) -> Any:
    # Imported where there is a pod: that takes a third of a second of a DAG file, which Airflow's serializer would take
    # otherwise. A configuration of its own, for that of a cluster cannot be pickled, and the executor sends the pod to
    # another process.
    from kubernetes.client import ApiClient, Configuration  # type: ignore[import-untyped]

    client = ApiClient(configuration=Configuration())
    return client.deserialize(SimpleNamespace(data=json.dumps(given)), "V1Pod")
