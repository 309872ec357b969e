"""An application whose entry is wrong, or that cannot be asked, is never passed over as if all were well."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from glacier_provider import cli
from glacier_provider.cli import drill, verify, waiting
from glacier_provider.cli.connections import airflow_at_hand
from glacier_provider.errors import StoreUnavailable
from glacier_provider.pipelines import restore
from tests.unit.cli.test_closed_streams import ENTRY
from tests.unit.operators.builders import APPLICATION

Write = Callable[..., list[str]]


@pytest.fixture
def described(tmp_path: Path) -> Write:
    """Write a file of applications; return the option that names it."""

    def write(**applications: Any) -> list[str]:
        path = tmp_path / "applications.yaml"
        path.write_text(json.dumps({"applications": applications}))
        return ["--applications", str(path)]

    return write


def test_what_is_to_be_told_includes_an_entry_that_is_wrong(
    described: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    option = described(bad={"alerts": "ops@example.com"}, quiet={"alerts": {"to": ["a@example.com"], "on": ["cost"]}})
    for name in ([], ["bad"]):
        assert cli.main(["alerts", "show", *name, "--json", *option]) == 0
        (shown,) = json.loads(capsys.readouterr().out)
        assert (shown["application"], shown["event"], shown["told_at"]) == ("bad", "application_wrong", None)
        assert "postgres_conn_id" in shown["told"]
    assert cli.main(["alerts", "show", *option]) == 0
    assert "All is well" not in capsys.readouterr().out


def test_a_verification_of_all_has_not_passed_while_an_entry_is_wrong(
    described: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_verified", lambda *_: {"state": "passed", "lines": ["All is as it should be."]})
    option = described(dms=ENTRY, bad={})
    assert cli.main(["verify", *option]) == 1
    assert "Not all is as it should be: bad." in capsys.readouterr().err
    assert cli.main(["verify", "dms", *option]) == 0


def test_an_application_that_cannot_be_verified_keeps_no_other_from_it(
    described: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verified(application: Any, _arguments: Any) -> dict[str, Any]:
        if application.name == "away":
            raise StoreUnavailable("It is busy.")
        return {"state": "passed", "lines": ["All is as it should be."]}

    monkeypatch.setattr(verify, "_verified", verified)
    there = {**ENTRY, "files_directory": "/g", "orphan_directory": "/o"}
    assert cli.main(["verify", *described(away=ENTRY, dms=there), "--json"]) == 1
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert (answer["dms"], answer["away"]["state"]) == ({"state": "passed"}, "failed")
    assert "It is busy." in answer["away"]["error"]
    assert "Not all is as it should be: away." in told.err


def test_a_drill_waits_for_a_store_that_is_away_and_no_longer_than_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    away, clock = StoreUnavailable("It is busy."), Mock(wraps=time)
    clock.monotonic.side_effect = iter(range(0, 10**6, 1800))
    monkeypatch.setattr(waiting, "time", clock)
    clock.sleep.side_effect = None
    clock.sleep.return_value = None
    look = Mock(side_effect=[away, restore.Waiting(1, 0), away, restore.Waiting(0, 1)])
    monkeypatch.setattr(restore, "poll_retrievals", look)
    drill._wait(APPLICATION, 1, Mock(), Mock())
    assert look.call_count == 4
    look.side_effect = [away] * 9
    with pytest.raises(StoreUnavailable):
        drill._wait(APPLICATION, 1, Mock(), Mock())
    assert look.call_count < 9


def test_what_needs_no_connection_works_where_airflow_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "airflow.sdk.bases.hook", None)
    with airflow_at_hand():
        reached = True
    assert reached
    assert "Airflow cannot be loaded here, and gives no connections: " in capsys.readouterr().err
