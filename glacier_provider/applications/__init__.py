"""`applications.yaml`: the applications that are kept safe, read once and validated as a whole.

`load_applications` finds and reads the file; each entry becomes a frozen `Application`. The file holds no secrets:
it names Airflow connections. Its form is a table in `form.py`.
"""

from glacier_provider.applications.application import (
    Application,
    DumpOptions,
    NotificationOptions,
    RestoreOptions,
    ScanOptions,
    parse_application,
)
from glacier_provider.applications.form import PRESETS, TIERS
from glacier_provider.applications.reading import (
    ENVIRONMENT_VARIABLE,
    Applications,
    applications_path,
    load_applications,
)

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "PRESETS",
    "TIERS",
    "Application",
    "Applications",
    "DumpOptions",
    "NotificationOptions",
    "RestoreOptions",
    "ScanOptions",
    "applications_path",
    "load_applications",
    "parse_application",
]
