"""What a command prints is its own: neither warnings of Airflow's libraries nor a log that says the same again."""

from __future__ import annotations

import logging
import warnings

import pytest

from glacier_provider.cli.connections import airflow_at_hand, told_by_command
from glacier_provider.pipelines.alerts import tell


def test_warnings_of_libraries_and_of_short_passwords_are_not_for_who_gives_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.warnoptions", [])
    with airflow_at_hand():
        from airflow.sdk.log import mask_secret

        capsys.readouterr()
        warnings.warn("The ``noload`` loader strategy is deprecated.", DeprecationWarning, stacklevel=1)
        mask_secret("lib")
    assert capsys.readouterr() == ("", "")


def test_what_the_answer_says_is_not_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = logging.getLogger(tell.__module__)
    with told_by_command(tell):
        log.info("told")
        log.warning("not told")
    log.info("later")
    assert [one.message for one in caplog.records] == ["not told", "later"]
