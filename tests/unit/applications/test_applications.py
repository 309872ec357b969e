from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import MISSING
from dataclasses import fields as dataclass_fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glacier_provider.applications import (
    Application,
    Applications,
    DumpOptions,
    NotificationOptions,
    RestoreOptions,
    ScanOptions,
    applications_path,
    load_applications,
    parse_application,
)
from glacier_provider.applications.messages import as_yaml
from glacier_provider.applications.schema import fields
from glacier_provider.core.retention import Retention
from glacier_provider.errors import ConfigurationError

SECTIONS = (
    *("dump", "restore", "retention", "notifications", "scan", "rehearsal", "verify", "drill", "alerts"),
    "anomalies",
)
FIELDS = [name for name in fields() if "." not in name and name not in (*SECTIONS, "name")]
EXAMPLE = Path(__file__).parents[3] / "dags" / "applications.yaml"


def an_entry(**fields: Any) -> dict[str, Any]:
    return {
        "postgres_conn_id": "library_db",
        "files_directory": "/srv/library/uploads",
        "staging_directory": "/srv/staging",
        "store": "s3://bucket/prefix?storage_class=GLACIER",
        **fields,
    }


def parse(**fields: Any) -> Application:
    return parse_application("library", an_entry(**fields), origin="here.yaml")


def refusal(**fields: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(**fields)
    return str(caught.value)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load_text(text: str | dict[str, Any]) -> Applications:
        path = tmp_path / "applications.yaml"
        path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
        return load_applications(path).checked()

    return load_text


@pytest.fixture
def load_what_is_right(tmp_path: Path) -> Any:
    def load_text(text: str | dict[str, Any]) -> Applications:
        path = tmp_path / "applications.yaml"
        path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
        return load_applications(path)

    return load_text


def test_an_entry_needs_four_fields_and_the_rest_has_defaults() -> None:
    assert parse() == Application(
        name="library",
        postgres_conn_id="library_db",
        files_directory="/srv/library/uploads",
        staging_directory="/srv/staging",
        store="s3://bucket/prefix?storage_class=GLACIER",
        orphan_directory="/srv/library/orphan_files",
    )


def test_every_field_says_what_it_is_and_has_an_example_and_the_default_that_is_told() -> None:
    sections = {"": Application, "dump": DumpOptions, "restore": RestoreOptions, "retention": Retention}
    sections |= {"notifications": NotificationOptions, "scan": ScanOptions}
    for section, kind in sections.items():
        for one in dataclass_fields(kind):
            told = fields()[f"{section}.{one.name}".strip(".")]
            assert one.name == "name" or {"description", "examples", "errorMessage"} <= set(told), one.name
            if one.default is not MISSING:
                assert told["default"] == (list(one.default) if isinstance(one.default, tuple) else one.default)


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_every_example_in_a_message_is_right(section: str) -> None:
    for path, told in fields().items():
        above, _, name = path.rpartition(".")
        if above == section and name != "name":
            value = yaml.safe_load(f"{name}: {as_yaml(told['examples'][0])}")
            parse(**({section: value} if section else value))


def test_a_section_with_nothing_behind_it_has_its_defaults() -> None:
    alike = [name for name in SECTIONS if name not in ("verify", "drill")]
    assert parse(**dict.fromkeys(alike)) == parse()
    assert parse(**{name: {} for name in alike}) == parse()


def test_who_is_called_for_what_is_told_by_the_word_on(load: Any) -> None:
    text = "defaults: {alerts: {to: [a@example.com], on: [backup_late]}}\napplications:\n  library:\n"
    text += "    alerts:\n      on: [cost]\n"
    entry = yaml.safe_dump(an_entry(), default_flow_style=False)
    text += "".join(f"    {line}\n" for line in entry.splitlines())
    alerts = load(text)["library"].alerts
    assert (alerts.to, alerts.on) == (({"email": "a@example.com"},), ("cost",))


@pytest.mark.parametrize(
    ("given", "to"),
    [
        ("ops@example.com", ({"email": "ops@example.com"},)),
        (["https://hooks.example.com/a?b=c"], ({"webhook": "https://hooks.example.com/a?b=c"},)),
        ({"to": [{"notifier": "a.B", "with": {"c": 1}}]}, ({"notifier": "a.B", "with": {"c": 1}},)),
        (None, ()),
    ],
)
def test_alerts_have_short_forms(given: Any, to: Any) -> None:
    assert parse(alerts=given).alerts.to == to
    assert parse(alerts=parse(alerts=given).to_dict()["alerts"]).alerts.to == to


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("https://user:secret@example.com/", "webhook is an Airflow connection, or a URL without user and password"),
        ("nobody", "email is a mail address"),
        ({"apprise": "slack://token/"}, "apprise is the id of an Airflow connection"),
        ({"email": "a@b.c", "webhook": "x"}, "it is one of email, webhook, apprise, notifier"),
        ({"email": "a@b.c", "cc": "x"}, "email has no 'cc'"),
        ({"notifier": "a.B", "with": "x"}, "with is a mapping"),
        (7, "it is one of"),
    ],
)
def test_a_target_that_is_none_is_refused_without_its_secrets(target: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(alerts={"to": [target]})
    assert words in str(refused.value)


@pytest.mark.parametrize("given", [None, {}, {"days": 5}, "listing", True])
def test_a_section_verify_is_reason_enough_to_verify(given: Any) -> None:
    assert parse().verify.by == "off"
    assert parse(verify=given).verify.by == "listing"
    assert parse(verify=False).verify.by == parse(verify={"by": "off"}).verify.by == "off"
    told = parse(verify=given)
    assert Application.from_dict(told.to_dict()) == told


@pytest.mark.parametrize("given", [None, {}, {"sample_files": "all", "target": "private"}, "newest", True])
def test_a_section_drill_is_reason_enough_to_drill(given: Any) -> None:
    assert parse().drill.which == "off"
    assert parse(drill=given).drill.which == "newest"
    assert parse(drill=False).drill.which == parse(drill={"which": "off"}).drill.which == "off"
    told = parse(drill=given)
    assert Application.from_dict(told.to_dict()) == told


OFF = ["verify: {by: off}", "rehearsal: {mode: off}", "drill: {which: off}", "dump: {fingerprint: off}"]


@pytest.mark.parametrize("text", OFF)
def test_off_is_taken_as_the_guide_writes_it_though_yaml_reads_it_as_false(text: str) -> None:
    ((section, told),) = yaml.safe_load(text).items()
    ((field, value),) = told.items()
    assert value is False
    assert getattr(getattr(parse(**{section: told}), section), field) == "off"


@pytest.mark.parametrize("wrong", [{"target": {}}, {"target": 3}, {"sample_files": -1}, {"sample_files": True}])
def test_a_drill_that_cannot_be_is_told_with_an_example(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"must be .*Example: "):
        parse(drill=wrong)


def test_the_account_of_a_verification_is_that_of_its_role_unless_it_is_named() -> None:
    role = "arn:aws:iam::123456789012:role/verify"
    assert parse(verify={"by": "content", "role_arn": role}).verify.account == "123456789012"
    assert parse(verify={"role_arn": role, "account_id": "210987654321"}).verify.account == "210987654321"
    with pytest.raises(ConfigurationError, match="must be the 12 digits of an AWS account"):
        parse(verify={"role_arn": role, "account_id": 210987654321})


def test_a_name_inside_an_entry_is_no_field() -> None:
    assert "'name': there is no such field" in refusal(name="shop")


def test_an_application_survives_the_way_through_json() -> None:
    full = parse(
        start=date(2026, 1, 31),
        dump={"format": "directory", "jobs": 4, "exclude_tables": ["public.a", '"My App"."T.1"']},
        exclude=["*.tmp"],
        restore={"owner": "drop"},
    )
    assert Application.from_dict(json.loads(json.dumps(full.to_dict()))) == full
    assert full.dump.exclude_tables == ("public.a", '"My App"."T.1"')


@pytest.mark.parametrize(
    "queue",
    [
        "glacier-backup-library",
        "arn:aws:sqs:eu-central-1:123456789012:glacier-backup-library",
        "https://sqs.eu-central-1.amazonaws.com/123456789012/glacier-backup-library",
    ],
)
def test_a_queue_is_named_by_name_arn_or_url(queue: str) -> None:
    assert parse(notifications={"queue": queue}).notifications == NotificationOptions(queue=queue, poll_seconds=1800)


def test_a_queue_that_is_none_and_an_unknown_field_of_notifications_are_refused() -> None:
    told = refusal(notifications={"queue": "library.fifo", "topic": "x", "poll_seconds": 0})
    assert (
        "field 'notifications.queue': must be the URL, the ARN or the name of a standard SQS queue (not FIFO)" in told
    )
    assert "field 'notifications.topic': there is no such field; there are: queue, poll_seconds" in told
    assert "field 'notifications.poll_seconds': must be a whole number from 1 to 86400" in told


def test_notifications_are_combined_with_the_defaults(load: Any) -> None:
    document = {
        "defaults": {"notifications": {"poll_seconds": 600}},
        "applications": {"library": an_entry(notifications={"queue": "q"})},
    }
    assert load(document)["library"].notifications == NotificationOptions(queue="q", poll_seconds=600)


def test_an_application_written_inline_is_validated() -> None:
    assert Application.from_dict({"name": "shop", **an_entry()}).name == "shop"
    with pytest.raises(ConfigurationError, match="name starts with"):
        Application.from_dict(an_entry())


WRONG: list[tuple[str, Any, str]] = [
    ("postgres_conn_id", "postgresql://user:geheim@host/db", "id of an Airflow connection"),
    ("postgres_conn_id", "postgresql:///db?password=geheim", "id of an Airflow connection"),
    ("postgres_conn_id", None, "id of an Airflow connection"),
    ("files_directory", "uploads", "absolute path"),
    ("files_directory", "/srv/../etc", "absolute path"),
    ("files_directory", "/", "below /"),
    ("files_directory", ["/srv"], "absolute path"),
    ("store", "s3://", "s3://bucket"),
    ("store", "bucket", "s3://bucket"),
    ("store", "gs://bucket", "s3://bucket"),
    ("store", "s3://key:geheim@bucket/x", "without a user or password"),
    ("store", "glacier:vault", "glacier://vault-name"),
    ("store", "s3://[bucket", "s3://bucket"),
    ("store", "s3://bucket/x?storage_class=glacier", "storage_class is 'glacier'; did you mean 'GLACIER'?"),
    ("store", "s3://bucket/x?storage_class=INTELLIGENT_TIERING", "there are: GLACIER, DEEP_ARCHIVE"),
    ("store", "s3://bucket/x?storageclass=GLACIER", "did you mean 'storage_class'?"),
    ("store", "s3://Glacier-Backups/x", "did you mean 'glacier-backups'?"),
    ("store", "s3://my_backups/x", "did you mean 'my-backups'?"),
    ("store", "s3://bucket/x?region=Frankfurt", "a Region"),
    ("store", "s3://bucket/x?kms_key_id=alias/x", "needs sse=aws:kms"),
    ("store", "s3://bucket/a//b", "not a usable prefix"),
    ("store", "glacier://vault/path", "has no path"),
    ("store", "glacier://vault?storage_class=GLACIER", "no parameter 'storage_class'"),
    ("store", 5, "s3://bucket"),
    ("catalog_schema", "My Catalog", "identifier"),
    ("schedule", "daily", "cron expression"),
    ("schedule", "61 2 * * *", "cron expression"),
    ("schedule", "0 2 * * * *", "cron expression"),
    ("schedule", 5, "cron expression"),
    ("timezone", "Berlin", "time zone"),
    ("timezone", "../etc/passwd", "time zone"),
    ("start", "yesterday", "a date from 1970 to 2999"),
    ("start", "9999-12-31", "a date from 1970 to 2999"),
    ("start", "0001-01-01", "a date from 1970 to 2999"),
    ("references_query", "  ", "text"),
    ("exclude", "*.tmp", "list of patterns"),
    ("exclude", ["/cache"], "relative"),
    ("retrieval_tier", "standard", "Expedited, Standard, Bulk"),
    ("retrieval_days", 0, "from 1 to 365"),
    ("parallelism", True, "from 1 to 64"),
    ("parallelism", 1.5, "from 1 to 64"),
    ("connections", "16", "from 1 to 256"),
    ("part_size_mib", 12, "power of two"),
    ("settle_seconds", -1, "from 0"),
    ("dump", "fast", "mapping"),
    ("dump", {"format": "plain"}, "custom, directory"),
    ("dump", {"jobs": 4, "format": "custom"}, "format directory"),
    ("dump", {"staging": "none", "format": "directory"}, "cannot be streamed"),
    ("dump", {"jobs": 2, "staging": "none"}, "format directory"),
    ("dump", {"staging": "memory"}, "disk, none"),
    ("dump", {"compression": "bzip2"}, "zstd"),
    ("dump", {"compression": "gzip:10"}, "to :9"),
    ("dump", {"compression": "zstd:99"}, "to :22"),
    ("dump", {"exclude_schemas": "audit"}, "list of names"),
    ("dump", {"exclude_tables": ["a.b.c.d"]}, "public.sessions"),
    ("dump", {"space_ratio": "half"}, "number from 0 to 10"),
    ("restore", {"owner": False}, "keep, drop"),
    ("restore", {"mode": "swap", "exclude_tables": ["public.a"]}, "nothing can be excluded"),
    ("restore", {"budget": True}, "money"),
    ("retention", {"keep_last": "7"}, "from 0 to 100000"),
    ("retention", {"keep_days": True}, "from 0 to 36500"),
    ("prices", "cheap", "mapping of figures"),
    ("scan", {"size_check": "often"}, "always, sample, never"),
    ("scan", {"trust_directory_times": True}, "auto, never"),
    ("scan", {"full_walk_days": 0}, "from 1 to 366"),
]


@pytest.mark.parametrize(("field", "value", "words"), WRONG)
def test_a_wrong_value_is_refused_with_all_that_is_needed_to_correct_it(field: str, value: Any, words: str) -> None:
    said = refusal(**{field: value})
    name = f"{field}.{next(iter(value))}" if isinstance(value, dict) else field
    assert "here.yaml" in said
    assert "'library'" in said
    assert f"'{name}'" in said
    assert words in said
    assert "Example: " in said
    assert "geheim" not in said
    assert corrected(an_entry(**{field: value}), said).name == "library"


def corrected(entry: dict[str, Any], said: str) -> Application:
    """Return the application of an entry that takes the example of a message for the field that the message names."""
    (path,) = re.findall(r"field '([\w.]+)'", said)
    example = re.findall(r"Example: (\w+: .*)", said)[-1]
    ((name, value),) = yaml.safe_load(example).items()
    section = path.rpartition(".")[0]
    if section and name != section:
        value = {**entry[section], name: value}
    return parse_application("library", {**entry, (section or name): value}, origin="here.yaml")


@pytest.mark.parametrize("schedule", ["0 2 * * *", "*/15 * * * 1-5", "@weekly", "@quarterly", None])
def test_schedules_of_airflow_are_taken(schedule: str | None) -> None:
    assert parse(schedule=schedule).schedule == schedule


def test_a_list_left_empty_is_an_empty_list() -> None:
    assert parse(exclude=None, dump={"exclude_schemas": None}).exclude == ()


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    assert "'postgres_con_id': there is no such field; did you mean 'postgres_conn_id'?" in refusal(postgres_con_id="x")
    assert "'dump.exclude_table'" in refusal(dump={"exclude_table": []})
    assert "did you mean 'exclude_tables'?" in refusal(dump={"exclude_table": []})
    assert "there are: " in refusal(zzz=1)


@pytest.mark.parametrize("name", ["password", "aws_secret_access_key", "db_passwd", "api_token"])
def test_a_secret_is_refused_without_being_repeated(name: str) -> None:
    said = refusal(**{name: "geheim"})
    assert "Airflow connection" in said
    assert "geheim" not in said


@pytest.mark.parametrize("name", ["Library", "1st", "", "a b", "x" * 41, True, None, 5, "a/b", "../x", "naïve"])
def test_a_name_is_a_slug(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="Example: library"):
        parse_application(name, an_entry(), origin="here.yaml")


def test_all_problems_of_a_file_are_told_at_once(load: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"applications": {"one": {}, "two": an_entry(jobs=1), "Three": an_entry(), "four": 4}, "extra": 1})
    said = str(caught.value)
    for words in ("'one', field 'store': is missing", "'two', field 'jobs'", "'Three'", "'four': must be", "'extra'"):
        assert words in said
    assert re.search(r"applications\.yaml has \d+ problems", said)


def test_defaults_count_where_an_application_says_nothing(load: Any) -> None:
    loaded = load(
        {
            "defaults": {
                "staging_directory": "/d",
                "retrieval_tier": "Bulk",
                "dump": {"format": "directory", "jobs": 2},
            },
            "applications": {
                "a": {**an_entry(dump={"jobs": 8}), "staging_directory": "/a"},
                "b": {
                    key: value for key, value in an_entry(files_directory="/b/f").items() if key != "staging_directory"
                },
            },
        }
    )
    assert list(loaded) == ["a", "b"]
    assert (loaded["a"].staging_directory, loaded["b"].staging_directory) == ("/a", "/d")
    assert (loaded["a"].dump.format, loaded["a"].dump.jobs, loaded["b"].dump.jobs) == ("directory", 8, 2)
    assert {application.retrieval_tier for application in loaded.values()} == {"Bulk"}


def test_two_applications_do_not_share_their_files(load: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'a' and 'b'.*files_directory.*Example"):
        load({"applications": {"a": an_entry(), "b": an_entry(files_directory="/srv/library//uploads/")}})


def applications(**entries: dict[str, Any]) -> dict[str, Any]:
    return {"applications": {name: an_entry(**entry) for name, entry in entries.items()}}


INNER = [
    ("files_directory", {"files_directory": "/srv/a/uploads"}, "'a' and 'b' both have the files_directory"),
    ("files_directory", {"files_directory": "/srv//a/./uploads/"}, "'a' and 'b' both have the files_directory"),
    ("files_directory", {"files_directory": "/srv/a/uploads/b"}, "must not lie inside files_directory of 'a'"),
    ("files_directory", {"files_directory": "/srv/staging/b"}, "must not lie inside staging_directory"),
    ("files_directory", {"files_directory": "/srv/aside/b"}, "must not lie inside orphan_directory of 'a'"),
    ("staging_directory", {"staging_directory": "/srv/a/uploads"}, "must not lie inside files_directory of 'a'"),
    ("orphan_directory", {"orphan_directory": "/srv/a/uploads/x/y"}, "must not lie inside files_directory of 'a'"),
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("field", "second", "words"), INNER)
def test_an_application_keeps_nothing_inside_another_ones_files(
    load: Any, field: str, second: dict[str, Any], words: str, turned: bool
) -> None:
    document = applications(
        a={"files_directory": "/srv/a/uploads", "orphan_directory": "/srv/aside"},
        b={"files_directory": "/srv/b/uploads", "orphan_directory": "/srv/b/aside", **second},
    )
    if turned:
        document["applications"] = dict(reversed(document["applications"].items()))
        words = words.replace("'a' and 'b'", "'b' and 'a'")
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(document)
    ((wrong, path, example),) = re.findall(
        r"application '(\w)', field '(\w+)': .*Example: \w+: (.*)", str(caught.value)
    )
    assert path == field
    document["applications"][wrong][path] = example
    assert list(load(document)) == list(document["applications"])


def test_the_orphans_that_lie_beside_the_files_by_default_are_looked_at_too(load: Any) -> None:
    with pytest.raises(
        ConfigurationError, match="'a', field 'orphan_directory': must not lie inside files_directory of"
    ):
        load(
            applications(
                a={"files_directory": "/srv/a"},
                b={"files_directory": "/srv/orphan_files", "orphan_directory": "/srv/b"},
            )
        )


def test_what_an_application_leaves_out_is_not_its_own(load: Any) -> None:
    inside = applications(
        a={"files_directory": "/srv/a", "exclude": ["b", "tmp/*"]},
        b={"files_directory": "/srv/a/b/uploads", "staging_directory": "/srv/a/tmp/b", "orphan_directory": "/srv/b"},
    )
    assert list(load(inside)) == ["a", "b"]


def test_applications_share_stores_staging_and_the_directory_of_orphans(load: Any) -> None:
    assert list(load(applications(a={"files_directory": "/srv/a"}, b={"files_directory": "/srv/b"}))) == ["a", "b"]


def test_an_example_is_never_the_value_that_was_refused() -> None:
    for entry in (
        an_entry(staging_directory="/srv/library/uploads"),
        an_entry(staging_directory="/srv/library"),
        an_entry(staging_directory="/srv"),
        an_entry(orphan_directory="/srv/library/uploads"),
        an_entry(files_directory="/srv/library/orphan_files/x", orphan_directory="/srv/library/orphan_files"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            parse_application("library", entry, origin="here.yaml")
        assert corrected(entry, str(caught.value)).name == "library"


def test_directories_of_different_purpose_do_not_lie_in_each_other() -> None:
    inside = "/srv/library/uploads/orphans"
    assert "orphan_directory" in refusal(orphan_directory=inside)
    assert "staging_directory" in refusal(staging_directory="/srv/library/uploads")
    assert "files_directory" in refusal(staging_directory="/srv/library")
    for pattern in ("orphans", "orphans/", "orphans/*", "orph*"):
        assert parse(orphan_directory=inside, exclude=[pattern]).orphan_directory == inside
    assert "orphan_directory" in refusal(orphan_directory=inside, exclude=["*.tmp"])
    assert parse(staging_directory="/srv/library/uploads2").staging_directory == "/srv/library/uploads2"


BROKEN_YAML = [
    ("applications: {a: 1", "line [12]"),
    ("applications:\n  a:\n    schedule: @daily", 'line 3.*quotes.*"@daily"'),
    ("applications:\n  a:\n    schedule: * * * * *", "line 3.*quotes"),
    ("applications:\n  a: {}\n  b: {}\n  a: {}", "'a' is given twice.*line 4"),
    ("applications:\n  a:\n    store: x\n    store: y", "'store' is given twice.*line 4"),
    ("applications: !!python/object/apply:os.system [id]", "line 1"),
    ("\x00", "YAML"),
    ("[" * 5000, "applications.yaml"),
    ("", "'applications'"),
    ("- a", "'applications'"),
    ("applications: [a]", "'applications'"),
    ("applications: {}\ndefaults: [a]", "'defaults'"),
    ("applications:\n  a:\n\tstore: x", "line 3: there is a tab in column 1.*spaces"),
    ("applications:\n  a:\n  \t  store: x\n    queue: y", "line [34]: there is a tab in column 3.*spaces"),
    ("applications:\n  a:\n    store: x\n \t  queue: y", "line 4: there is a tab in column 2.*spaces"),
]


def written(entry: str = "", **others: str) -> str:
    """Return a file with a right application `good`, one named `bad` with `entry` added, and other text around."""
    lines = ["applications:", *(f"  {name}:\n{_indented(name)}" for name in ("good", "bad"))]
    return others.get("before", "") + "\n".join([*lines, entry]) + "\n"


def _indented(name: str) -> str:
    fields = an_entry(files_directory=f"/srv/{name}/uploads", orphan_directory=f"/srv/{name}/aside")
    return "\n".join(f"    {key}: {value}" for key, value in fields.items())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("    retrieval_tier: Quick", "must be one of Expedited, Standard, Bulk"),
        ("    pasword_of: x", "no such field"),
        ("    store: s3://other", "'store' is given twice \\(again in line 14\\)"),
        ("    dump: {jobs: 1, jobs: 2}", "'jobs' is given twice"),
        ("    start: 2026-02-30", "must be a date from 1970 to 2999, not '2026-02-30'"),
        ("    pool: !vault x", "must be text, not a value with the tag !vault"),
        ("    schedule: 0 0 30 2 *", "that comes due"),
        ("  bad: {}", "'bad' is given twice"),
    ],
)
def test_a_wrong_application_leaves_the_others_and_says_why(load_what_is_right: Any, entry: str, words: str) -> None:
    loaded = load_what_is_right(written(entry))
    assert list(loaded) == ["good"]
    assert list(loaded.wrong) == ["bad"]
    for ask in (lambda: loaded.named("bad"), loaded.checked):
        with pytest.raises(ConfigurationError, match=rf"(?s)applications\.yaml.*application 'bad'.*{words}"):
            ask()


def test_two_applications_in_each_others_way_are_both_wrong_and_others_stay(load_what_is_right: Any) -> None:
    document = applications(
        outer={"files_directory": "/srv/a"}, inner={"files_directory": "/srv/a/b"}, other={"files_directory": "/srv/c"}
    )
    loaded = load_what_is_right(document)
    assert list(loaded) == ["other"]
    assert set(loaded.wrong) == {"outer", "inner"}
    assert "must not be, or hold, files_directory of 'inner'" in str(loaded.wrong["outer"])


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        ("defaults: {retrieval_teir: Bulk}\n", "'retrieval_teir': there is no such field; did you mean"),
        ("defaults: {dump: {job: 1}}\n", "'dump.job': there is no such field"),
        ("defaults: {queue: a, queue: b}\n", "'queue' is given twice"),
        ("defaults: 5\n", "must be a mapping of fields"),
        ("defalts: {queue: a}\n", "unknown section 'defalts'; did you mean 'defaults'"),
    ],
)
def test_what_is_wrong_with_the_defaults_is_told_of_the_file(
    load_what_is_right: Any, defaults: str, words: str
) -> None:
    loaded = load_what_is_right(written("    queue: c", before=defaults))
    assert "bad" in loaded  # which gives the doubtful field itself
    with pytest.raises(ConfigurationError, match=words):
        loaded.checked()
    assert re.search(words, " ".join(loaded.wrong[""]))


def test_a_default_given_twice_is_not_taken_by_one_of_the_two(load_what_is_right: Any) -> None:
    loaded = load_what_is_right(written("    queue: c", before="defaults: {queue: a, queue: b}\n"))
    assert list(loaded) == ["bad"]
    assert "must be text, not a default that is given twice" in str(loaded.wrong["good"])


@pytest.mark.parametrize(("text", "words"), BROKEN_YAML)
def test_what_is_not_the_file_meant_is_refused_with_its_place(load: Any, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(text)
    assert "applications.yaml" in str(caught.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"applications: {b\xfccher: {}}")
    with pytest.raises(ConfigurationError, match=r"latin\.yaml, line 1: the byte 0xfc in column 17 .*as UTF-8"):
        load_applications(tmp_path / "latin.yaml")


def test_a_missing_file_is_named_with_the_way_to_set_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.yaml.*GLACIER_APPLICATIONS"):
        load_applications(tmp_path / "gone.yaml")


def test_a_user_without_a_home_is_told_where_the_file_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLACIER_APPLICATIONS", "AIRFLOW__GLACIER_PROVIDER__APPLICATIONS", "AIRFLOW_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: {}[_uid])
    monkeypatch.setattr("glacier_provider.applications.file._airflow_setting", lambda: None)
    with pytest.raises(ConfigurationError, match=r"Cannot read the file of applications ~/airflow/dags"):
        load_applications()


def test_an_unknown_application_is_refused_with_the_known_ones(load: Any) -> None:
    loaded = load({"applications": {"library": an_entry()}})
    assert loaded.named("library") is loaded["library"]
    with pytest.raises(ConfigurationError, match=r"'shop' in .*applications\.yaml; it has: library"):
        loaded.named("shop")


def test_the_file_is_found_by_argument_then_environment_then_airflow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GLACIER_APPLICATIONS", raising=False)
    monkeypatch.setenv("AIRFLOW__GLACIER_PROVIDER__APPLICATIONS", "/from/airflow.yaml")
    assert applications_path() == Path("/from/airflow.yaml")
    monkeypatch.setenv("GLACIER_APPLICATIONS", "/from/environment.yaml")
    assert applications_path() == Path("/from/environment.yaml")
    assert applications_path("/from/argument.yaml") == Path("/from/argument.yaml")


def test_the_setting_in_airflows_own_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").write_text("[glacier_provider]\napplications = /from/the/file.yaml\n")
    assert _path_in_a_new_process(tmp_path) == "/from/the/file.yaml"


def test_without_any_setting_the_file_lies_among_the_dags(tmp_path: Path) -> None:
    assert _path_in_a_new_process(tmp_path) == f"{tmp_path}/dags/applications.yaml"


def _path_in_a_new_process(airflow_home: Path) -> str:
    code = "from glacier_provider.applications import applications_path; print(applications_path())"
    environment = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(airflow_home),
        "PYTHONPATH": os.pathsep.join([str(EXAMPLE.parents[1]), *sys.path]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_reading_the_file_imports_nothing_heavy() -> None:
    code = (
        "import sys; from glacier_provider.applications import load_applications;"
        f"assert list(load_applications({str(EXAMPLE)!r})) == ['library'];"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'airflow', 'boto3', 'psycopg', 'sqlalchemy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=EXAMPLE.parents[1], check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_hundred_applications_are_read(load: Any) -> None:
    entries = {f"app{number}": an_entry(files_directory=f"/srv/{number}/uploads") for number in range(100)}
    assert len(load({"applications": entries})) == 100


def test_the_example_that_is_shipped_names_every_field() -> None:
    assert load_applications(EXAMPLE)["library"].catalog_conn_id == "glacier_catalog"
    commented = EXAMPLE.read_text().split("a_complete_entry:")[1]
    complete = "applications:\n  complete:\n" + "\n".join(line.removeprefix("#") for line in commented.splitlines())
    given = yaml.safe_load(complete)["applications"]["complete"]
    assert parse_application("complete", given, origin="example").name == "complete"
    given["alerts"]["on"] = given["alerts"].pop(True)  # what YAML 1.1 makes of the word
    paths = {f"{key}.{name}" for key in SECTIONS for name in given[key]} | set(given)
    assert paths == set(fields()) - {"name"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is slow, not wrong
@given(
    entry=st.dictionaries(st.sampled_from([*FIELDS, "dump", "restore", "scan", "x"]) | st.text(), values),
    name=values,
)
def test_nonsense_is_refused_and_never_crashes(entry: dict[str, Any], name: Any) -> None:
    with suppress(ConfigurationError):
        parse_application(name, entry, origin="here.yaml")


@given(field=st.sampled_from(sorted(FIELDS)), value=values)
def test_one_value_of_any_kind_is_refused_or_survives_the_way_through_json(field: str, value: Any) -> None:
    with suppress(ConfigurationError):
        parsed = parse(**{field: value})
        assert Application.from_dict(json.loads(json.dumps(parsed.to_dict()))) == parsed


@pytest.mark.parametrize(
    "fields",
    [
        {"store": "s3://AKIAX:geheim/bucket"},
        {"store": "s3:key:geheim"},
        {"dump": "password=geheim"},
        {"restore": "geheim"},
        {"timezone": "token geheim"},
        {"timezone": "@geheim"},
    ],
)
def test_what_may_be_a_secret_is_not_repeated(fields: dict[str, Any]) -> None:
    assert "geheim" not in refusal(**fields)


@pytest.mark.parametrize(
    ("section", "key", "told"),
    [
        (None, 1.5, "field '1.5': there is no such field; there are: "),
        (None, date(2026, 1, 31), "field '2026-01-31': there is no such field; there are: "),
        (None, True, "field 'True': there is no such field"),
        ("dump", 1.5, "field 'dump.1.5': there is no such field; there are: format, jobs"),
        ("scan", True, "field 'scan.True': there is no such field; there are: size_check"),
    ],
)
def test_a_key_that_yaml_does_not_read_as_text_is_named_as_it_stands(section: str | None, key: Any, told: str) -> None:
    entry = an_entry(**({section: {key: 1}} if section else {}))
    with pytest.raises(ConfigurationError) as caught:
        parse_application("library", entry if section else {**entry, key: 1}, origin="here.yaml")
    assert told in str(caught.value)
    assert "there are: \n" not in str(caught.value)


@pytest.mark.parametrize("level", ["gzip:0", "gzip:06", "lz4:01", "zstd:03", "zstd:22"])
def test_levels_are_read_as_pg_dump_reads_them(level: str) -> None:
    assert parse(dump={"compression": level}).dump.compression == level


@pytest.mark.parametrize("field", ["exclude_tables", "exclude_table_data"])
def test_a_table_with_nul_in_its_name_is_refused_when_the_file_is_read(field: str) -> None:
    assert "tables, as in public.sessions" in refusal(dump={field: ["a\0b"]})


def test_a_part_size_is_a_whole_number() -> None:
    assert "power of two" in refusal(part_size_mib=16.0)


def test_white_space_around_a_store_is_refused_when_the_file_is_read() -> None:
    assert "white space" in refusal(store=" s3://bucket/prefix")
