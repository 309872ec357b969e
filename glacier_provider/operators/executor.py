"""What the executor is told with each task of an application: a pod, as applications.yaml writes it, becomes one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from glacier_provider.core.text import names
from glacier_provider.errors import ConfigurationError
from glacier_provider.hooks.pods import POD, pod_of

if TYPE_CHECKING:
    from glacier_provider.applications import Application

log = logging.getLogger(__name__)


def executor_config(application: Application) -> dict[str, Any]:
    """Return the application's `executor_config` as executors read it: its `pod_override` is a V1Pod.

    Without Kubernetes' Python client there is no executor that reads a pod: it is left out, and the log says so. So it
    does of what is no pod: raised here, it would take away the DAGs of all applications. `doctor` tells both.
    """
    told = dict(application.executor_config or {})
    if (given := told.pop(POD, None)) is not None:
        try:
            told[POD], unknown = pod_of(given)
            if unknown:
                log.error("%s: executor_config.%s has what no pod has: %s.", application.name, POD, names(unknown))
        except ConfigurationError as error:
            log.error("%s: left out, since %s", application.name, error.message)
        except ImportError:
            log.warning(
                "%s: executor_config.%s is left out: the package apache-airflow-providers-cncf-kubernetes is missing.",
                *(application.name, POD),
            )
    return told
