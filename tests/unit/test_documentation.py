"""The made pages of the documentation: nothing that a person may use is without one, and what they say is there."""

from __future__ import annotations

import re

import pytest

from documentation.pages import ROOT, classes_by_kind, contents, pages, seen
from glacier_provider.applications.schema import fields
from glacier_provider.get_provider_info import get_provider_info
from glacier_provider.ui.web import create_app


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


def test_each_class_that_airflow_is_shown_has_a_page_and_a_docstring(made: dict[str, str]) -> None:
    for kind, classes in classes_by_kind().items():
        assert classes, f"no {kind}"
        for each in classes:
            assert f"::: {each.__module__}.{each.__name__}" in made[f"reference/{kind}/{each.__name__}.md"]
            assert each.__doc__, each
    assert {"PgDumpOperator", "GlacierUploadOperator", "SelectivePgRestoreOperator", "OrphanFileOperator"} <= {
        each.__name__ for each in classes_by_kind()["operators"]
    }
    assert "GlacierJobSensor" in {each.__name__ for each in classes_by_kind()["sensors"]}


def test_every_key_of_the_file_is_in_the_reference(made: dict[str, str]) -> None:
    text = made["reference/applications-schema.md"]
    assert [name for name in fields() if f"| `{name.rpartition('.')[2]}` |" not in text and name != "name"] == []


def test_every_command_is_in_the_reference(made: dict[str, str]) -> None:
    headings = re.findall(r"^##+ (.*)$", made["reference/commands.md"], re.MULTILINE)
    assert {"glacier-backup", "glacier-backup list", "glacier-backup drill", "glacier-backup doctor"} <= set(headings)
    assert len(headings) == len(set(headings))
    assert "  --json" in made["reference/commands.md"]


def test_every_path_of_the_api_is_in_the_reference(made: dict[str, str]) -> None:
    text, document = made["reference/api.md"], create_app().openapi()
    for path, methods in document["paths"].items():
        assert [method for method in methods if f"## {method.upper()} {path}\n" not in text] == []
    objects = re.findall(r"\]\(#(\w+)\)", text)
    assert set(objects) <= {name.lower() for name in document["components"]["schemas"]}


def test_every_option_of_the_configuration_is_in_the_reference(made: dict[str, str]) -> None:
    options = get_provider_info()["config"]["glacier_provider"]["options"]
    text = made["reference/configuration.md"]
    assert [name for name in options if f"`AIRFLOW__GLACIER_PROVIDER__{name.upper()}`" not in text] == []


def test_rows_of_made_tables_have_as_many_cells_as_their_heads(made: dict[str, str]) -> None:
    for path, text in made.items():
        if path.startswith("reference/"):
            for head, _, *rows in tables(text):
                assert [row for row in rows if cells(row) != cells(head)] == [], path


def test_the_contents_name_every_page_once(made: dict[str, str]) -> None:
    by_hand = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    decisions = [path.removeprefix("adr/") for path in by_hand if path.startswith("adr/")]
    named = re.findall(r"[\w./-]+\.md", str(contents(made, decisions)))
    assert sorted(named) == sorted({*by_hand, *made})


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("[guide](docs/user-guide.md#stores)", "[guide](user-guide.md#stores)"),
        ("![card](docs/images/card.png)", "![card](images/card.png)"),
        ("[changes](CHANGELOG.md)", "[changes](changes.md)"),
        ("[how](../CONTRIBUTING.md#tests)", "[how](contributing.md#tests)"),
        ("[elsewhere](https://example.com/README.md)", "[elsewhere](https://example.com/README.md)"),
        ("[below](#words)", "[below](#words)"),
    ],
)
def test_links_of_the_top_folder_lead_to_the_same_in_the_site(text: str, there: str) -> None:
    assert seen(text) == there


def tables(text: str) -> list[list[str]]:
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [block.splitlines() for block in blocks]


def cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row))
