"""Finding and reading `applications.yaml` as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glacier_provider.applications.application import Application, parse_entry, raise_problems
from glacier_provider.applications.overlaps import overlaps
from glacier_provider.core.text import nearest
from glacier_provider.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "GLACIER_APPLICATIONS"


class Applications(Mapping[str, Application]):
    """The applications of one file by name, in the file's order. `origin` is the path of the file."""

    def __init__(self, applications: Mapping[str, Application], origin: str) -> None:
        self._applications = dict(applications)
        self.origin = origin

    def __getitem__(self, name: str) -> Application:
        return self._applications[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._applications)

    def __len__(self) -> int:
        return len(self._applications)

    def named(self, name: str) -> Application:
        """Return one application; raise ConfigurationError, naming those that exist, for an unknown one."""
        if name in self._applications:
            return self._applications[name]
        known = ", ".join(self._applications) or "none"
        raise ConfigurationError(f"There is no application {name!r} in {self.origin}; it has: {known}.")


def load_applications(path: str | os.PathLike[str] | None = None) -> Applications:
    """Read and validate the file of applications, found by `applications_path`.

    Raise one ConfigurationError that names every problem of the file: application, field, what is wrong, an example.
    """
    origin = applications_path(path)
    problems: list[str] = []
    applications = _parse_document(_read(origin), problems)
    problems += [
        f"application {each.name!r}, field {field!r}: {sentence}"
        for each, field, sentence in overlaps(list(applications.values()))
    ]
    raise_problems(problems, str(origin))
    return Applications(applications, str(origin))


def applications_path(path: str | os.PathLike[str] | None = None) -> Path:
    """Return where the file of applications is: the argument, else the environment variable GLACIER_APPLICATIONS, else
    Airflow's configuration ([glacier_provider] applications), else ``dags/applications.yaml`` in Airflow's home.
    """
    configured = path or os.environ.get(ENVIRONMENT_VARIABLE) or _airflow_setting()
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "dags" / "applications.yaml"


def _airflow_setting() -> str | None:
    if setting := os.environ.get("AIRFLOW__GLACIER_PROVIDER__APPLICATIONS"):  # spares the import of Airflow
        return setting
    try:
        from airflow.sdk import conf

        return str(conf.get("glacier_provider", "applications", fallback="")) or None
    except Exception:  # noqa: BLE001 - the command line must work where Airflow is missing or broken
        return None


_TOP = ("defaults", "applications")


def _parse_document(document: Any, problems: list[str]) -> dict[str, Application]:
    """Return the valid applications of a whole file; note what is wrong with the others."""
    if not isinstance(document, dict) or not isinstance(document.get("applications"), dict):
        problems.append("must be a mapping with the key 'applications', which maps names to their fields")
        return {}
    problems += [f"unknown section {key!r}{nearest(key, _TOP)}" for key in document if key not in _TOP]
    defaults = document.get("defaults") or {}
    if not isinstance(defaults, dict):
        problems.append("section 'defaults': must be a mapping of fields")
        defaults = {}
    parsed = (parse_entry(name, entry, problems, defaults) for name, entry in document["applications"].items())
    return {application.name: application for application in parsed if application is not None}


def _read(path: Path) -> Any:
    """Return the YAML document of a file; raise ConfigurationError naming file and line."""
    import yaml

    try:
        content = path.read_bytes()
        return yaml.load(content, Loader=_loader())
    except OSError as exc:
        raise ConfigurationError(
            f"Cannot read the file of applications {path}: {exc.strerror}.",
            hint=f"Set {ENVIRONMENT_VARIABLE} or [glacier_provider] applications to its path.",
        ) from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line if exc.problem_mark else 0
        tab = _tab_before_text(content.splitlines(), line)
        what, hint = (f"there is a tab in column {tab}", _SPACES) if tab else (exc.problem, _QUOTE)
        raise ConfigurationError(f"{path}, line {line + 1}: {what}.", hint=hint) from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ConfigurationError(f"{path} is not YAML: {type(exc).__name__}.") from exc


def _tab_before_text(lines: list[bytes], number: int) -> int:
    """Return the column of the first tab that a line begins with, 0 if it begins with none."""
    line = lines[number] if number < len(lines) else b""
    return line[: len(line) - len(line.lstrip())].find(b"\t") + 1


_SPACES = "Correct the file: YAML is indented with spaces."
_QUOTE = 'Correct the file; values that begin with @ or * need quotes, as in schedule: "@daily".'


def _loader() -> Any:
    """Return the safe loader, in C where there is one, that refuses a key given twice."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class UniqueKeys(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen and isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                if isinstance(key, yaml.ScalarNode):
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return UniqueKeys
