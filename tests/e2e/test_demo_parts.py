"""The demo's parts, each by itself. `make demo ONCE=1` is the test of the whole."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo import sample_application
from demo.airflow import TaskRun, _Followed
from demo.processes import Children, clean_environment
from demo.report import DemoFailed, Report, size
from demo.sample_application import AttachedFile, Fingerprint, differences, fingerprint
from demo.stores import STORES, DemoStore, S3Store, VaultStore, _client
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as postgres:
        postgres.create_role("dms", password="dms-password")
        for role in sample_application.ROLES:
            postgres.create_role(role)
        yield postgres


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's files without the large one."""
    directory = tmp_path_factory.mktemp("files")
    sample_application.write_files(directory, sample_application.attached_files()[:-1])
    return directory


@pytest.fixture(scope="module")
def sample(server: EmbeddedPostgres) -> Server:
    """A database with the sample application, for tests that leave it as it is."""
    database = _database(server, "sample")
    sample_application.create_database(database, sample_application.attached_files())
    return database


@pytest.fixture
def copy(server: EmbeddedPostgres, sample: Server) -> Iterator[Server]:
    """A copy of the sample's database, to be changed."""
    server.create_database("sample_copy", owner="dms", template=sample.dbname)
    yield sample.with_database("sample_copy")
    server.drop_database("sample_copy")


def _database(server: EmbeddedPostgres, name: str) -> Server:
    server.create_database(name, owner="dms")
    return server.server(name, user="dms", password="dms-password")


def test_the_sample_is_large_enough_to_look_real(sample: Server, files: Path) -> None:
    found = fingerprint(sample, files)
    assert found.rows > 100_000
    assert found.files == sample_application.FILES - 1
    sizes = [file.size for file in sample_application.attached_files()]
    assert max(sizes) == 100_000_000
    assert sizes.count(0) >= 40
    kinds = ("partitioned table", "materialised view", "view", "enum", "domain", "trigger", "policy", "sequence")
    assert all(any(name.startswith(f"{kind} ") for name in found.things) for kind in kinds)


def test_the_sample_is_the_same_each_time(
    server: EmbeddedPostgres, sample: Server, files: Path, tmp_path: Path
) -> None:
    again = _database(server, "sample_again")
    sample_application.create_database(again, sample_application.attached_files())
    sample_application.write_files(tmp_path, sample_application.attached_files()[:-1])
    assert differences(fingerprint(sample, files), fingerprint(again, tmp_path)) == []


def test_names_of_files_are_unique_also_where_case_is_ignored_except_for_one_pair_on_purpose() -> None:
    paths = [file.path for file in sample_application.attached_files()]
    assert len(set(paths)) == len(paths)
    assert len({path.lower() for path in paths}) == len(paths) - 1


def test_a_dumped_and_restored_sample_has_the_same_fingerprint(
    server: EmbeddedPostgres, sample: Server, tmp_path: Path
) -> None:
    dump, restored = tmp_path / "dump", _database(server, "sample_restored")
    for program, database, arguments in (
        ("pg_dump", sample, ["-Fc", "-f", str(dump)]),
        ("pg_restore", restored, ["--single-transaction", "--exit-on-error", "-d", restored.dbname, str(dump)]),
    ):
        environment = {**os.environ, **database.environment()}
        subprocess.run([str(server.bin_directory / program), *arguments], env=environment, check=True)
    assert differences(fingerprint(sample, tmp_path), fingerprint(restored, tmp_path)) == []


def test_a_day_changes_rows_schema_and_files(copy: Server, tmp_path: Path) -> None:
    listed = sample_application.attached_files()
    small = [replace(file, size=min(file.size, 10)) for file in listed]
    sample_application.write_files(tmp_path, small)
    before = fingerprint(copy, tmp_path)
    change = sample_application.change(copy, tmp_path)
    lines = differences(before, fingerprint(copy, tmp_path))
    expected = (
        "table public.reviews is new",
        "schema reporting is new",
        'table public."Case Notes" is missing',
        "view public.published_documents is missing",
        "column public.documents.price differs",
        "value of public.document_numbers differs",
        "rows of public.documents differs",
        "rows of public.private_notes differs",
        "function folder_path(integer) differs",
        "grants on relation public.comments differs",
        "enum audit.action differs",
    )
    assert [text for text in expected if not any(line.startswith(text) for line in lines)] == []
    assert sum(line.startswith("file ") and line.endswith(" is new") for line in lines) == len(change.added)
    assert sum(line.startswith("file ") and line.endswith(" is missing") for line in lines) == len(change.deleted)


@pytest.mark.parametrize(
    ("statement", "thing"),
    [
        ("UPDATE tags SET label = label || '!' WHERE id = 77", "rows of public.tags"),
        ("UPDATE audit.events_2026_q2 SET details = '{}' WHERE id = 20001", "rows of audit.events_2026_q2"),
        ("SELECT nextval('document_numbers')", "value of public.document_numbers"),
        ("ALTER TABLE folders ALTER COLUMN name DROP NOT NULL", "column public.folders.name"),
        ("GRANT DELETE ON tags TO dms_reader", "grants on relation public.tags"),
        ("COMMENT ON TABLE tags IS 'labels'", "comment on table public.tags"),
        ("SELECT lo_put(900100, 5, '!')", "large object 900100"),
        ("ALTER TABLE private_notes DISABLE ROW LEVEL SECURITY", "table public.private_notes"),
        ("ALTER TABLE documents DISABLE TRIGGER documents_touch", "trigger documents_touch of public.documents"),
    ],
)
def test_one_change_in_the_database_is_one_difference(copy: Server, tmp_path: Path, statement: str, thing: str) -> None:
    before = fingerprint(copy, tmp_path)
    with copy.connect() as connection:
        connection.execute(statement.encode())
    assert [line.partition(" differs")[0].removesuffix(" is new") for line in _changed(before, copy, tmp_path)] == [
        thing
    ]


def _changed(before: Fingerprint, server: Server, files: Path) -> list[str]:
    return differences(before, fingerprint(server, files))


def test_one_flipped_byte_of_a_file_is_one_difference(sample: Server, tmp_path: Path) -> None:
    sample_application.write_files(tmp_path, [AttachedFile(1, "a/- x.bin", 5000), AttachedFile(2, "b", 0)])
    before = fingerprint(sample, tmp_path)
    content = bytearray((tmp_path / "a/- x.bin").read_bytes())
    content[4321] ^= 1
    (tmp_path / "a/- x.bin").write_bytes(content)
    lines = _changed(before, sample, tmp_path)
    assert len(lines) == 1
    assert lines[0].startswith("file a/- x.bin differs: was 5000 bytes, SHA-256 ")


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    group = Children(tmp_path, clean_environment())
    yield group
    group.stop()


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, children: Children, tmp_path: Path) -> DemoStore:
    started = STORES[request.param](children, tmp_path)
    started.prepare()
    return started


def test_a_cold_archive_is_refused_and_a_warm_one_is_no_proof(store: DemoStore) -> None:
    if isinstance(store, S3Store):
        client = _client("s3", store.url)
        for key, storage_class in (("cold", "GLACIER"), ("warm", "STANDARD")):
            client.put_object(Bucket=store.bucket, Key=key, Body=b"x", StorageClass=storage_class)
        assert "InvalidObjectState" in store.refusal("cold")
        with pytest.raises(DemoFailed, match="without a retrieval"):
            store.refusal("warm")
    else:
        assert isinstance(store, VaultStore)
        client = _client("glacier", store.url)
        key = client.upload_archive(vaultName=store.vault, accountId="-", body=b"x")["archiveId"]
        assert store.refusal(key) == "no retrieval job, no output: ResourceNotFoundException"
        wanted = {"Type": "archive-retrieval", "ArchiveId": key}
        client.initiate_job(vaultName=store.vault, accountId="-", jobParameters=wanted)
        with pytest.raises(DemoFailed, match="asked back before"):
            store.refusal(key)


def test_a_stopped_child_takes_its_own_children_with_it(children: Children, tmp_path: Path) -> None:
    script = f"trap '' INT TERM; sleep 300 & echo $! > {tmp_path}/inner; wait"
    children.start("stubborn", ["sh", "-c", script])
    inner = int(_eventually(lambda: (tmp_path / "inner").read_text()))
    children.stop()
    _eventually(lambda: "gone" if not _alive(inner) else "")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _eventually(question: Callable[[], str], seconds: float = 30) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := question():
                return answer
        except FileNotFoundError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_child_that_dies_is_told_with_the_end_of_its_log(children: Children) -> None:
    child = children.start("weak", ["sh", "-c", "echo 'no space left' >&2; exit 3"])
    with pytest.raises(DemoFailed, match="weak ended with status 3") as failed:
        children.finish(child, 30)
    assert failed.value.details == "no space left"


def test_children_do_not_see_settings_that_belong_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AIRFLOW__CORE__EXECUTOR", "PGHOST", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = clean_environment()
    assert not {"AWS_PROFILE", "AIRFLOW__CORE__EXECUTOR", "PGHOST", "PYTHONDONTWRITEBYTECODE"} & set(environment)
    assert environment["LANG"] == "C.UTF-8"


def test_each_state_of_a_task_is_told_once_and_each_failed_attempt_gives_its_log() -> None:
    said: list[str] = []
    followed = _Followed(said.append)
    running, retried = TaskRun("dump", -1, "running", 1, 0.0), TaskRun("dump", -1, "up_for_retry", 1, 2.0)
    done = TaskRun("upload", 3, "success", 1, 1.5)
    assert followed.news([running]) == []
    assert followed.news([retried, done]) == [retried]
    assert followed.news([retried, done]) == []
    assert said == ["  dump: up_for_retry", "  upload[3]: success, 1.5 s"]


def test_a_failed_step_is_in_the_table_too() -> None:
    report = Report()
    with report.step("good") as step:
        step.figures = f"{size(161_237_906)} in place"
    with pytest.raises(ValueError, match="broken"), report.step("bad"):
        raise ValueError("broken")
    lines = report.table().splitlines()
    assert re.fullmatch(r"good    +\d+\.\d  161\.2 MB in place", lines[2])
    assert re.fullmatch(r"bad     +\d+\.\d  ", lines[3])


def test_an_unknown_store_fails_with_the_last_line_and_the_status() -> None:
    environment = {**os.environ, "STORE": "tape", "ONCE": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "demo"], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == ["demo: FAILED STORE=tape is unknown; use STORE=s3 or STORE=vault"]


def test_the_product_knows_nothing_of_the_demo() -> None:
    sources = [*(CHECKOUT / "glacier_provider").rglob("*.py"), *(CHECKOUT / "dags").rglob("*.py")]
    assert len(sources) > 30
    naming = re.compile(r"^\s*(from|import) (demo|tests)\b|EmbeddedPostgres|127\.0\.0\.1|\bmoto\b", re.MULTILINE)
    assert [str(path) for path in sources if naming.search(path.read_text(encoding="utf-8"))] == []


def test_constraints_pin_every_dependency_to_one_version_and_name_nothing_else() -> None:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[a-z0-9.+!]+", line)] == []
    pinned = [line.partition("==")[0] for line in lines]
    assert len(set(pinned)) == len(pinned)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=!~; ]", text)[0].lower().replace("_", "-") for text in wanted} - {project["name"]}
    assert names - set(pinned) == set()


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Path:
    """A directory with the Makefile and what it depends on."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    return tmp_path


def _make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    return subprocess.run(
        ["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_make_alone_lists_the_targets(bare_checkout: Path) -> None:
    listed = _make(bare_checkout)
    assert listed.returncode == 0
    assert {"demo", "test", "lint", "setup"} <= set(re.findall(r"^  make (\w+)", listed.stdout, re.MULTILINE))
    assert not (bare_checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_named_before_anything_is_made(bare_checkout: Path) -> None:
    old = _program(bare_checkout / "python3.9", '[ "$1" = --version ] && echo "Python 3.9.2" && exit; exit 1')
    refused = _make(bare_checkout, "demo", f"PYTHON={old}")
    assert refused.returncode != 0
    assert f"Python 3.11 or newer is needed; {old} is Python 3.9.2. Try: make demo PYTHON=" in refused.stderr
    assert not (bare_checkout / ".venv").exists()


def test_a_python_without_venv_is_told_and_leaves_nothing_half_made(bare_checkout: Path) -> None:
    lacking = _program(bare_checkout / "python3", '[ "$2" = venv ] && mkdir -p .venv/bin && exit 1; exit 0')
    refused = _make(bare_checkout, "setup", f"PYTHON={lacking}")
    assert refused.returncode != 0
    assert "python3-venv" in refused.stderr
    assert not (bare_checkout / ".venv").exists()
