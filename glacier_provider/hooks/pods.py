"""The pod of an application's tasks: as applications.yaml writes it, it becomes what Airflow's executor asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from glacier_provider.errors import ConfigurationError

POD = "pod_override"


def pod_of(given: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return a V1Pod, and which of what was given is not in it: Kubernetes' Python client leaves out what it does not
    know without a word, and a pod whose volumes are misspelt runs without them.

    Raise ConfigurationError for what is no pod, ImportError without that client.
    https://airflow.apache.org/docs/apache-airflow-providers-cncf-kubernetes/stable/kubernetes_executor.html#pod-override
    """
    # Imported where there is a pod: that takes a third of a second of a DAG file, which Airflow's serializer would take
    # otherwise. A configuration of its own, for that of a cluster cannot be pickled, and the executor sends the pod to
    # another process.
    from kubernetes.client import ApiClient, Configuration  # type: ignore[import-untyped]

    client = ApiClient(configuration=Configuration())
    # Kubernetes takes no pod without a container; one that adds none leaves the task's own as it is.
    given = {**given, "spec": {"containers": [{"name": "base"}], **given["spec"]}}
    try:
        pod = client.deserialize(SimpleNamespace(data=json.dumps(given)), "V1Pod")
        known = client.sanitize_for_serialization(pod)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"executor_config.{POD} is no pod: {error}") from error
    return pod, list(_left_out(given, known))


def _left_out(given: Any, known: Any, where: str = "") -> Iterator[str]:
    """Yield the paths of what was given and is not there any more."""
    if isinstance(given, Mapping):
        for name, value in given.items():
            path = f"{where}.{name}" if where else str(name)
            if value is None:
                continue
            if not isinstance(known, Mapping) or name not in known:
                yield path
            else:
                yield from _left_out(value, known[name], path)
    elif isinstance(given, list) and isinstance(known, list):
        for number, (one, other) in enumerate(zip(given, known, strict=False)):
            yield from _left_out(one, other, f"{where}[{number}]")
