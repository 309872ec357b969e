"""The pages of the documentation site that are not written by hand: made from docstrings, parsers and models."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from glacier_provider.applications.schema import json_schema
from glacier_provider.cli import command_parser
from glacier_provider.get_provider_info import get_provider_info
from glacier_provider.ui.web import create_app

ROOT = Path(__file__).parents[1]
#: What of the provider's description has classes with pages, and what such a page is called in the contents.
KINDS = {
    "operators": "Operators",
    "sensors": "Sensors",
    "triggers": "Triggers",
    "hooks": "Hooks",
    "bundles": "DAG bundles",
}
#: Documents of the top folder, and what they are in the site.
_OF_THE_TOP = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "license.md",
}


def pages() -> dict[str, str]:
    """Return the text of each made page, in Markdown, by its path in the site."""
    made = {page: seen(ROOT.joinpath(name).read_text()) for name, page in _OF_THE_TOP.items() if name != "LICENSE"}
    made["license.md"] = f"# License\n\n```text\n{ROOT.joinpath('LICENSE').read_text().rstrip()}\n```\n"
    for kind, classes in classes_by_kind().items():
        made |= {f"reference/{kind}/{each.__name__}.md": _class_page(each) for each in classes}
    made["reference/commands.md"] = "\n".join(_commands())
    made["reference/configuration.md"] = "\n".join(_configuration())
    made["reference/applications-schema.md"] = "\n".join(_schema())
    made["reference/api.md"] = "\n".join(_api())
    return made


def contents(made: Iterable[str], decisions: Iterable[str]) -> list[Any]:
    """Return the site's contents, as MkDocs takes them (`nav`)."""
    by_kind = [
        {title: [{Path(path).stem: path} for path in sorted(made) if path.startswith(f"reference/{kind}/")]}
        for kind, title in KINDS.items()
    ]
    return [
        {"Overview": "index.md"},
        {"User guide": "user-guide.md"},
        {"Operations guide": "operations.md"},
        {"Deployment": "deployment.md"},
        {
            "Reference": [
                {"applications.yaml": "reference/applications-schema.md"},
                {"Airflow's configuration": "reference/configuration.md"},
                {"glacier-backup": "reference/commands.md"},
                {"API": "reference/api.md"},
                *by_kind,
            ]
        },
        {"Architecture": "architecture.md"},
        {"Decisions": ["adr/README.md", *(f"adr/{name}" for name in sorted(decisions) if name != "README.md")]},
        {"Contributing": "contributing.md"},
        {"Changes": "changes.md"},
        {"License": "license.md"},
    ]


def classes_by_kind() -> dict[str, list[type]]:
    """Return the public classes of the modules that the provider shows to Airflow."""
    found: dict[str, list[type]] = {}
    for kind in KINDS:
        names = [name for entry in get_provider_info().get(kind, ()) for name in entry["python-modules"]]
        found[kind] = [
            value
            for name in names
            for value in vars(importlib.import_module(name)).values()
            if inspect.isclass(value) and value.__module__ == name and not value.__name__.startswith("_")
        ]
    return found


# --- by hand, elsewhere --------------------------------------------------------------------------------------------


def seen(text: str) -> str:
    """Return a document with its links to and from the top folder as they are in the site."""
    return re.sub(r"(?<=\]\()(\.\./)?([^):#]+)", lambda found: _seen(found[2], found[1] or ""), text)


def _seen(link: str, up: str) -> str:
    return _OF_THE_TOP.get(link) or (link.removeprefix("docs/") if link.startswith("docs/") else up + link)


# --- classes -------------------------------------------------------------------------------------------------------


def _class_page(each: type) -> str:
    fields = ", ".join(f"`{name}`" for name in getattr(each, "template_fields", ()))
    templated = f"\n\nTemplated fields: {fields}." if fields else ""
    return f"::: {each.__module__}.{each.__name__}{templated}\n"


# --- the command ---------------------------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield "# glacier-backup\n"
    yield "What each command tells with `--help`. `airflow glacier …` is the same.\n"
    for words, parser in _parsers(command_parser()):
        yield f"## {' '.join(words)}\n" if len(words) < 3 else f"### {' '.join(words)}\n"
        yield f"```text\n{parser.format_help().rstrip()}\n```\n"


def _parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[list[str], argparse.ArgumentParser]]:
    yield parser.prog.split(), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from _parsers(each)


# --- configuration -------------------------------------------------------------------------------------------------


def _configuration() -> Iterator[str]:
    yield "# Airflow's configuration\n"
    for section, told in get_provider_info()["config"].items():
        yield f"## [{section}]\n\n{told['description']}\n"
        yield "| option | default | since | what |\n|---|---|---|---|"
        for name, option in told["options"].items():
            default = f"`{option['default']}`" if option["default"] else "none"
            variable = f"`AIRFLOW__{section.upper()}__{name.upper()}`"
            yield f"| `{name}`, {variable} | {default} | {option['version_added']} | {option['description']} |"


def _schema() -> Iterator[str]:
    yield "# applications.yaml\n"
    yield "Each key with its kind, as `dags/applications.schema.json` has it, a JSON Schema that editors understand."
    yield "Words and examples are in the [user guide](../user-guide.md#applicationsyaml).\n"
    schema = json_schema()
    yield from _keys(schema, schema, "", set())


def _keys(schema: Mapping[str, Any], node: Mapping[str, Any], path: str, seen: set[str]) -> Iterator[str]:
    node = _resolved(schema, node)
    properties = node.get("properties", {})
    if properties and path not in seen:
        seen.add(path)
        yield f"## {path or 'the file'}\n"
        yield "| key | what | must | examples |\n|---|---|---|---|"
        for name, told in properties.items():
            told = _resolved(schema, told)
            shown = ", ".join(f"`{json.dumps(each, ensure_ascii=False)}`" for each in told.get("examples", ())[:2])
            row = (f"`{name}`", told.get("description", ""), told.get("errorMessage", "").removeprefix("must "), shown)
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
        yield ""
        for name, told in properties.items():
            yield from _keys(schema, told, f"{path}.{name}" if path else name, seen)
    for other in ("additionalProperties", "items"):
        if isinstance(node.get(other), Mapping):
            yield from _keys(schema, node[other], f"{path}.<name>" if other != "items" else f"{path}[]", seen)


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        target: Any = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


# --- the API -------------------------------------------------------------------------------------------------------


def _api() -> Iterator[str]:
    document = create_app().openapi()
    yield "# API\n"
    yield f"{document['info']['description']}\n"
    yield "The paths are below `/glacier` of Airflow's API server, which has this as `/glacier/openapi.json`.\n"
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield f"## {method.upper()} {path}\n"
            yield f"{told.get('description') or told.get('summary', '')}\n"
            if told.get("parameters"):
                yield "| parameter | in | kind | what |\n|---|---|---|---|"
                yield from (_parameter(each) for each in told["parameters"])
                yield ""
            if body := told.get("requestBody"):
                yield f"Body: {', '.join(_named(each.get('schema', {})) for each in body['content'].values())}\n"
            yield "| answer | what | body |\n|---|---|---|"
            for status, answer in told["responses"].items():
                kinds = {_named(each.get("schema", {})) for each in answer.get("content", {}).values()}
                yield f"| {status} | {answer.get('description', '')} | {', '.join(sorted(kinds))} |"
            yield ""
    yield "## Objects\n"
    for name, told in document.get("components", {}).get("schemas", {}).items():
        yield f"### {name}\n"
        if told.get("description"):
            yield f"{told['description']}\n"
        yield "| field | kind | what |\n|---|---|---|"
        for field, shape in told.get("properties", {}).items():
            needed = "" if field in told.get("required", ()) else ", may be left out"
            yield f"| `{field}` | {_named(shape)}{needed} | {shape.get('description', '')} |"
        yield ""


def _parameter(told: Mapping[str, Any]) -> str:
    needed = "" if told.get("required") else ", may be left out"
    return f"| `{told['name']}` | {told['in']} | {_named(told['schema'])}{needed} | {told.get('description', '')} |"


def _named(shape: Mapping[str, Any]) -> str:
    """Return what a JSON Schema stands for, in a few words."""
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_named(each) for each in shape["anyOf"]))
    if shape.get("type") == "array":
        return f"list of {_named(shape.get('items', {}))}"
    if "enum" in shape:
        return ", ".join(f"`{each}`" for each in shape["enum"])
    return str(shape.get("type", "anything"))
