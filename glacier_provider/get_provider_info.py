"""What Airflow shows of this provider (entry point ``apache_airflow_provider``)."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Glacier backups of PostgreSQL applications"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description; its keys are those of Airflow's provider_info.schema.json."""
    return {
        "package-name": "glacier-provider",
        "name": "Glacier backups",
        "description": "PostgreSQL applications and their attached files, safe in Amazon Glacier.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.aws.amazon.com/amazonglacier/latest/dev/introduction.html",
                "tags": ["aws"],
            }
        ],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "glacier_provider.operators.alert_steps",
                    "glacier_provider.operators.approve_restore",
                    "glacier_provider.operators.backup_steps",
                    "glacier_provider.operators.delete_steps",
                    "glacier_provider.operators.doctor_steps",
                    "glacier_provider.operators.drill_steps",
                    "glacier_provider.operators.glacier_upload",
                    "glacier_provider.operators.orphan_file",
                    "glacier_provider.operators.pg_dump",
                    "glacier_provider.operators.reconcile",
                    "glacier_provider.operators.restore_steps",
                    "glacier_provider.operators.selective_pg_restore",
                    "glacier_provider.operators.verify_steps",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["glacier_provider.sensors.checksums", "glacier_provider.sensors.glacier_job"],
            },
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": ["glacier_provider.hooks.resources"]}],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["glacier_provider.triggers.checksums", "glacier_provider.triggers.glacier_job"],
            }
        ],
        "extra-links": [
            "glacier_provider.operators.links.BackupLink",
            "glacier_provider.operators.links.StoreLink",
        ],
        "notifications": ["glacier_provider.notifications.alerts.GlacierNotifier"],
        "bundles": [{"integration-name": _INTEGRATION, "python-modules": ["glacier_provider.hooks.dag_bundle"]}],
        "asset-uris": [{"schemes": ["x-glacier-backup"], "handler": None}],
        "cli": ["glacier_provider.cli.airflow_command.get_airflow_commands"],
        "plugins": [{"name": "glacier", "plugin-class": "glacier_provider.ui.plugin.GlacierPlugin"}],
        "config": {
            "glacier_provider": {
                "description": "Settings of the Glacier backups provider.",
                "options": {
                    "applications": {
                        "description": "Path of applications.yaml. The environment variable GLACIER_APPLICATIONS wins.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/dags/applications.yaml",
                        "default": "",
                    },
                    "metrics_token": {
                        "description": "Whoever shows it as bearer token may read /glacier/metrics. "
                        "Empty: only who is logged in to Airflow.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": None,
                        "sensitive": True,
                        "default": "",
                    },
                },
            }
        },
    }
