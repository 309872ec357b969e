from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from demo.story import _applications as the_demos
from glacier_provider.applications.schema import fields, json_schema
from tests.support.fields import ROOT, documents
from tests.unit.applications.test_applications import WRONG, an_entry, load_applications

VALIDATOR = jsonschema.Draft7Validator(json_schema(), format_checker=jsonschema.FormatChecker(["date"]))

#: What only the package knows: zones, cron, and what contradicts each other.
UNKNOWN = [
    ("schedule", "61 2 * * *"),
    ("timezone", "Berlin"),
    ("dump", {"jobs": 4, "format": "custom"}),
    ("dump", {"staging": "none", "format": "directory"}),
    ("dump", {"jobs": 2, "staging": "none"}),
    ("restore", {"mode": "swap", "exclude_tables": ["public.a"]}),
    ("store", "s3://bucket/x?kms_key_id=alias/x"),
]


class AsEditors(yaml.SafeLoader):
    """YAML 1.2 knows no dates, and `on` is a word."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            one
            for one in known
            if one[0] != "tag:yaml.org,2002:timestamp" and (first not in "oO" or "bool" not in one[0])
        ]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def problems(document: Any) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in VALIDATOR.iter_errors(document)]


def of(**entry: Any) -> dict[str, Any]:
    return {"applications": {"library": an_entry(**entry)}}


def blocks(path: str) -> list[str]:
    """Return the YAML of a document that describes applications."""
    found = re.findall(r"^ *```yaml\n(.*?)^ *```", (ROOT / path).read_text(), re.DOTALL | re.MULTILINE)
    return [text for block in found if "\napplications:" in (text := "\n" + textwrap.dedent(block))]


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", ["dags/applications.schema.json", "dags/applications.yaml", "docs/user-guide.md"])
def test_what_is_made_from_the_fields_is_as_they_are(path: str) -> None:
    assert (ROOT / path).read_text() == documents()[path], "make fields writes it anew"


@pytest.mark.parametrize("path", ["dags/applications.yaml", "docker/applications.yaml"])
def test_the_files_that_are_shipped_name_the_schema_and_are_valid(path: str) -> None:
    text = (ROOT / path).read_text()
    (named,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)\n", text)
    assert json.loads((ROOT / path).parent.joinpath(named).read_text()) == json_schema()
    assert problems(yaml.load(text, AsEditors)) == []
    assert load_applications(ROOT / path)


def test_the_complete_entry_is_valid() -> None:
    commented = (ROOT / "dags/applications.yaml").read_text().split("# Every field:\n#\n")[1]
    text = "applications:\n" + "\n".join(line.removeprefix("#") for line in commented.splitlines())
    assert problems(yaml.load(text, AsEditors)) == []


@pytest.mark.parametrize("path", ["README.md", "docs/user-guide.md"])
def test_the_examples_of_the_documents_are_valid(tmp_path: Path, path: str) -> None:
    assert blocks(path)
    for number, block in enumerate(blocks(path)):
        entries = yaml.load(block, AsEditors)
        if any("postgres_conn_id" in entry for entry in entries["applications"].values()):
            assert problems(entries) == []
            (tmp_path / f"{number}.yaml").write_text(block)
            assert load_applications(tmp_path / f"{number}.yaml")


def test_the_file_of_the_demo_is_valid(tmp_path: Path) -> None:
    path = the_demos(tmp_path, "s3://glacier-demo/backups?storage_class=GLACIER")
    assert problems(yaml.load(path.read_text(), AsEditors)) == []
    assert load_applications(path)


def test_every_example_is_valid() -> None:
    for path, told in fields().items():
        section, _, name = path.rpartition(".")
        if name != "name":
            value = told["examples"][0]
            assert problems(of(**({section: {name: value}} if section else {name: value}))) == [], path


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, value, _ in WRONG])
def test_the_schema_refuses_what_is_wrong(field: str, value: Any) -> None:
    assert bool(problems(of(**{field: value}))) is ((field, value) not in UNKNOWN)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(extra=1),
        lambda document: document.pop("applications"),
        lambda document: document.update(applications=["library"]),
        lambda document: document.update(defaults={"stroe": "s3://bucket"}),
        lambda document: document["applications"].update(Library=an_entry()),
        lambda document: document["applications"]["library"].update(password="geheim"),
        lambda document: document["applications"]["library"].update(dump={"exclude_table": []}),
        lambda document: document["applications"]["library"].pop("store"),
    ],
)
def test_the_schema_refuses_an_unknown_field_and_a_missing_one(change: Callable[[dict[str, Any]], object]) -> None:
    document = of()
    assert problems(document) == []
    change(document)
    assert problems(document)


def test_a_field_that_the_defaults_give_is_not_missing() -> None:
    document = of()
    document["defaults"] = {"store": document["applications"]["library"].pop("store")}
    assert problems(document) == []
    document["defaults"] = None
    assert problems(document)


def test_null_is_what_it_is_for_the_package() -> None:
    nullable = {name for name, told in fields().items() if "null" in told["type"]}
    for path in fields():
        section, _, name = path.rpartition(".")
        if name != "name":
            entry = {section: {name: None}} if section else {name: None}
            assert bool(problems(of(**entry))) is (path not in nullable), path
    assert {"schedule", "dump", "exclude", "orphan_directory", "dump.jobs"} < nullable
    assert nullable.isdisjoint({"store", "timezone", "poll_seconds", "dump.staging"})
