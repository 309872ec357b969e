"""The DAGs come from the package, by one line in a DAG file or as a bundle of Airflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag

from glacier_provider.get_provider_info import get_provider_info
from tests.support.clean_environment import APPLICATIONS

ENTRY = {
    "postgres_conn_id": "dms_db",
    "staging_directory": "/srv/staging",
    "store": "s3://bucket/dms?storage_class=GLACIER",
}
LINE = "from glacier_provider.bundle import *  # Airflow: the DAGs of the Glacier backups\n"


def describe(*names: str, **more: object) -> None:
    entries = {name: {**ENTRY, "files_directory": f"/srv/{name}/files"} for name in names}
    APPLICATIONS.write_text(yaml.safe_dump({"applications": {**entries, **more}}))


def read(folder: Path) -> DagBag:
    return DagBag(str(folder))


def test_one_line_in_a_dag_file_makes_the_dags_of_all_applications(tmp_path: Path) -> None:
    (tmp_path / "glacier.py").write_text(LINE)
    describe("dms", "shop")
    bag = read(tmp_path)
    assert bag.import_errors == {}
    kinds = {dag_id.partition("__")[0] for dag_id in bag.dags}
    assert {"glacier_backup", "glacier_restore", "glacier_delete"} <= kinds
    assert {"glacier_backup__dms", "glacier_backup__shop"} <= set(bag.dags)
    assert {dag.fileloc for dag in bag.dags.values()} == {str(tmp_path / "glacier.py")}
    describe("dms")
    assert "glacier_backup__shop" not in read(tmp_path).dags


def test_one_wrong_application_leaves_the_others_their_dags_and_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "glacier.py").write_text(LINE)
    describe("dms", wrong={"store": "ftp://x"})
    bag = read(tmp_path)
    assert bag.import_errors == {}
    assert "glacier_backup__dms" in bag.dags
    assert not [dag_id for dag_id in bag.dags if dag_id.endswith("__wrong")]
    (told,) = {record.getMessage() for record in caplog.records if "no DAGs of wrong" in record.getMessage()}
    assert "'store'" in told


def test_the_bundle_is_the_folder_with_the_dag_files() -> None:
    from glacier_provider.hooks.dag_bundle import GlacierDagBundle

    bundle = GlacierDagBundle(name="glacier", path="/elsewhere")
    describe("dms")
    bag = read(bundle.path)
    assert bag.import_errors == {}
    assert "glacier_backup__dms" in bag.dags


@pytest.mark.parametrize("subdir", [None, "teams/library"])
def test_the_line_in_a_git_repository_makes_the_dags(
    tmp_path: Path, subdir: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Airflow's own Git bundle, which checks a repository out."""
    git = pytest.importorskip("airflow.providers.git.bundles.git", reason="the Git provider is not installed")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    repository = tmp_path / "repository"
    folder = repository / (subdir or "")
    folder.mkdir(parents=True)
    (folder / "glacier.py").write_text(LINE)
    as_somebody = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*as_somebody, "commit", "-qm", "The DAGs")):
        subprocess.run(["git", "-C", str(repository), *words], check=True)
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    bundle = git.GitDagBundle(name="ours", repo_url=str(repository), tracking_ref="main", subdir=subdir)
    bundle.initialize()
    describe("dms")
    bag = read(bundle.path)
    assert bag.import_errors == {}
    assert "glacier_backup__dms" in bag.dags


def test_importing_the_bundles_module_reads_no_dag_file() -> None:
    script = "import sys, glacier_provider.bundle; print(*({'airflow', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


def test_airflow_shows_every_key_of_the_provider(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    given = get_parser().parse_args(["providers", "get", "glacier-provider", "--full", "--output", "json"])
    given.func(given)
    out = capsys.readouterr().out
    (shown,) = json.loads(out[out.index("[{") :])
    expected = get_provider_info()
    assert set(expected) <= set(shown)
    for key in ("operators", "sensors", "triggers", "hooks", "bundles", "extra-links", "notifications", "cli"):
        assert shown[key] == expected[key], key


def test_airflows_command_line_has_ours(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    given = parser.parse_args(["glacier", "applications", "--json"])
    describe("dms")
    with pytest.raises(SystemExit) as end:
        given.func(given)
    assert end.value.code == 0
    assert '"name": "dms"' in capsys.readouterr().out
