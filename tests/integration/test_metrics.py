"""Metrics: what monitoring reads is what the catalog says, by the parsers of Prometheus' own client."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as as_prometheus

import glacier_provider
from glacier_provider import cli
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Database
from glacier_provider.core import metrics
from glacier_provider.core.condition import Condition, Proven
from glacier_provider.core.metrics import Activity, Measured, StoredClass, metrics_of, metrics_text
from glacier_provider.core.prices import LIST_PRICES
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.status import ProofState
from glacier_provider.pipelines.metrics import measured
from glacier_provider.postgres import Server
from tests.integration.test_cli import uri_of
from tests.support.backups import a_backup_row, a_proof_row, ago, an_archive_row

MONITORING = Path(glacier_provider.__file__).parent / "monitoring"
RULES_TESTED = Path(__file__).with_name("prometheus-rules.test.yml")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
#: An application of which everything can be told.
EVERYTHING = Measured(
    Condition(
        "dms",
        known_since=NOW,
        complete_id=7,
        complete_since=NOW,
        complete_at=NOW,
        files=3,
        bytes=4,
        report={"task_seconds": {"dump_database": 0.357, "upload_files": 60}},
        running_id=8,
        running_since=NOW,
        lost=1,
        proven={kind: Proven(ProofState.PASSED, NOW, NOW) for kind in ProofKind},
    ),
    [StoredClass("GLACIER", 3, 4)],
    Activity(1, 2, 3, NOW, 1),
    Decimal("3.6"),
    "USD",
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    """Return the samples of a text, by both parsers, which must agree."""
    found = [
        {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}
        for families in (openmetrics.text_string_to_metric_families(text), as_prometheus(text))
    ]
    assert found[0] == found[1]
    return found[0]


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"glacier_{name}", tuple(sorted({"application": "dms", **labels}.items()))))


def test_each_figure_is_what_the_catalog_says(catalog: Catalog, catalog_database: Server) -> None:
    at = ago(hours=5)
    number = a_backup_row(
        catalog_database, "dms", "complete", at, files=7, size=9000, vanished=2, report={"unreadable_count": 3}
    )
    a_backup_row(catalog_database, "dms", "failed", ago(hours=1), error="x")
    an_archive_row(catalog_database, "dms", number, "file", "lost", state="lost")
    deleted = a_backup_row(catalog_database, "dms", "complete", ago(days=3))
    for change in (
        f"glacier_archives SET state = 'lost' WHERE backup_id = {deleted} AND kind = 'database'",
        f"application_data_backups SET state = 'deleted' WHERE id = {deleted}",
    ):
        with catalog_database.connect(autocommit=True) as connection:
            connection.execute(f"SET search_path TO glacier_catalog; UPDATE {change}".encode())
    an_archive_row(catalog_database, "dms", number, "file", "here", size=10**12)
    an_archive_row(catalog_database, "dms", number, "file", "planned", state="planned", size=500)
    a_proof_row(catalog_database, "dms", "drill", "passed", ago(days=2))
    a_proof_row(catalog_database, "dms", "drill", "found", ago(days=1))
    now = datetime.now(UTC)
    text = metrics_text(measured(catalog, prices={"dms": LIST_PRICES}), catalogs={"catalog": True}, now=now)
    samples = read(text)
    assert of(samples, "backup_last_complete_timestamp_seconds") == pytest.approx(at.timestamp())
    assert of(samples, "backup_age_seconds") == pytest.approx(5 * 3600, abs=60)
    assert of(samples, "backup_last_complete_id") == number
    assert of(samples, "backup_files") == 7
    assert of(samples, "backup_bytes") == 10_000
    assert of(samples, "backup_failed") == 1
    assert of(samples, "backup_restorable") == 1
    assert of(samples, "backup_differences", kind="unreadable") == 3
    assert of(samples, "backup_differences", kind="vanished") == 2
    assert of(samples, "archives_lost") == 1
    assert of(samples, "proof_age_seconds", kind="drill") == pytest.approx(2 * 86400, abs=60)
    assert of(samples, "proof_ok", kind="drill") == 0
    assert of(samples, "proof_ok", kind="verification") is None
    assert (of(samples, "stored_bytes", storage_class="GLACIER") or 0) >= 10**12
    assert of(samples, "storage_cost_per_month", currency=LIST_PRICES.currency) == pytest.approx(3.6, abs=0.5)
    assert of(samples, "uploads_unfinished") == 1
    assert of(samples, "uploads_unfinished_bytes") == 500
    assert of(samples, "retrievals_waiting") == 0
    assert samples[("glacier_catalog_up", (("catalog", "catalog"),))] == 1


def test_the_number_of_questions_does_not_grow_with_that_of_applications(
    catalog: Catalog, catalog_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    rows = Database.rows

    def counted(self: Database, name: str, /, **parameters: Any) -> Any:
        asked.append(name)
        return rows(self, name, **parameters)

    monkeypatch.setattr(Database, "rows", counted)
    numbers = []
    for many in (1, 30):
        for number in range(many):
            a_backup_row(catalog_database, f"app{number}", "complete", ago(hours=1))
        asked.clear()
        assert len(measured(catalog)) == many
        numbers.append(len(asked))
    assert numbers == [4, 4]


def test_a_label_may_hold_anything() -> None:
    strange = 'a"b\\c\nd'
    samples = read(metrics_text([Measured(Condition(strange))], catalogs={strange: False}, now=datetime.now(UTC)))
    assert ("glacier_backup_failed", (("application", strange),)) in samples


def test_the_collectors_file_is_whole_at_any_instant_and_readable(
    catalog: Catalog, catalog_database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=5))
    path = tmp_path / "glacier.prom"
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))
    before = os.umask(0o077)
    try:
        assert cli.main(["metrics", "--output", str(path)]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert of(read(path.read_text()), "backup_failed") == 0
    assert cli.main(["metrics", "--output", str(path), "--catalog", "postgresql://x@127.0.0.1:1/x"]) == 1
    samples = read(path.read_text())
    collected = samples.pop(("glacier_collected_timestamp_seconds", ()))
    assert collected == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
    assert samples == {("glacier_catalog_up", (("catalog", "catalog"),)): 0}
    assert os.listdir(tmp_path) == ["glacier.prom"]


def test_a_file_says_so_also_when_something_unexpected_came_in_between(
    catalog_database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any, **__: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr("glacier_provider.pipelines.metrics.measured", break_down)
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))
    path = tmp_path / "glacier.prom"
    assert cli.main(["metrics", "--output", str(path)]) == 1
    assert read(path.read_text())[("glacier_catalog_up", (("catalog", "catalog"),))] == 0


ENTRY = {"postgres_conn_id": "a", "files_directory": "/f", "staging_directory": "/s", "store": "glacier://vault"}


def test_what_applications_yaml_names_is_told_also_where_the_catalog_never_heard_of_it(
    catalog: Catalog,
    catalog_database: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=5))
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))
    path = tmp_path / "applications.yaml"
    entries = {
        "dms": ENTRY,
        "new": {**ENTRY, "files_directory": "/g"},
        "by-hand": {**ENTRY, "files_directory": "/h", "schedule": None},
        "next-year": {**ENTRY, "files_directory": "/i", "start": "2999-01-01"},
        "wrong": {**ENTRY, "files_directory": "/j", "stor": "x"},
    }
    path.write_text(json.dumps({"applications": entries}))
    assert cli.main(["metrics", "--applications", str(path)]) == 0
    samples = read(capsys.readouterr().out)
    named = {dict(labels).get("application") for name, labels in samples if name == "glacier_backup_failed"}
    assert named == {"dms", "new"}
    assert samples[("glacier_state", (("application", "new"),))] == 2
    assert samples[("glacier_application_wrong", (("application", "wrong"),))] == 1
    assert cli.main(["metrics", "nope", "--applications", str(path)]) == 1
    assert "The catalog knows no application 'nope'." in capsys.readouterr().err


def test_the_figures_of_one_application_are_those_of_no_other(
    catalog_database: Server, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))
    for name in ("dms", "shop"):
        a_backup_row(catalog_database, name, "complete", ago(hours=1))

    def named(*options: str) -> set[str]:
        capsys.readouterr()
        assert cli.main(["metrics", *options]) == 0
        return {dict(labels).get("application", "") for _, labels in read(capsys.readouterr().out)} - {""}

    assert named() == {"dms", "shop"}
    assert named("shop") == named("--application", "shop") == {"shop"}


def told_names() -> set[str]:
    others = {"glacier_catalog_up", "glacier_application_wrong", "glacier_collected_timestamp_seconds"}
    return {*metrics._FAMILIES, *metrics._ages(datetime.now(UTC)), *others}


def test_rules_and_dashboard_ask_for_figures_that_there_are() -> None:
    rules = yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    asked = [rule["expr"] for rule in rules] + [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]
    named = {name for expression in asked for name in re.findall(r"\bglacier_\w+", expression)}
    assert named <= told_names()
    assert len(named) > 12
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(places) == len(set(places))


def promtool(*argv: object, given: str = "") -> str:
    """Run promtool (of Debian's package prometheus, which .ci/run installs); return what it said."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not here (Debian's package prometheus)")
    done = subprocess.run([program, *map(str, argv)], input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_takes_the_rules() -> None:
    assert "16 rules found" in promtool("check", "rules", MONITORING / "prometheus-rules.yml")


def test_each_alert_fires_when_it_should_and_is_silent_while_all_is_well() -> None:
    rules = yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load(RULES_TESTED.read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test.get("alert_rule_test", ()) if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules}
    assert "SUCCESS" in promtool("test", "rules", RULES_TESTED)


def test_promtool_finds_nothing_to_say_of_the_figures() -> None:
    assert promtool("check", "metrics", given=metrics_text([EVERYTHING], catalogs={"c": True}, now=NOW)) == ""


def test_every_figure_that_was_asked_for_is_told() -> None:
    """Per application: age of the last complete backup and of the last proof, state, bytes, files, how long each task
    took, uploads and retrievals under way, since when is waited for retrievals, differences, lost archives, cost."""
    told = {one.name: one for one in metrics_of([EVERYTHING], catalogs={"c": True}, now=NOW, wrong=["shop"])}
    assert set(told) == told_names()
    text = metrics_text([EVERYTHING], catalogs={"c": True}, now=NOW)
    assert 'task="dump_database"} 0.357\n' in text
    assert 'task="upload_files"} 60\n' in text
    tasks = {labels["task"]: value for labels, value in told["glacier_backup_task_seconds"].samples}
    assert tasks == {"dump_database": 0.357, "upload_files": 60.0}
    assert told["glacier_state"].samples == [({"application": "dms"}, 2.0)]  # an archive is lost


def test_dashboard_and_alert_rules_ask_what_prometheus_understands() -> None:
    import promql_parser

    rules = yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    for expression in [
        *(rule["expr"] for rule in rules),
        *(one["expr"] for panel in panels for one in panel["targets"]),
    ]:
        promql_parser.parse(expression)


def test_grafana_knows_each_word_of_the_dashboard() -> None:
    """By the model that Grafana's own schemas are made into (version 11.6): what it does not know it leaves out."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    understood = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    assert list(_left_out(dashboard, understood)) == []


def _left_out(given: Any, understood: Any, path: str = "") -> Iterator[str]:
    if isinstance(given, dict):
        for name, value in given.items():
            yield from _left_out(value, (understood or {}).get(name), f"{path}.{name}")
    elif isinstance(given, list):
        for number, value in enumerate(given):
            yield from _left_out(value, (understood or [])[number : number + 1][0], f"{path}[{number}]")
    elif given != understood:
        yield f"{path}: {given!r}, and {understood!r} of it"
