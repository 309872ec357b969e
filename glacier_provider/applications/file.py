"""Finding and reading `applications.yaml` as a whole."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glacier_provider.applications.application import (
    Application,
    alerts_of_entry,
    error_of_problems,
    parse_entry,
)
from glacier_provider.applications.document import Document, Doubled, Unusable, read_document
from glacier_provider.applications.fields import SECTIONS, AlertOptions
from glacier_provider.applications.messages import unknown
from glacier_provider.applications.overlaps import overlaps
from glacier_provider.applications.schema import fields
from glacier_provider.core.text import did_you_mean, nearest
from glacier_provider.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "GLACIER_APPLICATIONS"


class Applications(Mapping[str, Application]):
    """The applications of one file by name, in the file's order: those that are right. `origin` is the file's path.

    `wrong` tells what is the matter with the others, by their names; what is said of the file itself is under "".
    `alerts_of_wrong` tells by name who is called for one of them, as far as that can be read.
    """

    def __init__(
        self,
        applications: Mapping[str, Application],
        origin: str,
        wrong: Mapping[str, Sequence[str]] | None = None,
        told_of: Mapping[str, Iterable[str]] | None = None,
        alerts_of_wrong: Mapping[str, AlertOptions] | None = None,
    ) -> None:
        self._applications = dict(applications)
        self.origin = origin
        self.wrong = {name: tuple(problems) for name, problems in (wrong or {}).items() if problems}
        self._told_of = {name: frozenset(others) for name, others in (told_of or {}).items()}
        self.alerts_of_wrong = {name: one for name, one in (alerts_of_wrong or {}).items() if name in self.wrong}

    def __getitem__(self, name: str) -> Application:
        return self._applications[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._applications)

    def __len__(self) -> int:
        return len(self._applications)

    def named(self, name: str) -> Application:
        """Return one application; raise ConfigurationError for one that is wrong, saying why, and for an unknown one,
        naming those that exist.
        """
        if name in self._applications:
            return self._applications[name]
        if name in self.wrong:
            raise self.error_of(name)
        names = [*self._applications, *(one for one in self.wrong if one)]
        known = f"{', '.join(names) or 'none'}{did_you_mean(name, names)}"
        raise ConfigurationError(f"There is no application {name!r} in {self.origin}; it has: {known}.")

    def error_of(self, *names: str) -> ConfigurationError:
        """Return the error that tells what is wrong with applications, or, with "", with the file itself."""
        return error_of_problems([problem for name in names for problem in self.wrong.get(name, ())], self.origin)

    def error_for(self, name: str, visible: Container[str]) -> ConfigurationError:
        """Return what is wrong with one application, for somebody who may see these: nothing is told of others."""
        if all(other in visible for other in self._told_of.get(name, ())):
            return self.error_of(name)
        return ConfigurationError(
            f"application {name!r}: it and another application, which you may not see, are in each other's way.",
            hint="Ask who keeps applications.yaml: one of them has to have other directories.",
        )

    def checked(self) -> Applications:
        """Return the applications; raise one ConfigurationError that names every mistake of the file, if there are any:
        application, field, what is wrong, an example.
        """
        if self.wrong:
            raise self.error_of(*self.wrong)
        return self


def load_applications(path: str | os.PathLike[str] | None = None) -> Applications:
    """Read and validate the file of applications, found by `applications_path`.

    What is wrong with one application keeps no other from its backups and restores. Raise ConfigurationError where
    the file cannot be told at all.
    """
    origin = applications_path(path)
    document = read_document(origin, unreadable_hint=_ANOTHER_PATH)
    wrong: dict[str, list[str]] = {}
    alerts: dict[str, AlertOptions] = {}
    applications = _parse_document(document, str(origin), wrong, alerts)
    told_of: dict[str, set[str]] = {}
    for each, field, sentence, other in overlaps(list(applications.values())):
        wrong.setdefault(each.name, []).append(f"application {each.name!r}, field {field!r}: {sentence}")
        told_of.setdefault(each.name, set()).add(other.name)
    right = {name: one for name, one in applications.items() if name not in wrong}
    alerts |= {name: one.alerts for name, one in applications.items() if name in wrong}
    return Applications(right, str(origin), wrong, told_of, alerts)


def applications_path(path: str | os.PathLike[str] | None = None) -> Path:
    """Return where the file of applications is: the argument, else the environment variable GLACIER_APPLICATIONS, else
    Airflow's configuration ([glacier_provider] applications), else ``dags/applications.yaml`` in Airflow's home.
    """
    configured = path or os.environ.get(ENVIRONMENT_VARIABLE) or _airflow_setting()
    if configured:
        return Path(os.path.expanduser(configured))  # which leaves ~ where a user has no home, and raises nothing
    return Path(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow"))) / "dags" / "applications.yaml"


def _airflow_setting() -> str | None:
    if setting := os.environ.get("AIRFLOW__GLACIER_PROVIDER__APPLICATIONS"):  # spares the import of Airflow
        return setting
    try:
        from airflow.sdk import conf

        return str(conf.get("glacier_provider", "applications", fallback="")) or None
    except Exception:  # noqa: BLE001 - the command line must work where Airflow is missing or broken
        return None


_TOP = ("defaults", "applications")
_EXAMPLE = "dags/applications.yaml of the sources, glacier_provider/bundle/applications.yaml of the installed package"
_ANOTHER_PATH = (
    f"Make it (an example is {_EXAMPLE}), or set {ENVIRONMENT_VARIABLE} or [glacier_provider] applications to its path."
)


def _parse_document(
    document: Document, origin: str, wrong: dict[str, list[str]], alerts: dict[str, AlertOptions]
) -> dict[str, Application]:
    """Return the valid applications of a whole file; note what is wrong with the others and who is called, by name.

    Raise ConfigurationError for a document that has no applications.
    """
    given = document.value
    entries = given.get("applications") if isinstance(given, dict) else None
    if not isinstance(entries, dict):
        instead = f", not {entries!r}" if isinstance(entries, Unusable) else ""
        words = f"must be a mapping with the key 'applications', which maps names to their fields{instead}"
        raise error_of_problems([words], origin)
    of_file = [f"unknown section {key!r}{nearest(key, _TOP)}" for key in given if key not in _TOP]
    doubled = _doubled_by_name(document.doubled)
    defaults, problems = _parse_defaults(given.get("defaults"), doubled.pop("", ()))
    wrong[""] = [*of_file, *problems]
    parsed: dict[str, Application] = {}
    for name, entry in entries.items():
        # What is given twice is in doubt: the application is not taken by one of the two.
        found = [f"application {str(name)!r}: {one}" for one in doubled.get(str(name), ())]
        application = parse_entry(name, entry, found, defaults)
        if found:
            wrong.setdefault(str(name), []).extend(found)
            alerts[str(name)] = alerts_of_entry(entry, defaults)
        elif application is not None:
            parsed[application.name] = application
    return parsed


def _doubled_by_name(doubled: Sequence[Doubled]) -> dict[str, list[Doubled]]:
    """Return what is given twice by the application that it is about; what stands in `defaults` is under ""."""
    found: dict[str, list[Doubled]] = {}
    for one in doubled:
        section, *rest = (*one.path, one.key)
        found.setdefault(rest[0] if section == "applications" else "", []).append(one)
    return found


def _parse_defaults(given: Any, doubled: Sequence[Doubled]) -> tuple[dict[str, Any], list[str]]:
    """Return the defaults without those that are no field, and what is wrong with them.

    An unknown default means nothing to any application, so that none is wrong by it; one that is given twice is
    unusable for whoever does not give it.
    """
    if given is None:
        return {}, []
    if not isinstance(given, dict):
        return {}, ["section 'defaults': must be a mapping of fields"]
    problems = [f"section 'defaults': {one}" for one in doubled]
    kept = {key: value for key, value in given.items() if _is_field("", key, problems)}
    for name in SECTIONS:
        if isinstance(kept.get(name), dict):
            kept[name] = {key: value for key, value in kept[name].items() if _is_field(name, key, problems)}
    for one in doubled:
        place = kept if len(one.path) == 1 else kept.get(one.path[1])
        if isinstance(place, dict) and one.key in place:
            place[one.key] = Unusable("a default that is given twice")
    return kept, problems


def _is_field(section: str, key: Any, problems: list[str]) -> bool:
    if isinstance(key, str) and key != "name" and f"{section}.{key}".strip(".") in fields():
        return True
    problems.append(f"section 'defaults'{unknown(section, str(key))}")
    return False
