"""The package's DAG files as a DAG bundle of Airflow: upgrading the package upgrades the DAGs."""

from __future__ import annotations

from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle


class GlacierDagBundle(LocalDagBundle):
    """The folder of the installed package that holds its DAG files.

    In ``[dag_processor] dag_bundle_config_list``, beside other bundles:
    ``{"name": "glacier", "classpath": "glacier_provider.hooks.dag_bundle.GlacierDagBundle", "kwargs": {}}``.
    """

    def __init__(self, **kwargs: Any) -> None:
        from glacier_provider.bundle import dags_folder

        super().__init__(**{**kwargs, "path": str(dags_folder())})
