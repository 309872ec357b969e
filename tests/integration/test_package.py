"""The wheel: what is in it, and that it works where nothing but it was installed."""

from __future__ import annotations

import configparser
import email
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: What makes up the package beside its modules.
DATA = (
    "*.sql",
    "py.typed",
    "*.js",
    "*.css",
    "*.html",
    "*.svg",
    "*.json",
    "*.cfg",
    "*.conf",
    "*.service",
    "*.timer",
    "*.yml",
)


def run(*argv: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program with nothing of this checkout on its path; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GLACIER_"))}
    ended = subprocess.run(
        [str(argument) for argument in argv],
        cwd=cwd,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("glacier_provider", "dags"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "applications.yaml"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    built = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, copy, cwd=copy)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def told(wheel: Path) -> Callable[[str], str]:
    """Returns the text of a file in the wheel's .dist-info."""

    def read(name: str) -> str:
        with zipfile.ZipFile(wheel) as archive:
            (path,) = (each for each in archive.namelist() if each.endswith(f".dist-info/{name}"))
            return archive.read(path).decode()

    return read


@pytest.fixture(scope="module")
def metadata(told: Callable[[str], str]) -> Message:
    return email.message_from_string(told("METADATA"))


def test_every_module_and_every_file_beside_them_is_in_the_wheel(names: set[str]) -> None:
    package = ROOT / "glacier_provider"
    expected = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", *DATA)
        for path in package.rglob(pattern)
        if "__pycache__" not in path.parts
    }
    assert expected - names == set()
    assert {"glacier_provider/py.typed", "glacier_provider/catalog/sql/backups.sql"} < names
    assert any(name.startswith("glacier_provider/catalog/migrations/versions/0001") for name in names)
    assert any(name.startswith("glacier_provider/ui/static/") for name in names)


def test_the_dags_are_in_the_wheel_as_a_bundle(names: set[str]) -> None:
    bundle = {name for name in names if name.startswith("glacier_provider/bundle/")}
    assert bundle == {
        f"glacier_provider/bundle/{path.name}"
        for path in (ROOT / "dags").glob("*.*")
        if path.suffix in (".py", ".json")
    } | {"glacier_provider/bundle/__init__.py"}


def test_nothing_else_is_in_the_wheel(names: set[str]) -> None:
    information = f"glacier_provider-{PROJECT['version']}.dist-info/"
    assert {name for name in names if not name.startswith(("glacier_provider/", information))} == set()
    assert [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".yaml", ".env"))] == []


def test_the_licence_is_in_the_wheel(told: Callable[[str], str], metadata: Message) -> None:
    assert told("licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_entry_points_are_those_of_the_project(told: Callable[[str], str]) -> None:
    written = configparser.ConfigParser()
    written.read_string(told("entry_points.txt"))
    declared = {**PROJECT["entry-points"], "console_scripts": PROJECT["scripts"]}
    assert {group: dict(written[group]) for group in written.sections()} == declared


def test_the_metadata_is_that_of_the_project(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(required) == len(PROJECT["dependencies"])
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text().strip()


# --- installed -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a directory of its own, as ``pip install --no-deps --target`` leaves it."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    uv = ["uv", "pip", "install", "--quiet", "--no-deps", "--no-index", "--python", sys.executable]
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    run(*(pip if probe.returncode == 0 else [*uv, "--target", target, wheel]), cwd=target)
    return target


IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import glacier_provider
names = [module.name for module in pkgutil.walk_packages(glacier_provider.__path__, "glacier_provider.")
         if ".bundle" not in module.name and ".migrations" not in module.name]
for name in names:
    importlib.import_module(name)
from importlib.metadata import distribution
found = distribution("glacier-provider")
print(json.dumps({
    "from": glacier_provider.__file__, "modules": len(names), "version": found.version,
    "points": sorted(point.name for point in found.entry_points if callable(point.load())),
}))
"""


def test_every_module_can_be_imported_from_the_installed_package(installed: Path, tmp_path: Path) -> None:
    told = json.loads(
        run(sys.executable, "-c", IMPORT_EVERYTHING, cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()[-1]
    )
    assert Path(told["from"]).is_relative_to(installed)
    assert told["modules"] > 50
    assert told["version"] == PROJECT["version"]
    points = [*PROJECT["scripts"], *(name for group in PROJECT["entry-points"].values() for name in group)]
    assert told["points"] == sorted(points)


FIND_DATA = """
from glacier_provider.catalog.migrate import newest_version
from glacier_provider.catalog.queries import queries
print(newest_version(), len(queries()))
"""


def test_the_installed_package_finds_its_sql(installed: Path, tmp_path: Path) -> None:
    version, count = run(sys.executable, "-c", FIND_DATA, cwd=tmp_path, PYTHONPATH=str(installed)).split()
    assert len(version) == 4
    assert int(count) > 50


def test_the_installed_command_answers(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "glacier-backup"
    said = run(sys.executable, script, "--version", cwd=tmp_path, PYTHONPATH=str(installed))
    assert said.strip() == PROJECT["version"]


PARSE_BUNDLE = """
import glacier_provider, json, pathlib, runpy
from airflow.sdk import DAG
bundle = pathlib.Path(glacier_provider.__file__).parent / "bundle"
print(json.dumps(sorted(value.dag_id for path in bundle.glob("glacier_*.py")
                        for value in runpy.run_path(str(path)).values()
                        if isinstance(value, DAG))))
"""


def test_the_installed_bundle_makes_dags(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "applications.yaml").write_text(
        "applications: {dms: {postgres_conn_id: dms_db, files_directory: /srv/f, staging_directory: /srv/s,"
        " store: 's3://bucket/x?storage_class=GLACIER'}}"
    )
    settings = {"PYTHONPATH": str(installed), "GLACIER_APPLICATIONS": str(tmp_path / "applications.yaml")}
    said = run(sys.executable, "-c", PARSE_BUNDLE, cwd=tmp_path, **settings)
    assert {"glacier_backup__dms", "glacier_restore__dms"} <= set(json.loads(said.splitlines()[-1]))
