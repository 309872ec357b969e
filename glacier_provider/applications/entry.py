"""How an entry of `applications.yaml` becomes an application, and what is said where it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from glacier_provider.applications.application import Application, form
from glacier_provider.applications.rules import Contradiction, MustBe
from glacier_provider.applications.schema import fields
from glacier_provider.core.text import nearest
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SECRET = re.compile(r"passw|secret|token|access_?key|credential", re.IGNORECASE)


def parse_application(name: Any, entry: Any, *, origin: str) -> Application:
    """Validate one entry by itself; `origin` names its file or place in messages. Raise ConfigurationError."""
    problems: list[str] = []
    application = parse_entry(name, entry, problems)
    raise_problems(problems, origin)
    assert application is not None
    return application


def raise_problems(problems: list[str], origin: str) -> None:
    """Raise one ConfigurationError that names all problems, if there are any."""
    if len(problems) == 1:
        raise ConfigurationError(f"{origin}: {problems[0]}\n{ConfigurationError.hint}", hint="")
    if problems:
        lines = "\n- ".join([f"{origin} has {len(problems)} problems:", *problems])
        raise ConfigurationError(f"{lines}\n{ConfigurationError.hint}", hint="")


def parse_entry(
    name: Any, entry: Any, problems: list[str], defaults: Mapping[str, Any] | None = None
) -> Application | None:
    """Return the application of one entry, or None after noting its problems."""
    where = f"application {name!r}"
    if not isinstance(entry, Mapping):
        problems.append(f"{where}: must be a mapping of fields. Example: postgres_conn_id: library_db")
        return None
    given = _merged(defaults or {}, entry)
    found = [f", {_unknown('name')}"] if "name" in given else []
    application = None
    try:
        application = form().validate_python({"orphan_directory": None, **given, "name": name})
    except ValidationError as error:
        found += _told(error, given)
    problems += [where + one for one in found]
    return None if found else application


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an entry over the defaults; its sections are laid over field by field."""
    merged = {**defaults, **entry}
    for key, value in merged.items():
        if _is_section(key) and isinstance(value, Mapping):
            below = defaults.get(key)
            merged[key] = {**(below if isinstance(below, Mapping) else {}), **value}
    return merged


def _is_section(key: Any) -> bool:
    return key in ("dump", "restore", "retention", "notifications", "scan")


def _told(error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each field that is wrong, as it follows the application's name."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False, include_input=False):
        place = [*map(str, each["loc"][: 2 if each["loc"] and _is_section(each["loc"][0]) else 1])]
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, Contradiction):
            for field, sentence in cause.args:
                path = ".".join([*place, field])
                found[path] = f", field {path!r}: {sentence}"
        else:
            found.setdefault(".".join(place), _sentence(".".join(place), each, _value_at(given, place)))
    return list(found.values())


def _value_at(given: Any, place: list[str]) -> Any:
    for key in place:
        given = given.get(key) if isinstance(given, Mapping) else None
    return given


def _sentence(path: str, error: ErrorDetails, value: Any) -> str:
    if error["type"] in ("unexpected_keyword_argument", "invalid_key"):
        return f", {_unknown(path)}"
    told = fields()[path]
    if path == "name":
        return f": {told['errorMessage']}. Example: {told['examples'][0]}"
    example = f"Example: {path.rpartition('.')[2]}: {shown(told['examples'][0])}"
    if error["type"] == "missing":
        return f", field {path!r}: is missing. {example}"
    cause = error.get("ctx", {}).get("error")
    must = f"must be {cause}" if isinstance(cause, MustBe) else told["errorMessage"]
    return f", field {path!r}: {must}, not {_hidden(value)}. {example}"


def _unknown(path: str) -> str:
    if _SECRET.search(path):
        return f"field {path!r}: secrets do not belong here; put them into the Airflow connection"
    return f"field {path!r}: there is no such field{nearest(path.rpartition('.')[2], _siblings(path))}"


def _siblings(path: str) -> Iterator[str]:
    section = path.rpartition(".")[0]
    for known in fields():
        above, _, name = known.rpartition(".")
        if above == section and name != "name":
            yield name


def shown(value: Any) -> str:
    """Return a value as YAML has it, on one line."""
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()


def _hidden(value: Any) -> str:
    """Return a value for a message; what might hold a password is not shown."""
    text = repr(value)
    if "://" in text or "@" in text.lstrip("'\""):
        return "the value given (not shown: it may hold a password)"
    return text if len(text) <= 80 else f"{text[:77]}…"
