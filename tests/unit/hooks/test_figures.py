"""The numbers that a task returned, under the names by which monitoring knows them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from glacier_provider.hooks.figures import tell_figures
from glacier_provider.operators.base import GlacierOperator
from tests.unit.operators.builders import Pushed, a_context


class Heard:
    """What Airflow's own facility is told: kind, name, value and tags of each figure."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any, dict[str, str] | None]] = []

    def incr(self, stat: str, count: int = 1, *, tags: dict[str, str] | None = None) -> None:
        self.told.append(("counter", stat, count, tags))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str] | None = None) -> None:
        self.told.append(("gauge", stat, value, tags))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    stats = Heard()
    monkeypatch.setattr("airflow.sdk.observability.stats.Stats", stats)
    return stats


TAGS = {"application": "dms"}
FIGURES = {"files": 3, "seconds": 1.5, "backup_id": 7, "rehearsed": True, "state": "complete", "none": None, "of": {}}


def test_each_number_has_a_name_with_the_application_and_one_with_a_tag(heard: Heard) -> None:
    tell_figures("dms", "close_backup", FIGURES, adds=False)
    assert heard.told == [
        ("gauge", "glacier.dms.close_backup.files", 3, None),
        ("gauge", "glacier.close_backup.files", 3, TAGS),
        ("gauge", "glacier.dms.close_backup.seconds", 1.5, None),
        ("gauge", "glacier.close_backup.seconds", 1.5, TAGS),
    ]


def test_those_of_shares_add_up(heard: Heard) -> None:
    for files in (3, 4):
        tell_figures("dms", "upload_files", {"files": files}, adds=True)
    assert heard.told == [
        ("counter", name, files, tags)
        for files in (3, 4)
        for name, tags in (("glacier.dms.upload_files.files", None), ("glacier.upload_files.files", TAGS))
    ]


@pytest.mark.parametrize("figures", [None, 7, [1, 2], "complete", {}])
def test_a_task_that_returns_no_figures_tells_none(figures: object, heard: Heard) -> None:
    tell_figures("dms", "open_backup", figures, adds=False)
    assert heard.told == []


def test_nothing_comes_of_an_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("airflow.sdk.observability.stats.Stats", None)
    with caplog.at_level(logging.WARNING):
        tell_figures("dms", "close_backup", FIGURES, adds=False)
    assert "The figures of close_backup were not sent (AttributeError)." in caplog.text


def after(task: Any, result: Any, **context: Any) -> None:
    """Do what Airflow's task runner does when a task returned something."""
    task._post_execute_hook(a_context(task, **context), result)


@pytest.mark.parametrize(
    ("application", "map_index", "kind"),
    [("dms", -1, "gauge"), ({"name": "dms"}, -1, "gauge"), ("dms", 0, "counter"), ("dms", 3, "counter")],
)
def test_an_operator_tells_what_it_returned(application: Any, map_index: int, kind: str, heard: Heard) -> None:
    task = GlacierOperator(task_id="work", application=application)
    ti = Pushed({})
    ti.map_index = map_index  # type: ignore[attr-defined]
    after(task, {"files": 3}, ti=ti)
    assert [one[:3] for one in heard.told] == [(kind, "glacier.dms.work.files", 3), (kind, "glacier.work.files", 3)]


def test_a_hook_of_somebody_s_own_is_kept() -> None:
    said: list[Any] = []
    task = GlacierOperator(task_id="work", application="dms", post_execute=lambda _context, result: said.append(result))
    after(task, 7)
    assert said == [7]
