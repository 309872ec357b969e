"""Every command takes its application by position, and those that look at all of them by an option, too."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from glacier_provider.cli import command_parser
from glacier_provider.cli.arguments import right_applications

#: What these are about has an id, which tells whose it is, or is no application.
BY_ID = {"show", "archives", "undo-orphans", "undo-database", "accept-errors", "applications", "completion"}
#: What comes besides.
MORE = {
    "alerts": ["test"],
    "fetch": ["3", "a.pdf", "--into", "there"],
    "delete": ["3"],
}


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (one for one in command_parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", sorted(set(commands()) - BY_ID))
def test_a_command_takes_its_application_by_position(name: str) -> None:
    parser, more = commands()[name], MORE.get(name, [])
    first = [*more, "library"] if name == "alerts" else ["library", *more]
    assert parser.parse_args([*first, "--json"]).application == "library"
    assert parser.parse_args(["--json", *first]).application == "library"


@pytest.mark.parametrize(
    "name", [name for name, one in commands().items() if "--application NAME" in one.format_help()]
)
def test_a_command_that_needs_none_takes_it_by_an_option_too(name: str) -> None:
    parser = commands()[name]
    more = MORE.get(name, ["3"] if name in BY_ID - {"applications"} else [])
    assert parser.parse_args([*more, "--application", "library"]).application == "library"
    assert parser.parse_args(more).application is None


def test_commands_go_on_with_what_is_right_and_say_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {
        "postgres_conn_id": "a",
        "files_directory": "/f",
        "staging_directory": "/s",
        "store": "s3://bucket/pre?storage_class=GLACIER",
    }
    path = tmp_path / "applications.yaml"
    path.write_text(json.dumps({"applications": {"dms": entry, "bad": {"store": "nowhere"}}}))
    assert list(right_applications(argparse.Namespace(applications=str(path)))) == ["dms"]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{path} is wrong in: bad. See: glacier-backup applications\n")
