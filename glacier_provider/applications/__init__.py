"""`applications.yaml`: the applications that are kept safe, read once and validated as a whole.

`load_applications` finds and reads the file (`file.py`); each entry becomes a frozen `Application`. All that is to be
said of a field stands in `fields.py`. The file holds no secrets: it names Airflow connections.
"""

from glacier_provider.applications.application import Application, parse_application
from glacier_provider.applications.fields import (
    AlertOptions,
    DumpOptions,
    NotificationOptions,
    RehearsalOptions,
    RestoreOptions,
    ScanOptions,
)
from glacier_provider.applications.file import ENVIRONMENT_VARIABLE, Applications, applications_path, load_applications
from glacier_provider.applications.rules import PRESETS

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "PRESETS",
    "AlertOptions",
    "Application",
    "Applications",
    "DumpOptions",
    "NotificationOptions",
    "RehearsalOptions",
    "RestoreOptions",
    "ScanOptions",
    "applications_path",
    "load_applications",
    "parse_application",
]
