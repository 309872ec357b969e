"""What is said of an entry of `applications.yaml` that is wrong: pydantic's errors in our words.

Each names the field, says what it must be and gives an example that is right. A value that may hold a secret is not
shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from glacier_provider.applications.fields import SECTIONS
from glacier_provider.applications.rules import Contradiction, MustBe
from glacier_provider.applications.schema import fields
from glacier_provider.core.text import nearest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_SECRET = re.compile(r"passw|secret|token|access_?key|credential", re.IGNORECASE)


def sentences(error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """Return what is said of each field that is wrong, as it follows the application's name."""
    found = {f"{section}.{key}": unknown(section, key) for section, key in _keys_without_text(given)}
    for each in error.errors(include_url=False, include_input=False):
        place = [str(key) for key in each["loc"][: 2 if each["loc"][0] in SECTIONS else 1]]
        cause = each.get("ctx", {}).get("error")
        if each["type"] == "invalid_key":
            continue
        if isinstance(cause, Contradiction):
            for field, sentence in cause.args:
                path = ".".join([*place, field])
                found[path] = f", field {path!r}: {sentence}"
        else:
            found.setdefault(".".join(place), _sentence(place, each, _value_at(given, place)))
    return list(found.values())


def _keys_without_text(given: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the section ("" for none) and the text of each key that YAML reads as something else: a date, a number."""
    for section, fields_given in [("", given), *((name, given.get(name)) for name in SECTIONS)]:
        if isinstance(fields_given, Mapping):
            yield from ((section, str(key)) for key in fields_given if not isinstance(key, str))


def _value_at(given: Any, place: list[str]) -> Any:
    for key in place:
        given = given.get(key) if isinstance(given, Mapping) else None
    return given


def _sentence(place: list[str], error: ErrorDetails, value: Any) -> str:
    if error["type"] == "unexpected_keyword_argument":
        return unknown(place[0] if len(place) > 1 else "", place[-1])
    path = ".".join(place)
    told = fields()[path]
    if path == "name":
        return f": {told['errorMessage']}. Example: {told['examples'][0]}"
    example = f"Example: {path.rpartition('.')[2]}: {as_yaml(told['examples'][0])}"
    if error["type"] == "missing":
        return f", field {path!r}: is missing. {example}"
    cause = error.get("ctx", {}).get("error")
    must = f"must be {cause}" if isinstance(cause, MustBe) else told["errorMessage"]
    instead = "" if path in SECTIONS else f", not {_hidden(value)}"
    return f", field {path!r}: {must}{instead}. {example}"


def unknown(section: str, key: str) -> str:
    """Return what is said of a field that there is not, in a section or ("") in none."""
    path = f"{section}.{key}" if section else key
    if _SECRET.search(path):
        return f", field {path!r}: secrets do not belong here; put them into the Airflow connection"
    return f", field {path!r}: there is no such field{nearest(key, _siblings(section))}"


def _siblings(section: str) -> Iterator[str]:
    for known in fields():
        above, _, name = known.rpartition(".")
        if above == section and name != "name":
            yield name


def as_yaml(value: Any) -> str:
    """Return a value as YAML has it, on one line."""
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()


def _hidden(value: Any) -> str:
    """Return a value for a message; what might hold a password is not shown."""
    text = repr(value)
    if "@" in text or re.search(r"://|\w:[^/\s]+:", text) or _SECRET.search(text):
        return "the value given (not shown: it may hold a password)"
    return text if len(text) <= 80 else f"{text[:77]}…"
