"""What Airflow is told of the provider is what the package holds."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.dag_processing.bundles.base import BaseDagBundle
from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger

import glacier_provider
from glacier_provider.core.store_uri import parse_store_uri
from glacier_provider.get_provider_info import get_provider_info
from glacier_provider.notifications.alerts import GlacierNotifier
from glacier_provider.operators.links import BackupLink, StoreLink

PACKAGE = Path(glacier_provider.__file__).parent
PYPROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
KINDS = {"operators": BaseOperator, "sensors": BaseSensorOperator, "triggers": BaseTrigger}


def modules_of(kind: str) -> list[str]:
    return [module for entry in get_provider_info()[kind] for module in entry["python-modules"]]


def classes_of(kind: str) -> Iterator[str]:
    """Yield every module of a folder that defines a public class of a kind."""
    for path in sorted((PACKAGE / kind).glob("*.py")):
        name = f"glacier_provider.{kind}.{path.stem}"
        found = vars(importlib.import_module(name)).values()
        if any(
            isinstance(one, type) and issubclass(one, KINDS[kind]) and one.__module__ == name for one in found
        ) and path.stem not in ("base", "lineage", "__init__"):
            yield name


def test_it_is_what_airflows_schema_asks_for() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_it_is_plain_data() -> None:
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


def test_the_package_is_named_as_it_is_installed() -> None:
    assert get_provider_info()["package-name"] == PYPROJECT["project"]["name"]


def test_the_version_is_told_once() -> None:
    assert PYPROJECT["project"]["version"] == glacier_provider.__version__


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_module_with_operators_is_listed(kind: str) -> None:
    assert modules_of(kind) == list(classes_of(kind))


@pytest.mark.parametrize("name", modules_of("hooks"))
def test_every_module_of_hooks_can_be_imported(name: str) -> None:
    assert importlib.import_module(name)


def test_every_integration_that_is_referred_to_is_described() -> None:
    described = {entry["integration-name"] for entry in get_provider_info()["integrations"]}
    kinds = [*KINDS, "hooks"]
    assert {entry["integration-name"] for kind in kinds for entry in get_provider_info()[kind]} == described


def test_every_option_of_the_configuration_is_fully_described() -> None:
    """Airflow wants all five, and the default as text."""
    for section in get_provider_info()["config"].values():
        assert section["description"]
        for option in section["options"].values():
            assert {"description", "version_added", "type", "example", "default"} <= set(option)
            assert isinstance(option["default"], str)


def test_the_option_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glacier_provider.applications import applications_path

    ((section, described),) = get_provider_info()["config"].items()
    option, _token = described["options"]
    monkeypatch.delenv("GLACIER_APPLICATIONS")
    monkeypatch.setenv(f"AIRFLOW__{section.upper()}__{option.upper()}", str(tmp_path / "a.yaml"))
    assert applications_path() == tmp_path / "a.yaml"


def named(path: str) -> Any:
    """Return what an entry point names."""
    module, _, name = path.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    "path",
    [
        *PYPROJECT["project"]["scripts"].values(),
        *(path for group in PYPROJECT["project"]["entry-points"].values() for path in group.values()),
    ],
)
def test_every_entry_point_leads_somewhere(path: str) -> None:
    assert callable(named(path))


def test_every_link_and_notifier_of_the_package_is_told() -> None:
    info = get_provider_info()
    assert {named(path) for path in info["extra-links"]} == {BackupLink, StoreLink}
    assert [named(path) for path in info["notifications"]] == [GlacierNotifier]


def test_the_bundle_and_the_commands_are_where_it_says() -> None:
    (bundle,) = modules_of("bundles")
    kinds = [one for one in vars(importlib.import_module(bundle)).values() if isinstance(one, type)]
    assert any(issubclass(one, BaseDagBundle) and one.__module__ == bundle for one in kinds)
    ((command,),) = [named(path)() for path in get_provider_info()["cli"]]
    assert command.name == "glacier"


def test_the_scheme_of_assets_is_that_of_the_dag_files() -> None:
    ((scheme,),) = [one["schemes"] for one in get_provider_info()["asset-uris"]]
    files = "".join(path.read_text() for path in (PACKAGE.parent / "dags").glob("*.py"))
    assert set(re.findall(r"uri=f?\"([a-z0-9-]+)://", files)) == {scheme}


def test_the_options_are_those_that_are_read_and_a_secret_is_one() -> None:
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    (options,) = (section["options"] for section in get_provider_info()["config"].values())
    assert set(re.findall(r'conf\.get\("glacier_provider", "(\w+)"', sources)) == set(options)
    assert {name for name, option in options.items() if option.get("sensitive")} == {"metrics_token"}


def test_the_plugin_is_the_same_by_both_ways() -> None:
    """Airflow loads plugins of providers only when it is told to: the entry point names it as well."""
    (plugin,) = get_provider_info()["plugins"]
    (path,) = PYPROJECT["project"]["entry-points"]["airflow.plugins"].values()
    assert plugin["plugin-class"] == path.replace(":", ".")
    assert named(path).name == plugin["name"]


def test_the_entry_point_of_the_provider_is_this_function() -> None:
    (path,) = PYPROJECT["project"]["entry-points"]["apache_airflow_provider"].values()
    assert named(path) is get_provider_info


def test_the_example_of_a_store_in_the_form_is_one() -> None:
    from glacier_provider.applications.schema import fields

    (example,) = fields()["store"]["examples"]
    assert str(parse_store_uri(example)) == example
