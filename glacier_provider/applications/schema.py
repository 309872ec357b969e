"""The JSON Schema of `applications.yaml`, for editors; and what it tells of each field, for messages and documents.

It is of draft 7, as the YAML language server knows it. That shows `errorMessage`, which says what our messages say.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from glacier_provider.applications.fields import Fields


def json_schema() -> dict[str, Any]:
    """Return the schema of a whole file."""
    entry = {name: _nested(name) for name in fields() if "." not in name and name != "name"}
    anything = {"$ref": "#/definitions/application"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "applications.yaml of glacier-provider",
        "properties": {
            "defaults": {
                "description": "what counts for every application that does not say otherwise",
                "anyOf": [anything, {"type": "null"}],
            },
            "applications": {
                "description": "the applications by name",
                "type": "object",
                "propertyNames": fields()["name"],
                "additionalProperties": anything,
            },
        },
        **_closed(["applications"]),
        "allOf": [_given_somewhere(name) for name, told in fields().items() if told.get("x-required")],
        "definitions": {"application": {"properties": entry, **_closed()}},
    }


@cache
def fields() -> Mapping[str, dict[str, Any]]:
    """Return the schema of each field by its name: `dump`, which is a section, and `dump.format`.

    Each has description, examples and errorMessage. `x-required` tells that an application cannot be without, and
    `x-default` in words what holds where the default alone does not say it.
    """
    whole = TypeAdapter(Fields).json_schema()
    found: dict[str, dict[str, Any]] = {}
    for name, told in whole["properties"].items():
        inner = whole["$defs"].get(told.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
        inside = {f"{name}.{key}": _flat(one) for key, one in inner.items()}
        found[name] = _section(told, inside) if inner else _flat(told, required=name in whole["required"])
        found.update(inside)
    return found


def _flat(told: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    """Return a field's schema in one piece, which may be null where that means its default."""
    one, *others = told.get("anyOf", ({},))
    told = {key: value for key, value in {**one, **told}.items() if key not in ("title", "anyOf")}
    by_itself = required and "x-default" in told
    if others or told["type"] == "array" or by_itself:
        types = told["type"]
        told["type"] = [*(types if isinstance(types, list) else [types]), "null"]
        told |= {"enum": [*told["enum"], None]} if "enum" in told else {}
    told.setdefault("errorMessage", f"must be {_words(told)}")
    return {**told, "x-required": True} if required and not by_itself and "description" in told else told


def _words(told: Mapping[str, Any]) -> str:
    if "enum" in told:
        return f"one of {', '.join(str(value) for value in told['enum'] if value)}"
    if "boolean" in told["type"]:
        return "true or false"
    kind = "a whole number" if "integer" in told["type"] else "a number"
    return f"{kind} from {told.get('minimum')} to {told.get('maximum')}"


def _section(told: Mapping[str, Any], inside: Mapping[str, Any]) -> dict[str, Any]:
    first, its = next(iter(inside.items()))
    example = {first.partition(".")[2]: its["examples"][0]}
    told = {key: value for key, value in told.items() if key != "$ref"}
    return {**told, "type": ["object", "null"], "examples": [example], "errorMessage": "must be a mapping"}


def _nested(name: str) -> dict[str, Any]:
    told = {key: value for key, value in fields()[name].items() if key != "x-required"}
    inside = {key.partition(".")[2]: one for key, one in fields().items() if key.startswith(f"{name}.")}
    return {**told, "properties": inside, "additionalProperties": False} if inside else told


def _closed(required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required or []}


def _given_somewhere(name: str) -> dict[str, Any]:
    """Return the rule that a field stands in `defaults` or in each application."""
    return {
        "if": {"properties": {"defaults": {"type": "object", "required": [name]}}, "required": ["defaults"]},
        "else": {"properties": {"applications": {"additionalProperties": {"required": [name]}}}},
    }
